"""Samples while a model learns: before, in between, and after."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from unrolled.errors import UserError
from unrolled.train.observe import Moment, Observer


@dataclass(frozen=True)
class SampleConfig:
    """What is shown while the model learns.

    Attributes:
        samples: How many samples to print: the first before the training, the last after it.
        sample_length: The tokens of a sample.
        sample_temperature: Below 1 the likely gets likelier; 0 takes the likeliest token.
        sample_prompt: What a sample begins with.
    """

    samples: int = 3
    sample_length: int = 400
    sample_temperature: float = 0.7
    sample_prompt: str = ""

    def __post_init__(self) -> None:
        if self.samples < 0 or self.sample_length < 0:
            raise UserError("samples and sample_length are at least 0")

    def steps(self, total: int) -> set[int]:
        """The steps after which there is a sample, evenly spaced from the first to the last."""
        last = max(1, self.samples - 1)
        return {round(total * index / last) for index in range(self.samples)}


class Samples(Observer):
    """Prints a sample at the steps that the settings ask for."""

    def __init__(self, config: SampleConfig, total: int, draw: Callable[[], Iterator[str]]) -> None:
        """Draws once already, to see that it can.

        Args:
            config: The settings.
            total: The steps of the whole run.
            draw: Gives the pieces of a sample.

        Raises:
            UserError: where the model can't go on from the prompt.
        """
        self._config = config
        self._steps = config.steps(total)
        self._draw = draw
        if self._steps:
            draw()

    def started(self, moment: Moment) -> None:
        """The sample before the training."""
        if moment.step == 0:
            self.stepped(moment)

    def stepped(self, moment: Moment) -> None:
        """A sample, where one is due."""
        if moment.step not in self._steps:
            return
        with tqdm.external_write_mode(file=sys.stdout):
            print(f"\n── a sample after {moment.step:,} of {moment.total:,} steps ──")
            print(self._config.sample_prompt, end="")
            for piece in self._draw():
                print(piece, end="", flush=True)
            print("\n──\n", flush=True)
