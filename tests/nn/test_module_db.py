"""The drop-ins on the inputs that PyTorch tests its own modules with, on every backend.

Of its cells, on what ``from_torch`` makes of them: the layer over a sequence of one step.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import unrolled as ur
from layer_samples import results, rounding, tensors
from module_db import MODULES, Sample, samples
from unrolled.backends.cpu.build import compiler

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
BACKENDS = ("auto", "torch", "reference", pytest.param("cpu", marks=needs_compiler))


@pytest.fixture(scope="module")
def torchs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Sample]]:
    return samples(tmp_path_factory.mktemp("module_db") / "samples.pt")


def pair(name: str, sample: Sample, backend: str) -> tuple[Any, Any]:
    """Torch's module and ours of the same parameters; both are called as torch's is."""
    torch.manual_seed(1)
    theirs = getattr(nn, name)(*sample.arguments, **sample.options, dtype=torch.float64)
    ours = ur.from_torch(theirs, backend)
    return theirs, OneStep(ours) if name.endswith("Cell") else ours


class OneStep(nn.Module):
    """A layer called as torch's cell is: one step for one example."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        _, state = self.layer(x[None], rows(hx))
        return state[0] if isinstance(state, Tensor) else tuple(s[0] for s in state)


def rows(state: Any) -> Any:
    return state[None] if isinstance(state, Tensor) else state and tuple(s[None] for s in state)


def leaves(inputs: tuple[Any, ...]) -> list[Tensor]:
    """The tensors of the inputs that take gradients."""
    found: list[Tensor] = []
    for given in inputs:
        found += [t for t in tensors(given) if t.requires_grad]
    return found


def outputs(result: Any) -> tuple[Any, Any]:
    """What a layer returns, or a cell, as outputs and states."""
    if isinstance(result, tuple) and isinstance(result[1], tuple):
        return result[0], result[1]
    return (result, ()) if isinstance(result, Tensor) else (result[0], result[1:])


def n_steps(x: Tensor | PackedSequence) -> int:
    return len(x.batch_sizes) if isinstance(x, PackedSequence) else len(x)


def test_torch_has_samples_of_each(torchs: dict[str, list[Sample]]) -> None:
    assert torchs.keys() == {*MODULES}
    assert {name: len(found) for name, found in torchs.items() if len(found) < 16} == {
        "RNNCell": 3, "GRUCell": 2, "LSTMCell": 2
    }  # fmt: skip
    for name in ("RNN", "GRU"):
        assert any(isinstance(s.inputs[0], PackedSequence) for s in torchs[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODULES)
def test_outputs_and_gradients_are_torchs(
    name: str, backend: str, torchs: dict[str, list[Sample]]
) -> None:
    for sample in torchs[name]:
        theirs, ours = pair(name, sample, backend)
        sources = leaves(sample.inputs)
        expected = results(lambda m=theirs, s=sample: outputs(m(*s.inputs)), sources, theirs)
        # Ours has the same parameters; those of a cell stand under its names.
        found = results(lambda m=ours, s=sample: outputs(m(*s.inputs)), sources, theirs)
        bound = rounding(2, n_steps(sample.inputs[0]), 5, expected.magnitude)
        found.assert_equal(expected, bound)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODULES)
def test_second_derivatives_are_torchs(
    name: str, backend: str, torchs: dict[str, list[Sample]]
) -> None:
    for sample in torchs[name]:
        theirs, ours = pair(name, sample, backend)
        wanted = [*leaves(sample.inputs), *theirs.parameters()]
        expected, found = (second_derivatives(m, sample, wanted) for m in (theirs, ours))
        magnitude = max(g.abs().max().item() for g in expected)
        # Through both passes of both layers there and back: as of four layers.
        bound = rounding(4, n_steps(sample.inputs[0]), 5, magnitude)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=bound)


def second_derivatives(module: nn.Module, sample: Sample, wanted: list[Tensor]) -> list[Tensor]:
    """Derivatives of a random sum of first ones, by what was wanted and by the cotangents."""
    y, final = outputs(module(*sample.inputs))
    values = [tensors(y)[0], *tensors(final)]
    generator = torch.Generator().manual_seed(0)

    def random_like(t: Tensor) -> Tensor:
        return torch.randn(t.shape, generator=generator, dtype=t.dtype)

    cotangents = [random_like(v).requires_grad_() for v in values]
    first = torch.autograd.grad(values, wanted, cotangents, create_graph=True, retain_graph=True)
    total = torch.stack([(g * random_like(g)).sum() for g in first]).sum()
    found = torch.autograd.grad(total, [*wanted, *cotangents], materialize_grads=True)
    return list(found)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODULES)
def test_second_derivatives_are_difference_quotients(
    name: str, backend: str, torchs: dict[str, list[Sample]]
) -> None:
    # The last sample of a tensor has biases, both directions and initial states.
    sample = [s for s in torchs[name] if isinstance(s.inputs[0], Tensor)][-1]
    _, module = pair(name, sample, backend)
    names = [name for name, _ in module.named_parameters()]
    x, *states = leaves(sample.inputs)

    def call(x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        given, values = others[: len(states)], others[len(states) :]
        hx = given if len(states) > 1 else others[0]
        parameters = dict(zip(names, values, strict=True))
        y, final = outputs(torch.func.functional_call(module, parameters, (x, hx)))
        return y, *tensors(final)

    arguments = (x, *states, *module.parameters())
    assert torch.autograd.gradgradcheck(call, arguments, fast_mode=True)
