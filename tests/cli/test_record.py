"""``examples/record.py``: the figures that are quoted come out of a run's own files."""

import json
import subprocess
import sys
from pathlib import Path

from command_line import Command
from unrolled.train.metrics import read

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_it_tells_what_the_run_wrote(model: Path):
    losses = {
        line["step"]: line["loss"]
        for line in read(model / "training" / "metrics.jsonl")
        if line["split"] == "validation"
    }
    # Between the first loss and the last one.
    target = (losses[10] + losses[49]) / 2
    done = subprocess.run(
        [sys.executable, EXAMPLES / "record.py", model, "--target", str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert {line["step"]: line["loss"] for line in told["validation"]} == losses
    assert told["best"]["loss"] == min(losses.values())
    assert told["options"]["hidden_size"] == 12
    assert told["steps"] == 49
    first = told["target"]["first"]
    assert first["step"] == next(step for step, loss in losses.items() if loss <= target)
    seconds = [line["seconds"] for line in told["validation"]]
    assert seconds == sorted(seconds)
    assert told["tokens_a_second"] > 0


def test_the_example_settings_are_settings(unrolled: Command):
    for path in sorted(EXAMPLES.glob("*.yaml")):
        shown = unrolled("train", "lm", "--config", path, "--print-config")
        assert shown.status == 0, path
