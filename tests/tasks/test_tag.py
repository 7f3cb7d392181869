"""Tag: from columns to parts, losses, reports and predictions; and every bad input."""

import json
import random
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classified_data import tagger, write_conll
from unrolled.errors import DataError
from unrolled.models.tagger import Tagger
from unrolled.models.tagger_inputs import TaggerConfig
from unrolled.tasks.kind import Cache, Prepared
from unrolled.tasks.spans import counts
from unrolled.tasks.tag import KIND, TagPrediction
from unrolled.tasks.tag_data import TagData, tag_names, usual_tags
from unrolled.train.config import TrainConfig

SMALL = TaggerConfig(
    "gru", 12, embedding_size=8, character_size=4, character_hidden_size=4, dropout=0.0,
    embedding_dropout=0.0,
)  # fmt: skip
CHUNKS = TagData(tags="c2", columns=("c1",))
TRAIN = TrainConfig(batch_size=8)


def sentences(n: int = 40) -> list[list[tuple[str, ...]]]:
    """Noun phrases of one or two words, verbs, and full stops."""
    draw = random.Random(0)
    found: list[list[tuple[str, ...]]] = []
    for _ in range(n):
        words: list[tuple[str, ...]] = []
        for _ in range(draw.randint(1, 3)):
            if draw.random() < 0.5:
                words.append((draw.choice(["the", "a"]), "DT", "B-NP"))
                words.append((draw.choice(["cat", "Dog"]), "NN", "I-NP"))
            else:
                words.append((draw.choice(["cats", "it"]), "NN", "B-NP"))
            words.append((draw.choice(["saw", "ran"]), "VB", "B-VP"))
        found.append([*words, (".", ".", "O")])
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_conll(tmp_path / "d.txt", sentences())


def prepared(path: Path, tmp_path: Path, data: TagData = CHUNKS) -> Prepared:
    return KIND.prepare([str(path)], data, SMALL, TRAIN, Cache(tmp_path / "cache"))


def learn(run: Prepared, epochs: int = 12) -> Any:
    """The loop that a user would write, on the task's own batches and loss."""
    model = run.model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(epochs):
        for batch in run.task.training.batches(epoch):
            loss, state = run.task.loss(model, batch, None)
            assert state is None
            optimizer.zero_grad()
            (loss / run.task.count(batch)).backward()
            optimizer.step()
    return model.eval()


def test_chunks_are_learned_and_reported(path: Path, tmp_path: Path):
    run = prepared(path, tmp_path)
    assert run.facts == (
        "sentences: 32 to learn from, 4 for validation, 4 for test",
        "10 different words, 5 values of c1; 5 tags, which mark chunks",
    )
    assert run.task.metric.name == "f1"
    assert run.task.validate is not None
    assert run.report is not None
    model = learn(run)
    assert run.task.validate(model) == {"accuracy": 1.0, "f1": 1.0}
    report = run.report(model)
    f1, accuracy = report.figures
    assert (f1.name, f1.value, f1.low, f1.high) == ("F1 of chunks", 1, 1, 1)
    assert (accuracy.name, accuracy.value) == ("accuracy of tags", 1)
    assert f1.baseline == 1.0  # each word has one tag here
    assert list(report.tables) == ["by type of chunk", "by tag"]
    assert report.tables["by type of chunk"].splitlines()[0] == (
        "type  precision  recall     F1  chunks"
    )
    assert json.loads(json.dumps(report.to_dict()))["on"].endswith("in 4 sentences")


def test_parts_of_speech_from_words_alone(path: Path, tmp_path: Path):
    run = prepared(path, tmp_path, TagData())
    assert run.task.metric.name == "accuracy"
    model = learn(run)
    model.save_pretrained(tmp_path / "m")
    loaded = Tagger.from_pretrained(tmp_path / "m")
    found = list(KIND.predict(loaded, ["the Dog ran .", "", "  it saw"], TagPrediction()))
    assert found == [
        {"words": ["the", "Dog", "ran", "."], "tags": ["DT", "NN", "VB", "."]},
        {"error": "the sentence is empty"},
        {"words": ["it", "saw"], "tags": ["NN", "VB"]},
    ]
    (figure,) = KIND.evaluate(loaded, [str(path)], TagData()).figures
    assert figure.value == 1
    assert figure.baseline == 1
    assert figure.baseline_name == "each word's most frequent tag"


