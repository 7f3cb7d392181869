"""``@cell``: one time step of a recurrent network, read from a function's signature.

The function is one example at one time step, in plain PyTorch.  Its positional arguments are the
input and the states, its keyword-only arguments the parameters (whose default is a
:func:`param`) and static options (any other default)::

    @cell
    def elman(x, h, *, W=param("H", "D"), U=param("H", "H"), b=param("H")):
        return tanh(W @ x + U @ h + b)

Nothing is traced here: a :class:`Cell` is the function with what its signature says, and calling
it on real tensors runs the function as it stands.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from unrolled import sizes
from unrolled.errors import CellError, Location
from unrolled.interpret import interpreted
from unrolled.ir import Graph
from unrolled.latex import latex
from unrolled.locations import signature_location
from unrolled.pickling import reduced
from unrolled.signature import declaration
from unrolled.specs import UNIFORM as UNIFORM
from unrolled.specs import Init as Init
from unrolled.specs import NoiseSpec as NoiseSpec
from unrolled.specs import ParamSpec as ParamSpec
from unrolled.specs import StateSpec as StateSpec
from unrolled.specs import noise as noise
from unrolled.specs import param as param
from unrolled.specs import state as state
from unrolled.trace import trace

StepFunction = Callable[..., Any]


@dataclass(frozen=True)
class Composition:
    """How a cell was made of another: ``by(of, *positional, **named)``."""

    by: Callable[..., Cell]
    of: Cell
    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    def again(self) -> Cell:
        """The cell, made anew."""
        return self.by(self.of, *self.positional, **self.named)


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell: its step function and what the signature says of it.

    ``held`` are parameters bound to a number, which then is their ``init`` (a cell without biases
    is the cell with its biases held at 0).  ``graphs`` are equations loaded from a file: such a
    cell has no function of its own, and runs for the sizes it was saved with.  ``composition`` says
    which function of cells made this one, and of which cell.
    """

    name: str
    function: StepFunction
    input: str
    states: tuple[StateSpec, ...]
    parameters: Mapping[str, ParamSpec]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    held: Mapping[str, ParamSpec] = field(default_factory=dict[str, ParamSpec])
    graphs: tuple[Graph, ...] = ()
    doc: str = ""
    location: Location | None = None
    composition: Composition | None = None
    noise: Mapping[str, NoiseSpec] = field(default_factory=dict[str, NoiseSpec])
    _mean: Cell | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        CELLS_BY_ID[id(self)] = self
        mean = self.bind(**{n: s.p for n, s in self.noise.items()}) if self.noise else None
        object.__setattr__(self, "_mean", mean)

    def __call__(self, *args: Any, **parameters: Any) -> Any:
        """One step for one example on real tensors: ``cell(x, h, W=..., U=...)``.

        Noise that is not given is its mean.
        """
        held: dict[str, Tensor] = {}
        if self.held:
            shapes = {name: tuple(p.shape) for name, p in parameters.items()}
            given = self.infer_sizes(args[0].shape[-1], [s.shape[-1] for s in args[1:]], shapes)
            held = {
                name: torch.full(
                    [int(sizes.evaluate(e, given)) for e in spec.shape],
                    float(cast(float, spec.init)),
                    dtype=args[0].dtype,
                    device=args[0].device,
                )
                for name, spec in self.held.items()
            }
        means = {name: spec.p for name, spec in self.noise.items()}
        return self.function(*args, **{**means, **parameters}, **held, **self.options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Cell:
        """Itself: a cell never changes, and is compiled once for its identity."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """By reference, so a pickle holds no code."""
        return reduced(self)

    def __repr__(self) -> str:
        states = ", ".join(f"{s.name}[{s.size}]" for s in self.states)
        params = ", ".join(
            f"{p.name}[{', '.join(map(str, p.shape))}]" for p in self.parameters.values()
        )
        return f"<cell {self.name}: {self.input}[D]; {states}; {params}>"

    @property
    def written(self) -> StepFunction:
        """The function that somebody wrote, below all compositions."""
        return self.function if self.composition is None else self.composition.of.written

    def bind(self, **values: Any) -> Cell:
        """The same cell with static options set, or with parameters or noise held at a number.

        ``rnn.bind(nonlinearity="relu")``, ``lstm.bind(b_hh=0.0)``.
        """
        options, held = dict(self.options), dict(self.held)
        parameters, noise = dict(self.parameters), dict(self.noise)
        for name, value in values.items():
            if name in options:
                options[name] = value
            elif name in parameters and isinstance(value, (int, float)):
                held[name] = replace(parameters.pop(name), init=float(value))
            elif name in noise and isinstance(value, (int, float)):
                del noise[name]
                options[name] = float(value)
            elif name in parameters or name in noise:
                kind = "parameter" if name in parameters else "noise"
                raise CellError(
                    f"cell {self.name}: {kind} {name} bound to a {type(value).__name__}, "
                    "expected a number",
                    "a parameter is held at one number; give tensors with the other parameters",
                    self.location,
                )
            else:
                raise CellError(
                    f"cell {self.name} has nothing called {name} to bind",
                    f"options: {_listing(options)}; parameters: {_listing(parameters)}",
                    self.location,
                )
        return replace(self, options=options, held=held, parameters=parameters, noise=noise)

    @property
    def evaluated(self) -> Cell:
        """The cell as it is evaluated: its noise held at the mean; itself where it has none."""
        return self if self._mean is None else self._mean

    def resolve_sizes(self, input_size: int, hidden_size: int, **others: int) -> dict[str, int]:
        """The named sizes of this cell, ``{"D": …, "H": …}``.

        :class:`CellError` that names the missing one, or a length that is not positive with these.
        """
        given = {"D": input_size, "H": hidden_size, **others}
        for name, expression in self._expressions():
            for symbol in sizes.symbols(expression):
                if symbol not in given:
                    raise CellError(
                        f"cell {self.name}: the size {symbol} of {name} is not declared",
                        f"D (input) and H (hidden) are known; give the others to the layer: "
                        f"Recurrent({self.name}, …, sizes={{{symbol!r}: …}})",
                        self._where(name),
                    )
            try:
                length = int(sizes.evaluate(expression, given))
            except ZeroDivisionError:
                length = 0
            if length < 1:
                values = ", ".join(f"{s}={given[s]}" for s in sizes.symbols(expression))
                raise CellError(
                    f"cell {self.name}: {name} has the length {expression}"
                    f"{f' at {values}' if values else ''}, expected 1 or more",
                    "give the layer other sizes" if values else "declare another length",
                    self._where(name),
                )
        return given

    def size_names(self) -> tuple[str, ...]:
        """The named sizes that states and parameters are declared over."""
        return tuple(
            dict.fromkeys(s for _, e in self._expressions() for s in sizes.symbols(e)),
        )

    def infer_sizes(
        self,
        input_size: int,
        state_sizes: Iterable[int],
        parameter_shapes: Mapping[str, tuple[int, ...]],
    ) -> dict[str, int]:
        """The named sizes that these shapes imply; those that don't follow are missing."""
        pairs: list[tuple[str | int, int]] = [("D", input_size)]
        pairs += zip((s.size for s in self.states), state_sizes, strict=False)
        for name, spec in self.parameters.items():
            pairs += zip(spec.shape, parameter_shapes.get(name, ()), strict=False)
        return sizes.solve(pairs)

    def graph(self, given: Mapping[str, int], dtype: torch.dtype = torch.float32) -> Graph:
        """The equations of one step at these sizes; :class:`CellError` where there are none."""
        return trace(self, given, dtype)

    def example_sizes(self) -> dict[str, int]:
        """Sizes for showing the equations: distinct, and divisible by what cells divide by."""
        if self.graphs:
            first = self.graphs[0]
            shapes = {v.name: tuple(v.shape) for v in first.parameters}
            return self.infer_sizes(
                first.inputs[0].shape[0], [v.shape[0] for v in first.states], shapes
            )
        made = self.composition
        given = {"D": 72, "H": 48} if made is None else made.of.example_sizes()
        others = [s for s in self.size_names() if s not in given]
        return given | {s: 24 * (k + 2) for k, s in enumerate(others, len(given))}

    def latex(self) -> str:
        """The cell's equations for LaTeX, KaTeX or MathJax, from what is compiled."""
        return latex(self.graph(self.example_sizes()))

    def output_size(self, given: Mapping[str, int], dtype: torch.dtype = torch.float32) -> int:
        """The length of the output ``y`` at these sizes, of a step that runs in ``dtype``."""
        return int(self.graph(given, dtype).outputs[0].var.shape[0])

    @staticmethod
    def from_graphs(graphs: Iterable[Graph]) -> Cell:
        """A cell of equations that were saved, one Graph for each set of sizes.

        No code of the one who saved it is run.  ``ValueError`` where there is no graph, or where
        they are of different cells.
        """
        held = tuple(graphs)
        if not held:
            raise ValueError("a cell needs at least one graph")
        first = held[0]
        x, *noise = first.inputs
        if noise:
            names = ", ".join(v.name for v in noise)
            raise ValueError(
                f"the graphs of {first.name} read noise ({names}): save those of Cell.evaluated"
            )
        if any(g.signature != first.signature for g in held):
            raise ValueError(f"the graphs of {first.name} are of different cells")
        return Cell(
            name=first.name,
            function=interpreted(held),
            input=x.name,
            states=tuple(StateSpec(v.name, str(v.shape[0])) for v in first.states),
            parameters={
                v.name: ParamSpec(v.name, tuple(str(s) for s in v.shape)) for v in first.parameters
            },
            graphs=held,
        )

    def parameter_shapes(self, given: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter at these sizes."""
        return {
            name: tuple(sizes.evaluate(e, given) for e in spec.shape)
            for name, spec in self.parameters.items()
        }

    def noise_sizes(self, given: Mapping[str, int]) -> dict[str, int]:
        """The length of each noise vector at these sizes."""
        return {name: sizes.evaluate(spec.size, given) for name, spec in self.noise.items()}

    def state_sizes(self, given: Mapping[str, int]) -> tuple[int, ...]:
        """The length of each state at these sizes."""
        return tuple(sizes.evaluate(s.size, given) for s in self.states)

    def _expressions(self) -> Iterable[tuple[str, str | int]]:
        for spec in (*self.states, *self.noise.values()):
            yield spec.name, spec.size
        for spec in (*self.parameters.values(), *self.held.values()):
            for expression in spec.shape:
                yield spec.name, expression

    def _where(self, argument: str) -> Location | None:
        return self.location and signature_location(self.written, argument)


CELLS_BY_ID: WeakValueDictionary[int, Cell] = WeakValueDictionary()
"""Every cell there is. ``torch.compile`` can hand on a number and hold it fixed, but no object."""


def cell(function: StepFunction) -> Cell:
    """Read a step function's signature; raises :class:`CellError` where it is not a cell's."""
    declared = declaration(function)
    return Cell(
        name=function.__name__,
        function=function,
        input=declared.input,
        states=declared.states,
        parameters=declared.parameters,
        options=declared.options,
        noise=declared.noise,
        doc=inspect.getdoc(function) or "",
        location=signature_location(function),
    )


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def as_cell(value: Any) -> Cell:
    """``value`` if it is a cell, else what to do about it."""
    if isinstance(value, Cell):
        return value
    raise TypeError(
        f"expected a cell, got {cast(object, value)!r}: "
        "decorate the step function with @unrolled.cell"
    )
