"""The operators: what torch is told of them, and compiled and exported programs that call them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx
from torch.library import opcheck

import unrolled
from oracle import agreement
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled import cell, param
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.lower import lower
from unrolled.operators import step_text
from unrolled.saved import saved

OP = torch.ops.unrolled
EVERY = {**CELLS, **TRICKY}
COMPILED = (
    "gru", "lstm", "lstm_projected", "lstm_layer_norm", "mingru", "delayed", "swapped",
    "becomes_the_input", "becomes_a_product", "one_wide", "puts_out_a_parameter",
)  # fmt: skip
RUNS = [*((name, "reference") for name in EVERY), *((name, "auto") for name in COMPILED)]
"""Each cell on the reference backend; some, since compiling takes time, on what is chosen."""

# Torch's own use of what it has itself deprecated.
TORCHS_OWN = (
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
    "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning",
)
pytestmark = [pytest.mark.filterwarnings(w) for w in TORCHS_OWN]


@cell
def keeps_a_constant(x, h, *, W=param("H", "D")):
    """Its derivative reads an array that the step has captured."""
    return torch.tanh(W @ x + h * torch.tensor([0.5, -0.25, 1.0, 0.75, -1.0]))


def problem(cell: Cell, steps: int = 4, batch: int = 3) -> agreement.Problem:
    named = {n: k for n, k in OTHER_SIZES.items() if n in cell.size_names()}
    others = {n: 4 for n in cell.size_names() if n not in ("D", "H", *named)}
    given = cell.resolve_sizes(INPUT_SIZE, HIDDEN_SIZE, **named, **others)
    return agreement.problem(cell, given, steps, batch)


def text(p: agreement.Problem) -> str:
    return step_text(p.cell.graph(p.sizes, p.x.dtype))


def operator(
    p: agreement.Problem, backend: str, tensors: dict[str, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The operator, called as a recorded program does."""
    states = [tensors[s.name] for s in p.cell.states]
    parameters = [tensors[n] for n in p.cell.parameters]
    return OP.recurrence(text(p), backend, tensors[p.cell.input], states, parameters)


