"""Tracing: a step function run once on proxies becomes a Graph.

Torch's own dispatch hands each function to the proxies (``__torch_function__``), so the Graph has
the user's functions, not their decompositions.  Each equation knows the line it comes from; a
value takes the name of the first local variable that holds it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch.overrides import TorchFunctionMode

from unrolled import functions as functions
from unrolled import sizes
from unrolled.builder import Builder
from unrolled.errors import CellError, Location
from unrolled.ir import Graph, Output, Var, n_elements, number
from unrolled.locations import frame_location, is_users, signature_location
from unrolled.proxy import Proxy
from unrolled.returned import unpack

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

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@", "lt": "<", "le": "<=", "gt": ">",
    "ge": ">=", "eq": "==", "ne": "!=", "logical_and": "&", "logical_or": "|",
}  # fmt: skip


def trace(cell: Cell, given: Mapping[str, int], dtype: torch.dtype = torch.float32) -> Graph:
    """The equations of one step of ``cell`` at these sizes.

    ``given`` has a number for each named size (:meth:`Cell.resolve_sizes`).  Raises
    :class:`CellError` with the user's line where the function can't be compiled.
    """
    if cell.graphs:
        return _saved(cell, given)
    tracer = _Tracer(cell.function.__code__)
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
    held = {name: _held(builder, spec, named) for name, spec in cell.held.items()}

    def proxy(var: Var) -> Proxy:
        return Proxy(builder, var, dtype)

    arguments = {p.name: proxy(p) for p in parameters} | {n: proxy(v) for n, v in held.items()}
    tracer.ignore({v.name for v in (x, *states, *parameters, *held.values())})
    try:
        with tracer, _NoRandomness(tracer):
            returned = cell.function(proxy(x), *map(proxy, states), **arguments, **cell.options)
        where = tracer.returned or cell.location
        graph = _graph(cell, builder, x, states, parameters, returned, where)
    except CellError as error:
        problem = tracer.in_users_words(error.problem, builder)
        raise type(error)(problem, error.hint, error.location) from error.__cause__
    _check_used(cell, graph)
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
    x: Var,
    states: tuple[Var, ...],
    parameters: tuple[Var, ...],
    returned: Any,
    where: Location | None,
) -> Graph:
    names = ", ".join(s.name for s in states)
    nested = f"y, ({names}{',' if len(states) == 1 else ''})"
    forms = f"return {names}, or {nested}; a dict of further outputs may stand at the end"

    def fail(problem: str, hint: str = forms) -> NoReturn:
        raise CellError(f"cell {cell.name}: {problem}", hint, where)

    if returned is None:
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
        cell.name, (x,), states, parameters, tuple(builder.constants), (), tuple(builder.equations),
        tuple(next_states), tuple(outputs),
    )  # fmt: skip


def _check_used(cell: Cell, graph: Graph) -> None:
    used = set(graph.results)
    for equation in reversed(graph.equations):
        if equation.out in used:
            used.update(equation.inputs)
    for parameter in graph.parameters:
        if parameter not in used:
            raise CellError(
                f"cell {cell.name}: parameter {parameter} is never used",
                "it would be stored and never trained: use it, or take it out of the signature",
                signature_location(cell.function, parameter.name),
            )


class _Tracer:
    """Watches the user's frames: where an equation comes from, and what its values are called.

    Names are read whenever an equation is made, and when a function returns (by a profile hook,
    which is put back afterwards).  Under a profiler of C code, which can't be put back from Python,
    values that are named last stay unnamed.
    """

    def __init__(self, step: CodeType) -> None:
        self.returned: Location | None = None
        self._step = step
        self._names: dict[str, str] = {}
        self._ignored: set[str] = set()
        self._outer: Any = None

    def ignore(self, names: set[str]) -> None:
        self._ignored = names

    def __enter__(self) -> _Tracer:
        self._outer = sys.getprofile()
        if self._outer is None or callable(self._outer):
            sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        if self._outer is None or callable(self._outer):
            sys.setprofile(self._outer)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and is_users(frame):
            self._read_names(frame)
            if frame.f_code is self._step:
                self.returned = frame_location(frame)

    def _read_names(self, frame: FrameType) -> None:
        for name, value in frame.f_locals.items():
            if isinstance(value, Proxy) and name.isidentifier() and name != "_":
                provisional = value.value.name
                if provisional not in self._ignored:
                    self._names.setdefault(provisional, name)

    def locate(self) -> Location | None:
        """The user's innermost line, reading its local names on the way."""
        frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame is not None and not is_users(frame):
            frame = frame.f_back
        if frame is None:
            return None
        self._read_names(frame)
        return frame_location(frame)

    def in_users_words(self, text: str, builder: Builder) -> str:
        """A message with the user's names, or how it was computed, for values like ``v7[H]``."""
        made = {e.out.name: e for e in builder.equations}

        def spelled(name: str, depth: int) -> str:
            if name in self._names or name not in made:
                return self._names.get(name, name)
            equation = made[name]
            if equation.op in ("reshape", "broadcast"):
                return spelled(equation.inputs[0].name, depth)
            if not depth:
                return "…"
            args = [
                spelled(a.name, depth - 1) if isinstance(a, Var) else number(a)
                for a in equation.args
            ]
            infix = _INFIX.get(equation.op)
            return f"({f' {infix} '.join(args)})" if infix else f"{equation.op}({', '.join(args)})"

        return re.sub(r"\bv\d+(?=\[)", lambda found: spelled(found[0], 3), text)

    def names(self, builder: Builder) -> dict[str, str]:
        """From provisional names to the user's, each once; the rest numbered anew."""
        taken = set(self._ignored) | {c.var.name for c in builder.constants}
        mapping: dict[str, str] = {}
        unnamed: list[str] = []
        for equation in builder.equations:
            provisional = equation.out.name
            wanted = self._names.get(provisional)
            if wanted is None:
                unnamed.append(provisional)
                continue
            name, n = wanted, 0
            while name in taken:
                n += 1
                name = f"{wanted}_{n}"
            mapping[provisional] = name
            taken.add(name)
        numbers: Iterator[str] = (f"v{k}" for k in range(1, 10**9))
        free = (name for name in numbers if name not in taken)
        mapping.update(zip(unnamed, islice(free, len(unnamed)), strict=True))
        return mapping


class _NoRandomness(TorchFunctionMode):
    """Refuses random numbers: a trace would draw them once and freeze them."""

    def __init__(self, tracer: _Tracer) -> None:
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
                "draw them outside and pass them in with the input",
                self._tracer.locate(),
            )
        return func(*args, **(kwargs or {}))
