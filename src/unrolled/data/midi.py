"""MIDI files from piano rolls and back. It needs mido, the extra "music".

A roll is which keys sound in each frame. It can't say that a key is struck again, so a key that is
on in several frames in a row is one long note.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.files import staged
from unrolled.errors import DataError

LOWEST = 21
"""The MIDI number of the lowest of a piano's 88 keys, the A of 27.5 Hz."""

KEYS = 88

_TICKS = 480
_DRUMS = 9
_LONGEST = 1_000_000


@dataclass(frozen=True)
class MidiConfig:
    """How a roll is played.

    Attributes:
        tempo: Quarter notes in a minute.
        frames_per_quarter: Frames in a quarter note.
        program: The instrument, by General MIDI: 0 is a piano, 19 a church organ, 48 strings.
        velocity: How hard the keys are struck.

    Raises:
        DataError: where one of them is out of its range.
    """

    tempo: float = 100.0
    frames_per_quarter: float = 2.0
    program: int = 0
    velocity: int = 80

    def __post_init__(self) -> None:
        ranges = {
            "tempo": (4, 1000),
            "frames_per_quarter": (0.01, 100),
            "program": (0, 127),
            "velocity": (1, 127),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DataError(f"{name} is from {low} to {high}, not {value}")


def write_midi(
    roll: NDArray[np.uint8], path: str | os.PathLike[str], config: MidiConfig | None = None
) -> None:
    """Writes a roll as a MIDI file.

    Args:
        roll: Which keys sound in each frame: ``[T, 88]`` of zeros and ones.
        path: The file; one that is there is replaced.
        config: How it is played.

    Raises:
        DataError: where the roll has another shape, the file can't be written, or mido is not
            installed.
    """
    mido = _mido()
    settings = config or MidiConfig()
    if roll.ndim != 2 or roll.shape[1] != KEYS:
        raise DataError(
            f"a MIDI file is written from a roll of {KEYS} keys, [T, {KEYS}], not {_shape(roll)}"
        )
    track: Any = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(settings.tempo)))
    track.append(mido.Message("program_change", program=settings.program))
    silent = np.zeros((1, KEYS), np.int8)
    changes = np.diff(roll.astype(np.int8), axis=0, prepend=silent, append=silent)
    now = 0
    for frame in np.flatnonzero(changes.any(1)):
        # Keys are let go before others are struck.
        for change, kind in ((-1, "note_off"), (1, "note_on")):
            for key in np.flatnonzero(changes[frame] == change):
                then = round(int(frame) * _TICKS / settings.frames_per_quarter)
                track.append(
                    mido.Message(
                        kind, note=LOWEST + int(key), velocity=settings.velocity, time=then - now
                    )
                )
                now = then
    end = round(len(roll) * _TICKS / settings.frames_per_quarter)
    track.append(mido.MetaMessage("end_of_track", time=end - now))
    file = mido.MidiFile(type=0, ticks_per_beat=_TICKS, tracks=[track])
    content = io.BytesIO()
    file.save(file=content)
    with staged(Path(path)) as out:
        out.write(content.getvalue())


def read_midi(path: str | os.PathLike[str], frames_per_quarter: float = 2.0) -> NDArray[np.uint8]:
    """The roll of a MIDI file: all its tracks and channels but the drums, without pedals.

    A note sounds from the frame next to its start to the frame next to its end, in at least one.

    Args:
        path: The file.
        frames_per_quarter: Frames in a quarter note.

    Returns:
        Which keys sound in each frame: uint8 ``[T, 88]``.

    Raises:
        DataError: where the file can't be read, has no note, one that a piano doesn't have, or more
            than a million frames; or mido is not installed.
    """
    mido = _mido()
    name = os.fspath(path)
    try:
        file = mido.MidiFile(name)
        messages = list(mido.merge_tracks(file.tracks))
    except FileNotFoundError:
        raise DataError(f"there is no file {name}") from None
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        # What mido raises for damaged files.
        problem = str(error) or "it ends too early"
        raise DataError(f"can't read {name} as MIDI: {problem}") from error
    if file.ticks_per_beat <= 0:
        raise DataError(f"{name} counts time in seconds (SMPTE), not in quarter notes")
    rate = frames_per_quarter / file.ticks_per_beat
    notes, ticks = _notes(messages)
    if not notes:
        raise DataError(f"{name} has no note")
    spans = [(key, round(on * rate), round(off * rate)) for key, on, off in notes]
    length = max(round(ticks * rate), *(max(on + 1, off) for _, on, off in spans))
    if length > _LONGEST:
        raise DataError(f"{name} lasts for {length:,} frames: at most {_LONGEST:,} are read")
    roll = np.zeros((length, KEYS), np.uint8)
    for key, on, off in spans:
        if not 0 <= key - LOWEST < KEYS:
            raise DataError(
                f"{name} has the note {key}, which a piano doesn't have: its {KEYS} keys are "
                f"{LOWEST} to {LOWEST + KEYS - 1}"
            )
        roll[on : max(on + 1, off), key - LOWEST] = 1
    return roll


def _notes(messages: list[Any]) -> tuple[list[tuple[int, int, int]], int]:
    """Key, begin and end of each note, and the last tick; a note that never ends, ends there."""
    notes: list[tuple[int, int, int]] = []
    sounding: dict[tuple[int, int], list[int]] = {}
    now = 0
    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        begun = sounding.setdefault((message.channel, message.note), [])
        if message.type == "note_on" and message.velocity > 0:
            begun.append(now)
        elif begun:
            notes.append((message.note, begun.pop(0), now))
    left = [(key, begin, now) for (_, key), begun in sounding.items() for begin in begun]
    return notes + left, now


def _shape(array: NDArray[Any]) -> str:
    return str(list(array.shape))


def _mido() -> Any:
    try:
        import mido
    except ModuleNotFoundError:
        raise DataError(
            "MIDI files need mido, which is not installed: pip install 'unrolled[music]'"
        ) from None
    return mido
