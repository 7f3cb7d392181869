"""Tracing: a step function run once on proxies becomes a Graph.

Torch's own dispatch hands each function to the proxies (``__torch_function__``), so the Graph has
the user's functions, not their decompositions.  Each equation knows the line it comes from; a
value takes the name of the first local variable that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch.overrides import TorchFunctionMode

from unrolled import functions as functions
from unrolled import sizes
from unrolled.builder import Builder
from unrolled.errors import CellError, Location
from unrolled.ir import Graph, Output, Var, n_elements
from unrolled.locations import signature_location
from unrolled.proxy import Proxy
from unrolled.returned import unpack
from unrolled.tracer import Tracer

if TYPE_CHECKING:
    from unrolled.cell import Cell
    from unrolled.specs import ParamSpec

RANDOM = {
    "rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "randperm", "normal",
    "bernoulli", "multinomial", "poisson", "binomial", "dropout", "dropout_", "dropout1d",
    "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "rrelu",
    "rrelu_", "gumbel_softmax", "random_", "uniform_", "normal_", "bernoulli_", "exponential_",
    "cauchy_", "log_normal_", "geometric_",
}  # fmt: skip
"""Torch's functions and methods that draw random numbers."""


def trace(cell: Cell, given: Mapping[str, int], dtype: torch.dtype = torch.float32) -> Graph:
    """The equations of one step of ``cell`` at these sizes.

    ``given`` has a number for each named size (:meth:`Cell.resolve_sizes`).  Raises
    :class:`CellError` with the user's line where the function can't be compiled.
    """
    if cell.graphs:
        return _saved(cell, given)
    tracer = Tracer(cell.written.__code__)
    builder = Builder(locate=tracer.locate)
    named = {s: v if isinstance(v, sizes.Size) else sizes.named(s, v) for s, v in given.items()}
    x = Var(builder.fresh(cell.input), (named["D"],), "input")
    states = tuple(
        Var(builder.fresh(spec.name), (size,), "state")
        for spec, size in zip(cell.states, cell.state_sizes(named), strict=True)
    )
    parameters = tuple(
        Var(builder.fresh(name), shape, "parameter", per_step=False)
        for name, shape in cell.parameter_shapes(named).items()
    )
    noise = tuple(
        Var(builder.fresh(name), (size,), "input") for name, size in cell.noise_sizes(named).items()
    )
    held = {name: _held(builder, spec, named) for name, spec in cell.held.items()}

    def proxy(var: Var) -> Proxy:
        return Proxy(builder, var, dtype)

    arguments = {p.name: proxy(p) for p in (*parameters, *noise)} | {
        n: proxy(v) for n, v in held.items()
    }
    tracer.ignore({v.name for v in (x, *states, *parameters, *noise, *held.values())})
    try:
        with torch.enable_grad(), tracer, _NoRandomness(tracer):
            returned = cell.function(proxy(x), *map(proxy, states), **arguments, **cell.options)
        where = tracer.returned or cell.location
        graph = _graph(cell, builder, (x, *noise), states, parameters, returned, where)
    except CellError as error:
        problem = tracer.in_users_words(error.problem, builder)
        raise type(error)(problem, error.hint, error.location) from error.__cause__
    _check_used(cell, graph)
    if cell.composition is not None:
        graph = graph.prune()  # what the step inside computes and the one around it doesn't read
    return graph.rename(tracer.names(builder))


def _held(builder: Builder, spec: ParamSpec, given: Mapping[str, int]) -> Var:
    shape = tuple(sizes.evaluate(e, given) for e in spec.shape)
    value = float(spec.init)  # type: ignore[arg-type]
    return builder.constant([value] * n_elements(shape), shape, spec.name)


def _saved(cell: Cell, given: Mapping[str, int]) -> Graph:
    for graph in cell.graphs:
        state_sizes = tuple(v.shape[0] for v in graph.states)
        if graph.inputs[0].shape[0] == given["D"] and state_sizes == cell.state_sizes(given):
            return graph
    saved = "; ".join(", ".join(map(str, (*g.inputs, *g.states))) for g in cell.graphs)
    raise CellError(
        f"cell {cell.name} was loaded as equations for {saved}, "
        f"not for D={given['D']}, H={given['H']}",
        "equations are saved at fixed sizes; build the layer from the cell's own function instead",
    )


def _graph(
    cell: Cell,
    builder: Builder,
    inputs: tuple[Var, ...],
    states: tuple[Var, ...],
    parameters: tuple[Var, ...],
    returned: Any,
    where: Location | None,
) -> Graph:
    names = ", ".join(s.name for s in states)
    nested = f"y, ({names}{',' if len(states) == 1 else ''})"
    forms = f"`return {names}` or `return {nested}`, and a dict of further outputs if you like"

    def fail(problem: str, hint: str = forms) -> NoReturn:
        raise CellError(f"cell {cell.name}: {problem}", hint, where)

    if returned is None:
        where = cell.location
        fail("the step returned nothing")
    try:
        y, new, extras = unpack(returned, len(states))
    except ValueError as error:
        fail(str(error))

    def var(value: Any, what: str) -> Var:
        if not isinstance(value, Proxy):
            fail(
                f"{what} is of type {type(value).__name__}, expected a traced value",
                "compute what is returned from the input, the states and the parameters",
            )
        return value.value

    next_states: list[Var] = []
    for state, value in zip(states, new, strict=True):
        after = var(value, f"the new {state.name}")
        if after.dtype != "real":
            fail(
                f"the new {state.name} is the condition {after}, expected numbers",
                "torch.where(condition, 1.0, 0.0) makes numbers of it",
            )
        if after.shape != state.shape:
            fail(
                f"the state {state} came back as {after}",
                "a state keeps its shape, and is a vector; "
                f"one of another length than H is declared so: {state.name}=state('P')",
            )
        next_states.append(after)
    output = var(y, "the output")
    if len(output.shape) != 1 or output.dtype != "real":
        kind = "a condition" if output.dtype == "bool" else f"of {len(output.shape)} dimensions"
        fail(
            f"the output {output} is {kind}, expected one vector of numbers",
            "torch.cat, .flatten() and torch.where(condition, 1.0, 0.0) make one",
        )
    outputs = [Output("y", output)]
    for name, value in extras.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "y":
            fail(
                f"a further output is called {name!r}",
                "a name is an identifier, and y is the output itself",
            )
        outputs.append(Output(name, var(value, f"the output {name}")))
    return Graph(
        cell.name, inputs, states, parameters, tuple(builder.constants), (),
        tuple(builder.equations), tuple(next_states), tuple(outputs),
    )  # fmt: skip


def _check_used(cell: Cell, graph: Graph) -> None:
    used = set(graph.results)
    for equation in reversed(graph.equations):
        if equation.out in used:
            used.update(equation.inputs)
    for parameter in (*graph.parameters, *graph.inputs[1:]):
        if parameter not in used:
            kind = "parameter" if parameter.role == "parameter" else "noise"
            raise CellError(
                f"cell {cell.name}: {kind} {parameter} is never used",
                f"it would be {_WASTED[kind]}: use it, or take it out of the signature",
                signature_location(cell.written, parameter.name),
            )


_WASTED = {"parameter": "stored and never trained", "noise": "drawn for nothing"}


class _NoRandomness(TorchFunctionMode):
    """Refuses random numbers: a trace would draw them once and freeze them."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in RANDOM:
            raise CellError(
                f"{name} draws random numbers, which the compiled step would draw only once",
                "declare it, m=noise('H', p=0.1), or draw outside and pass it in with the input",
                self._tracer.locate(),
            )
        return func(*args, **(kwargs or {}))
