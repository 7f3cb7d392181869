"""Readers of piano rolls: which keys are on in each frame, as uint8 ``[T, K]``.

- ``.mat``: cells ``traindata``, ``validdata`` and ``testdata`` of arrays [T, K], as the four kinds
  of music of Boulanger-Lewandowski et al. (2012) come in Bai, Kolter and Koltun's "An empirical
  evaluation of generic convolutional and recurrent networks for sequence modeling" (2018); scipy,
  the extra "music", reads them
- ``.npz``: for each of the parts ``train``, ``valid`` and ``test`` all frames [N, K] in one array,
  and their numbers in ``train_lengths`` and so on; never pickled objects
- ``.npy``: one sequence [T, K]
- ``.mid``, ``.midi``: one sequence of a piano's 88 keys
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unrolled.data.midi import read_midi
from unrolled.errors import DataError

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Roll:
    """One sequence as a file has it.

    Attributes:
        file: The file.
        number: Its place in the file's part, from 1.
        part: The part of the data that the file says it belongs to, or None.
        frames: The array as it stands, not yet checked.
    """

    file: str
    number: int
    part: Part | None
    frames: NDArray[Any]


def is_roll(path: Path) -> bool:
    """Whether the file's ending is one of those that are read here."""
    return path.suffix.lower() in _READERS


def read_rolls(path: Path, frames_per_quarter: float) -> Iterator[Roll]:
    """The sequences of one file, one after the other.

    Args:
        path: The file; its ending says its format.
        frames_per_quarter: Frames in a quarter note, for MIDI.

    Raises:
        DataError: where the file can't be read, or isn't of that form.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no file of rolls: those end in {', '.join(_READERS)}")
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    return reader(path, frames_per_quarter)


def checked(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """A sequence's frames as uint8 ``[T, K]``.

    Raises:
        DataError: where they are no array of zeros and ones ``[T, K]`` with T and K at least 1.
    """
    if frames.ndim != 2 or frames.size == 0:
        raise DataError(
            f"a sequence is an array [T, K] of frames, with T and K at least 1, not "
            f"{list(frames.shape)}"
        )
    if frames.dtype.kind not in "buif":
        raise DataError(f"a sequence's values are numbers, not {frames.dtype}")
    wrong = np.argwhere((frames != 0) & (frames != 1))
    if len(wrong):
        frame, key = map(int, wrong[0])
        raise DataError(
            f"a key is 0 or 1 in each frame, but key {key} of frame {frame} is {frames[frame, key]}"
        )
    return frames.astype(np.uint8)


def _mat(path: Path, _: float) -> Iterator[Roll]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise DataError(
            ".mat files need scipy, which is not installed: pip install 'unrolled[music]'"
        ) from None
    with _reading(path):
        found: Mapping[str, Any] = loadmat(path)
    _parts_of(path, [part for part in PARTS if f"{part}data" in found], "traindata …")
    for part in PARTS:
        for number, frames in enumerate(np.ravel(found.get(f"{part}data", [])), 1):
            yield Roll(str(path), number, part, np.asarray(frames))


def _npz(path: Path, _: float) -> Iterator[Roll]:
    with _reading(path), np.load(path, allow_pickle=False) as file:
        found: dict[str, NDArray[Any]] = dict(file)
    _parts_of(path, [part for part in PARTS if part in found], "train, train_lengths …")
    for part in PARTS:
        if part not in found:
            continue
        frames, lengths = found[part], found.get(f"{part}_lengths")
        fits = (
            lengths is not None
            and lengths.ndim == 1
            and lengths.dtype.kind in "iu"
            and (lengths >= 0).all()
            and frames.ndim == 2
            and int(lengths.sum()) == len(frames)
        )
        if lengths is None or not fits:
            raise DataError(
                f"{path}: {part} holds all frames of that part, [N, K], and {part}_lengths how "
                "many of them are each sequence's, whole numbers that add up to N"
            )
        pieces = np.split(frames, np.cumsum(lengths[:-1]))
        yield from (Roll(str(path), i, part, piece) for i, piece in enumerate(pieces, 1))


def _npy(path: Path, _: float) -> Iterator[Roll]:
    with _reading(path):
        frames = np.load(path, allow_pickle=False)
    yield Roll(str(path), 1, None, frames)


def _midi(path: Path, frames_per_quarter: float) -> Iterator[Roll]:
    yield Roll(str(path), 1, None, read_midi(path, frames_per_quarter))


_READERS: Mapping[str, Callable[[Path, float], Iterator[Roll]]] = {
    ".mat": _mat,
    ".npz": _npz,
    ".npy": _npy,
    ".mid": _midi,
    ".midi": _midi,
}


def _parts_of(path: Path, parts: list[Part], names: str) -> None:
    if not parts:
        raise DataError(f"{path} has no part of rolls: it has arrays {names}")


@contextmanager
def _reading(path: Path) -> Generator[None, None, None]:
    """Whatever a library stumbles over in a damaged file is said of that file."""
    try:
        yield
    except Exception as error:
        problem = str(error).partition("\n")[0] or type(error).__name__
        form = path.suffix.lower()
        raise DataError(f"can't read {path} as {form}: {problem}") from error
