"""The progress bar of a training run: loss, speed and time left; and a line for each validation."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tqdm import tqdm

from unrolled.cli.figures import in_line
from unrolled.train.metrics import Value
from unrolled.train.observe import Moment, Observer

_FORMAT = "{percentage:3.0f}% |{bar}| step {n_fmt} of {total_fmt}{postfix}, {remaining} left"


class Progress(Observer):
    """Shows on the terminal how a run goes; without a terminal, the validations alone."""

    def __init__(self, unit: str) -> None:
        """What a target is, such as "character", for the speed."""
        self._unit = unit
        self._loss: float | None = None

    def started(self, moment: Moment) -> None:
        """Opens the bar."""
        self._first = moment
        self._bar = tqdm(
            total=moment.total,
            initial=moment.step,
            bar_format=_FORMAT,
            dynamic_ncols=True,
            disable=None,
            smoothing=0.05,
        )

    def stepped(self, moment: Moment) -> None:
        """Moves the bar."""
        if moment.loss is not None:
            smooth = moment.loss if self._loss is None else 0.95 * self._loss + 0.05 * moment.loss
            self._loss = smooth
            seconds = max(moment.seconds - self._first.seconds, 1e-9)
            speed = (moment.targets - self._first.targets) / seconds
            words = f"loss {smooth:.3f}, {speed:,.0f} {self._unit}s a second"
            self._bar.set_postfix_str(words, refresh=False)
        self._bar.update(moment.step - self._bar.n)

    def measured(self, record: Mapping[str, Value]) -> None:
        """Prints the figures of a validation."""
        if record["split"] == "validation":
            tqdm.write(f"step {record['step']:,}, validation: {in_line(record)}")
            sys.stdout.flush()

    def finished(self, moment: Moment) -> None:
        """Closes the bar."""
        self._bar.close()
