"""``convert`` and ``revert``: the same objects of another class, and what is said of the rest."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import dynamic
from torch.nn.utils import parametrizations, parametrize, prune

import unrolled as ur
from layer_samples import B, D, H, random, rounding
from unrolled import cells
from unrolled.nn import choice

STEPS = 2 * choice.LEAST_STEPS


class Tagger(nn.Module):
    """A model with a module under two names, one inside a list, a cell and a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = nn.GRU(D, H, bidirectional=True)
        self.upper = nn.ModuleList([nn.LSTM(2 * H, H), nn.Linear(H, H)])
        self.shared = nn.RNN(H, H)
        self.again = self.shared
        self.step = nn.GRUCell(H, H)
        self.own = Derived(H, H)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lower(x)
        y, _ = self.upper[0](y)
        y, _ = self.shared(self.upper[1](y))
        y, _ = self.again(y)
        y, _ = self.own(y)
        return self.step(y[-1])


class Derived(nn.LSTM):
    pass


CELL = (
    "GRUCell is one step of a loop that the model's own code runs, and for one step torch's "
    "kernel is the faster; ur.from_torch(cell) is the GRU that runs the loop as well"
)
SUBCLASS = (
    "Derived is a subclass of torch.nn.LSTM, whose methods may differ; derive it from "
    "unrolled.LSTM instead"
)


def test_a_model_and_back() -> None:
    model = Tagger()
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    x = random(STEPS, B, D)
    expected = model(x)

    report = ur.convert(model, backend="reference")
    assert report.replaced == ("lower", "upper.0", "shared")
    assert report.left == {"step": CELL, "own": SUBCLASS}
    assert str(report) == (
        f"replaced: lower, upper.0, shared\nleft as they are:\n  step: {CELL}\n  own: {SUBCLASS}"
    )
    assert dict(model.named_modules()) == modules
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert [type(m) for m in (model.lower, model.upper[0], model.shared)] == [
        ur.GRU, ur.LSTM, ur.RNN
    ]  # fmt: skip
    assert model.again is model.shared
    assert "backend 'reference'" in modules["lower"].explain()  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(model(x), expected, rtol=0, atol=rounding(5, STEPS, B, 1.0))

    report = ur.revert(model)
    assert report.replaced == ("lower", "upper.0", "shared")
    assert report.left == {}
    assert [type(m) for m in (model.lower, model.upper[0], model.shared)] == [
        nn.GRU, nn.LSTM, nn.RNN
    ]  # fmt: skip
    assert repr(model) == repr(Tagger())
    assert vars(model.shared).keys() == vars(nn.RNN(H, H)).keys()
    assert torch.equal(model(x), expected)


def test_the_model_itself_and_nothing() -> None:
    model = nn.LSTM(D, H)
    report = ur.convert(model)
    assert (report.replaced, report.left) == (("",), {})
    assert type(model) is ur.LSTM
    assert str(report) == "replaced: the model itself"
    assert str(ur.convert(nn.Linear(2, 3))) == "replaced: nothing"
    assert str(ur.convert(model)) == (
        "replaced: nothing\nleft as they are:\n"
        "  the model itself: LSTM is one of Unrolled's already"
    )


def test_revert_leaves_what_is_no_torch_module() -> None:
    class Mine(ur.LSTM):
        pass

    model = nn.ModuleDict(
        {"a": ur.Recurrent(cells.lstm, D, H), "b": Mine(D, H), "c": nn.GRU(D, H), "d": ur.GRU(D, H)}
    )
    report = ur.revert(model)
    assert report.replaced == ("d",)
    assert report.left == {
        "a": "Recurrent names its parameters as its cell does, and takes and returns its states as "
        "a tuple; put ur.to_torch(module) in its place and adapt the call",
        "b": "Mine is a subclass of unrolled.LSTM, whose methods may differ; derive it from "
        "torch.nn.LSTM instead",
    }


def test_training_goes_on_as_it_would_have() -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.GRU(D, H, 2, dtype=torch.float64))
    theirs = copy.deepcopy(ours)
    rate, momentum, steps = 0.01, 0.9, 4
    optimizers = {m: torch.optim.SGD(m.parameters(), rate, momentum) for m in (ours, theirs)}
    x = random(STEPS, B, D)
    for step in range(steps):
        if step == steps // 2:
            ur.convert(ours, backend="reference")
        for model, optimizer in optimizers.items():
            optimizer.zero_grad()
            model(x)[0].square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        # A gradient enters the updates after it, times the rate and at most 1 / (1 - momentum).
        bound = steps * rate / (1 - momentum) * rounding(2, STEPS, B, 1.0)
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


