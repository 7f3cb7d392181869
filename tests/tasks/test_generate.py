"""The task: files to batches, what is held out, what is wrong with files, and what is drawn."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.data.midi import write_midi
from unrolled.errors import DataError
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig
from unrolled.tasks.generate import KIND, GenerateData, GeneratePrediction
from unrolled.tasks.kind import Cache, Prepared
from unrolled.train.config import TrainConfig

SMALL = GeneratorConfig(hidden_size=8, embedding_size=4, label_size=2)
WORDS = {"up": ["abc", "abcd", "bcd", "ab", "cde"] * 4, "down": ["cba", "dcba", "edc", "ba"] * 5}


def text_folder(root: Path) -> str:
    folder = root / "words"
    folder.mkdir()
    for label, words in WORDS.items():
        (folder / f"{label}.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return str(folder)


def roll(frames: int, seed: int, keys: int = 88) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, keys)) < 0.05).astype(np.uint8)


def roll_file(path: Path, *, keys: int = 88, **parts: Sequence[int]) -> str:
    """An .npz file of sequences of these lengths."""
    arrays: dict[str, Any] = {}
    for seed, (part, lengths) in enumerate(parts.items()):
        arrays[part] = roll(sum(lengths), seed, keys)
        arrays[f"{part}_lengths"] = np.array(lengths)
    np.savez(path, **arrays)
    return str(path)


def prepared(words: list[str], root: Path, seed: int = 0, **data: Any) -> Prepared:
    torch.manual_seed(0)
    train = TrainConfig(batch_size=4, seed=seed)
    return KIND.prepare(words, GenerateData(**data), SMALL, train, Cache(root / "cache"))


def refused(words: list[str], root: Path, **data: Any) -> str:
    with pytest.raises(DataError) as error:
        prepared(words, root, **data)
    return str(error.value)


def learn(run: Prepared, epochs: int, rate: float = 0.03) -> None:
    optimizer = torch.optim.Adam(run.model.parameters(), rate)
    run.model.train()
    for epoch in range(epochs):
        for batch in run.task.training.batches(epoch):
            loss, carried = run.task.loss(run.model, batch, None)
            assert carried is None
            optimizer.zero_grad()
            (loss / run.task.count(batch)).backward()
            torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
            optimizer.step()
    run.model.eval()


def test_texts_are_learned_in_a_plain_loop_and_beat_the_baseline(tmp_path: Path):
    run = prepared([text_folder(tmp_path)], tmp_path)
    counted = [fact.partition(" sequences")[0] for fact in run.facts]
    assert counted == [
        "training: 32", "validation: 4", "test: 4", "labels: down, up", "steps: 7 tokens (char)",
    ]  # fmt: skip
    assert run.task.validate is not None
    assert run.report is not None
    before = run.task.validate(run.model)["loss"]
    learn(run, 20)
    assert run.task.validate(run.model)["loss"] < before - 0.5
    figure = run.report(run.model).figures[0]
    assert figure.baseline is not None
    assert figure.value < figure.baseline
    assert figure.baseline_name == "unigram of each label"


def test_the_same_arguments_give_the_same_run_and_another_seed_another(tmp_path: Path):
    folder = text_folder(tmp_path)
    same = [prepared([folder], tmp_path) for _ in range(2)]
    other = prepared([folder], tmp_path, seed=1)
    assert same[0].fingerprint == same[1].fingerprint != other.fingerprint
    batches = [[b.sequences["sequence"].data for b in run.task.training.batches(3)] for run in same]
    assert all(map(torch.equal, *batches))


def test_parts_have_all_labels_in_proportion_and_no_sequence_twice(tmp_path: Path):
    run = prepared([text_folder(tmp_path)], tmp_path, test_fraction=0.2, validation_fraction=0.3)
    sizes = [fact.split()[1] for fact in run.facts[:3]]
    assert sizes == ["20", "12", "8"]
    batches = list(run.task.training.batches(0))
    labels = torch.cat([b.values["label"] for b in batches])
    assert labels.bincount().tolist() == [10, 10]


def test_the_loss_is_summed_over_the_steps_that_count_counts(tmp_path: Path):
    run = prepared([text_folder(tmp_path)], tmp_path)
    batch = next(run.task.training.batches(0))
    loss, _ = run.task.loss(run.model, batch, None)
    logs = []
    ids, labels = batch.sequences["sequence"], batch.values["label"]
    assert ids.lengths is not None
    for row in range(batch.size):
        text = run.model.vocabulary.decode(ids.data[: ids.lengths[row] - 1, row].tolist())
        logs.append(run.model.log_probability(text, run.model.labels[int(labels[row])]))
    torch.testing.assert_close(loss.double(), -torch.cat(logs).sum(), rtol=1e-5, atol=0)
    assert run.task.count(batch) == len(torch.cat(logs))
    parts = [run.task.loss(run.model, batch.select(s), None)[0] for s in (slice(1), slice(1, None))]
    torch.testing.assert_close(parts[0] + parts[1], loss, rtol=1e-5, atol=0)


def test_a_file_of_rolls_says_its_parts_and_its_name_its_label(tmp_path: Path):
    one = roll_file(tmp_path / "slow.npz", train=[9, 5, 7], valid=[4], test=[6, 3])
    two = roll_file(tmp_path / "fast.npz", train=[8, 2], valid=[5], test=[4])
    run = prepared([one, two], tmp_path)
    assert run.facts == (
        "training: 5 sequences, 31 steps",
        "validation: 2 sequences, 9 steps",
        "test: 3 sequences, 13 steps",
        "labels: fast, slow",
        "steps: frames of 88 keys",
    )
    learn(run, 2)
    assert run.report is not None
    found = run.report(run.model)
    assert found.on == "3 test sequences: 10 frames after the first of each"
    assert found.tables["by label"].splitlines()[2].split()[:2] == ["slow", "2"]
    # The command's words need no more than the files: their test part is taken.
    again = KIND.evaluate(run.model, [one, two], GenerateData())
    assert again.figures == found.figures


def test_long_sequences_are_learned_in_parts_and_judged_whole(tmp_path: Path):
    file = roll_file(tmp_path / "a.npz", train=[9, 4, 5], valid=[11], test=[7])
    run = prepared([file], tmp_path, window=4)
    assert run.facts[:3] == (
        "training: 3 sequences, 18 steps, learned in 6 parts",
        "validation: 1 sequences, 11 steps",
        "test: 1 sequences, 7 steps",
    )
    whole = roll(18, 0)
    begins = [0, 9, 13, 18]
    seen: list[tuple[bytes, bytes]] = []
    for batch in run.task.training.batches(0):
        sequence = batch.sequences["sequence"]
        assert sequence.lengths is not None
        assert sequence.data.shape[0] <= 4
        for b, n in enumerate(sequence.lengths.tolist()):
            part = sequence.data[:n, b].numpy().astype(np.uint8)
            before = batch.values["before"][b].numpy().astype(np.uint8)
            seen.append((before.tobytes(), part.tobytes()))
    cuts = [0, 3, 6, 9, 13, 15, 18]
    assert sorted(seen) == sorted(
        (whole[i - 1].tobytes() if i not in begins else bytes(88), whole[i:j].tobytes())
        for i, j in pairwise(cuts)
    )
    assert run.fingerprint != prepared([file], tmp_path).fingerprint
    # The frame before a part is its first input.
    batch = next(iter(run.task.training.batches(0)))
    total, _ = run.task.loss(run.model, batch, None)
    batch.values["before"].bitwise_xor_(1)
    other, _ = run.task.loss(run.model, batch, None)
    assert not torch.equal(total, other)
    learn(run, 2)
    assert run.report is not None
    assert run.report(run.model).on == "1 test sequences: 6 frames after the first of each"
    with pytest.raises(DataError) as error:
        prepared([file], tmp_path, window=0)
    assert str(error.value) == "window: a part of a sequence has at least 1 step, not 0"


def test_a_window_that_all_sequences_fit_into_changes_no_loss(tmp_path: Path):
    folder = text_folder(tmp_path)
    runs = [prepared([folder], tmp_path, window=window) for window in (None, 5)]
    losses = [
        [run.task.loss(run.model, b, None)[0].item() for b in run.task.training.batches(0)]
        for run in runs
    ]
    assert losses[0] == losses[1]
    assert runs[0].facts == runs[1].facts


def test_files_of_one_sequence_have_their_folders_label(tmp_path: Path):
    pytest.importorskip("mido")
    for label in ("left", "right"):
        (tmp_path / "music" / label).mkdir(parents=True)
        for i in range(5):
            np.save(tmp_path / "music" / label / f"{i}.npy", roll(6, i))
        write_midi(roll(6, 9), tmp_path / "music" / label / "last.mid")
    run = prepared([str(tmp_path / "music")], tmp_path, validation_fraction=0.2, test_fraction=0.2)
    assert run.facts[:4] == (
        "training: 8 sequences, 48 steps",
        "validation: 2 sequences, 12 steps",
        "test: 2 sequences, 12 steps",
        "labels: left, right",
    )


def test_files_of_their_own_are_held_out(tmp_path: Path):
    folder = text_folder(tmp_path)
    for name in ("v", "t"):
        (tmp_path / f"{name}.tsv").write_text("label\ttext\nup\tabcde\ndown\tba\n")
    run = prepared(
        [folder], tmp_path, validation=str(tmp_path / "v.tsv"), test=str(tmp_path / "t.tsv")
    )
    assert run.facts[:3] == (
        "training: 40 sequences, 160 steps",
        "validation: 2 sequences, 9 steps",
        "test: 2 sequences, 9 steps",
    )


def test_one_label_alone_will_do_and_nothing_need_be_held_out(tmp_path: Path):
    (tmp_path / "only.txt").write_text("abc\nabd\n")
    run = prepared([str(tmp_path / "only.txt")], tmp_path, validation_fraction=0, test_fraction=0)
    assert run.model.labels == ("only",)
    assert run.task.validate is None
    assert run.report is None
    assert run.facts[0] == "training: 2 sequences, 8 steps"


def test_words_and_bytes_are_tokens_too(tmp_path: Path):
    (tmp_path / "a.csv").write_text('text,label\n"one two",x\n"two é",y\n' * 3)
    none = {"validation_fraction": 0, "test_fraction": 0}
    words = prepared([str(tmp_path / "a.csv")], tmp_path, tokens="word", **none).model
    assert " two" in words.vocabulary.tokens
    of_bytes = prepared([str(tmp_path / "a.csv")], tmp_path, tokens="byte", **none).model
    assert len(of_bytes.vocabulary) == 257
    assert of_bytes.generate("y", "é", length=0) == "é"


def test_what_is_wrong_with_texts_is_said_with_its_place(tmp_path: Path):
    table = tmp_path / "a.tsv"
    table.write_text("label\ttext\n" + "a\tbb\n" * 9 + "b\tbbbbbbb\n")
    none = {"validation_fraction": 0, "test_fraction": 0}
    assert refused([str(table)], tmp_path, max_length=5, **none) == (
        f"{table}, line 11: the sequence has 7 steps, more than 5. Mend it, or skip bad rows with "
        "--skip-bad N"
    )
    run = prepared([str(table)], tmp_path, max_length=5, skip_bad=1, **none)
    assert run.facts[-2:] == (
        "skipped 1 bad row:",
        f"  {table}, line 11: the sequence has 7 steps, more than 5",
    )
    other = tmp_path / "t.tsv"
    other.write_text("label\ttext\nc\tbb\n")
    assert refused([str(table)], tmp_path, test=str(other)) == (
        f"{other}, line 2: the label 'c' is not among those of the training part: a, b. Mend it, "
        "or skip bad rows with --skip-bad N"
    )
    other.write_text("kind\ttext\na\tbb\n")
    assert refused([str(table)], tmp_path, test=str(other)) == (
        f"{other} has no column 'label': its columns are 'kind', 'text'"
    )
    assert refused([str(table)], tmp_path, test_fraction=0.5, validation_fraction=0.5) == (
        "the fractions for validation and test leave nothing to learn from"
    )
    npz = roll_file(tmp_path / "a.npz", test=[3])
    assert refused([str(table)], tmp_path, test=npz, **none) == (
        f"{npz}, line 1: the model's sequences are texts, and this is a roll. Mend it, or skip bad "
        "rows with --skip-bad N"
    )
    npz = roll_file(tmp_path / "a.npz", train=[3])
    assert refused([str(table)], tmp_path, test=npz, **none) == (
        f"{npz} has no sequence of the part 'test'"
    )


def test_what_is_wrong_with_rolls_is_said_with_its_place(tmp_path: Path):
    bad = roll(6, 0).astype(np.float32)
    bad[4, 2] = np.nan
    np.savez(tmp_path / "a.npz", train=bad, train_lengths=np.array([3, 3]))
    path = tmp_path / "a.npz"
    assert refused([str(path)], tmp_path) == (
        f"{path}, line 2: sequence 2 of train: a key is 0 or 1 in each frame, but key 2 of frame 1 "
        "is nan. Mend it, or skip bad rows with --skip-bad N"
    )
    assert prepared([str(path)], tmp_path, skip_bad=1).facts[0] == "training: 1 sequences, 3 steps"
    one = roll_file(tmp_path / "b.npz", train=[3])
    two = roll_file(tmp_path / "c.npz", train=[3], keys=12)
    assert refused([one, two], tmp_path) == (
        f"{two}, line 1: the frames have 12 keys, not 88. Mend it, or skip bad rows with "
        "--skip-bad N"
    )
    np.save(tmp_path / "d.npy", roll(3, 0))
    assert refused([one, str(tmp_path / "d.npy")], tmp_path) == (
        f"some files say which sequences are for training, and {tmp_path / 'd.npy'} does not: "
        "train on files of one sort"
    )
    assert refused([one, text_folder(tmp_path)], tmp_path) == (
        f"{one} is a file of rolls and {tmp_path / 'words' / 'down.txt'} is not: give files of one "
        "sort, or choose among a folder's files with --pattern"
    )
    none = roll_file(tmp_path / "e.npz", test=[3])
    assert refused([none], tmp_path) == (
        "there is no sequence for training: all are held out or bad"
    )


def test_a_saved_model_is_judged_as_before(tmp_path: Path):
    folder = text_folder(tmp_path)
    run = prepared([folder], tmp_path)
    run.model.save_pretrained(tmp_path / "m")
    again = Generator.from_pretrained(tmp_path / "m")
    found = [KIND.evaluate(m, [folder], GenerateData()) for m in (run.model, again)]
    assert found[0] == found[1]
    assert found[0].figures[0].baseline is not None


def test_predictions_are_a_sequence_for_each_line(tmp_path: Path):
    run = prepared([text_folder(tmp_path)], tmp_path)
    learn(run, 5)
    lines = ["up", "up", "down\tcb", "sideways", "up\t"]
    how = GeneratePrediction(length=5, seed=3)
    drawn = list(KIND.predict(run.model, iter(lines), how))
    assert drawn[0] == {"label": "up", "text": run.model.generate("up", length=5, seed=3)}
    assert drawn[1] == {"label": "up", "text": run.model.generate("up", length=5, seed=4)}
    assert drawn[2]["text"].startswith("cb")
    assert drawn[3:] == [
        {"error": "there is no label 'sideways': the model knows down, up"},
        {"error": "the start is empty: give at least one step, or leave it out"},
    ]


def test_predicted_rolls_are_the_keys_that_are_on(tmp_path: Path):
    run = prepared([roll_file(tmp_path / "a.npz", train=[4, 4])], tmp_path)
    (drawn,) = KIND.predict(run.model, ["a"], GeneratePrediction(length=3, seed=1))
    expected = run.model.generate("a", length=3, seed=1)
    assert drawn == {"label": "a", "keys": [np.flatnonzero(f).tolist() for f in expected]}


def test_the_kind_is_what_the_commands_need():
    assert KIND.name == "generate"
    assert set(KIND.defaults) <= {f.name for f in dataclasses.fields(TrainConfig)}
    for settings in (KIND.data, KIND.config, KIND.prediction):
        settings()  # each field has a default
        names = [f.name for f in dataclasses.fields(settings)]
        said = settings.__doc__ or ""
        assert "Attributes:" in said
        own = [n for n in names if f"    {n}: " in said]
        assert own == names or issubclass(settings, GeneratorConfig)