def direct(
    p: agreement.Problem, backend: str, tensors: dict[str, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    states = tuple(tensors[s.name] for s in p.cell.states)
    given = {n: tensors[n] for n in p.cell.parameters}
    return unrolled.recurrence(p.cell, tensors[p.cell.input], states, given, backend)


def results(
    run: Callable[..., Any], p: agreement.Problem, backend: str, wrt: tuple[str, ...]
) -> list[Tensor | None]:
    """Output, final states and gradients of what is wanted, ``None`` for what is not reached."""
    leaves = {n: t.clone().requires_grad_(n in wrt) for n, t in p.leaves.items()}
    y, final = run(p, backend, leaves)
    loss = (y * y).sum() + sum(((k + 1) * s).sum() for k, s in enumerate(final))
    wanted = [leaves[n] for n in wrt]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True) if wanted else ()
    return [y.detach(), *(s.detach() for s in final), *gradients]


def assert_same(
    found: list[Tensor | None], expected: list[Tensor | None], tolerance: float = 1e-12
) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def subsets(p: agreement.Problem) -> Iterator[tuple[str, ...]]:
    """What gradients are taken of: nothing, all, only the input, states or parameters."""
    names = tuple(p.leaves)
    states = tuple(s.name for s in p.cell.states)
    yield from ((), names, (p.cell.input,), states, tuple(p.cell.parameters))


# --- one operator


@pytest.mark.parametrize(("name", "backend"), RUNS)
def test_the_operator_equals_the_direct_call(name: str, backend: str) -> None:
    p = problem(EVERY[name])
    for wrt in subsets(p):
        assert_same(results(operator, p, backend, wrt), results(direct, p, backend, wrt))


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("name", ["gru", "lstm", "many_outputs", "becomes_a_parameter", "delayed"])
def test_no_steps_or_no_examples(name: str, steps: int, batch: int) -> None:
    p = problem(EVERY[name], steps, batch)
    for wrt in subsets(p):
        assert_same(results(operator, p, "auto", wrt), results(direct, p, "auto", wrt))


@pytest.mark.parametrize(
    ("name", "backend"), [*RUNS, ("keeps_a_constant", "reference"), ("keeps_a_constant", "auto")]
)
def test_results_are_as_foreseen_and_share_no_memory(name: str, backend: str) -> None:
    cell = EVERY.get(name, keeps_a_constant)
    for p in (problem(cell), problem(cell, 0, 2), problem(cell, 2, 0), problem(cell, 1, 1)):
        for wrt in [w for w in subsets(p) if w]:
            given = [p.x, *p.states, *p.parameters.values()]
            wrt = tuple(n for n in wrt if n in (cell.input, *cell.parameters)) or wrt
            arguments = (text(p), wrt, backend, p.x, [*p.states], [*p.parameters.values()])
            y, final, kept = foreseen(OP.recurrence_forward, arguments, given)
            read = to_read(p, wrt, y, kept)
            arguments = (text(p), wrt, backend, read, y, final)
            (found,) = foreseen(OP.recurrence_backward, arguments, [*read, y, *final])
            assert len(found) == len(p.states) + sum(n in p.parameters for n in wrt) + (
                cell.input in wrt
            )


def to_read(
    p: agreement.Problem, wrt: tuple[str, ...], y: Tensor, kept: list[Tensor]
) -> list[Tensor]:
    plan = lower(p.cell.graph(p.sizes, p.x.dtype), ("y",), wrt)
    to_save = saved(plan)
    values = {plan.forward.graph.outputs[0].var.name: y, p.cell.input: p.x, **p.parameters}
    states = zip(p.cell.states, p.states, strict=True)
    values |= {f"initial {s.name}": t for s, t in states}
    values |= {v.name: t for v, t in zip(to_save.kept, kept, strict=True)}
    return [values[name] for name in to_save.read]


def foreseen(op: Any, arguments: tuple[Any, ...], given: list[Tensor]) -> tuple[Any, ...]:
    """The results, after they have been compared with those on fake tensors."""
    found = op(*arguments)
    found = found if isinstance(found, tuple) else (found,)
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = op(*arguments)
    fake = fake if isinstance(fake, tuple) else (fake,)
    real, expected = flat(found), flat(fake)
    assert [layout(t) for t in real] == [layout(t) for t in expected]
    own = [t.untyped_storage().data_ptr() for t in real if t.numel()]
    assert len({*own}) == len(own)
    assert not {*own} & {t.untyped_storage().data_ptr() for t in given}
    return found


def flat(values: tuple[Any, ...]) -> list[Tensor]:
    return [t for v in values for t in ([v] if isinstance(v, Tensor) else v)]


def layout(t: Tensor) -> tuple[Any, ...]:
    return t.shape, t.stride(), t.storage_offset(), t.dtype, t.device


@pytest.mark.parametrize(("steps", "batch"), [(3, 2), (0, 2), (2, 0)])
@pytest.mark.parametrize("name", ["gru", "lstm_projected", "delayed"])
def test_torch_finds_nothing_wrong(name: str, steps: int, batch: int) -> None:
    p = problem(EVERY[name], steps, batch)
    leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
    states = [leaves[s.name] for s in p.cell.states]
    parameters = [leaves[n] for n in p.parameters]
    opcheck(OP.recurrence.default, (text(p), "auto", leaves[p.cell.input], states, parameters))
    wrt = (p.cell.input, *p.parameters)
    given = (text(p), wrt, "auto", p.x, [*p.states], [*p.parameters.values()])
    opcheck(OP.recurrence_forward.default, given)
    y, final, kept = OP.recurrence_forward(*given)
    opcheck(
        OP.recurrence_backward.default,
        (text(p), wrt, "auto", to_read(p, wrt, y, kept), torch.ones_like(y), final),
    )


def test_a_state_that_is_a_shifted_output_is_not_kept() -> None:
    """An LSTM keeps its gates and its memory; the sequence of h is y's."""
    plan = lower(CELLS["lstm"].graph({"D": 5, "H": 5}), wrt=["x", "W_hh"])
    assert saved(plan).shifted["h"] == plan.forward.graph.outputs[0].var.name
    assert "h" not in {v.name for v in saved(plan).kept}


def test_second_derivatives() -> None:
    p = problem(CELLS["gru"])

    def penalty(run: Callable[..., Any]) -> tuple[Tensor, ...]:
        leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
        y, _ = run(p, "auto", leaves)
        (d_x,) = torch.autograd.grad(y.square().sum(), leaves["x"], create_graph=True)
        return torch.autograd.grad(d_x.square().sum(), [*leaves.values()])

    assert_same([*penalty(operator)], [*penalty(direct)])


def test_what_does_not_fit_is_refused() -> None:
    p = problem(CELLS["gru"])
    (h,), parameters = p.states, [*p.parameters.values()]
    cases: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        ((p.x[0], [h], parameters), ValueError, r"x must be [T, B, D], got [3, 5]"),
        ((p.x[..., 1:], [h], parameters), ValueError, "x must be [4, 3, 5], got [4, 3, 4]"),
        ((p.x, [h[1:]], parameters), ValueError, "state h must be [3, 5], got [2, 5]"),
        ((p.x, [h, h], parameters), ValueError, "expected 1 states (h), got 2"),
        ((p.x, [h.float()], parameters), TypeError, "state h is torch.float32, expected"),
        ((p.x.half(), [h], parameters), TypeError, "x is torch.float16: expected torch.float32"),
        ((p.x, [h], parameters[1:]), ValueError, "parameters (W_ih, W_hh, b_ih, b_hh), got 3"),
        ((p.x, [h], [p.x, *parameters[1:]]), ValueError, "parameter W_ih must be [15, 5]"),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind) as error:
            OP.recurrence(text(p), "auto", *arguments)
        assert message in str(error.value)
    wrt = ("x",)
    y, final, kept = OP.recurrence_forward(text(p), wrt, "auto", p.x, [h], parameters)
    read = to_read(p, wrt, y, kept)
    for given, message in [
        ((read, y[0], final), "d_y must be [T, B, size], got [3, 5]"),
        ((read, y[1:], final), "must be [3, 3, "),
        ((read[1:], y, final), f"expected {len(read)} tensors to read"),
        ((read, y, [final[0][1:]]), "d_h must be [3, 5], got [2, 5]"),
    ]:
        with pytest.raises(ValueError) as error:
            OP.recurrence_backward(text(p), wrt, "auto", *given)
        assert message in str(error.value)


