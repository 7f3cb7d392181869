"""What ``unrolled sample`` prints and writes for generators."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_generators import tiny_generator
from unrolled.data.midi import MidiConfig, read_midi, write_midi
from unrolled.errors import UserError
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig
from unrolled.tasks.generate_sample import SampleConfig, sample

pytest.importorskip("mido")


def piano() -> Generator:
    torch.manual_seed(0)
    return Generator(GeneratorConfig(hidden_size=4, embedding_size=0), ["tune"], 88).eval()


def test_a_roll_becomes_a_midi_file_or_an_array(tmp_path: Path):
    model, midi = piano(), MidiConfig(frames_per_quarter=4)
    expected = model.generate("tune", length=30, seed=2)
    for name in ("a.mid", "a.npy"):
        path = tmp_path / name
        said = sample(model, SampleConfig(length=30, seed=2, output=str(path)), midi)
        assert said == f"wrote 30 frames to {path}"
        written = np.load(path) if name == "a.npy" else read_midi(path, 4)
        assert np.array_equal(written, expected)


def test_a_roll_starts_with_the_first_frames_of_a_file(tmp_path: Path):
    model, midi = piano(), MidiConfig()
    first = model.generate("tune", length=12, seed=7)
    write_midi(first, tmp_path / "start.mid", midi)
    config = SampleConfig(
        label="tune", start=str(tmp_path / "start.mid"), start_length=8, length=5, seed=1,
        output=str(tmp_path / "a.npy"),
    )  # fmt: skip
    sample(model, config, midi)
    written = np.load(tmp_path / "a.npy")
    assert np.array_equal(written, model.generate("tune", first[:8], length=5, seed=1))


def test_a_text_is_printed_or_written(tmp_path: Path):
    model = tiny_generator()
    config: dict[str, Any] = {"label": "high", "start": "ab", "length": 9, "seed": 4}
    expected = model.generate("high", "ab", 9, seed=4)
    assert sample(model, SampleConfig(**config), MidiConfig()) == expected
    path = tmp_path / "a.txt"
    said = sample(model, SampleConfig(**config, output=str(path)), MidiConfig())
    assert said == f"wrote {len(expected)} characters to {path}"
    assert path.read_text() == expected + "\n"


def test_what_is_missing_is_said(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((2, 87)))
    np.savez(tmp_path / "a.npz", train=np.zeros((4, 88)), train_lengths=[2, 2])
    out = str(tmp_path / "out.mid")
    cases: list[tuple[Generator, dict[str, Any], str]] = [
        (tiny_generator(), {}, "say the label of what to draw: low, high, wide"),
        (
            piano(),
            {},
            "this model draws a roll: say the file it goes to, which ends in .mid, .midi, .npy",
        ),
        (
            piano(),
            {"output": "a.txt"},
            "this model draws a roll: say the file it goes to, which ends in .mid, .midi, .npy",
        ),
        (
            piano(),
            {"output": out, "start": str(tmp_path / "a.npy")},
            "expected frames of 88 keys, an array [n, 88], got [2, 87]",
        ),
        (
            piano(),
            {"output": out, "start": str(tmp_path / "a.npz")},
            f"{tmp_path / 'a.npz'} holds 2 sequences: give a file of one to start with",
        ),
        (
            piano(),
            {"output": out, "start": str(tmp_path / "a.npy"), "start_length": 0},
            "start_length is at least 1 frame, not 0",
        ),
    ]
    for model, config, message in cases:
        with pytest.raises(UserError) as error:
            sample(model, SampleConfig(**config), MidiConfig())
        assert str(error.value) == message
    assert not Path(out).exists()
