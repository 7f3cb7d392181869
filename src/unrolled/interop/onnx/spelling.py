"""How each op of the table is written as ONNX nodes (opset 19).

What is the same for all steps and examples was computed at export and is a constant, so only what
varies is spelled.  Such a value has leading axes before its own: time and batch outside a loop, the
batch inside.  Axes of equations count from the end and mean the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unrolled.interop.onnx.writer import Writer
from unrolled.ir import Atom, Equation, Graph, Var, concrete
from unrolled.ops import TABLE


class Fixed:
    """The values of a graph that are the same for the whole call, as constants of the model."""

    def __init__(
        self, graph: Graph, parameters: Mapping[str, Tensor], writer: Writer, prefix: str
    ) -> None:
        self._writer, self._prefix = writer, prefix
        self._names: dict[tuple[str, bool], str] = {}
        like = next(iter(parameters.values()), torch.zeros((), dtype=_torch_dtype(writer)))
        self.values: dict[Var, Tensor] = {v: parameters[v.name] for v in graph.parameters}
        for constant in graph.constants:
            data = torch.tensor(constant.data, dtype=like.dtype)
            self.values[constant.var] = data.reshape(concrete(constant.var.shape))
        for equation in graph.equations:
            if not equation.out.per_step:
                operands = [self.values[a] if isinstance(a, Var) else a for a in equation.args]
                if equation.op == "where" and not isinstance(operands[1], Tensor):
                    operands[1] = torch.tensor(operands[1], dtype=like.dtype)
                self.values[equation.out] = TABLE[equation.op].run(equation, *operands)

    def name(self, var: Var, transposed: bool = False) -> str:
        """The constant's name in the model; it is written when it is first asked for."""
        key = (var.name, transposed)
        if key not in self._names:
            array = self.values[var].numpy()
            self._names[key] = self._writer.constant(
                array.T if transposed else array,
                self._prefix + var.name + ("/transposed" if transposed else ""),
            )
        return self._names[key]


@dataclass
class Scope:
    """Where equations are written: all steps at once, or one of them.

    ``lead`` is the number of leading axes of what varies, ``like`` the name of a value that has
    them, ``names`` what the values that vary are called in the model.
    """

    writer: Writer
    fixed: Fixed
    lead: int
    like: str
    prefix: str
    names: dict[Var, str] = field(default_factory=dict[Var, str])
    _lead_shape: str = ""

    def write(self, equations: Iterable[Equation]) -> None:
        """Write the equations whose values vary."""
        for equation in equations:
            if equation.out.per_step:
                spelled = SPELLING[equation.op](self, equation)
                self.names[equation.out] = spelled

    def atom(self, atom: Atom) -> str:
        """The name of an operand."""
        if not isinstance(atom, Var):
            return self.writer.number(atom)
        return self.names[atom] if atom.per_step else self.fixed.name(atom)

    def operands(self, equation: Equation) -> list[str]:
        """The names of an equation's operands."""
        return [self.atom(a) for a in equation.args]

    def node(self, op: str, *inputs: str, **attributes: int | float | list[int]) -> str:
        """Append a node of one output."""
        return self.writer.node(op, inputs, attributes, self.prefix + op.lower())

    def varying(self, var: Var) -> str:
        """The value with its leading axes, also where it is the same for all."""
        if var.per_step:
            return self.names[var]
        shape = self.lead_shape(concrete(var.shape))
        return self.node("Expand", self.fixed.name(var), shape)

    def lead_shape(self, own: Sequence[int]) -> str:
        """The shape of a value that varies, as a value: its leading axes, then ``own``."""
        if not self._lead_shape:
            self._lead_shape = self.node("Shape", self.like, start=0, end=self.lead)
        return self.node("Concat", self._lead_shape, self.writer.integers(*own), axis=0)


def _torch_dtype(writer: Writer) -> torch.dtype:
    return torch.from_numpy(np.zeros((), writer.dtype)).dtype


Spell = Callable[[Scope, Equation], str]


def _as(op: str) -> Spell:
    return lambda scope, e: scope.node(op, *scope.operands(e))


def _reduced(op: str) -> Spell:
    return lambda scope, e: scope.node(
        op, *scope.operands(e), scope.writer.integers(e["axis"]), keepdims=1
    )


def _not_equal(scope: Scope, e: Equation) -> str:
    return scope.node("Not", scope.node("Equal", *scope.operands(e)))


def _expm1(scope: Scope, e: Equation) -> str:
    """e^x − 1 = tanh(x/2) (e^x + 1), which loses no digits near 0."""
    (x,) = scope.operands(e)
    half = scope.node("Tanh", scope.node("Mul", x, scope.writer.number(0.5)))
    return scope.node(
        "Mul", half, scope.node("Add", scope.node("Exp", x), scope.writer.number(1.0))
    )


def _log1p(scope: Scope, e: Equation) -> str:
    """log(u) x / (u − 1) with u = 1 + x as rounded, which loses no digits near 0.

    Goldberg 1991, "What every computer scientist should know about floating-point arithmetic",
    theorem 4.  The quotient is 1 where x = u − 1, infinite x among them.
    """
    (x,) = scope.operands(e)
    one = scope.writer.number(1.0)
    u = scope.node("Add", x, one)
    d = scope.node("Sub", u, one)
    ratio = scope.node("Where", scope.node("Equal", d, x), one, scope.node("Div", x, d))
    result = scope.node("Mul", scope.node("Log", u), ratio)
    return scope.node("Where", scope.node("Equal", u, one), x, result)