# --- where torch looks on


class Network(nn.Module):
    """A cell between two other functions."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell
        values = problem(cell).parameters.items()
        self.given = nn.ParameterDict({n: nn.Parameter(v.float()) for n, v in values})

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, final = unrolled.recurrence(self.cell, 2 * x, states, dict(self.given.items()))
        return y.cos(), *final

    def inputs(self, steps: int, batch: int) -> tuple[Tensor, ...]:
        p = problem(self.cell, steps, batch)
        return tuple(t.float() for t in (p.x, *p.states))


class Counter:
    """A compiler of torch's that counts what it has compiled."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, example: list[Tensor]) -> Any:
        self.graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, example)


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch._dynamo.reset()


def gradients(run: Callable[..., Any], module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
    given = [t.clone().requires_grad_() for t in inputs]
    for copy, original in zip(given, inputs, strict=True):
        if hasattr(original, "_dynamo_dynamic_indices"):
            for axis in original._dynamo_dynamic_indices:  # pyright: ignore
                torch._dynamo.mark_dynamic(copy, axis)
    found = run(*given)
    loss = torch.stack([(k + 1) * t.square().sum() for k, t in enumerate(found)]).sum()
    return [*found, *torch.autograd.grad(loss, [*given, *module.parameters()])]


@pytest.mark.parametrize("name", ["lstm", "lstm_projected", "mingru"])
def test_compiled_without_a_break_equals_eager(name: str) -> None:
    module = Network(CELLS[name])
    counter = Counter()
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    inputs = module.inputs(4, 3)
    assert_same(
        gradients(compiled, module, inputs), gradients(module, module, inputs), tolerance=1e-5
    )
    with torch.no_grad():
        assert_same([*compiled(*inputs)], [*module(*inputs)], tolerance=1e-6)
    calls = [n for g in counter.graphs for n in g.graph.nodes if "recurrence" in str(n.target)]
    assert len(counter.graphs) == len(calls) == 2  # with and without gradients


def test_one_graph_serves_every_length_and_batch() -> None:
    module, counter = Network(CELLS["lstm"]), Counter()
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    for steps, batch in ((3, 2), (7, 4), (200, 9), (5, 3)):
        inputs = module.inputs(steps, batch)
        torch._dynamo.mark_dynamic(inputs[0], 0)
        torch._dynamo.mark_dynamic(inputs[0], 1)
        for state in inputs[1:]:
            torch._dynamo.mark_dynamic(state, 0)
        found, expected = gradients(compiled, module, inputs), gradients(module, module, inputs)
        assert_same(found, expected, tolerance=1e-4)
    assert len(counter.graphs) == 1


def test_every_cell_and_every_size_gets_its_own_graph() -> None:
    """Sizes of features are numbers in a step, and a cell is known by its identity."""
    counter = Counter()

    @torch.compile(fullgraph=True, backend=counter)
    def run(cell: Cell, x: Tensor, h: Tensor, params: dict[str, Tensor]) -> Tensor:
        return unrolled.recurrence(cell, x, (h,), params)[0]

    relu = CELLS["rnn"].bind(nonlinearity="relu")
    for a_cell, size in ((CELLS["rnn"], 5), (relu, 5), (CELLS["rnn"], 6), (relu, 7), (relu, 5)):
        p = agreement.problem(a_cell, a_cell.resolve_sizes(size, size), 4, 3)
        y, _ = unrolled.recurrence(a_cell, p.x, p.states, p.parameters)
        torch.testing.assert_close(run(a_cell, p.x, p.states[0], {**p.parameters}), y)
    assert len(counter.graphs) == 4


def test_inductor_equals_eager() -> None:
    module = Network(CELLS["gru"])
    compiled = torch.compile(module, fullgraph=True, dynamic=True)
    for steps, batch in ((4, 3), (6, 2)):
        inputs = module.inputs(steps, batch)
        found, expected = gradients(compiled, module, inputs), gradients(module, module, inputs)
        assert_same(found, expected, tolerance=1e-5)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_compiles_without_a_break(batch_first: bool) -> None:
    module = unrolled.Recurrent(
        CELLS["lstm"], 5, 6, num_layers=2, bidirectional=True, batch_first=batch_first
    )
    counter = Counter()
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    for steps, batch in ((4, 3), (7, 5)):
        x = torch.randn(*((batch, steps) if batch_first else (steps, batch)), 5)
        torch._dynamo.mark_dynamic(x, 0)
        torch._dynamo.mark_dynamic(x, 1)

        def run(layer: Any, x: Tensor = x) -> list[Tensor]:
            y, (h, c) = layer(x)
            loss = y.square().sum() + h.sum() + c.square().sum()
            return [y, h, c, *torch.autograd.grad(loss, [*module.parameters()])]

        assert_same([*run(compiled)], [*run(module)], tolerance=1e-4)
    assert len(counter.graphs) == 1


def test_a_wrong_call_says_so_while_it_is_compiled() -> None:
    p = problem(CELLS["gru"])

    @torch.compile(fullgraph=True, backend="eager")
    def run(params: dict[str, Tensor], checkpoint: int | None = None) -> Tensor:
        return unrolled.recurrence(p.cell, p.x, p.states, params, checkpoint=checkpoint)[0]

    with pytest.raises(
        Exception, match=r"got x of 3 dimensions, 1 state.* and the parameters W_ih"
    ):
        run({"W_ih": p.parameters["W_ih"]})
    with pytest.raises(Exception, match="checkpoint=0: expected 'sqrt' or the number of steps"):
        run({**p.parameters}, 0)


def test_fake_tensors_get_fake_results() -> None:
    p = problem(CELLS["lstm"])
    with FakeTensorMode() as mode:
        x, *states = (mode.from_tensor(t) for t in (p.x, *p.states))
        params = {n: mode.from_tensor(t) for n, t in p.parameters.items()}
        y, final = unrolled.recurrence(p.cell, x, states, params)
    assert [t.shape for t in (y, *final)] == [(4, 3, 5), (3, 5), (3, 5)]


def test_a_recorded_program_calls_one_operator() -> None:
    p = problem(CELLS["lstm"])

    def run(x: Tensor) -> Tensor:
        return unrolled.recurrence(p.cell, x, p.states, p.parameters)[0]

    make = make_fx(run, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    recorded = make(p.x)
    calls = [str(n.target) for n in recorded.graph.nodes if n.op == "call_function"]
    assert [c for c in calls if "getitem" not in c and "sym_size" not in c] == [
        "unrolled.recurrence.default"
    ]
    longer = problem(p.cell, 9).x
    torch.testing.assert_close(recorded(longer), run(longer))


# --- exported programs


def exported(module: Network, strict: bool) -> torch.export.ExportedProgram:
    steps, batch = Dim("steps", min=1), Dim("batch", min=1)
    states = [{0: batch} for _ in module.cell.states]
    return torch.export.export(
        module, module.inputs(4, 3), strict=strict,
        dynamic_shapes={"x": {0: steps, 1: batch}, "states": tuple(states)},
    )  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_runs_and_learns(strict: bool) -> None:
    module = Network(CELLS["lstm_projected"])
    program = exported(module, strict)
    for steps, batch in ((4, 3), (9, 1), (1, 6)):
        inputs = module.inputs(steps, batch)
        loaded = program.module()
        found, expected = gradients(loaded, loaded, inputs), gradients(module, module, inputs)
        assert_same(found, expected, tolerance=1e-5)
    lowered = program.run_decompositions({})
    calls = {str(n.target) for n in lowered.graph.nodes if n.op == "call_function"}
    assert "unrolled.recurrence.default" in calls
    assert not any("recurrence_forward" in c or "sigmoid" in c for c in calls)


def test_a_layer_exports_with_any_length_and_batch() -> None:
    module = unrolled.Recurrent(CELLS["gru"], 5, 6, num_layers=2, dropout=0.5).eval()
    shapes = {"x": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}}
    program = torch.export.export(module, (torch.randn(7, 3, 5),), dynamic_shapes=shapes)
    x = torch.randn(9, 2, 5)
    torch.testing.assert_close(program.module()(x), module(x))


def test_another_process_runs_a_program_without_the_cells_source(tmp_path: Path) -> None:
    module = Network(TRICKY["many_outputs"])
    torch.export.save(exported(module, strict=False), tmp_path / "program.pt2")
    inputs = module.inputs(6, 2)
    torch.save(inputs, tmp_path / "inputs.pt")
    code = (
        "import torch, unrolled\n"
        "found = torch.export.load('program.pt2').module()(*torch.load('inputs.pt'))\n"
        "torch.save(found, 'found.pt')\n"
        "import sys; assert 'tricky_cells' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert_same([*torch.load(tmp_path / "found.pt")], [*module(*inputs)], tolerance=1e-6)
