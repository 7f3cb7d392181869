"""The classifier: its equations, its independence of neighbours, its files, its errors."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from classified_data import CLASSES, classifier
from model_rounding import rounding
from unrolled import cell, param
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, ModelError
from unrolled.models.classifier import Classifier
from unrolled.models.classifier_config import ClassifierConfig

OPTIONS: list[dict[str, Any]] = [
    {"pooling": "last"},
    {"pooling": "last", "bidirectional": False},
    {"pooling": "mean"},
    {"pooling": "max", "num_layers": 2},
    {"pooling": "attention"},
    {"pooling": "mean", "skip": True},
    {"pooling": "max", "skip": True, "bidirectional": False, "learn_initial": True},
    {"pooling": "attention", "skip": True},
]
# Drop-ins and layers of any cell; outputs that are no state, a projection, a state alone, linear.
NAMES = ["gru", "rnn", "lstm", "elman_output", "lstm_projected", "lstm_peephole", "mingru"]
SIZES = {"elman_output": {"O": 4}, "lstm_projected": {"P": 4}}
LENGTHS = torch.tensor([4, 7, 1])


def drawn(real: bool = False) -> torch.Tensor:
    """Three sequences of LENGTHS, and past their ends what must not matter."""
    draw = torch.Generator().manual_seed(1)
    if real:
        return torch.randn(7, 3, 2, generator=draw)
    return torch.randint(6, (7, 3), generator=draw)


def only(model: Classifier) -> Any:
    """The network of a model without further members."""
    (network,) = model.networks
    return network


def pooled_by_hand(model: Classifier, x: torch.Tensor) -> torch.Tensor:
    """The logits of one sequence ``[T, ...]``, by the definition of each pooling."""
    config, network = model.config, only(model)
    read = network.features(x.unsqueeze(1))
    y, _ = network.recurrent(read)
    y, read = y[:, 0], read[:, 0]
    seen = torch.cat([y, read], 1) if config.skip else y
    if config.pooling == "mean":
        found = sum(seen) / len(seen)
    elif config.pooling == "max":
        found = torch.stack([max(column) for column in seen.T])
    elif config.pooling == "attention":
        scores = [torch.exp(step @ network.get_parameter("pool.query")) for step in seen]
        found = sum(s * step for s, step in zip(scores, seen, strict=True)) / sum(scores)
    elif config.bidirectional:
        half = seen.shape[1] // 2
        found = torch.cat([seen[-1, :half], seen[0, half:]])
    else:
        found = seen[-1]
    return network.output(found)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_sequence_is_classified_as_if_it_were_alone(options: dict[str, Any], real: bool):
    model, x = classifier(real=real, **options).double(), drawn(real)
    x = x.double() if real else x
    together = model(x, LENGTHS)
    bound = rounding(model, lambda: model(x, LENGTHS), len(x) * model.config.num_layers)
    for i, n in enumerate(LENGTHS.tolist()):
        alone = model(x[:n, i : i + 1])[0]
        assert (together[i] - alone).abs().max() <= bound
        assert (together[i] - pooled_by_hand(model, x[:n, i])).abs().max() <= bound


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_what_stands_past_the_end_does_not_matter(options: dict[str, Any], real: bool):
    model, x = classifier(real=real, **options), drawn(real)
    other = x.clone()
    other[4:, 0] = 3
    other[1:, 2] = 3
    assert not torch.equal(x, other)
    assert torch.equal(model(x, LENGTHS), model(other, LENGTHS))


@pytest.mark.parametrize("name", NAMES)
def test_any_cell_and_it_is_saved(name: str, tmp_path: Path):
    model = classifier(name, sizes=SIZES.get(name, {}), pooling="last")
    model.save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert loaded.classes == model.classes
    assert not loaded.training
    assert torch.equal(loaded(drawn(), LENGTHS), model(drawn(), LENGTHS))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("options", [*OPTIONS, {"weight_dropout": {"weight_hh": 0.5}}])
def test_every_form_is_saved(options: dict[str, Any], real: bool, tmp_path: Path):
    model = classifier(real=real, **options)
    if real:
        model.standardise(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0]))
    model.save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path)
    assert loaded.inputs == model.inputs
    assert torch.equal(loaded(drawn(real), LENGTHS), model(drawn(real), LENGTHS))


def test_a_cell_of_ones_own(tmp_path: Path):
    @cell
    def keep(x, h, *, U=param("H", "D")):
        return h + torch.tanh(U @ x)

    torch.manual_seed(0)
    config = ClassifierConfig("mine", 5, embedding_size=4)
    model = Classifier(config, CLASSES, Vocabulary.build(["abcde"], "char", eos=False), keep)
    model.eval().save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path)
    assert torch.equal(loaded(drawn(), LENGTHS), model(drawn(), LENGTHS))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["lstm", "lstm_peephole"])
def test_a_gradient_reaches_every_parameter(name: str, options: dict[str, Any], real: bool):
    model = classifier(name, real=real, **options).train()
    F.cross_entropy(model(drawn(real), LENGTHS), torch.tensor([0, 1, 2])).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert without == []


def test_it_learns_in_a_loop_written_by_hand():
    # Whether the first letter comes back as the last: nothing in the middle says.
    texts = ["".join(w) for w in itertools.product("abc", repeat=4)]
    answers = torch.tensor([int(t[0] == t[-1]) for t in texts])
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(texts, "char", eos=False)
    config = ClassifierConfig("gru", 16, embedding_size=8, pooling="last", dropout=0.0)
    model = Classifier(config, ("no", "yes"), vocabulary)
    x = torch.from_numpy(np.stack([model.encode(t) for t in texts], 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(250):
        loss = F.cross_entropy(model(x), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.predict(texts) == ["yes" if t[0] == t[-1] else "no" for t in texts]


def test_predictions_are_in_order_and_sum_to_one():
    model = classifier(pooling="mean")
    texts = ["a", "abcde", "zz", "ba"]
    found = model.probabilities(texts)
    assert found.shape == (4, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(4))
    for text, row in zip(texts, found, strict=True):
        torch.testing.assert_close(model.probabilities([text])[0], row)
    assert model.predict(texts) == [CLASSES[i] for i in found.argmax(1).tolist()]
    assert model.probabilities([]).shape == (0, 3)


def test_real_values_are_standardised():
    model = classifier(real=True)
    # Of so few digits that nothing is rounded on the way there and back.
    x = (drawn(real=True) * 2**8).round() / 2**8
    plain = model(x, LENGTHS)
    mean, deviation = torch.tensor([5.0, -1.0]), torch.tensor([2.0, 0.0])
    model.standardise(mean, deviation)
    # A column that never changes keeps its scale.
    moved = x * torch.tensor([2.0, 1.0]) + mean
    assert torch.equal(model(moved, LENGTHS), plain)


def test_tokens_are_dropped_in_training_only():
    model = classifier(token_dropout=0.5)
    x, features = drawn(), only(model).features
    assert torch.equal(features(x), features(x))
    unk = features(torch.tensor(5))
    plain = features(x)
    model.train()
    torch.manual_seed(0)
    read = features(x)
    dropped = (read == unk).all(2)
    assert 0.2 < dropped.float().mean() < 0.9
    assert torch.equal(read[~dropped], plain[~dropped])


class TestMembers:
    @pytest.mark.parametrize("real", [False, True])
    def test_the_mean_of_networks_that_start_apart(self, real: bool):
        model = classifier(real=real, members=3, pooling="mean").double()
        if real:
            model.standardise(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
        x = drawn(real).double() if real else drawn()
        each = list[torch.Tensor]()
        for network in model.networks:
            alone = classifier(real=real, pooling="mean").double()
            alone.networks[0].load_state_dict(network.state_dict())
            each.append(alone(x, LENGTHS))
        assert not any(torch.allclose(a, b) for a, b in itertools.combinations(each, 2))
        mean = torch.stack(each).softmax(2).mean(0)
        assert torch.equal(model.member_logits(x, LENGTHS), torch.stack(each))
        # Either way sums over 3 classes and 3 members, and four exponentials and logarithms of 2
        # units each, of numbers no larger than the logits.
        largest = float(torch.stack(each).detach().abs().max()) + math.log(9)
        bound = 2 * (3 + 3 + 4 * 2) * torch.finfo(torch.float64).eps * largest
        assert (model(x, LENGTHS) - mean.log()).abs().max() <= bound

    def test_probabilities_far_apart_are_averaged_without_overflow(self):
        model = classifier(members=2)
        with torch.no_grad():
            for network, favoured in zip(model.networks, (0, 1), strict=True):
                output: Any = network.get_submodule("output")
                output.weight.zero_()
                output.bias.fill_(-1000.0)
                output.bias[favoured] = 1000.0
        expected = torch.tensor([[0.5, 0.5, 0.0]])
        assert torch.equal(model.probabilities(["ab"]), expected)

    @pytest.mark.parametrize("name", ["gru", "lstm_peephole"])
    def test_they_are_saved(self, name: str, tmp_path: Path):
        model = classifier(name, members=3)
        model.save_pretrained(tmp_path)
        loaded = Classifier.from_pretrained(tmp_path)
        assert len(loaded.networks) == 3
        assert torch.equal(loaded(drawn(), LENGTHS), model(drawn(), LENGTHS))

    def test_a_file_with_another_number_of_them(self, tmp_path: Path):
        classifier(members=2).save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        path.write_text(path.read_text().replace('"members": 2', '"members": 3'))
        with pytest.raises(ModelError, match=r"don't fit the configuration: networks\.2\."):
            Classifier.from_pretrained(tmp_path)


class TestRefuses:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"pooling": "sum"}, "pooling is last or mean or max or attention, not 'sum'"),
            ({"bidirectional": 1}, "bidirectional is true or false, not 1"),
            ({"embedding_size": 0}, "embedding_size is a whole number of at least 1, not 0"),
            ({"embedding_deviation": 0}, "embedding_deviation is a number above 0, not 0"),
            ({"token_dropout": 1.0}, "token_dropout is at least 0 and below 1, not 1.0"),
            ({"members": 0}, "members is a whole number from 1 to 100, not 0"),
            ({"members": 101}, "members is a whole number from 1 to 100, not 101"),
            ({"members": True}, "members is a whole number from 1 to 100, not True"),
            ({"embedding_dropout": 1}, "embedding_dropout is at least 0 and below 1, not 1"),
            (
                {"skip": True, "pooling": "last"},
                "skip pools the inputs of all steps: set pooling to mean, max or attention",
            ),
        ],
    )  # fmt: skip
    def test_a_wrong_configuration(self, options: dict[str, Any], message: str):
        with pytest.raises(ModelError) as caught:
            ClassifierConfig(**options)
        assert str(caught.value) == message

    def test_a_single_class(self):
        with pytest.raises(DataError) as caught:
            Classifier(ClassifierConfig(), ["one"], ["x"])
        assert str(caught.value) == (
            "all examples have the label 'one': there is nothing to tell apart, give examples of "
            "at least two classes"
        )

    def test_options_that_the_inputs_lack(self):
        config = ClassifierConfig(token_dropout=0.1)
        with pytest.raises(ModelError) as caught:
            Classifier(config, CLASSES, ["x"])
        assert str(caught.value) == "token_dropout is for texts: set it to 0 for real values"
        with pytest.raises(ModelError) as caught:
            Classifier(config, CLASSES, Vocabulary.build(["ab"], "char", unk=False))
        assert str(caught.value) == (
            'token_dropout 0.1 puts "<unk>" in the place of tokens, which this vocabulary lacks: '
            "build it with unk, or set token_dropout to 0"
        )
        with pytest.raises(ModelError) as caught:
            classifier().standardise(torch.zeros(2), torch.ones(2))
        assert str(caught.value) == (
            "this classifier reads text: there are no values to standardise"
        )

    @pytest.mark.parametrize(
        ("x", "lengths", "kind", "message"),
        [
            (torch.zeros(7, dtype=torch.int64), None, ValueError,
             "expected token ids of shape [T, B] with T and B at least 1, got [7]"),
            (torch.zeros(0, 3, dtype=torch.int64), None, ValueError,
             "expected token ids of shape [T, B] with T and B at least 1, got [0, 3]"),
            (torch.zeros(7, 3), None, TypeError,
             "expected torch.int64 token ids, got torch.float32: call .to(torch.int64)"),
            (torch.full((7, 3), 6), None, IndexError, "token ids: 6 is none of the 6, 0 to 5"),
            (torch.full((7, 3), -1), None, IndexError, "token ids: -1 is none of the 6, 0 to 5"),
            (drawn().to("meta"), None, RuntimeError,
             "expected token ids on cpu, where the model is, got them on meta: call "
             ".to(model.device)"),
            (drawn(), torch.tensor([1, 2]), ValueError,
             "lengths are int64 of shape [B] = [3], got torch.int64 of [2]"),
            (drawn(), torch.tensor([1.0, 2.0, 3.0]), ValueError,
             "lengths are int64 of shape [B] = [3], got torch.float32 of [3]"),
            (drawn(), torch.tensor([0, 2, 8]), ValueError,
             "lengths are from 1 to T = 7, got 0 to 8"),
        ],
    )  # fmt: skip
    def test_wrong_tensors(
        self, x: torch.Tensor, lengths: Any, kind: type[Exception], message: str
    ):
        with pytest.raises(kind) as caught:
            classifier()(x, lengths)
        assert str(caught.value) == message

    def test_wrong_values(self):
        model = classifier(real=True)
        with pytest.raises(ValueError) as caught:
            model(torch.zeros(7, 3, 4))
        assert str(caught.value) == (
            "expected real values of shape [T, B, 2] with T and B at least 1, got [7, 3, 4]"
        )
        with pytest.raises(TypeError) as of_type:
            model(torch.zeros(7, 3, 2, dtype=torch.float64))
        assert str(of_type.value) == (
            "expected torch.float32 real values, got torch.float64: call .to(torch.float32)"
        )

    @pytest.mark.parametrize(
        ("real", "example", "message"),
        [
            (False, "", "the text is empty"),
            (False, np.zeros((3, 2)), "this classifier reads text, not ndarray"),
            (True, "abc", "this classifier reads real values [T, 2], not text"),
            (True, np.zeros((0, 2)),
             "expected real values [T, 2] with T at least 1, got [0, 2]"),
            (True, np.zeros((4, 3)),
             "expected real values [T, 2] with T at least 1, got [4, 3]"),
            (True, np.array([[0, 0], [0, math.nan]]),
             "y is nan at step 2 where a finite number is expected: fill in what is missing, or "
             "leave the example out"),
        ],
    )  # fmt: skip
    def test_an_example_that_cannot_be_read(self, real: bool, example: Any, message: str):
        with pytest.raises(DataError) as caught:
            classifier(real=real).predict([example])
        assert str(caught.value) == message

    def test_a_directory_of_another_model(self, tmp_path: Path):
        classifier().save_pretrained(tmp_path)
        with pytest.raises(ModelError) as caught:
            classifier().save_pretrained(tmp_path)
        assert "already" in str(caught.value) or "overwrite" in str(caught.value)
        text = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(text.replace("unrolled classifier", "unrolled x"))
        with pytest.raises(ModelError) as caught:
            Classifier.from_pretrained(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path} holds no classifier of Unrolled: the format in its config.json is "
            "'unrolled x'"
        )
