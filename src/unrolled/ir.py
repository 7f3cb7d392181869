"""The intermediate representation: one time step as a flat list of equations.

A :class:`Graph` is in single-assignment form.  Each :class:`Var` is one example at one time step:
a value that varies over time and batch (``per_step``) or one that is the same for the whole call
(parameters and what is computed from them alone).  The step and its reverse-mode adjoint are both
Graphs.  ``str(graph)`` is the text that docs and golden files show::

    i[H] = sigmoid(v2)  # my_cell.py:4

After the manner of JAX's jaxpr (Autodidax, part 1): small, frozen, and good to print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from unrolled.errors import Location
from unrolled.sizes import Size

Role = Literal["input", "state", "parameter", "constant", "residual", "value"]
Dtype = Literal["real", "bool"]
Shape = tuple[int, ...]
Attributes = tuple[tuple[str, Any], ...]

FORMAT = 1
"""The version of the JSON form of a Graph."""


@dataclass(frozen=True)
class Var:
    """A named array: ``shape`` is one example's at one time step."""

    name: str
    shape: Shape
    role: Role = "value"
    per_step: bool = True
    dtype: Dtype = "real"

    def __hash__(self) -> int:
        """Of the name alone: kernels look values up at each call."""
        return hash(self.name)

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.shape))}]"


Atom = Var | float
"""An operand: a variable or a literal number, which broadcasts."""


def dtype_of(atom: Atom) -> Dtype:
    """A variable's type; a literal is a number."""
    return atom.dtype if isinstance(atom, Var) else "real"


@dataclass(frozen=True)
class Equation:
    """``out = op(args, attributes)``, with the place in the user's source that it comes from."""

    out: Var
    op: str
    args: tuple[Atom, ...]
    attributes: Attributes = ()
    location: Location | None = None

    def __getitem__(self, name: str) -> Any:
        """The attribute called ``name``."""
        for key, value in self.attributes:
            if key == name:
                return value
        raise KeyError(name)

    @property
    def inputs(self) -> tuple[Var, ...]:
        """The operands that are variables."""
        return tuple(a for a in self.args if isinstance(a, Var))

    def __str__(self) -> str:
        return _lines([self])[0]


@dataclass(frozen=True)
class Constant:
    """An array that the step function captured; its numbers in row-major order."""

    var: Var
    data: tuple[float, ...]


@dataclass(frozen=True)
class Output:
    """A named result of each step (``per_step``) or of the whole call (a parameter's cotangent)."""

    name: str
    var: Var


