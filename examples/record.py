"""A finished run as one JSON object: its settings, its machine, its figures and the time they took.

python examples/record.py runs/tinyshakespeare --target 1.55 > examples/tinyshakespeare.json
"""

import argparse
import json
import math
import platform
from pathlib import Path
from typing import Any

from unrolled.train.directory import RunDirectory
from unrolled.train.metrics import read
from unrolled.train.trainer import METRICS, TIMING


def record(path: Path, target: float | None = None) -> dict[str, Any]:
    """What the run in ``path`` came to; ``target`` is a loss whose first step is looked up."""
    directory = RunDirectory(path)
    settings = directory.read_settings()
    lines = read(directory.training / METRICS)
    clock = [(line["step"], line["seconds"]) for line in read(directory.training / TIMING)]
    validation = [
        {
            "step": line["step"],
            "seconds": round(max(at for step, at in clock if step <= line["step"]), 1),
            "loss": line["loss"],
        }
        for line in lines
        if line["split"] == "validation"
    ]
    best = min(validation, key=lambda line: line["loss"])
    reached = [line for line in validation if target is not None and line["loss"] <= target]
    tokens = max(line["targets"] for line in lines)
    seconds = clock[-1][1]
    return {
        "options": settings.options,
        "environment": {**settings.environment, "machine": processor()},
        "steps": max(line["step"] for line in lines),
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_a_second": round(tokens / seconds),
        "best": {
            **best,
            "bits": best["loss"] / math.log(2),
            "perplexity": math.exp(best["loss"]),
        },
        "target": {"loss": target, **({"first": reached[0]} if reached else {})},
        "validation": validation,
    }


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A finished run as one JSON object.")
    parser.add_argument("run", type=Path, help="the run's directory")
    parser.add_argument("--target", type=float, help="a validation loss, in nats per token")
    arguments = parser.parse_args()
    print(json.dumps(record(arguments.run, arguments.target), indent=1))