def test_flags_hooks_and_state_dict_stay() -> None:
    model = nn.Sequential(nn.GRU(D, H), nn.Identity())
    gru = model[0]
    gru.eval()
    gru.weight_ih_l0.requires_grad_(False)
    seen: list[nn.Module] = []
    handle = gru.register_forward_hook(lambda module, *_: seen.append(module))
    before = model.state_dict()
    ur.convert(model)
    assert (gru.training, model.training, gru.weight_ih_l0.requires_grad) == (False, True, False)
    assert list(model.state_dict()) == list(before)
    model(torch.randn(STEPS, B, D))
    handle.remove()
    model(torch.randn(STEPS, B, D))
    assert seen == [gru]


@pytest.mark.parametrize(
    "how",
    [
        parametrizations.weight_norm,
        parametrizations.orthogonal,
        pytest.param(
            torch.nn.utils.weight_norm,
            marks=pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning"),
        ),
        lambda module, name: prune.random_unstructured(module, name, 0.3),
    ],
    ids=["weight_norm", "orthogonal", "old weight_norm", "prune"],
)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_parametrized_weights(how: Any, backend: str) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(D, H, dtype=torch.float64)
    how(gru, "weight_hh_l0")
    names = [name for name, _ in gru.named_parameters()]
    x = random(STEPS, B, D)

    def gradients() -> list[Tensor]:
        y = gru(x)[0]
        return [y, *torch.autograd.grad(y.square().sum(), list(gru.parameters()))]

    expected = gradients()
    assert ur.convert(gru, backend).replaced == ("",)
    assert isinstance(gru, ur.GRU)
    assert [name for name, _ in gru.named_parameters()] == names
    magnitude = max(v.detach().abs().max().item() for v in expected)
    # The parametrization counts as one more layer, there and back.
    bound = rounding(2, STEPS, B, magnitude)
    for a, b in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)
    assert ur.revert(gru).replaced == ("",)
    assert not isinstance(gru, ur.GRU)
    assert all(map(torch.equal, gradients(), expected))


def test_a_parametrization_can_be_removed_and_the_module_copied_after() -> None:
    gru = nn.GRU(D, H)
    parametrizations.weight_norm(gru, "weight_hh_l0")
    ur.convert(gru)
    assert repr(type(gru)).endswith("ParametrizedGRU'>")
    twin = copy.deepcopy(gru)
    assert isinstance(twin, ur.GRU)
    x = torch.randn(STEPS, B, D)
    y, _ = gru(x)
    assert torch.equal(twin(x)[0], y)
    parametrize.remove_parametrizations(gru, "weight_hh_l0")
    assert type(gru) is ur.GRU
    assert torch.equal(gru(x)[0], y)


def test_a_converted_model_is_copied_and_pickled_like_one_that_was_built_so() -> None:
    model = nn.Sequential(nn.LSTM(D, H, dtype=torch.float64))
    ur.convert(model, backend="reference")
    x = random(STEPS, B, D)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other[0]) is ur.LSTM
        assert other[0].backend == "reference"
        assert torch.equal(other(x)[0], model(x)[0])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantized_and_scripted_modules_are_left() -> None:
    model = nn.ModuleDict({"q": dynamic.GRU(D, H), "s": torch.jit.script(nn.LSTM(D, H))})
    report = ur.convert(model)
    assert report.replaced == ()
    assert report.left == {
        "q": "GRU of torch.ao.nn.quantized.dynamic.modules.rnn is made for quantization, "
        "and ours computes in floating point; convert the float module instead",
        "s": "LSTM was compiled by torch.jit; convert the module before it is scripted",
    }


@pytest.mark.parametrize("function", [ur.convert, ur.revert])
def test_what_is_no_module_is_refused(function: Any) -> None:
    with pytest.raises(TypeError) as caught:
        function({"a": nn.LSTM(D, H)})
    assert str(caught.value) == f"{function.__name__}: expected a torch.nn.Module, got a dict"


def test_an_unknown_backend_changes_nothing() -> None:
    model = nn.GRU(D, H)
    with pytest.raises(ValueError, match="backend 'fast': expected one of auto, torch, "):
        ur.convert(model, backend="fast")
    assert type(model) is nn.GRU
