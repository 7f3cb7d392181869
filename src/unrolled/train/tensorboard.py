"""The lines of metrics as TensorBoard's scalars; needs the extra ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unrolled.errors import TrainingError
from unrolled.train.metrics import Value
from unrolled.train.observe import Moment, Observer


class TensorBoard(Observer):
    """Writes ``<split>/<name>`` for each figure; a resumed run hides what it goes back on."""

    def __init__(self, directory: Path) -> None:
        """Raises a TrainingError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "TensorBoard is not installed: pip install 'unrolled[tensorboard]', or leave "
                "--tensorboard out"
            ) from error
        self._open = lambda step: SummaryWriter(str(directory), purge_step=step)

    def started(self, moment: Moment) -> None:
        """Opens an event file for this sitting."""
        self._writer = self._open(moment.step + 1 if moment.step else None)

    def measured(self, record: Mapping[str, Value]) -> None:
        """Writes the figures of a line."""
        split, step = record["split"], record["step"]
        for name, value in record.items():
            if name not in ("split", "step"):
                self._writer.add_scalar(f"{split}/{name}", value, step)

    def finished(self, moment: Moment) -> None:
        """Closes the event file."""
        self._writer.close()
