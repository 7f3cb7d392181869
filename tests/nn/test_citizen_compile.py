"""Layers under torch.compile and torch.export: one operator a direction, whatever the call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.func import vmap

import unrolled as ur
from citizen_samples import (
    LENGTHS,
    SAMPLES,
    B,
    D,
    H,
    Sample,
    T,
    assert_close,
    filled,
    squares,
    tensors,
)
from unrolled import cells

# Torch's own use of what it has itself deprecated.
pytestmark = [
    pytest.mark.filterwarnings(w)
    for w in (
        "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
        "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning",
    )
]

SRC = Path(__file__).parents[2] / "src"
LAYERS = {name: sample for name, sample in SAMPLES.items() if name != "noisy"}
each = pytest.mark.parametrize("sample", LAYERS.values(), ids=LAYERS)


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """Dynamo takes no subclass of ``torch.nn``'s recurrent modules without ``allow_rnn``."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):  # pyright: ignore
        yield


class Counter:
    """A compiler of torch's that keeps the graphs that it is given."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, example: list[Tensor]) -> Any:
        self.graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, example)

    def sizes(self) -> list[int]:
        return [len(list(graph.graph.nodes)) for graph in self.graphs]


def gradients(run: Any, layer: nn.Module, x: Tensor, given: dict[str, Any]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_(), *layer.parameters()]
    found = run(leaves[0], **given)
    d = torch.autograd.grad(squares(found), leaves, allow_unused=True)
    return [*tensors(found), *filled(d, leaves)]


@each
def test_the_graph_is_as_large_for_any_number_of_steps(sample: Sample) -> None:
    """Compile time goes with it; without a break, and what it computes is what eager computes."""
    layer = sample.layer()
    sizes: list[list[int]] = []
    for steps in (8, 512):
        torch._dynamo.reset()
        counter = Counter()
        compiled = torch.compile(layer, fullgraph=True, dynamic=False, backend=counter)
        x, given = sample.call(layer, steps)
        found = gradients(compiled, layer, x, given)
        if steps == 8:
            assert_close(found, gradients(layer, layer, x, given))
        sizes.append(counter.sizes())
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == 1


@pytest.mark.parametrize("name", ["resets", "all at once", "checkpoint, even", "LSTM"])
def test_one_graph_for_every_length_and_batch(name: str) -> None:
    sample = SAMPLES[name]
    layer, counter = sample.layer(), Counter()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    compiled_once = 0
    for steps, batch in ((T, B), (12, 4), (60, 7)):
        x, given = sample.call(layer, steps, batch)
        with torch.no_grad():
            assert_close(tensors(compiled(x, **given)), tensors(layer(x, **given)), steps=steps)
        compiled_once = compiled_once or len(counter.graphs)
    assert len(counter.graphs) == compiled_once


def test_noise_is_drawn_in_training_alone() -> None:
    layer = SAMPLES["noisy"].layer()
    x, _ = SAMPLES["noisy"].call(layer)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert not torch.equal(compiled(x)[0], compiled(x)[0])
    layer.eval()
    assert_close([compiled(x)[0]], [layer(x)[0]])


@pytest.mark.parametrize("make", [lambda: ur.Recurrent(cells.gru, D, H), lambda: ur.LSTM(D, H)])
def test_under_autocast_in_the_parameters_dtype(make: Any) -> None:
    layer = make()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(T, B, D)
    plain = layer(x.bfloat16().float())[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = compiled(x.bfloat16())[0]
    assert y.dtype == torch.float32
    assert_close([y], [plain])


def test_gradients_of_each_example_are_compiled_too() -> None:
    layer = ur.Recurrent(cells.gru, D, H, dtype=torch.float64)
    parameters: dict[str, Tensor] = dict(layer.named_parameters())
    x = torch.randn(B, T, D, dtype=torch.float64)

    def loss(p: dict[str, Tensor], x: Tensor, n: Tensor) -> Tensor:
        one = torch.func.functional_call(layer, p, (x.unsqueeze(1),), {"lengths": n.unsqueeze(0)})
        return squares(one)

    of_each = vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    compiled = torch.compile(of_each, fullgraph=True, backend="aot_eager")
    found, expected = (f(parameters, x, LENGTHS) for f in (compiled, of_each))
    assert_close(list(found.values()), list(expected.values()))


def test_a_compiled_layer_has_no_second_derivatives_and_says_so() -> None:
    """Torch's own limit and words."""
    compiled = torch.compile(ur.Recurrent(cells.gru, D, H), fullgraph=True, backend="aot_eager")
    x = torch.randn(T, B, D, requires_grad=True)
    (d,) = torch.autograd.grad(compiled(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        d.sum().backward()


# --- exported programs


class Called(nn.Module):
    """A layer whose further outputs are chosen; a program's arguments are tensors."""

    layer: Any

    def __init__(self, layer: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.layer = layer
        self.outputs = outputs

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> Any:
        more: dict[str, Any] = {"outputs": self.outputs} if self.outputs else {}
        return self.layer(x, lengths=lengths, resets=resets, **more)


def exported(sample: Sample, strict: bool) -> tuple[Called, torch.export.ExportedProgram]:
    layer = sample.layer()
    module = Called(layer, sample.outputs)
    x, given = sample.call(layer)
    tensors_given = {n: v for n, v in given.items() if isinstance(v, Tensor)}
    steps, batch = Dim("steps", min=1), Dim("batch", min=1)
    over = {0: batch, 1: steps} if layer.batch_first else {0: steps, 1: batch}
    ways = {"x": over, "lengths": {0: batch}, "resets": over}
    dynamic = {n: ways[n] for n in ("x", *tensors_given)}
    program = torch.export.export(
        module, (x,), tensors_given, dynamic_shapes=dynamic, strict=strict
    )
    return module, program


STRICT = ("all at once", "a cell for each layer", "LSTM")


@pytest.mark.parametrize(
    ("name", "strict"), [*((n, False) for n in LAYERS), *((n, True) for n in STRICT)]
)
def test_exported_with_any_time_and_batch(name: str, strict: bool) -> None:
    sample = SAMPLES[name]
    module, program = exported(sample, strict)
    for steps, batch in ((T, B), (30, 7)):
        x, given = sample.call(module.layer, steps, batch)
        given = {n: v for n, v in given.items() if isinstance(v, Tensor)}
        found = gradients(program.module(), module, x, given)
        leaves = gradients(module, module, x, given)
        n_results = len(tensors(module(x, **given)))
        assert_close(found[: n_results + 1], leaves[: n_results + 1], steps=steps, batch=batch)


LOADS = """
import sys, torch, unrolled
program = torch.export.load(sys.argv[1]).module()
x, given, expected = torch.load(sys.argv[2])
found = torch.utils._pytree.tree_leaves(program(x, **given))
for a, b in zip(found, expected, strict=True):
    assert a.shape == b.shape and (a - b).abs().max() <= 1e-12, (a - b).abs().max()
"""


def test_saved_and_loaded_in_another_process(tmp_path: Path) -> None:
    """With all that a call can have; 1e-12 is more than rounding and less than any mistake."""
    sample = SAMPLES["all at once"]
    module, program = exported(sample, strict=False)
    torch.export.save(program, tmp_path / "program.pt2")
    x, given = sample.call(module.layer, 13, 4)
    given = {n: v for n, v in given.items() if isinstance(v, Tensor)}
    with torch.no_grad():
        torch.save((x, given, tensors(module(x, **given))), tmp_path / "call.pt")
    done = subprocess.run(
        [sys.executable, "-c", LOADS, tmp_path / "program.pt2", tmp_path / "call.pt"],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["plain", "all at once", "checkpoint", "LSTM"])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_is_differentiated_and_transformed_as_the_layer_is(name: str) -> None:
    sample = SAMPLES[name]
    module, program = exported(sample, strict=False)
    x, given = sample.call(module.layer)
    given = {n: v for n, v in given.items() if isinstance(v, Tensor)}
    many = torch.stack([x, -x])
    vectors = torch.tensor([1.0, 2.0], dtype=x.dtype)
    results: list[list[Tensor]] = []
    for run in (program.module(), module):

        def loss(x: Tensor, run: Any = run) -> Tensor:
            return squares(run(x, **given))

        v = x.clone().requires_grad_()
        (d,) = torch.autograd.grad(loss(v), v, create_graph=True)
        (second,) = torch.autograd.grad(d.square().sum(), v)
        (batched,) = torch.autograd.grad(loss(v), v, vectors, is_grads_batched=True)
        tangent = torch.func.jvp(loss, (x,), (torch.ones_like(x),))[1]
        results.append([d, second, batched, tangent, vmap(torch.func.grad(loss))(many)])
    for found, expected in zip(*results, strict=True):
        assert_close([found], [expected], layers=6)
