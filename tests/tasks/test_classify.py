"""Classify: from files to parts, losses, reports and predictions; and every bad input."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, recall_score
from torch.nn import functional as F

from classified_data import write_classes
from unrolled.errors import DataError
from unrolled.models.classifier import Classifier
from unrolled.models.classifier_config import ClassifierConfig
from unrolled.tasks.classify import KIND, ClassifyPrediction, logit_adjustment
from unrolled.tasks.classify_data import ClassifyData, moments
from unrolled.tasks.classify_report import log_probabilities, targets
from unrolled.tasks.kind import Cache, Prepared
from unrolled.train.config import TrainConfig

SMALL = ClassifierConfig("gru", 12, embedding_size=8, dropout=0.0, pooling="last")
CHARACTERS = ClassifyData(tokens="char")
TRAIN = TrainConfig(batch_size=16)


def letters(tmp_path: Path) -> Path:
    """Words that begin with a or with b."""
    rest = ["".join(w) for w in itertools.product("abc", repeat=3)]
    return write_classes(
        tmp_path / "d", {"A": [f"a{w}" for w in rest], "B": [f"b{w}" for w in rest]}
    )


def prepared(path: Path, tmp_path: Path, data: Any = CHARACTERS, config: Any = SMALL) -> Prepared:
    return KIND.prepare([str(path)], data, config, TRAIN, Cache(tmp_path / "cache"))


def learn(run: Prepared, epochs: int = 15) -> Any:
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


def test_a_run_learns_and_is_reported(tmp_path: Path):
    run = prepared(letters(tmp_path), tmp_path)
    assert run.facts == (
        "examples: 44 to learn from, 5 for validation, 5 for test",
        "classes: 2, from 22 examples (A) to 22 (B)",
        "4 different chars",
    )
    assert run.task.validate is not None
    assert run.report is not None
    model = learn(run)
    assert run.task.validate(model)["accuracy"] == 1.0
    report = run.report(model)
    assert report.on == "5 examples"
    accuracy, recall = report.figures
    assert (accuracy.name, accuracy.value, accuracy.low, accuracy.high) == ("accuracy", 1, 1, 1)
    assert (recall.name, recall.value, recall.baseline) == ("macro recall", 1, 0.5)
    assert accuracy.baseline == 0.6
    assert json.loads(json.dumps(report.to_dict()))["details"]["confusion"]["labels"] == ["A", "B"]


def test_the_same_seed_gives_the_same_run(tmp_path: Path):
    path = letters(tmp_path)
    first, second = prepared(path, tmp_path), prepared(path, tmp_path)
    assert first.fingerprint == second.fingerprint
    weights = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    batches = zip(first.task.training.batches(1), second.task.training.batches(1), strict=True)
    assert all(torch.equal(a.sequences["x"].data, b.sequences["x"].data) for a, b in batches)


def test_the_vocabulary_is_that_of_the_training_part(tmp_path: Path):
    path = letters(tmp_path)
    own = tmp_path / "own.tsv"
    own.write_text("text\tlabel\nxyz\tA\n")
    data = replace(CHARACTERS, test=str(own))
    run = KIND.prepare([str(path)], data, SMALL, TRAIN, Cache(tmp_path / "cache"))
    assert set(run.model.inputs.tokens) == {"a", "b", "c", "<unk>"}
    assert run.report is not None
    assert run.report(run.model).on == "1 example"


def test_a_row_that_is_bad_only_when_encoded_moves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encode = Classifier.encode

    def refusing(self: Classifier, example: Any) -> Any:
        if example == "aabc":
            raise DataError("no")
        return encode(self, example)

    monkeypatch.setattr(Classifier, "encode", refusing)
    problem = "54 rows were read and then 53 encoded, so that the parts would be others than were "
    with pytest.raises(RuntimeError, match=problem):
        prepared(letters(tmp_path), tmp_path, replace(CHARACTERS, skip_bad=1))


def test_parts_of_their_own_are_mapped_from_the_cache(tmp_path: Path):
    own = tmp_path / "own.tsv"
    own.write_text("text\tlabel\nabc\tA\nbac\tB\n")
    run = prepared(letters(tmp_path), tmp_path, replace(CHARACTERS, test=str(own)))
    cache = tmp_path / "cache"
    names = {str(path.relative_to(cache)) for path in run.files}
    columns = ("label.values", "x.offsets", "x.values")
    assert names == {*columns, *(f"test/{column}" for column in columns)}
    assert np.fromfile(cache / "test" / "label.values", np.int64).tolist() == [0, 1]


def test_a_report_says_that_its_data_chose_the_step(tmp_path: Path):
    run = prepared(letters(tmp_path), tmp_path, replace(CHARACTERS, test_fraction=0))
    assert run.report is not None
    on = run.report(run.model).on
    assert on == "5 examples, which also chose the step that is kept"


def test_words_are_the_same_wherever_they_stand(tmp_path: Path):
    lines = [f"good film number {i}" for i in range(10)]
    path = write_classes(tmp_path / "d", {"neg": ["film good"] * 10, "pos": lines})
    run = prepared(path, tmp_path, ClassifyData(validation_fraction=0, test_fraction=0))
    assert run.report is None
    assert run.task.validate is None
    assert run.task.metric.name == "loss"
    first, second = (run.model.encode(text) for text in ("good film", "film  good"))
    assert first.tolist() == second.tolist()[::-1]


def test_real_values_from_json_lines(tmp_path: Path):
    draw = np.random.default_rng(0)
    lines = []
    for i in range(40):
        x = draw.normal(5, 3, draw.integers(2, 6)).tolist()
        up = i % 2 == 0
        lines.append({"x": x, "y": sorted(x, reverse=not up), "label": "up" if up else "down"})
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = ClassifyData(numbers=("x", "y"))
    run = prepared(path, tmp_path, data)
    learned: Any = run.task.training
    values = np.concatenate(
        [learned.examples.sequences["x"][i] for i in learned.examples.indices.tolist()]
    ).astype(np.float64)
    mean, deviation = moments(learned.examples)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(deviation, values.std(0), rtol=1e-10)
    torch.testing.assert_close(run.model.networks[0].features.mean, mean.float())
    model = learn(run)
    assert KIND.evaluate(model, [str(path)], ClassifyData()).figures[0].value > 0.9
    found = list(KIND.predict(model, [json.dumps(lines[0]), '{"x": [1, 2], "y": [1]}', "x"],
                              ClassifyPrediction(2)))  # fmt: skip
    assert found[0]["label"] == "up"
    assert set(found[0]["classes"]) == {"up", "down"}
    assert found[1] == {
        "error": "the columns of values have as many numbers each, but x has 2, y has 1"
    }
    assert found[2]["error"].startswith("the line is no JSON: ")


def test_predictions_are_in_order(tmp_path: Path):
    run = prepared(letters(tmp_path), tmp_path)
    model = learn(run)
    lines = [f"{'ab'[i % 3 == 0]}cc" for i in range(300)]
    lines[7] = ""
    found = list(KIND.predict(model, iter(lines), ClassifyPrediction()))
    assert found[7] == {"error": "the text is empty"}
    del lines[7], found[7]
    assert [f["label"] for f in found] == [line[0].upper() for line in lines]
    assert all(list(f["classes"]) == [f["label"]] for f in found)


def test_the_figures_are_those_of_scikit_learn(tmp_path: Path):
    run = prepared(letters(tmp_path), tmp_path, replace(CHARACTERS, test_fraction=0.4))
    assert run.report is not None
    examples: Any = run.task.training
    judged = examples.examples
    said = log_probabilities(run.model, judged).argmax(1)
    right = targets(judged)
    assert run.task.validate is not None
    report = KIND.evaluate(run.model, [str(tmp_path / "d")], CHARACTERS)
    labels = [n for n in "AB" for _ in range(27)]
    predicted = run.model.predict(
        [line for n in "AB" for line in (tmp_path / "d" / f"{n}.txt").read_text().split()]
    )
    accuracy, recall = report.figures
    assert accuracy.value == pytest.approx(accuracy_score(labels, predicted), abs=1e-15)
    macro = recall_score(labels, predicted, average="macro")
    assert recall.value == pytest.approx(macro, abs=1e-15)
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert len(said) == len(right)


def test_the_shift_of_each_class():
    labels = np.array([0] * 8 + [1] * 2)
    assert logit_adjustment(labels, 2, 0.0).tolist() == [0, 0]
    # The logarithms of the priors but for a constant: the loss of Menon et al.
    whole = logit_adjustment(labels, 2, 1.0)
    torch.testing.assert_close(whole, torch.tensor([0.8 / 0.5, 0.2 / 0.5]).log())
    half = logit_adjustment(labels, 2, 0.5)
    torch.testing.assert_close(half, torch.tensor([0.8 / 0.65, 0.2 / 0.35]).log())
    without = logit_adjustment(labels, 3, 1.0)
    torch.testing.assert_close(without, torch.tensor([8 / 11 * 3, 2 / 11 * 3, 1 / 11 * 3]).log())


@pytest.mark.parametrize("adjustment", [0.0, 0.3, 1.0])
def test_the_adjusted_loss_learns_for_accuracy_and_macro_recall(adjustment: float):
    # How often each of 4 inputs has each of 3 classes. The inputs have logits of their own, so that
    # the minimum of the loss is the distribution itself.
    counts = torch.tensor([[40, 4, 1], [30, 9, 2], [9, 8, 3], [5, 1, 4]], dtype=torch.float64)
    labels = np.repeat(np.arange(3), counts.sum(0).long().numpy())
    shift = logit_adjustment(labels, 3, adjustment).double()
    logits = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -(counts * (logits + shift).log_softmax(1)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)

    def aim(said: torch.Tensor) -> float:
        right = torch.zeros(3, dtype=torch.float64)
        for x, y in enumerate(said.tolist()):
            right[y] += counts[x, y]
        accuracy, recall = right.sum() / counts.sum(), (right / counts.sum(0)).mean()
        return ((1 - adjustment) * accuracy + adjustment * recall).item()

    every = [aim(torch.tensor(said)) for said in itertools.product(range(3), repeat=4)]
    assert aim(logits.argmax(1)) == pytest.approx(max(every), abs=1e-12)


def test_each_member_learns_by_its_own_loss(tmp_path: Path):
    data = replace(CHARACTERS, adjustment=0.4, label_smoothing=0.1)
    unequal = write_classes(tmp_path / "d", {"A": [f"a{'c' * n}" for n in range(30)],
                                             "B": [f"b{'c' * n}" for n in range(12)]})  # fmt: skip
    run = prepared(unequal, tmp_path, data, replace(SMALL, members=3))
    batch = next(iter(run.task.training.batches(0)))
    x, labels = batch.sequences["x"], batch.values["label"]
    (loss, _) = run.task.loss(run.model, batch, None)
    loss.backward()
    examples: Any = run.task.training
    shift = logit_adjustment(targets(examples.examples), 2, 0.4)
    total = 0.0
    for k in range(3):
        alone = Classifier(SMALL, run.model.classes.names, run.model.inputs)
        network: Any = run.model.networks[k]
        alone.networks[0].load_state_dict(network.state_dict())
        logits = alone(x.data, x.lengths) + shift
        own = -(torch.eye(2)[labels] * 0.9 + 0.05).mul(logits.log_softmax(1)).sum()
        own.backward()
        total += own.item() / 3
        # Of a mean of three. float32 sums of 16 examples by 31 steps, terms below 1.
        grads = [p.grad for p in alone.networks[0].parameters() if p.grad is not None]
        of_mean = [p.grad * 3 for p in network.parameters()]
        torch.testing.assert_close(of_mean, grads, rtol=496 * 6e-8, atol=496 * 6e-8)
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_the_parts_of_a_batch_add_up(tmp_path: Path):
    data = replace(CHARACTERS, adjustment=0.5, label_smoothing=0.1)
    run = prepared(letters(tmp_path), tmp_path, data, replace(SMALL, members=2))
    batch = next(iter(run.task.training.batches(0)))
    model = run.model.double().eval()
    whole, _ = run.task.loss(model, batch, None)
    parts = [run.task.loss(model, batch.select(slice(i, i + 5)), None)[0] for i in (0, 5, 10, 15)]
    # float32 sums of 16 terms.
    torch.testing.assert_close(sum(parts), whole, rtol=16 * 6e-8, atol=0)


def test_examples_that_training_also_has_are_said(tmp_path: Path):
    path = write_classes(tmp_path / "d", {"A": ["same"] * 20, "B": ["same"] * 10 + ["b"] * 10})
    run = prepared(path, tmp_path)
    assert run.facts[-1] == (
        "4 of the 4 examples that the report is made on also occur among those to learn from"
    )


def test_a_loss_by_hand(tmp_path: Path):
    run = prepared(letters(tmp_path), tmp_path)
    batch = next(iter(run.task.training.batches(0)))
    x = batch.sequences["x"]
    logits = run.model(x.data, x.lengths)
    expected = -F.log_softmax(logits, 1)[torch.arange(16), batch.values["label"]].sum()
    torch.testing.assert_close(run.task.loss(run.model, batch, None)[0], expected)


class TestRefuses:
    def refused(self, path: Path, tmp_path: Path, data: Any = CHARACTERS) -> str:
        with pytest.raises(DataError) as caught:
            prepared(path, tmp_path, data)
        return str(caught.value)

    def test_one_class(self, tmp_path: Path):
        path = write_classes(tmp_path / "d", {"A": ["x", "y"]})
        assert self.refused(path, tmp_path) == (
            "all examples have the label 'A': there is nothing to tell apart, give examples of at "
            "least two classes"
        )

    def test_an_empty_class(self, tmp_path: Path):
        path = write_classes(tmp_path / "d", {"A": ["x", "y"], "B": []})
        assert self.refused(path, tmp_path) == (
            f"the class 'B' has no example: there is no text in {path / 'B.txt'}. Give it some, or "
            "take it away"
        )

    def test_a_label_that_training_lacks(self, tmp_path: Path):
        path = letters(tmp_path)
        own = tmp_path / "own.tsv"
        own.write_text("text\tlabel\nabc\tA\nxyz\tC\n")
        data = replace(CHARACTERS, test=str(own))
        assert self.refused(path, tmp_path, data) == (
            f"{own}, line 3: the label 'C' is none of the 2 learned: there are 'A', 'B'. Mend it, "
            "or skip bad rows with --skip-bad N"
        )
        run = prepared(path, tmp_path, replace(data, skip_bad=1))
        assert run.facts[-2:] == (
            "skipped 1 bad row:",
            f"  {own}, line 3: the label 'C' is none of the 2 learned: there are 'A', 'B'",
        )

    def test_a_test_file_with_other_columns(self, tmp_path: Path):
        own = tmp_path / "own.tsv"
        own.write_text("sentence\tlabel\nabc\tA\n")
        assert self.refused(letters(tmp_path), tmp_path, replace(CHARACTERS, test=str(own))) == (
            f"{own} has no column 'text': its columns are 'sentence', 'label'"
        )

    def test_a_column_twice(self, tmp_path: Path):
        path = tmp_path / "own.csv"
        path.write_text("text,label,text\na,b,c\n")
        assert self.refused(path, tmp_path) == (
            f"{path} has the column 'text' twice: give each column a name of its own"
        )

    def test_a_missing_value(self, tmp_path: Path):
        path = tmp_path / "d.jsonl"
        path.write_text('{"x": [1, 2], "label": "a"}\n{"x": [1, NaN], "label": "b"}\n')
        assert self.refused(path, tmp_path, ClassifyData(numbers=("x",))) == (
            f"{path}, line 2: the column 'x' is nan where a finite number is expected. Mend it, or "
            "skip bad rows with --skip-bad N"
        )

    def test_a_number_beyond_float32(self, tmp_path: Path):
        path = tmp_path / "d.jsonl"
        rows = [{"x": [1e300], "label": "a"}]
        rows += [{"x": [float(i)], "label": "ab"[i % 2]} for i in range(40)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = ClassifyData(numbers=("x",))
        assert "a number is too large for float32: scale the columns" in self.refused(
            path, tmp_path, data
        )
        run = prepared(path, tmp_path, replace(data, skip_bad=1))
        assert any("line 1" in fact for fact in run.facts)

    def test_columns_of_another_model(self, tmp_path: Path):
        model = Classifier(SMALL, ("a", "b"), ("x", "y"))
        with pytest.raises(DataError) as caught:
            KIND.evaluate(model, [str(letters(tmp_path))], ClassifyData(numbers=("z",)))
        assert str(caught.value) == ("the model reads the columns x, y, not z: leave --numbers out")

    def test_options_out_of_range(self, tmp_path: Path):
        with pytest.raises(DataError) as caught:
            ClassifyData(adjustment=2)
        assert str(caught.value) == "adjustment is from 0 to 1, not 2"
        with pytest.raises(DataError) as caught:
            ClassifyPrediction(0)
        assert str(caught.value) == "top is at least 1, not 0"
        data = replace(CHARACTERS, test_fraction=1.0)
        assert self.refused(letters(tmp_path), tmp_path, data) == (
            "test_fraction is at least 0 and below 1, not 1.0"
        )
