"""``python -m benchmarks.inspect_report``: how long the whole report takes, and how large it is.

By default a model of two layers of 256 units, drawn at random, and 2,000 characters of this
package's own source. The parts' times are printed as they end.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch

import unrolled
from unrolled.data.vocabulary import Vocabulary
from unrolled.inspect.report import report
from unrolled.models.language_model import LanguageModel, LanguageModelConfig

GOAL_SECONDS, GOAL_BYTES = 60.0, 5_000_000


def main(words: Sequence[str] | None = None) -> int:
    """Measures, and gives 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspect_report")
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--characters", type=int, default=2000)
    asked = parser.parse_args(words)
    text = _source(asked.characters)
    torch.manual_seed(0)
    config = LanguageModelConfig(asked.cell, hidden_size=asked.hidden, num_layers=asked.layers)
    model = LanguageModel(config, Vocabulary.build([text], "char"))
    # What is compiled is compiled once on a machine; here it counts, as for who looks first.
    clock = _Clock()
    made = report(model, text, characters=asked.characters, progress=clock)
    with tempfile.TemporaryDirectory() as directory:
        clock("writing the page", 1.0)
        page = made.write(directory)[0]
        size = page.stat().st_size
    clock("all", 1.0)
    seconds = clock.last - clock.began
    print(
        f"{asked.layers} layers of {asked.hidden} {asked.cell} units, {asked.characters:,} "
        f"characters, {torch.get_num_threads()} threads: {seconds:.1f} s, {size / 1e6:.2f} MB"
    )
    return 0 if seconds < GOAL_SECONDS and size < GOAL_BYTES else 1


class _Clock:
    """Prints what each thing took once the next begins."""

    def __init__(self) -> None:
        self.began = self.last = perf_counter()
        self.what = ""

    def __call__(self, what: str, share: float) -> None:
        if what == self.what:
            return
        now = perf_counter()
        if self.what:
            print(f"{now - self.last:6.1f} s  {self.what}", flush=True)
        self.what, self.last = what, now


def _source(characters: int) -> str:
    found = ""
    for path in sorted(Path(unrolled.__file__).parent.rglob("*.py")):
        found += path.read_text("utf-8")
        if len(found) >= characters:
            break
    return found[:characters]


if __name__ == "__main__":
    raise SystemExit(main())
