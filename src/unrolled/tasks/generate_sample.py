"""What ``unrolled sample`` does with a generator: draw one sequence, print or write it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.data.files import staged
from unrolled.data.midi import MidiConfig, write_midi
from unrolled.data.rolls import checked, read_rolls
from unrolled.errors import UserError
from unrolled.models.generator import Generator

_ENDINGS = (".mid", ".midi", ".npy")


@dataclass(frozen=True)
class SampleConfig:
    """What to draw from a generator.

    Attributes:
        label: What it is to be; it may be left out where the model knows one label only.
        start: How it begins: a text; for a roll a file of frames (.mid, .midi or .npy).
        start_length: Begin with so many of the start's frames only; null takes all.
        length: Draw so many steps behind the start; a text may end before.
        temperature: Below 1 the likely gets likelier; 0 takes the likeliest.
        top_k: Draw from the so many likeliest tokens only.
        top_p: Draw from the likeliest tokens only that together have this probability.
        seed: Where the draws start; null starts anywhere.
        output: Where a roll goes: a file that ends in .mid, .midi or .npy.
    """

    label: str | None = None
    start: str | None = None
    start_length: int | None = None
    length: int = 200
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int | None = None
    output: str | None = None


def sample(model: Generator, config: SampleConfig, midi: MidiConfig) -> str:
    """Draws a sequence; writes it where a file is given, and gives what to print.

    Args:
        model: The generator.
        config: What to draw.
        midi: How a roll is played, and how a MIDI file to start with is read.

    Raises:
        UserError: where the label is missing or unknown, a roll has nowhere to go, or another value
            is out of its range.
        DataError: where a file can't be read or written.
    """
    first, *others = model.labels
    if config.label is None and others:
        raise UserError(f"say the label of what to draw: {', '.join(model.labels)}")
    label = first if config.label is None else config.label
    frames = model.vocabulary is None
    output = None if config.output is None else Path(config.output)
    if frames and (output is None or output.suffix.lower() not in _ENDINGS):
        raise UserError(
            f"this model draws a roll: say the file it goes to, which ends in {', '.join(_ENDINGS)}"
        )
    start = config.start
    begin = read_start(start, config.start_length, midi) if frames and start is not None else start
    drawn = model.generate(
        label, begin, config.length, config.temperature, config.top_k, config.top_p, config.seed
    )
    if isinstance(drawn, str):
        if output is None:
            return drawn
        with staged(output) as file:
            file.write((drawn + "\n").encode())
    elif output is not None:
        write_roll(drawn, output, midi)
    return f"wrote {len(drawn):,} {'frames' if frames else 'characters'} to {output}"


def read_start(
    path: str | os.PathLike[str], length: int | None, midi: MidiConfig
) -> NDArray[np.uint8]:
    """The first frames of a file: so many, or all.

    Raises:
        UserError: where the file has several sequences, or none of the frames is to be taken.
        DataError: where it can't be read.
    """
    if length is not None and length < 1:
        raise UserError(f"start_length is at least 1 frame, not {length}")
    rolls = list(read_rolls(Path(path), midi.frames_per_quarter))
    if len(rolls) != 1:
        raise UserError(f"{path} holds {len(rolls):,} sequences: give a file of one to start with")
    return checked(rolls[0].frames)[:length]


def write_roll(roll: NDArray[np.uint8], path: Path, midi: MidiConfig) -> None:
    """Writes a roll as the file's ending says: as MIDI, or as an array.

    Raises:
        DataError: where it can't be written.
    """
    if path.suffix.lower() == ".npy":
        with staged(path) as file:
            np.save(file, roll)
    else:
        write_midi(roll, path, midi)
