"""Tracing: a step function run once on proxies becomes a Graph.

Torch's own dispatch hands each function to the proxies (``__torch_function__``), so the Graph has
the user's functions, not their decompositions.  Each equation knows the line it comes from; a
value takes the name of the first local variable that holds it.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from unrolled import functions as functions
from unrolled import sizes
from unrolled.builder import Builder
from unrolled.errors import CellError, Location
from unrolled.ir import Graph, Output, Var, n_elements
from unrolled.proxy import Proxy
from unrolled.returned import unpack

if TYPE_CHECKING:
    from unrolled.cell import Cell, ParamSpec

_PACKAGE = Path(__file__).parent
_USER_FILES = {str(_PACKAGE / "combinators.py")}
_USER_FOLDER = str(_PACKAGE / "cells")
_TORCH = str(Path(torch.__file__).parent)
_STANDARD = sysconfig.get_path("stdlib")
_INSTALLED = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))

RANDOM = {
    "rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "randperm", "normal",
    "bernoulli", "multinomial", "poisson", "dropout", "alpha_dropout", "feature_alpha_dropout",
    "rrelu", "gumbel_softmax", "uniform_", "normal_", "bernoulli_", "exponential_",
}  # fmt: skip


def trace(cell: Cell, given: Mapping[str, int], dtype: torch.dtype = torch.float32) -> Graph:
    """The equations of one step of ``cell`` at these sizes.

    ``given`` has a number for each named size (:meth:`Cell.resolve_sizes`).  Raises
    :class:`CellError` with the user's line where the function can't be compiled.
    """
    if cell.graphs:
        return _saved(cell, given)
    tracer = _Tracer()
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
    with tracer, _NoRandomness(tracer):
        returned = cell.function(proxy(x), *map(proxy, states), **arguments, **cell.options)
    graph = _graph(cell, builder, x, states, parameters, returned)
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
) -> Graph:
    where = cell.location
    expected = f"{len(states)} new state(s) ({', '.join(s.name for s in states)})"
    forms = "return h, or (h, c), or (y, (h, c)), each with an optional dict of further outputs"
    try:
        y, new, extras = unpack(returned, len(states))
    except ValueError as error:
        came = str(error).split()[0]
        raise CellError(
            f"cell {cell.name} returned {came}, expected {expected}", forms, where
        ) from None

    def var(value: Any, what: str) -> Var:
        if not isinstance(value, Proxy):
            kind = type(value).__name__
            raise CellError(
                f"cell {cell.name}: {what} is a {kind} that was not computed from its arguments",
                f"return values computed from the input, the states and the parameters; {forms}",
                where,
            )
        return value.var

    next_states: list[Var] = []
    for state, value in zip(states, new, strict=True):
        after = var(value, f"the new {state.name}")
        if after.shape != state.shape or after.dtype != "real":
            raise CellError(
                f"cell {cell.name}: the state {state} came back as {after}",
                f"a state keeps its shape; one of another length than H is {state.name}=state('P')",
                where,
            )
        next_states.append(after)
    output = var(y, "the output")
    if len(output.shape) != 1:
        raise CellError(
            f"cell {cell.name}: the output {output} has {len(output.shape)} dimensions, expected 1",
            "return one vector a step, e.g. by torch.cat or .flatten()",
            where,
        )
    outputs = [Output("y", output)]
    outputs += [Output(str(name), var(value, f"output {name!r}")) for name, value in extras.items()]
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
                cell.location,
            )


class _Tracer:
    """Watches the user's frames: where an equation comes from, and what its values are called.

    Names are read whenever an equation is made, and when a function returns (by a profile hook,
    which is put back afterwards).
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._ignored: set[str] = set()
        self._outer: Any = None

    def ignore(self, names: set[str]) -> None:
        self._ignored = names

    def __enter__(self) -> _Tracer:
        self._outer = sys.getprofile()
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._outer)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and _is_users(frame):
            self._read_names(frame)

    def _read_names(self, frame: FrameType) -> None:
        for name, value in frame.f_locals.items():
            if isinstance(value, Proxy) and name.isidentifier() and name != "_":
                provisional = value.var.name
                if provisional not in self._ignored:
                    self._names.setdefault(provisional, name)

    def locate(self) -> Location | None:
        """The user's innermost line, reading its local names on the way."""
        frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame is not None and not _is_users(frame):
            frame = frame.f_back
        if frame is None:
            return None
        self._read_names(frame)
        return _location(frame)

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


def _is_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file in _USER_FILES or file.startswith(_USER_FOLDER):
        return True
    if file.startswith((str(_PACKAGE), _TORCH, "<frozen")):
        return False
    return not file.startswith(_STANDARD) or file.startswith(_INSTALLED)


def _location(frame: FrameType) -> Location:
    line, start, end = frame.f_lineno, None, None
    positions = getattr(frame.f_code, "co_positions", None)
    if positions is not None and frame.f_lasti >= 0:
        found = next(islice(positions(), frame.f_lasti // 2, None), None)
        if found is not None and found[0] is not None and found[2] is not None:
            line = found[0]
            start, end = _columns(frame.f_code, *found)
    return Location(frame.f_code.co_filename, line, start, end)


def _columns(
    code: CodeType, line: int, end_line: int | None, start: int, end: int | None
) -> tuple[int, int | None]:
    """Byte columns as the interpreter gives them, as character columns of the first line."""
    import linecache

    raw = linecache.getline(code.co_filename, line).encode()
    first = len(raw[:start].decode(errors="ignore"))
    last = None if end is None or end_line != line else len(raw[:end].decode(errors="ignore"))
    return first, last