@dataclass(frozen=True)
class Graph:
    """One step: from inputs and states to outputs and next states.

    ``residuals`` are values of another graph that this one reads: the adjoint reads what the
    forward step computed.  ``inputs[0]`` of a cell's step is its input, those after it are noise;
    ``outputs[0]`` is its output ``y``.
    """

    name: str
    inputs: tuple[Var, ...]
    states: tuple[Var, ...]
    parameters: tuple[Var, ...]
    constants: tuple[Constant, ...]
    residuals: tuple[Var, ...]
    equations: tuple[Equation, ...]
    next_states: tuple[Var, ...]
    outputs: tuple[Output, ...]

    @property
    def sources(self) -> tuple[Var, ...]:
        """Every variable that no equation defines."""
        constants = tuple(c.var for c in self.constants)
        return self.inputs + self.states + self.parameters + constants + self.residuals

    @property
    def given(self) -> tuple[Var, ...]:
        """What a step is given by name: noise, which varies over time, and parameters."""
        return self.inputs[1:] + self.parameters

    @property
    def signature(self) -> tuple[tuple[str, ...], ...]:
        """The names of the graph and of its inputs, states, parameters and outputs."""
        inner = (self.inputs, self.states, self.parameters)
        return (
            (self.name,),
            *(tuple(v.name for v in group) for group in inner),
            tuple(o.name for o in self.outputs),
        )

    @property
    def results(self) -> tuple[Var, ...]:
        """Next states and outputs."""
        return self.next_states + tuple(o.var for o in self.outputs)

    def definitions(self) -> dict[Var, Equation]:
        """The equation that defines each value."""
        return {e.out: e for e in self.equations}

    def prune(self, outputs: Iterable[str] | None = None) -> Graph:
        """Without the equations, residuals and constants that nothing wanted needs.

        ``outputs`` names the outputs to keep; all by default.
        """
        names = None if outputs is None else set(outputs)
        kept = tuple(o for o in self.outputs if names is None or o.name in names)
        needed = set(self.next_states) | {o.var for o in kept}
        equations: list[Equation] = []
        for equation in reversed(self.equations):
            if equation.out in needed:
                needed.update(equation.inputs)
                equations.append(equation)
        return replace(
            self,
            equations=tuple(reversed(equations)),
            outputs=kept,
            residuals=tuple(r for r in self.residuals if r in needed),
            constants=tuple(c for c in self.constants if c.var in needed),
        )

    def giving(self, names: Sequence[str]) -> Graph:
        """With these outputs, in this order, in place of its own.

        A name is that of an output, of a state (its value after the step), or of any value that the
        step computes.  ``ValueError`` where there is none of that name.
        """
        computed = {e.out.name: e.out for e in self.equations if e.out.per_step}
        after = {s.name: n for s, n in zip(self.states, self.next_states, strict=True)}
        known = {**computed, **after, **{o.name: o.var for o in self.outputs}}
        for name in names:
            if name not in known:
                own = [o.name for o in self.outputs] + [n for n in after if n not in ("y",)]
                others = [n for n in computed if not _provisional(n) and n not in own]
                raise ValueError(
                    f"{self.name} has no {name!r} to put out: expected one of "
                    f"{', '.join(dict.fromkeys([*own, *others]))}"
                )
        return replace(self, outputs=tuple(Output(n, known[n]) for n in names))

    def rename(self, names: Mapping[str, str]) -> Graph:
        """With variables renamed; names not in the mapping stay."""

        def var(v: Var) -> Var:
            return replace(v, name=names.get(v.name, v.name))

        def atom(a: Atom) -> Atom:
            return var(a) if isinstance(a, Var) else a

        return Graph(
            self.name,
            tuple(map(var, self.inputs)),
            tuple(map(var, self.states)),
            tuple(map(var, self.parameters)),
            tuple(Constant(var(c.var), c.data) for c in self.constants),
            tuple(map(var, self.residuals)),
            tuple(
                replace(e, out=var(e.out), args=tuple(map(atom, e.args))) for e in self.equations
            ),
            tuple(map(var, self.next_states)),
            tuple(Output(o.name, var(o.var)) for o in self.outputs),
        )

    def __str__(self) -> str:
        return self.describe([("", self.equations)])

    def describe(self, groups: Iterable[tuple[str, tuple[Equation, ...]]]) -> str:
        """The graph as text, its equations in titled groups."""
        lines = [f"{self.name}:"]
        for title, variables in (
            ("input", self.inputs),
            ("state", self.states),
            ("parameter", self.parameters),
            ("constant", tuple(c.var for c in self.constants)),
            ("residual", self.residuals),
        ):
            if variables:
                lines.append(f"  {title} {', '.join(map(str, variables))}")
        for title, equations in groups:
            if title and equations:
                lines.append(f"  {title}")
            indent = "    " if title else "  "
            lines += [indent + line for line in _lines(equations)]
        if self.states:
            pairs = zip(self.states, self.next_states, strict=True)
            lines.append("  next " + ", ".join(f"{s.name} <- {n.name}" for s, n in pairs))
        if self.outputs:
            shown = (
                o.name if o.name == o.var.name else f"{o.name} = {o.var.name}" for o in self.outputs
            )
            lines.append(f"  output {', '.join(shown)}")
        return "\n".join(lines)


def _lines(equations: Iterable[Equation]) -> list[str]:
    left = [(e, f"{e.out} = {_right(e)}") for e in equations]
    width = min(60, max((len(text) for _, text in left), default=0))
    return [
        f"{text:<{width}}   # {PurePath(e.location.file).name}:{e.location.line}"
        if e.location
        else text
        for e, text in left
    ]


def _right(equation: Equation) -> str:
    if equation.op == "slice":
        return _sliced(equation)
    parts = [a.name if isinstance(a, Var) else number(a) for a in equation.args]
    parts += [f"{name}={_attribute(value)}" for name, value in equation.attributes]
    return f"{equation.op}({', '.join(parts)})"


def _sliced(equation: Equation) -> str:
    (source,) = equation.inputs
    step = "" if equation["step"] == 1 else f":{equation['step']}"
    cut = [":"] * len(source.shape)
    cut[equation["axis"]] = f"{equation['start']}:{equation['stop']}{step}"
    return f"{source.name}[{', '.join(cut)}]"


def number(value: float) -> str:
    """A literal as short as it can be written without loss."""
    short = abs(value) < 1e15 and value == int(value)
    return str(int(value)) if short else repr(value)


def _attribute(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_attribute, value))})"
    if isinstance(value, float):
        return number(value)
    return str(value)


def _provisional(name: str) -> bool:
    """Whether this is a name that the tracer gave to a value that has none."""
    return name[0] == "v" and name[1:].isdigit()


def n_elements(shape: Shape) -> int:
    """The number of elements of an array of this shape."""
    return math.prod(int(s) for s in shape)


def concrete(shape: Iterable[int]) -> tuple[int, ...]:
    """The shape in plain integers."""
    return tuple(int(s) if isinstance(s, Size) else s for s in shape)