def test_lines_with_further_columns(path: Path, tmp_path: Path):
    model = learn(prepared(path, tmp_path))
    lines = ['{"words": ["it", "ran"], "c1": ["NN", "VB"]}', "it ran", '{"words": ["it"]}', "[1]"]
    found = list(KIND.predict(model, lines, TagPrediction()))
    assert found[0] == {"words": ["it", "ran"], "tags": ["B-NP", "B-VP"]}
    assert found[1]["error"].startswith("the line is no JSON: ")
    assert found[2]["error"] == "there is no 'c1': there are 'words'"
    assert found[3]["error"] == "the line is no JSON object with the lists words, c1"


def test_json_lines_and_files_of_their_own(path: Path, tmp_path: Path):
    rows = [
        {name: [word[i] for word in sentence] for i, name in enumerate("wpt")}
        for sentence in sentences(12)
    ]
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = TagData(words="w", tags="t", columns=("p",), names=("w", "p", "t"))
    data = replace(named, test=str(own), validation_fraction=0)
    run = prepared(path, tmp_path, data)
    assert run.facts[0] == "sentences: 40 to learn from, 12 for test"
    assert run.task.validate is None


def test_a_sentence_that_is_bad_only_when_encoded_moves_no_part(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encode, seen = Tagger.encode, list[int]()

    def refusing(self: Tagger, *given: Any) -> Any:
        seen.append(1)
        if len(seen) == 5:
            raise DataError("no")
        return encode(self, *given)

    monkeypatch.setattr(Tagger, "encode", refusing)
    problem = "40 rows were read and then 39 encoded, so that the parts would be others than were "
    with pytest.raises(RuntimeError, match=problem):
        prepared(path, tmp_path, replace(CHUNKS, skip_bad=1))


def test_the_loss_is_a_sum_over_words(path: Path, tmp_path: Path):
    run = prepared(path, tmp_path)
    batch = next(iter(run.task.training.batches(0)))
    model = run.model.eval()
    whole = run.task.loss(model, batch, None)[0].detach()
    lengths = batch.sequences["words"].lengths
    assert lengths is not None
    assert run.task.count(batch) == int(lengths.sum())
    expected = 0.0
    for i in range(batch.size):
        one = batch.select(slice(i, i + 1))
        given = model.arguments({k: s.data for k, s in one.sequences.items()})
        logs = model(**given)[:, 0].detach().double().log_softmax(1)
        right = one.sequences["tags"].data[:, 0]
        expected -= float(logs[torch.arange(len(right)), right].sum())
    # float32 sums of fewer than 100 terms.
    assert whole.item() == pytest.approx(expected, rel=100 * 6e-8)
    parts = [run.task.loss(model, batch.select(slice(i, i + 3)), None)[0] for i in (0, 3, 6)]
    torch.testing.assert_close(torch.stack(parts).sum().detach(), whole, rtol=100 * 6e-8, atol=0)


def test_the_figures_are_counted_by_hand(path: Path, tmp_path: Path):
    run = prepared(path, tmp_path)
    model = run.model  # not trained, so that some is wrong
    report = KIND.evaluate(model, [str(path)], CHUNKS)
    gold = [[tag for *_, tag in s] for s in sentences()]
    said = model.predict(
        [[w for w, *_ in s] for s in sentences()],
        {"c1": [[p for _, p, _ in s] for s in sentences()]},
    )
    right, found, there = np.sum([counts(g, s) for g, s in zip(gold, said, strict=True)], axis=0)
    f1, accuracy = report.figures
    assert f1.value == pytest.approx(2 * right / (found + there))
    pairs = [(a, b) for g, s in zip(gold, said, strict=True) for a, b in zip(g, s, strict=True)]
    assert accuracy.value == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    confusion = np.array(report.details["confusion"]["counts"])
    assert np.trace(confusion) / confusion.sum() == pytest.approx(accuracy.value)


def test_usual_tags():
    words, tags = np.array([0, 0, 0, 1, 1, 3]), np.array([2, 2, 1, 1, 0, 2])
    # Of words that do not occur, the most frequent of all; the smaller of two that are equal.
    assert usual_tags([(words, tags)], 5, 3) == [2, 0, 2, 2, 2]
    halves = [(words[:2], tags[:2]), (words[2:], tags[2:])]
    assert usual_tags(halves, 5, 3) == [2, 0, 2, 2, 2]


def test_usual_tags_of_more_words_than_memory_may_hold():
    draw = np.random.default_rng(0)
    block = draw.integers(0, 50, 10_000, np.uint32), draw.integers(0, 9, 10_000)

    def sentences() -> Iterator[tuple[Any, Any]]:
        for _ in range(100):
            yield block[0].copy(), block[1].copy()

    tracemalloc.start()
    found = usual_tags(sentences(), 50, 9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A million words, 4 MB of ids: of these a sentence, and the numbers of a list of it.
    assert peak < 2 << 20
    assert found == usual_tags([block], 50, 9)


def test_no_part_is_in_memory(tmp_path: Path):
    script = """
        import sys, tracemalloc
        from pathlib import Path
        from unrolled.models.tagger_inputs import TaggerConfig
        from unrolled.tasks.kind import Cache
        from unrolled.tasks.tag import KIND
        from unrolled.tasks.tag_data import TagData
        from unrolled.train.config import TrainConfig
        path, cache = sys.argv[1:]
        data = TagData(validation=path, test=path)
        tracemalloc.start()
        run = KIND.prepare([path], data, TaggerConfig(), TrainConfig(), Cache(Path(cache)))
        held = tracemalloc.get_traced_memory()[0]
        print(sum(file.stat().st_size for file in run.files), len(run.files), held)
    """
    draw = random.Random(0)
    words = [[(f"word{draw.randrange(99)}", f"T{draw.randrange(5)}") for _ in range(200)]] * 200
    path = write_conll(tmp_path / "d.txt", [list(s) for s in words])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
    )
    size, files, held = map(int, done.stdout.split())
    # Words, spellings and tags, 104 bytes a word, three times; two files a column.
    assert files == 3 * 3 * 2
    assert size > 3 * 200 * 200 * 104
    # A character vocabulary's table of all code points is 4.5 MB; none of the 4 MB of a part.
    assert held < 4.5 * 2**20 + size / 6


def test_both_tags_of_a_type_are_known():
    assert tag_names({"B-A", "O"}).names == ("B-A", "I-A", "O")
    assert tag_names({"NN", "O"}).names == ("NN", "O")


class TestRefuses:
    def refused(self, path: Path, tmp_path: Path, data: TagData = CHUNKS) -> str:
        with pytest.raises(DataError) as caught:
            prepared(path, tmp_path, data)
        return str(caught.value)

    def test_one_tag(self, tmp_path: Path):
        path = write_conll(tmp_path / "d.txt", [[("a", "X")], [("b", "X")]] * 5)
        assert self.refused(path, tmp_path, TagData()) == (
            "all examples have the label 'X': there is nothing to tell apart, give examples of at "
            "least two classes"
        )

    def test_a_column_that_is_missing(self, path: Path, tmp_path: Path):
        assert self.refused(path, tmp_path, TagData(tags="c7")) == (
            f"{path} has no column 'c7': its columns are 'c0', 'c1', 'c2'"
        )

    def test_a_column_named_twice(self, path: Path, tmp_path: Path):
        assert self.refused(path, tmp_path, TagData(columns=("c1",))) == (
            "the column 'c1' is named twice among words, tags and columns"
        )

    def test_a_tag_that_training_lacks(self, path: Path, tmp_path: Path):
        own = write_conll(tmp_path / "own.txt", [[("cat", "NN", "B-XP")]])
        assert self.refused(path, tmp_path, replace(CHUNKS, test=str(own))) == (
            f"{own}, line 1: the label 'B-XP' is none of the 5 learned: did you mean 'B-VP', "
            "'B-NP'? Mend it, or skip bad rows with --skip-bad N"
        )

    def test_columns_of_unequal_lengths(self, tmp_path: Path):
        path = tmp_path / "d.jsonl"
        path.write_text('{"c0": ["a", "b"], "c1": ["X"]}\n')
        assert self.refused(path, tmp_path, TagData()) == (
            f"{path}, line 1: the column 'c1' has 1 values for 2 words. Mend it, or skip bad rows "
            "with --skip-bad N"
        )

    def test_columns_of_another_model(self, path: Path):
        with pytest.raises(DataError) as caught:
            KIND.evaluate(tagger(), [str(path)], CHUNKS)
        assert str(caught.value) == ("the model reads the columns pos, not c1: leave --columns out")
        with pytest.raises(DataError) as caught:
            KIND.evaluate(tagger(pos=False), [str(path)], CHUNKS)
        assert (
            str(caught.value) == "the model reads no further columns, not c1: leave --columns out"
        )

    def test_a_file_without_the_columns_of_the_model(self, path: Path):
        with pytest.raises(DataError) as caught:
            KIND.evaluate(tagger(), [str(path)], TagData())
        assert str(caught.value) == (
            f"{path} has no column 'pos': its columns are 'c0', 'c1', 'c2'"
        )
