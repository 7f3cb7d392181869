"""Piano rolls from files: each form as it was written, and what is wrong with others."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.midi import write_midi
from unrolled.data.rolls import checked, is_roll, read_rolls
from unrolled.errors import DataError

Frames = np.ndarray


def sequences(*lengths: int, keys: int = 88) -> list[Frames]:
    draw = np.random.default_rng(0)
    return [(draw.random((n, keys)) < 0.2).astype(np.uint8) for n in lengths]


def cells(arrays: list[Frames]) -> np.ndarray:
    """MATLAB's row of cells, as the published files have it."""
    out = np.empty((1, len(arrays)), object)
    for i, array in enumerate(arrays):
        out[0, i] = array
    return out


def found(path: Path) -> list[tuple[str | None, int, Frames]]:
    return [(r.part, r.number, r.frames) for r in read_rolls(path, 2)]


def same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def test_mat_and_npz_hold_parts(tmp_path: Path):
    scipy_io: Any = pytest.importorskip("scipy.io")
    train, valid, test = sequences(5, 3, 9), sequences(2), sequences(4, 4)
    named = {"train": train, "valid": valid, "test": test}
    scipy_io.savemat(tmp_path / "a.mat", {f"{n}data": cells(part) for n, part in named.items()})
    arrays: dict[str, Any] = {n: np.concatenate(part) for n, part in named.items()}
    lengths: dict[str, Any] = {f"{n}_lengths": [len(s) for s in p] for n, p in named.items()}
    np.savez(tmp_path / "a.npz", **arrays, **lengths)
    for name in ("a.mat", "a.npz"):
        rolls = found(tmp_path / name)
        assert [(part, number) for part, number, _ in rolls] == [
            ("train", 1), ("train", 2), ("train", 3), ("valid", 1), ("test", 1), ("test", 2),
        ]  # fmt: skip
        assert same([frames for _, _, frames in rolls], [*train, *valid, *test])


def test_npy_and_midi_are_one_sequence(tmp_path: Path):
    pytest.importorskip("mido")
    (roll,) = sequences(12)
    np.save(tmp_path / "a.npy", roll)
    write_midi(roll, tmp_path / "a.MID")
    for name in ("a.npy", "a.MID"):
        ((part, number, frames),) = found(tmp_path / name)
        assert (part, number) == (None, 1)
        assert np.array_equal(frames, roll)


def test_a_name_says_whether_a_file_holds_rolls():
    assert [is_roll(Path(n)) for n in ("a.mat", "a.NPZ", "b.midi", "c.txt", "d")] == [
        True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int64, np.float32])
def test_zeros_and_ones_of_any_type_are_frames(dtype: Any):
    (roll,) = sequences(4, keys=3)
    frames = checked(roll.astype(dtype))
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, roll)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            np.zeros(3),
            "a sequence is an array [T, K] of frames, with T and K at least 1, not [3]",
        ),
        (
            np.zeros((0, 88)),
            "a sequence is an array [T, K] of frames, with T and K at least 1, not [0, 88]",
        ),
        (np.array([["a"]]), "a sequence's values are numbers, not <U1"),
        (
            np.array([[0, 1], [0, 2]]),
            "a key is 0 or 1 in each frame, but key 1 of frame 1 is 2",
        ),
        (
            np.array([[0, np.nan]]),
            "a key is 0 or 1 in each frame, but key 1 of frame 0 is nan",
        ),
        (
            np.array([[0.5]]),
            "a key is 0 or 1 in each frame, but key 0 of frame 0 is 0.5",
        ),
    ],
)
def test_other_values_are_refused(frames: Frames, message: str):
    with pytest.raises(DataError) as error:
        checked(frames)
    assert str(error.value) == message


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        list(read_rolls(path, 2))
    return str(error.value)


def test_what_cannot_be_read_is_named(tmp_path: Path):
    pytest.importorskip("scipy")
    for name in ("a.mat", "a.npz", "a.npy"):
        (tmp_path / name).write_bytes(b"nothing that it says it is")
        assert refused(tmp_path / name).startswith(f"can't read {tmp_path / name} as {name[1:]}: ")
        (tmp_path / name).write_bytes(b"")
        assert refused(tmp_path / name).startswith(f"can't read {tmp_path / name} as {name[1:]}: ")
    assert refused(tmp_path / "none.npz") == f"there is no file {tmp_path / 'none.npz'}"
    assert refused(tmp_path / "a.txt") == (
        f"{tmp_path / 'a.txt'} is no file of rolls: those end in .mat, .npz, .npy, .mid, .midi"
    )


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    np.save(tmp_path / "a.npy", cells(sequences(3)), allow_pickle=True)
    np.savez(tmp_path / "a.npz", train=cells(sequences(3)))
    for name in ("a.npy", "a.npz"):
        assert "Object arrays cannot be loaded when allow_pickle=False" in refused(tmp_path / name)


@pytest.mark.parametrize(
    "lengths",
    [None, np.array([2, 2]), np.array([-1, 6]), np.array([2.0, 3.0]), np.array([[5]])],
    ids=["none", "sum", "negative", "float", "shape"],
)
def test_lengths_that_do_not_fit_are_named(lengths: Any, tmp_path: Path):
    arrays: dict[str, Any] = {} if lengths is None else {"valid_lengths": lengths}
    np.savez(tmp_path / "a.npz", valid=np.zeros((5, 3)), **arrays)
    assert refused(tmp_path / "a.npz") == (
        f"{tmp_path / 'a.npz'}: valid holds all frames of that part, [N, K], and valid_lengths how "
        "many of them are each sequence's, whole numbers that add up to N"
    )


def test_a_file_without_parts_is_named(tmp_path: Path):
    scipy_io: Any = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"x": np.zeros(3)})
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert refused(tmp_path / "a.mat") == (
        f"{tmp_path / 'a.mat'} has no part of rolls: it has arrays traindata …"
    )
    assert refused(tmp_path / "a.npz") == (
        f"{tmp_path / 'a.npz'} has no part of rolls: it has arrays train, train_lengths …"
    )


def test_without_scipy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.mat").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert refused(tmp_path / "a.mat") == (
        ".mat files need scipy, which is not installed: pip install 'unrolled[music]'"
    )