def _rsqrt(scope: Scope, e: Equation) -> str:
    return scope.node("Reciprocal", scope.node("Sqrt", *scope.operands(e)))


def _pow(scope: Scope, e: Equation) -> str:
    return scope.node("Pow", *scope.operands(e), scope.writer.number(float(e["exponent"])))


def _matmul(scope: Scope, e: Equation) -> str:
    """W v as v Wᵀ over the leading axes; a matrix on the right needs no transposition."""
    w, v = e.inputs
    if len(v.shape) == 2:
        return scope.node("MatMul", *scope.operands(e))
    return scope.node("MatMul", scope.atom(v), scope.fixed.name(w, transposed=True))


def _broadcast(scope: Scope, e: Equation) -> str:
    (source,) = e.inputs
    shape, integers = concrete(e["shape"]), scope.writer.integers
    value, added = scope.atom(source), len(shape) - len(source.shape)
    if added:
        axes = range(scope.lead, scope.lead + added)
        value = scope.node("Unsqueeze", value, integers(*axes))
    return scope.node("Expand", value, integers(*(1,) * scope.lead, *shape))


def _reshape(scope: Scope, e: Equation) -> str:
    """A 0 in the new shape keeps the length of that axis."""
    shape = scope.writer.integers(*(0,) * scope.lead, *concrete(e["shape"]))
    return scope.node("Reshape", *scope.operands(e), shape)


def _transpose(scope: Scope, e: Equation) -> str:
    rank = scope.lead + len(e.inputs[0].shape)
    order = [*range(rank - 2), rank - 1, rank - 2]
    return scope.node("Transpose", *scope.operands(e), perm=order)


def _slice(scope: Scope, e: Equation) -> str:
    parts = (e["start"], e["stop"], e["axis"], e["step"])
    return scope.node("Slice", *scope.operands(e), *(scope.writer.integers(int(n)) for n in parts))


def _cat(scope: Scope, e: Equation) -> str:
    parts = [scope.varying(v) for v in e.inputs]
    return scope.node("Concat", *parts, axis=e["axis"])


def _take(scope: Scope, e: Equation) -> str:
    indices = scope.writer.integers(*e["indices"])
    return scope.node("Gather", *scope.operands(e), indices, axis=e["axis"])


def _scattered(scope: Scope, e: Equation, positions: Sequence[int]) -> str:
    """Zeros of length ``size`` with the entries added at ``positions``.

    As sums of gathers from the entries and one 0 after them, as many as the most that share a
    position.
    """
    (source,) = e.inputs
    axis, size, zero = e["axis"], int(e["size"]), len(positions)
    sources: list[list[int]] = [[] for _ in range(size)]
    for entry, position in enumerate(positions):
        sources[int(position)].append(entry)
    integers = scope.writer.integers
    padded = scope.node(
        "Pad", scope.atom(source), integers(0, 1), scope.writer.number(0.0), integers(axis)
    )
    total = ""
    for k in range(max(1, *map(len, sources))):
        chosen = integers(*(s[k] if k < len(s) else zero for s in sources))
        term = scope.node("Gather", padded, chosen, axis=axis)
        total = scope.node("Add", total, term) if total else term
    return total


SPELLING: dict[str, Spell] = {
    "neg": _as("Neg"),
    "add": _as("Add"),
    "sub": _as("Sub"),
    "mul": _as("Mul"),
    "div": _as("Div"),
    "abs": _as("Abs"),
    "sign": _as("Sign"),
    "relu": _as("Relu"),
    "exp": _as("Exp"),
    "expm1": _expm1,
    "log": _as("Log"),
    "log1p": _log1p,
    "sqrt": _as("Sqrt"),
    "rsqrt": _rsqrt,
    "sin": _as("Sin"),
    "cos": _as("Cos"),
    "erf": _as("Erf"),
    "tanh": _as("Tanh"),
    "sigmoid": _as("Sigmoid"),
    "maximum": _as("Max"),
    "minimum": _as("Min"),
    "lt": _as("Less"),
    "le": _as("LessOrEqual"),
    "gt": _as("Greater"),
    "ge": _as("GreaterOrEqual"),
    "eq": _as("Equal"),
    "ne": _not_equal,
    "logical_and": _as("And"),
    "logical_or": _as("Or"),
    "logical_not": _as("Not"),
    "where": _as("Where"),
    "pow": _pow,
    "detach": _as("Identity"),
    "sum": _reduced("ReduceSum"),
    "mean": _reduced("ReduceMean"),
    "amax": _reduced("ReduceMax"),
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "place": lambda scope, e: _scattered(scope, e, range(e["start"], e["stop"], e["step"])),
    "put": lambda scope, e: _scattered(scope, e, e["indices"]),
    "cat": _cat,
    "take": _take,
    "matmul": _matmul,
}
"""Every op but the sums over all steps and examples, which stand in derivatives alone."""
