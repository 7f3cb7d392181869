"""MIDI files: what is written is read back, by mido's own account too, and damage is named."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.midi import KEYS, LOWEST, MidiConfig, read_midi, write_midi
from unrolled.errors import DataError

mido: Any = pytest.importorskip("mido")


def random_roll(frames: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, KEYS)) < 0.1).astype(np.uint8)


@pytest.mark.parametrize("rate", [0.5, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("silence", [0, 4])
def test_a_roll_comes_back_bit_by_bit(rate: float, silence: int, tmp_path: Path):
    roll = random_roll(57)
    roll[:silence] = roll[57 - silence :] = 0
    write_midi(roll, tmp_path / "a.mid", MidiConfig(frames_per_quarter=rate))
    again = read_midi(tmp_path / "a.mid", rate)
    assert again.dtype == np.uint8
    assert np.array_equal(again, roll)


def test_frames_in_a_row_are_one_note_and_tempo_program_and_velocity_are_kept(tmp_path: Path):
    roll = np.zeros((6, KEYS), np.uint8)
    roll[1:4, 39] = 1  # middle C
    roll[4:, 40] = 1
    config = MidiConfig(tempo=120, frames_per_quarter=4, program=19, velocity=33)
    write_midi(roll, tmp_path / "a.mid", config)
    file = mido.MidiFile(tmp_path / "a.mid")
    (track,) = file.tracks
    assert [str(m) for m in track] == [
        "MetaMessage('set_tempo', tempo=500000, time=0)",
        "program_change channel=0 program=19 time=0",
        "note_on channel=0 note=60 velocity=33 time=120",
        "note_off channel=0 note=60 velocity=33 time=360",
        "note_on channel=0 note=61 velocity=33 time=0",
        "note_off channel=0 note=61 velocity=33 time=240",
        "MetaMessage('end_of_track', time=0)",
    ]
    assert file.length == pytest.approx(0.75)  # six frames of an eighth of a second


def save(path: Path, *tracks: list[Any], ticks: int = 480) -> Path:
    made = [mido.MidiTrack(track) for track in tracks]
    mido.MidiFile(type=1, ticks_per_beat=ticks, tracks=made).save(path)
    return path


def note(kind: str, key: int, time: int, **options: Any) -> Any:
    return mido.Message(kind, note=key, time=time, **options)


def test_tracks_and_channels_sound_together_but_the_drums(tmp_path: Path):
    path = save(
        tmp_path / "a.mid",
        [note("note_on", 21, 0), note("note_off", 21, 480)],
        [note("note_on", 108, 240, channel=3), note("note_on", 108, 480, channel=3, velocity=0)],
        [note("note_on", 40, 0, channel=9), note("note_off", 40, 4800, channel=9)],
    )
    roll = read_midi(path, 2)
    assert roll.shape == (20, KEYS)
    assert np.argwhere(roll).tolist() == [[0, 0], [1, 0], [1, 87], [2, 87]]


def test_a_short_note_sounds_in_one_frame_and_an_endless_one_to_the_end(tmp_path: Path):
    track = [note("note_on", 60, 10), note("note_off", 60, 5), note("note_on", 62, 465)]
    end = mido.MetaMessage("end_of_track", time=480)
    roll = read_midi(save(tmp_path / "a.mid", [*track, end]), 2)
    assert np.argwhere(roll).tolist() == [[0, 60 - LOWEST], [2, 62 - LOWEST], [3, 62 - LOWEST]]


def damaged(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_what_cannot_be_read_is_named(tmp_path: Path):
    write_midi(random_roll(5), tmp_path / "good.mid")
    good = (tmp_path / "good.mid").read_bytes()
    cases = {
        damaged(tmp_path / "a.mid", b""): "can't read {} as MIDI: it ends too early",
        damaged(tmp_path / "b.mid", good[:60]): "can't read {} as MIDI: it ends too early",
        damaged(tmp_path / "c.mid", good[:12] + b"\xe2\x28" + good[14:]): (
            "{} counts time in seconds (SMPTE), not in quarter notes"
        ),
        save(tmp_path / "d.mid", []): "{} has no note",
        save(tmp_path / "e.mid", [note("note_on", 20, 0), note("note_off", 20, 480)]): (
            "{} has the note 20, which a piano doesn't have: its 88 keys are 21 to 108"
        ),
        save(
            tmp_path / "f.mid", [note("note_on", 60, 0), note("note_off", 60, 1 << 27)], ticks=1
        ): ("{} lasts for 268,435,456 frames: at most 1,000,000 are read"),
        tmp_path / "none.mid": "there is no file {}",
    }
    for path, message in cases.items():
        with pytest.raises(DataError) as error:
            read_midi(path)
        assert str(error.value) == message.format(path)


def test_bytes_changed_at_random_give_a_roll_or_a_data_error(tmp_path: Path):
    write_midi(random_roll(20), tmp_path / "good.mid")
    good = (tmp_path / "good.mid").read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(good)
        for _ in range(int(draw.integers(1, 8))):
            content[int(draw.integers(len(content)))] = int(draw.integers(256))
        path = damaged(tmp_path / "a.mid", bytes(content[: int(draw.integers(30, len(good)))]))
        with suppress(DataError):
            assert read_midi(path).shape[1] == KEYS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tempo": 0}, "tempo is from 4 to 1000, not 0"),
        ({"frames_per_quarter": 0}, "frames_per_quarter is from 0.01 to 100, not 0"),
        ({"program": 128}, "program is from 0 to 127, not 128"),
        ({"velocity": 0}, "velocity is from 1 to 127, not 0"),
        ({"tempo": float("nan")}, "tempo is from 4 to 1000, not nan"),
    ],
)
def test_how_it_is_played_is_checked(options: dict[str, Any], message: str):
    with pytest.raises(DataError) as error:
        MidiConfig(**options)
    assert str(error.value) == message


def test_a_roll_of_other_keys_is_refused(tmp_path: Path):
    with pytest.raises(DataError) as error:
        write_midi(np.zeros((3, 12), np.uint8), tmp_path / "a.mid")
    assert str(error.value) == (
        "a MIDI file is written from a roll of 88 keys, [T, 88], not [3, 12]"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_mido_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(DataError) as error:
        read_midi(tmp_path / "a.mid")
    assert str(error.value) == (
        "MIDI files need mido, which is not installed: pip install 'unrolled[music]'"
    )
