"""``from_torch`` and ``to_torch``: the same results and the same parameters, or a clear refusal."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import dynamic
from torch.nn.utils import parametrizations

import unrolled as ur
from layer_samples import KINDS, B, D, H, T, random, results, rounding, tensors
from unrolled import cells
from unrolled.nn import choice

BACKENDS = ("auto", "torch", "reference")
STEPS = 2 * choice.LEAST_STEPS

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacked": {"num_layers": 3, "bidirectional": True, "dropout": 0.3},
    "no-bias": {"bias": False, "batch_first": True},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_layers_from_torch_and_back(kind: str, options: dict[str, Any], backend: str) -> None:
    name, more = KINDS[kind]
    theirs = getattr(nn, name)(D, H, dtype=torch.float64, **more, **options).eval()
    theirs.weight_hh_l0.requires_grad_(False)
    generator = torch.get_rng_state()
    ours: Any = ur.from_torch(theirs, backend)
    back = ur.to_torch(ours)
    assert torch.equal(torch.get_rng_state(), generator), "random numbers were drawn"
    assert type(ours) is getattr(ur, name)
    assert type(back) is type(theirs)
    assert (ours.backend, ours.training, back.training) == (backend, False, False)
    assert repr(back) == repr(theirs)
    for module in (ours, back):
        named = dict(module.named_parameters())
        assert list(named) == [n for n, _ in theirs.named_parameters()]
        assert all(p is named[n] for n, p in theirs.named_parameters())
    theirs.weight_hh_l0.requires_grad_()
    x = random(STEPS, B, D).requires_grad_()
    expected = results(lambda: theirs(x), [x], theirs)
    bound = rounding(theirs.num_layers, STEPS, STEPS, expected.magnitude)
    results(lambda: ours(x), [x], ours).assert_equal(expected, bound)
    results(lambda: back(x), [x], back).assert_equal(expected, 0.0)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize(
    "cell",
    [
        nn.RNNCell(D, H, dtype=torch.float64),
        nn.RNNCell(D, H, nonlinearity="relu", dtype=torch.float64),
        nn.GRUCell(D, H, dtype=torch.float64),
        nn.LSTMCell(D, H, dtype=torch.float64),
    ],
    ids=["rnn-tanh", "rnn-relu", "gru", "lstm"],
)
def test_a_single_cell_becomes_the_layer_that_loops(cell: Any, bias: bool) -> None:
    more = {"nonlinearity": cell.nonlinearity} if isinstance(cell, nn.RNNCell) else {}
    cell = type(cell)(D, H, bias=bias, dtype=torch.float64, **more)
    layer: Any = ur.from_torch(cell, backend="reference")
    for name, p in cell.named_parameters():
        assert getattr(layer, f"{name}_l0") is p
    assert len(list(layer.parameters())) == len(list(cell.parameters()))
    x, hx = random(T, B, D).requires_grad_(), random(2, B, H).requires_grad_()

    def loop() -> tuple[Tensor, Any]:
        states: list[Tensor] = []
        state: Any = (hx[0], hx[1]) if isinstance(cell, nn.LSTMCell) else hx[0]
        for step in x:
            state = cell(step, state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(states), tuple(s[None] for s in tensors(state))

    initial = (hx[:1], hx[1:]) if isinstance(cell, nn.LSTMCell) else hx[:1]
    expected = results(loop, [x, hx], cell)
    # The cell's parameters are the layer's: their gradients go under the cell's names.
    found = results(lambda: layer(x, initial), [x, hx], cell)
    found.assert_equal(expected, rounding(1, T, B, expected.magnitude))


FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rnn": (cells.rnn, {}),
    "rnn-relu": (cells.rnn.bind(nonlinearity="relu"), {}),
    "rnn-one-bias": (cells.rnn.bind(b_ih=0.0), {}),
    "elman": (cells.elman, {}),
    "elman-relu-no-bias": (cells.elman.bind(nonlinearity="relu", b_h=0.0), {}),
    "gru": (cells.gru, {}),
    "gru-held": (cells.gru.bind(b_hh=0.5), {}),
    "gru-no-bias": (cells.gru.bind(b_ih=0.0, b_hh=0.0), {}),
    "lstm": (cells.lstm, {}),
    "lstm-one-bias": (cells.lstm_one_bias, {}),
    "lstm-projected": (cells.lstm_projected, {"sizes": {"P": 2}}),
}


@pytest.mark.parametrize("form", FORMS)
def test_recurrent_to_torch(form: str) -> None:
    cell, more = FORMS[form]
    ours = ur.Recurrent(
        cell, D, H, 2, bidirectional=True, batch_first=True, dropout=0.2,
        dtype=torch.float64, backend="reference", **more,
    ).eval()  # fmt: skip
    theirs: Any = ur.to_torch(ours)
    assert (theirs.dropout, theirs.training, theirs.batch_first) == (0.2, False, True)
    assert theirs.bias == (form not in ("elman-relu-no-bias", "gru-no-bias"))
    trained = {id(p): p for p in theirs.parameters() if p.requires_grad}
    assert trained.keys() == {id(p) for p in ours.parameters()}
    x = random(B, T, D).requires_grad_()
    wanted = [x, *ours.parameters()]
    y, states = ours(x)
    y_theirs, states_theirs = theirs(x)
    found, expected = [y, *states], [y_theirs, *tensors(states_theirs)]
    weights = [random(*v.shape) for v in found]
    found += torch.autograd.grad(found, wanted, weights)
    expected += torch.autograd.grad(expected, wanted, weights)
    bound = rounding(2, T, B, max(v.detach().abs().max().item() for v in expected))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


def test_an_optimizer_goes_on_with_either() -> None:
    theirs = nn.LSTM(D, H, dtype=torch.float64)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    ours = ur.from_torch(theirs, backend="reference")
    x = random(T, B, D)
    before, _ = theirs(x)
    ours(x)[0].sum().backward()
    optimizer.step()
    after, _ = theirs(x)
    assert not torch.equal(before, after)
    torch.testing.assert_close(ours(x)[0], after, rtol=0, atol=rounding(1, T, B, 1.0))


def test_tied_weights_stay_tied() -> None:
    theirs = nn.GRU(H, H, 2)
    theirs.weight_hh_l1 = theirs.weight_hh_l0
    ours = ur.from_torch(theirs)
    assert ours.weight_hh_l1 is ours.weight_hh_l0 is theirs.weight_hh_l0


def test_dropout_of_one_layer_does_not_warn_again() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        theirs = nn.GRU(D, H, dropout=0.5)
    assert ur.from_torch(theirs).dropout == 0.5


class Derived(nn.LSTM):
    pass


class DerivedCell(nn.GRUCell):
    pass


class DerivedOurs(ur.GRU):
    pass


class DerivedRecurrent(ur.Recurrent):
    pass


def with_new_forward(module: nn.Module) -> nn.Module:
    module.forward = lambda x: x
    return module


STRANGERS: list[tuple[Any, str]] = [
    (3, "expected a module of torch.nn, got an int"),
    (
        nn.Linear(2, 3),
        "expected one of torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM, torch.nn.RNNCell, "
        "torch.nn.GRUCell, torch.nn.LSTMCell, got a Linear; ur.convert takes a whole model",
    ),
    (
        Derived(D, H),
        "Derived is a subclass of torch.nn.LSTM, whose methods may differ; derive it from "
        "unrolled.LSTM instead",
    ),
    (
        DerivedCell(D, H),
        "DerivedCell is a subclass of torch.nn.GRUCell, whose methods may differ; give "
        "a GRUCell with its parameters instead",
    ),
    (ur.GRU(D, H), "GRU is one of Unrolled's already"),
    (ur.Recurrent(cells.mgu, D, H), "Recurrent is one of Unrolled's already"),
    (
        with_new_forward(nn.RNN(D, H)),
        "the forward of this RNN was replaced; remove the new one first",
    ),
    (
        with_new_forward(nn.RNNCell(D, H)),
        "the forward of this RNNCell was replaced; remove the new one first",
    ),
]


@pytest.mark.parametrize(("module", "message"), STRANGERS)
def test_from_torch_refuses_what_it_does_not_know(module: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        ur.from_torch(module)
    assert str(caught.value) == f"from_torch: {message}"


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_from_torch_refuses_a_quantized_module() -> None:
    quantized: Any = dynamic.LSTM(D, H)
    with pytest.raises(TypeError) as caught:
        ur.from_torch(quantized)
    assert str(caught.value) == (
        "from_torch: LSTM of torch.ao.nn.quantized.dynamic.modules.rnn is made for quantization, "
        "and ours computes in floating point; convert the float module instead"
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_from_torch_refuses_a_scripted_module() -> None:
    scripted: Any = torch.jit.script(nn.LSTM(D, H))
    with pytest.raises(TypeError) as caught:
        ur.from_torch(scripted)
    assert str(caught.value) == (
        "from_torch: LSTM was compiled by torch.jit; convert the module before it is scripted"
    )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, "expected a module of unrolled, got a NoneType"),
        (
            nn.LSTM(D, H),
            "expected one of unrolled.RNN, unrolled.GRU, unrolled.LSTM, unrolled.Recurrent, "
            "got an LSTM; ur.revert takes a whole model",
        ),
        (
            DerivedRecurrent(cells.lstm, D, H),
            "DerivedRecurrent is a subclass of unrolled.Recurrent, whose methods may differ; give "
            "a Recurrent with its parameters instead",
        ),
        (
            with_new_forward(ur.Recurrent(cells.lstm, D, H)),
            "the forward of this Recurrent was replaced; remove the new one first",
        ),
        (
            DerivedOurs(D, H),
            "DerivedOurs is a subclass of unrolled.GRU, whose methods may differ; derive it from "
            "torch.nn.GRU instead",
        ),
    ],
)
def test_to_torch_refuses_what_it_does_not_know(module: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        ur.to_torch(module)
    assert str(caught.value) == f"to_torch: {message}"


KNOWN = (
    "; it has those of unrolled.cells' rnn and elman (with tanh or relu), gru, lstm, "
    "lstm_one_bias and lstm_projected"
)
SAVED = ur.Cell.from_graphs([cells.gru.graph({"D": D, "H": H})])


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (cells.mgu, "mgu"),
        (cells.rnn.bind(nonlinearity="sigmoid"), "rnn with nonlinearity='sigmoid'"),
        (SAVED, "gru, whose equations come from a file"),
    ],
)
def test_to_torch_refuses_other_cells(cell: ur.Cell, what: str) -> None:
    with pytest.raises(ValueError) as caught:
        ur.to_torch(ur.Recurrent(cell, D, H))
    assert str(caught.value) == f"to_torch: torch.nn has no module of cell {what}{KNOWN}"


def test_what_belongs_to_the_module_is_not_shared() -> None:
    hooked, cell, ours = nn.GRU(D, H), nn.LSTMCell(D, H), ur.RNN(D, H)
    hooked.register_forward_hook(lambda *_: None)
    cell.register_forward_pre_hook(lambda *_: None)
    parametrizations.weight_norm(ours, "weight_hh_l0")
    buffered = nn.LSTM(D, H)
    buffered.register_buffer("mask", torch.ones(H))
    calls: list[tuple[Any, Any, str]] = [
        (ur.from_torch, hooked, "from_torch: this GRU has hooks, {}; {}, or use ur.convert(model), "
         "which keeps the module and all that is tied to it"),
        (ur.from_torch, cell, "from_torch: this LSTMCell has hooks, {}; {}"),
        (ur.to_torch, ours, "to_torch: this ParametrizedRNN has parametrizations, {}; {}, or use "
         "ur.revert(model), which keeps the module and all that is tied to it"),
        (ur.from_torch, buffered, "from_torch: this LSTM has buffers, {}; {}, or use "
         "ur.convert(model), which keeps the module and all that is tied to it"),
    ]  # fmt: skip
    for function, module, message in calls:
        with pytest.raises(ValueError) as caught:
            function(module)
        assert str(caught.value) == message.format(
            "which can't go along with its parameters into another module", "remove them first"
        )


def test_parameters_that_torch_does_not_have() -> None:
    module = nn.GRU(D, H)
    module.register_parameter("scale", nn.Parameter(torch.ones(1)))
    names = "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0"
    with pytest.raises(ValueError) as caught:
        ur.from_torch(module)
    assert str(caught.value) == f"from_torch: expected the parameters {names}, got {names}, scale"
    del module.scale, module.bias_hh_l0
    with pytest.raises(ValueError) as caught:
        ur.from_torch(module)
    assert str(caught.value) == (
        f"from_torch: expected the parameters {names}, got {names.removesuffix(', bias_hh_l0')}"
    )


def test_an_unknown_backend() -> None:
    with pytest.raises(ValueError, match="backend 'cudnn': expected one of auto, torch, "):
        ur.from_torch(nn.GRU(D, H), backend="cudnn")


def test_layers_of_several_cells() -> None:
    with pytest.raises(ValueError) as caught:
        ur.to_torch(ur.Recurrent([cells.lstm, cells.gru], D, H))
    assert str(caught.value) == (
        "to_torch: the layers have different cells (lstm, gru), and torch.nn's modules have one: "
        "give each layer a Recurrent of its own"
    )
