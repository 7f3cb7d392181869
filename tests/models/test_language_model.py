"""The language model: its equations, its state, its errors."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tiny_models import TEXT, tiny
from unrolled import Cell, cell, param
from unrolled.cells import CELLS
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import CellError, ModelError
from unrolled.models.language_model import LanguageModel, LanguageModelConfig

OPTIONS = [
    {},
    {"embedding_size": 0},
    {"tied": True, "embedding_size": 6},
    {"dropout": 0.5},
    {"num_layers": 1, "dropout": 0.5},
]
SIZES = {"elman_output": {"O": 4}, "elman_concat_output": {"O": 4}, "lstm_projected": {"P": 4}}


def tokens(steps: int = 7, batch: int = 3) -> torch.Tensor:
    return torch.randint(11, (steps, batch), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "gru_cho"])
def test_the_network_is_the_one_that_the_configuration_says(name: str, options: dict[str, Any]):
    model = tiny(name, **options)
    x = tokens()
    parameters = dict(model.named_parameters())
    if model.config.embedding_size:
        embedded = parameters["embedding.weight"][x]
    else:
        embedded = torch.eye(11)[x]
    y, _ = model.recurrent(embedded)
    weight = parameters["embedding.weight" if model.config.tied else "output_weight"]
    logits, _ = model(x)
    assert logits.shape == (7, 3, 11)
    torch.testing.assert_close(logits, y @ weight.T + parameters["output_bias"])


@pytest.mark.parametrize("name", sorted({"lstm", "gru", "rnn", *CELLS}))
def test_the_state_carries_over_a_cut(name: str):
    model = tiny(name, sizes=SIZES.get(name, {}))
    x = tokens(9)
    whole, end = model(x)
    first, state = model(x[:4])
    second, again = model(x[4:], model.detach(state))
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(again, end)
    from_zeros, _ = model(x, model.initial_state(3))
    torch.testing.assert_close(from_zeros, whole)
    assert [s.shape for s in model.initial_state(3)] == [s.shape for s in end]


def test_a_detached_state_lets_no_gradient_through():
    model = tiny()
    _, state = model(tokens())
    assert all(s.requires_grad for s in state)
    assert not any(s.requires_grad for s in model.detach(state))


@pytest.mark.parametrize("options", OPTIONS)
def test_every_parameter_learns_and_has_one_name(options: dict[str, Any]):
    model = tiny(**options)
    x = tokens()
    logits, _ = model(x[:-1])
    F.cross_entropy(logits.flatten(0, 1), x[1:].flatten()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_dropout_is_for_training_and_stands_where_it_is_said_to():
    model = tiny(dropout=0.5)
    x = tokens()
    assert torch.equal(model(x)[0], model(x)[0])
    model.train()
    assert not torch.equal(model(x)[0], model(x)[0])
    assert model.recurrent.dropout == 0.5
    assert tiny(dropout=0.5, num_layers=1).recurrent.dropout == 0.0


def test_a_model_learns_to_count():
    vocabulary = Vocabulary.build(["abc"], "char", unk=False)
    model = tiny("gru", vocabulary=vocabulary, hidden_size=12).train()
    x = torch.from_numpy(vocabulary.encode("abc" * 8).astype("int64")).unsqueeze(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loss = torch.tensor(math.inf)
    for _ in range(60):
        logits, _ = model(x[:-1])
        loss = F.cross_entropy(logits.flatten(0, 1), x[1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert "".join(model.generate("ab", 7, temperature=0)) == "cabcabc"


def test_a_cell_that_is_given_is_used():
    @cell
    def keep(x, h, *, U=param("H", "D")):
        return h + torch.tanh(U @ x)

    config = LanguageModelConfig("mine", 6, embedding_size=5)
    model = LanguageModel(config, Vocabulary.build([TEXT], "char"), keep)
    assert isinstance(model.recurrent.cell, Cell)
    _, (h,) = model(tokens())
    assert model.embedding is not None
    x = model.embedding(tokens())
    expected = torch.tanh(x @ model.recurrent.get_parameter("U_l0").T).sum(0)
    torch.testing.assert_close(h[0], expected)


def test_a_cell_that_is_given_may_not_pass_for_a_drop_in():
    with pytest.raises(ModelError, match="the name 'lstm' stands for the drop-in layer"):
        LanguageModel(
            LanguageModelConfig("lstm"), Vocabulary.build([TEXT], "char"), CELLS["lstm_concat"]
        )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cell": ""}, "cell is the name of a cell, not ''"),
        ({"cell": 3}, "cell is the name of a cell, not 3"),
        ({"embedding_size": -1}, "embedding_size is a whole number of at least 0, not -1"),
        ({"embedding_size": True}, "embedding_size is a whole number of at least 0, not True"),
        ({"hidden_size": 0}, "hidden_size is a whole number of at least 1, not 0"),
        ({"hidden_size": 2.0}, r"hidden_size is a whole number of at least 1, not 2\.0"),
        ({"num_layers": 0}, "num_layers is a whole number of at least 1, not 0"),
        ({"dropout": 1.0}, r"dropout is at least 0 and below 1, not 1\.0"),
        ({"dropout": math.nan}, "dropout is at least 0 and below 1, not nan"),
        ({"dropout": "0"}, "dropout is at least 0 and below 1, not '0'"),
        ({"tied": 1}, "tied is true or false, not 1"),
        ({"sizes": {"P": 0}}, "sizes is a whole number of at least 1 for each name, not"),
        ({"sizes": []}, "sizes is a whole number of at least 1 for each name, not"),
        ({"tied": True, "embedding_size": 0}, "tied weights need an embedding"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict[str, Any], problem: str):
    with pytest.raises(ModelError, match=problem):
        LanguageModelConfig(**options)


def test_tied_weights_of_another_size_are_refused():
    with pytest.raises(ModelError, match="embedding_size is 5, that output has 6; make them"):
        tiny(tied=True)
    with pytest.raises(ModelError, match="embedding_size is 6, that output has 4; make them"):
        tiny("lstm_projected", tied=True, embedding_size=6, sizes={"P": 4})


def test_sizes_that_a_cell_lacks_or_needs():
    with pytest.raises(ModelError, match="the cell lstm has no sizes P: leave them out"):
        tiny("lstm", sizes={"P": 4})
    with pytest.raises(CellError, match="size P"):
        tiny("lstm_projected")


class TestForwardRefuses:
    @pytest.mark.parametrize("shape", [(7,), (7, 3, 1), (0, 3)])
    def test_another_shape(self, shape: tuple[int, ...]):
        with pytest.raises(ValueError, match=r"expected token ids of shape \[T, B\] .* got \["):
            tiny()(torch.zeros(shape, dtype=torch.int64))

    def test_another_dtype(self):
        with pytest.raises(TypeError, match=r"int64 token ids, got torch.int32: call tokens.long"):
            tiny()(tokens().int())

    def test_another_device(self):
        with pytest.raises(RuntimeError, match=r"on cpu, .* got them on meta: call tokens\.to"):
            tiny()(tokens().to("meta"))

    @pytest.mark.parametrize("options", [{}, {"embedding_size": 0}])
    @pytest.mark.parametrize("index", [-1, 11])
    def test_an_id_outside_the_vocabulary(self, options: dict[str, Any], index: int):
        with pytest.raises(IndexError, match=f"token id {index} .* 11 tokens, 0 to 10"):
            tiny(**options)(torch.full((1, 1), index))

    @pytest.mark.parametrize("name", ["lstm", "gru", "gru_cho", "lstm_peephole"])
    def test_another_state(self, name: str):
        model = tiny(name)
        with pytest.raises(RuntimeError, match=r"Expected .* size"):
            model(tokens(), model.initial_state(4))
        with pytest.raises((TypeError, ValueError), match=r"state|h_0|hx"):
            model(tokens(), model.initial_state(3) * 2)
        double = tuple(s.double() for s in model.initial_state(3))
        with pytest.raises(ValueError, match="dtype"):
            model(tokens(), double)
