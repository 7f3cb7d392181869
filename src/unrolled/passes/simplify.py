"""Simplification: what needs no computing is not computed, what was computed is not computed again.

Equal equations become one; neutral elements vanish (a bias held at 0); slices see through the
slices and joins below them, and adjacent slices that are joined again become one.  Values are the
same to the bit, NaN and infinities included, so ``0 * x`` stays; a zero's sign alone may change.
"""

from __future__ import annotations

from unrolled.builder import Builder
from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.rewrite import rewrite

_Key = tuple[object, ...]


def simplify(graph: Graph) -> Graph:
    """An equal graph with fewer equations."""
    zeros = {c.var for c in graph.constants if not any(c.data)}
    known: dict[_Key, Var] = {}
    made: dict[Var, Equation] = {}

    def emit(
        builder: Builder, op: str, args: tuple[Atom, ...], like: Equation, **attributes: object
    ) -> Atom:
        key = (op, args, tuple(attributes.items()))
        if key not in known:
            equation = Equation(like.out, op, args, tuple(attributes.items()), like.location)
            known[key] = builder.copy(equation, args)
            made[known[key]] = builder.equations[-1]
        return known[key]

    def rule(builder: Builder, equation: Equation, args: tuple[Atom, ...]) -> Atom:
        attributes = dict(equation.attributes)
        first = args[0]
        match equation.op:
            case "add" if _is_zero(args[1], zeros) and isinstance(first, Var):
                return first
            case "add" if _is_zero(first, zeros) and isinstance(args[1], Var):
                return args[1]
            case "sub" if _is_zero(args[1], zeros) and isinstance(first, Var):
                return first
            case "mul" | "div" if args[1] == 1.0 and isinstance(first, Var):
                return first
            case "mul" if first == 1.0:
                return args[1]
            case "reshape" | "broadcast" if _shape(first) == tuple(equation.out.shape):
                return first
            case "reshape" if (below := _made(made, first, "reshape")) is not None:
                return emit(builder, "reshape", below.args, equation, **attributes)
            case "transpose" | "neg" if (below := _made(made, first, equation.op)) is not None:
                return below.args[0]
            case "slice":
                return _slice(builder, equation, first)
            case "cat":
                return _cat(builder, equation, args)
            case _:
                pass
        out = emit(builder, equation.op, args, equation, **attributes)
        if equation.op in ("slice", "reshape", "broadcast", "transpose", "neg") and first in zeros:
            zeros.add(out)  # type: ignore[arg-type]
        return out

    def _slice(builder: Builder, equation: Equation, source: Atom) -> Atom:
        assert isinstance(source, Var)
        axis, start, stop, step = (equation[n] for n in ("axis", "start", "stop", "step"))
        if step == 1:
            if start == 0 and stop == source.shape[axis]:
                return source
            below = made.get(source)
            if (
                below is not None
                and below.op == "slice"
                and below["axis"] == axis
                and below["step"] == 1
            ):
                base = below["start"]
                return _emit_slice(
                    builder, equation, below.args[0], axis, base + start, base + stop
                )
            if below is not None and below.op == "cat" and below["axis"] == axis:
                position = start - start
                for part in below.inputs:
                    end = position + part.shape[axis]
                    if position <= start and stop <= end:
                        return _emit_slice(
                            builder, equation, part, axis, start - position, stop - position
                        )
                    position = end
        out = emit(builder, "slice", (source,), equation, **dict(equation.attributes))
        if source in zeros:
            zeros.add(out)  # type: ignore[arg-type]
        return out

    def _emit_slice(
        builder: Builder, equation: Equation, source: Atom, axis: int, start: int, stop: int
    ) -> Atom:
        assert isinstance(source, Var)
        if start == 0 and stop == source.shape[axis]:
            return source
        return emit(
            builder, "slice", (source,), equation, axis=axis, start=start, stop=stop, step=1
        )

    def _cat(builder: Builder, equation: Equation, args: tuple[Atom, ...]) -> Atom:
        axis = equation["axis"]
        parts: list[Var] = []
        for part in args:
            assert isinstance(part, Var)
            joined = _adjacent(made, parts[-1], part, axis) if parts else None
            if joined is not None:
                source, start, stop = joined
                merged = _emit_slice(builder, equation, source, axis, start, stop)
                assert isinstance(merged, Var)
                parts[-1] = merged
            else:
                parts.append(part)
        if len(parts) == 1:
            return parts[0]
        return emit(builder, "cat", tuple(parts), equation, axis=axis)

    return rewrite(graph, rule)


def _adjacent(
    made: dict[Var, Equation], left: Var, right: Var, axis: int
) -> tuple[Var, int, int] | None:
    """The slice that two neighbouring slices of one value make up together."""
    a, b = made.get(left), made.get(right)
    if a is None or b is None or a.op != "slice" or b.op != "slice" or a.args != b.args:
        return None
    plain = a["axis"] == b["axis"] == axis and a["step"] == b["step"] == 1
    return (a.inputs[0], a["start"], b["stop"]) if plain and a["stop"] == b["start"] else None


def _is_zero(value: Atom, zeros: set[Var]) -> bool:
    return value in zeros if isinstance(value, Var) else value == 0.0


def _shape(value: Atom) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Var) else ()


def _made(made: dict[Var, Equation], value: Atom, op: str) -> Equation | None:
    below = made.get(value) if isinstance(value, Var) else None
    return below if below is not None and below.op == op else None
