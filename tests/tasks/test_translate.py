"""Translation as a task: how pairs are read, held out, learned, judged and predicted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rapidfuzz.distance import Levenshtein

from unrolled.data.examples import Examples
from unrolled.data.ragged import Ragged
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, UserError
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.seq2seq_config import Seq2SeqConfig
from unrolled.tasks.diagonal import learn_diagonal, write_diagonal
from unrolled.tasks.kind import Cache, Prepared
from unrolled.tasks.translate import KIND, Searching, count, loss
from unrolled.tasks.translate_data import Parts, TranslateData, read_parts
from unrolled.tasks.translate_report import Reference, references, statistics, validation
from unrolled.train import TrainConfig

LETTERS = "abcde"
DATA = TranslateData(
    source_tokens="char", target_tokens="item", validation_fraction=0.2, test_fraction=0.2
)
CONFIG = Seq2SeqConfig("gru", 24, embedding_size=12, max_length=6)


def words(n: int = 60, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    made = ("".join(draw.choice(list(LETTERS), draw.integers(1, 5))) for _ in range(20 * n))
    return list(dict.fromkeys(made))[:n]


def spelled(word: str) -> str:
    return " ".join(reversed(word.upper()))


def table(path: Path, rows: list[tuple[str, str]], header: str = "source\ttarget") -> str:
    path.write_text("\n".join([header, *("\t".join(row) for row in rows), ""]), encoding="utf-8")
    return str(path)


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    return table(tmp_path / "pairs.tsv", [(w, spelled(w)) for w in words()])


def parts_of(named: str | list[str], data: TranslateData = DATA, max_target: int = 6) -> Parts:
    given = [named] if isinstance(named, str) else named
    return read_parts(given, data, max_target, 0, None)


def texts(examples: Examples, parts: Parts) -> list[tuple[str, str]]:
    source, target = examples.sequences["source"], examples.sequences["target"]
    return [
        (parts.source.decode(source[i].tolist()), parts.target.decode(target[i].tolist()))
        for i in examples.indices.tolist()
    ]


def prepared(named: str, cache: Path, **options: Any) -> Prepared:
    data = replace(TranslateData(source_tokens="char", target_tokens="item"), **options)
    settings = TrainConfig(batch_size=16, seed=3)
    return KIND.prepare([named], data, CONFIG, settings, Cache(cache))


def held_back(named: str) -> tuple[Examples, Parts]:
    data = TranslateData(source_tokens="char", target_tokens="item")
    parts = read_parts([named], data, 6, 3, None)
    assert parts.test is not None
    return parts.test, parts


def learn(run: Prepared, epochs: int) -> None:
    """The loop that any user may write."""
    optimizer = torch.optim.Adam(run.model.parameters(), lr=0.01)
    for epoch in range(epochs):
        for batch in run.task.training.batches(epoch):
            found, state = run.task.loss(run.model.train(), batch, None)
            assert state is None
            optimizer.zero_grad()
            (found / run.task.count(batch)).backward()
            torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
            optimizer.step()


class TestReading:
    def test_the_parts_are_all_rows_and_share_no_source(self, pairs: str):
        parts = parts_of(pairs)
        assert parts.test is not None
        assert parts.validation is not None
        found = [texts(p, parts) for p in (parts.training, parts.validation, parts.test)]
        assert [len(f) for f in found] == [36, 12, 12]
        assert sorted(row for part in found for row in part) == sorted(
            (w, spelled(w)) for w in words()
        )
        assert parts.facts == (
            "pairs: 36 to learn from, 12 for validation, 12 for test",
            "tokens: 7 in the source, 7 in the target",
        )
        again = parts_of(pairs)
        assert texts(again.training, again) == found[0]

    def test_all_targets_of_a_source_are_on_one_side(self, tmp_path: Path):
        rows = [(w, f"{spelled(w)}{more}") for w in words(30) for more in ("", " A", " B")]
        parts = parts_of(table(tmp_path / "p.tsv", rows))
        sides: list[set[str]] = []
        for each in (parts.training, parts.validation, parts.test):
            assert each is not None
            assert len(each) % 3 == 0
            sides.append({source for source, _ in texts(each, parts)})
        assert sum(map(len, sides)) == 30
        assert len(set.union(*sides)) == 30

    def test_vocabularies_know_the_training_part_alone(self, pairs: str, tmp_path: Path):
        test = table(tmp_path / "test.tsv", [("axb", "X A"), ("b", "B")])
        parts = parts_of(
            pairs,
            TranslateData(
                source_tokens="char", target_tokens="item", test=test, validation_fraction=0.1
            ),
        )
        assert parts.test is not None
        assert parts.source.unknown("axb") == ["x"]
        assert texts(parts.test, parts) == [("a<unk>b", "<unk> A"), ("b", "B")]

    def test_every_format_reads_the_same(self, tmp_path: Path):
        rows = [(w, spelled(w)) for w in words()]
        named: list[list[str]] = [[table(tmp_path / "p.tsv", rows)]]
        lines = ["source,target", *(f"{s},{t}" for s, t in rows)]
        (tmp_path / "p.csv").write_text("\n".join(lines))
        named.append([str(tmp_path / "p.csv")])
        lines = [json.dumps({"source": s, "target": t.split()}) for s, t in rows]
        (tmp_path / "p.jsonl").write_text("\n".join(lines))
        named.append([str(tmp_path / "p.jsonl")])
        for i, name in enumerate(("words.in", "words.out")):
            (tmp_path / name).write_text("".join(row[i] + "\n" for row in rows))
        named.append([str(tmp_path / "words.in"), str(tmp_path / "words.out")])
        first, *others = (parts_of(each) for each in named)
        for other in others:
            assert other.facts == first.facts
            assert texts(other.training, other) == texts(first.training, first)

    @pytest.mark.parametrize("kind", ["char", "byte", "word", "item"])
    def test_every_kind_of_token_comes_back(self, tmp_path: Path, kind: Any):
        rows = [(f"wörd {i} it's", f"Ä {i}, b") for i in range(20)]
        data = TranslateData(source_tokens=kind, target_tokens=kind)
        parts = parts_of(table(tmp_path / "p.tsv", rows), data, 100)
        known = [row for row in texts(parts.training, parts) if row in rows]
        assert len(known) == len(parts.training)

    def test_encoded_data_may_lie_in_files(self, pairs: str, tmp_path: Path):
        read = read_parts([pairs], DATA, 6, 0, tmp_path / "cache")
        expected = parts_of(pairs)
        assert isinstance(read.training.sequences["source"].values, np.memmap)
        assert texts(read.training, read) == texts(expected.training, expected)


class TestBadInput:
    def refused(self, path: str | list[str], data: TranslateData = DATA) -> str:
        with pytest.raises(DataError) as caught:
            parts_of(path, data)
        return str(caught.value)

    def test_a_target_longer_than_the_limit(self, tmp_path: Path):
        path = table(tmp_path / "p.tsv", [("ab", "B A"), ("a", "A A A A A A A")])
        problem = (
            f"{path}, line 3: the target has 7 tokens, and max_length is 6: raise it, or shorten "
            "the text"
        )
        assert self.refused(path) == f"{problem}. Mend it, or skip bad rows with --skip-bad N"

    def test_a_source_longer_than_the_limit(self, tmp_path: Path):
        path = table(tmp_path / "p.tsv", [("ab", "B A"), ("abc", "A")])
        data = TranslateData(source_tokens="char", target_tokens="item", max_source=2)
        assert self.refused(path, data) == (
            f"{path}, line 3: the source has 3 tokens, and max_source is 2: raise it, or shorten "
            "the text. Mend it, or skip bad rows with --skip-bad N"
        )

    @pytest.mark.parametrize(("row", "side"), [(("", "A"), "source"), (("a", ""), "target")])
    def test_an_empty_side(self, tmp_path: Path, row: tuple[str, str], side: str):
        path = table(tmp_path / "p.tsv", [("ab", "B A"), row])
        assert self.refused(path) == (
            f"{path}, line 3: the column {side!r} is empty. Mend it, or skip bad rows with "
            "--skip-bad N"
        )

    def test_an_empty_list(self, tmp_path: Path):
        path = tmp_path / "p.jsonl"
        rows: list[dict[str, object]] = [{"source": ["a"], "target": ["b"]}] * 3
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        data = TranslateData(source_tokens="char", target_tokens="item")
        assert self.refused(str(path), data) == (
            f"{path}, line 1: the column 'source' is ['a'] where text is expected. Mend it, or "
            "skip bad rows with --skip-bad N"
        )

    def test_bad_rows_are_skipped_up_to_a_limit_and_said(self, tmp_path: Path):
        rows = [(w, spelled(w)) for w in words()]
        rows[4:4] = [("a", "A A A A A A A")]
        path = table(tmp_path / "p.tsv", rows)
        data = TranslateData(source_tokens="char", target_tokens="item", skip_bad=1)
        assert parts_of(path, data).facts[2:] == (
            "skipped 1 bad row:",
            f"  {path}, line 6: the target has 7 tokens, and max_length is 6: raise it, or shorten "
            "the text",
        )

    def test_a_column_that_is_missing_or_there_twice(self, tmp_path: Path):
        path = table(tmp_path / "p.tsv", [("a", "A")], "source\ttargets")
        assert self.refused(path) == (
            f"{path} has no column 'target' (did you mean 'targets'?): its columns are 'source', "
            "'targets'"
        )
        path = table(tmp_path / "p.tsv", [("a", "A")], "source\tsource")
        assert self.refused(path) == (
            f"{path} has the column 'source' twice: give each column a name of its own"
        )

    def test_a_test_file_with_other_columns(self, pairs: str, tmp_path: Path):
        test = table(tmp_path / "test.tsv", [("a", "A")], "word\ttarget")
        data = TranslateData(source_tokens="char", target_tokens="item", test=test)
        assert self.refused(pairs, data) == (
            f"{test} has no column 'source': its columns are 'word', 'target'"
        )

    def test_pairs_of_unequal_length(self, tmp_path: Path):
        (tmp_path / "a.in").write_text("a\nb\n")
        (tmp_path / "a.out").write_text("A\n")
        named = [str(tmp_path / "a.in"), str(tmp_path / "a.out")]
        assert self.refused(named) == (
            f"{named[0]} has 2 lines and {named[1]} has 1: the files of a pair have as many lines, "
            "each the translation of the other"
        )

    def test_one_source_alone(self, tmp_path: Path):
        path = table(tmp_path / "p.tsv", [("a", "A"), ("a", "B")])
        assert self.refused(path) == (
            "all examples belong to one group: there is none to hold out, give more groups"
        )

    @pytest.mark.parametrize(
        ("fractions", "problem"),
        [
            (
                (0.5, 0.6),
                "test_fraction 0.5 and validation_fraction 0.6 leave nothing to learn from: "
                "together they are below 1",
            ),
            ((-0.1, 0.1), "test_fraction is at least 0 and below 1, not -0.1"),
            ((0.1, 1.0), "validation_fraction is at least 0 and below 1, not 1.0"),
        ],
    )
    def test_fractions(self, pairs: str, fractions: tuple[float, float], problem: str):
        test, validation = fractions
        data = replace(DATA, test_fraction=test, validation_fraction=validation)
        assert self.refused(pairs, data) == problem

    def test_a_part_with_data_of_its_own_takes_no_share(self, pairs: str):
        data = replace(DATA, test_fraction=0.5, validation_fraction=0.6, test=pairs)
        assert len(parts_of(pairs, data).training) == 24

    def test_large_groups_may_take_more_than_their_share(self, tmp_path: Path):
        # Each group is more than the share for the test; what then remains is less than half.
        rows = [("a", "A")] * 6 + [("b", "B")] * 5 + [("c", "C")] * 4
        data = replace(DATA, test_fraction=0.2, validation_fraction=0.75)
        parts = parts_of(table(tmp_path / "p.tsv", rows), data)
        assert len(parts.training) > 0

    def test_a_row_that_is_bad_only_when_encoded_moves_no_part(
        self, pairs: str, monkeypatch: pytest.MonkeyPatch
    ):
        encode = Vocabulary.encode

        def refusing(self: Vocabulary, text: str) -> Any:
            if text == words()[3]:
                raise DataError("no")
            return encode(self, text)

        monkeypatch.setattr(Vocabulary, "encode", refusing)
        problem = (
            "60 rows were read and then 59 encoded, so that the parts would be others than were "
            "drawn; did a file change meanwhile\\?"
        )
        with pytest.raises(RuntimeError, match=problem):
            parts_of(pairs, replace(DATA, skip_bad=1))


class TestBaseline:
    def test_each_token_writes_what_stood_beside_it_most_often(self):
        examples = Examples.of(
            {
                "source": Ragged.of([np.array(s) for s in ([0, 1], [0, 1], [0, 2, 1], [1])]),
                "target": Ragged.of([np.array(s) for s in ([5, 6], [5, 6, 7], [5], [8, 9])]),
            }
        )
        # 0 | 1 beside 5 | 6, 5 | 6 7; 0 | 2 | 1 beside nothing, nothing, 5; 1 beside 8 9.
        table = learn_diagonal(examples)
        assert table == {0: (5,), 1: (5,), 2: ()}
        assert write_diagonal(table, [0, 2, 1, 77]) == (5, 5)

    def test_it_learns_from_its_part_alone(self):
        columns = {
            "source": Ragged.of([np.array([0]), np.array([0]), np.array([0])]),
            "target": Ragged.of([np.array([1]), np.array([2]), np.array([2])]),
        }
        examples = Examples.of(columns)
        assert learn_diagonal(examples) == {0: (2,)}
        assert learn_diagonal(examples.part(np.array([0]))) == {0: (1,)}


class TestRun:
    def test_it_learns_is_judged_and_predicts(self, tmp_path: Path):
        pairs = table(tmp_path / "pairs.tsv", [(w, spelled(w)) for w in words(300)])
        run = prepared(pairs, tmp_path / "cache", beam=3)
        model: Seq2Seq = run.model
        assert run.task.validate is not None
        assert run.task.metric.name == "token_error_rate"
        before = run.task.validate(model)
        learn(run, 20)
        after = run.task.validate(model)
        assert set(before) == set(after) == {"loss", "token_error_rate", "sequence_error_rate"}
        assert after["loss"] < before["loss"] / 2
        assert after["token_error_rate"] < before["token_error_rate"] / 2

        assert run.report is not None
        report = run.report(model)
        assert report.on == "30 sources (30 examples) of the test part"
        tokens, sequences = report.figures
        assert (tokens.name, sequences.name) == ("token error rate", "sequence error rate")
        for figure in report.figures:
            assert figure.low <= figure.value <= figure.high
            assert figure.baseline is not None
            assert figure.value < figure.baseline
            assert (figure.better, figure.unit) == ("lower", "%")
        source = [w for w, _ in texts(*held_back(pairs))]
        found = model.translate(source, 3)
        edits = [
            Levenshtein.distance(f.split(), spelled(w).split())
            for f, w in zip(found, source, strict=True)
        ]
        assert tokens.value == pytest.approx(sum(edits) / sum(map(len, source)))
        assert sequences.value == pytest.approx(sum(e > 0 for e in edits) / len(edits))
        shown = report.details["examples"]
        assert [e["source"] for e in shown] == source[:12]
        assert [e["translation"] for e in shown] == found[:12]
        assert len(report.tables["examples"].splitlines()) == 12
        json.dumps(report.to_dict())

        model.save_pretrained(tmp_path / "model")
        loaded = Seq2Seq.from_pretrained(tmp_path / "model")
        again = KIND.evaluate(loaded, [pairs], DATA)
        assert again.on == f"300 sources (300 examples) in {pairs}"
        assert again.figures[0].value < 0.5

    def test_the_same_arguments_give_the_same_run(self, pairs: str, tmp_path: Path):
        first, second = (prepared(pairs, tmp_path / name) for name in "ab")
        assert first.fingerprint == second.fingerprint
        assert first.facts == second.facts
        for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
            assert torch.equal(one, other)
        other = prepared(pairs, tmp_path / "c", test_fraction=0.3)
        assert other.fingerprint != first.fingerprint
        assert {path.parent.name for path in first.files} == {"a"}
        assert all(path.is_file() for path in first.files)

    def test_nothing_held_out(self, pairs: str, tmp_path: Path):
        run = prepared(pairs, tmp_path, validation_fraction=0.0, test_fraction=0.0)
        assert run.task.validate is None
        assert run.report is None
        assert run.facts[0] == "pairs: 60 to learn from"

    def test_the_loss_is_the_models_and_targets_are_counted_with_their_ends(
        self, pairs: str, tmp_path: Path
    ):
        run = prepared(pairs, tmp_path)
        batch = next(iter(run.task.training.batches(0)))
        lengths = batch.sequences["target"].lengths
        assert lengths is not None
        assert count(batch) == int(lengths.sum()) + 16
        whole, _ = loss(run.model.eval(), batch, None)
        halves = [loss(run.model, batch.select(slice(a, a + 8)), None)[0] for a in (0, 8)]
        torch.testing.assert_close(sum(halves), whole)


class TestJudging:
    def test_the_nearest_of_several_targets_counts(self):
        examples = Examples.of(
            {
                "source": Ragged.of([np.array(s) for s in ([0, 1], [1], [0, 1])]),
                "target": Ragged.of([np.array(s) for s in ([5, 6], [7, 7], [5])]),
            },
            {"source_key": np.array([9, 4, 9], np.uint64)},
        )
        known = references(examples)
        assert known == [Reference((0, 1), [(5, 6), (5,)]), Reference((1,), [(7, 7)])]
        assert statistics([(5,), (7,)], known).tolist() == [[0, 1, 0, 1], [1, 2, 1, 1]]

    def test_sources_that_look_alike_to_the_model_are_not_one(self, pairs: str, tmp_path: Path):
        # Neither word is known: for both the model reads "<unk>".
        test = table(tmp_path / "test.tsv", [("x", "A"), ("y", "B"), ("x", "C")])
        run = prepared(pairs, tmp_path / "cache", test=test)
        assert run.report is not None
        report = run.report(run.model)
        assert report.on == "2 sources (3 examples) of the test part"
        shown = report.details["examples"]
        assert [e["source"] for e in shown] == ["<unk>", "<unk>"]
        assert [e["targets"] for e in shown] == [["A", "C"], ["B"]]

    @torch.no_grad()
    def test_the_loss_is_the_mean_of_each_target_alone(self, pairs: str):
        parts = parts_of(pairs)
        assert parts.test is not None
        torch.manual_seed(0)
        model = Seq2Seq(CONFIG, parts.source, parts.target)
        total, n = 0.0, 0
        for source, target in texts(parts.test, parts):
            x = torch.from_numpy(parts.source.encode(source).astype("int64")).unsqueeze(1)
            wanted = torch.tensor([*parts.target.encode(target).tolist(), model.eos])
            inputs = torch.cat([wanted[-1:], wanted[:-1]]).unsqueeze(1)
            logs = model.eval()(x, inputs)[:, 0].log_softmax(-1)
            total -= float(logs[torch.arange(len(wanted)), wanted].sum())
            n += len(wanted)
        assert validation(model, parts.test)["loss"] == pytest.approx(total / n, rel=1e-5)


class TestPrediction:
    def model(self, **options: Any) -> Seq2Seq:
        torch.manual_seed(0)
        source = Vocabulary.build([LETTERS], "char", **options)
        target = Vocabulary.build([LETTERS.upper()], "char")
        return Seq2Seq(CONFIG, source, target).eval()

    def test_each_line_has_its_object_in_order(self):
        model = self.model()
        lines = ["abc", "e", "", "dd"]
        found = list(KIND.predict(model, iter(lines), Searching(3, 2)))
        assert [f["source"] for f in found] == lines
        assert found[2] == {
            "source": "",
            "error": "the source '' is empty: it needs at least one token",
        }
        for line, each in zip(lines, found, strict=True):
            if line:
                expected = model.candidates([line], 3, 2)[0]
                assert [t["text"] for t in each["translations"]] == [t.text for t in expected]
                assert set(each["translations"][0]) == {"text", "score", "log_probability"}
        json.dumps(found)

    def test_an_unknown_token_is_an_error_where_nothing_stands_for_it(self):
        found = list(KIND.predict(self.model(unk=False), ["axa"], Searching()))
        assert found == [
            {
                "source": "axa",
                "error": "the vocabulary doesn't know 'x' and has no <unk> to stand for it: leave "
                "it out, or train with the <unk> token",
            }
        ]

    def test_attention_is_there_where_it_is_asked_for(self):
        (found,) = KIND.predict(self.model(), ["abc"], Searching(attention=True))
        (best,) = found["translations"]
        assert len(best["attention"]) == len(best["text"]) + 1
        assert all(sum(row) == pytest.approx(1) for row in best["attention"])

    def test_no_line_gives_nothing(self):
        assert list(KIND.predict(self.model(), [], Searching())) == []

    def test_a_beam_out_of_range(self):
        with pytest.raises(UserError) as caught:
            list(KIND.predict(self.model(), ["a"], Searching(1, 2)))
        assert str(caught.value) == (
            "a beam of 1 finds at most so many hypotheses, not 2: make it wider"
        )
