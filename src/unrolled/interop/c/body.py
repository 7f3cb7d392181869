"""The statements of a step in C: loops over elements, moves, and what is copied at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unrolled.backends.cpu.text import aligned, note, place
from unrolled.interop.c.arrange import Loop, Statement
from unrolled.interop.c.prepare import Step
from unrolled.interop.c.scope import INDICES, Scope
from unrolled.interop.c.spelling import HELPERS, REDUCTIONS, spell
from unrolled.interop.c.storage import Storage
from unrolled.interop.c.text import added, real, rows, times
from unrolled.interop.c.views import View, all_of, collapsed, dims, loop_strides, part
from unrolled.ir import Equation, Shape, Var, n_elements


class Body:
    """Writes statements one by one.

    Attributes:
        helpers: The functions that were called.
        tables: Declarations of the tables of positions that were read.
    """

    def __init__(self, step: Step, storage: Storage, scope: Scope) -> None:
        self._views = step.views
        self._storage = storage
        self._scope = scope
        self.helpers: set[str] = set()
        self.tables: list[str] = []

    def statement(self, there: Statement) -> list[str]:
        """The lines of a loop or a move; none where there is no element."""
        if isinstance(there, Loop):
            return self._loop(there) if n_elements(there.dims) else []
        return self._move(there.equation) if n_elements(there.equation.out.shape) else []

    def end(self) -> list[str]:
        """The copies of results that no loop has written to where they go."""
        lines: list[str] = []
        for state in self._storage.staged:
            v = all_of(state)
            lines += self._copy(self._scope.before(state), v, self._scope.memory(state), v)
        for target, v in self._storage.copies:
            staged = v.root in self._storage.staged and isinstance(target, Var)
            source = self._scope.before(v.root) if staged else self._scope.memory(v.root)
            dense = all_of(replace(v.root, shape=v.shape))
            lines += self._copy(self._scope.target(target), dense, source, v)
        return lines

    # --- loops

    def _loop(self, there: Loop) -> list[str]:
        here = {e.out for e in there.equations}
        reads = [self._reads(e, here) for e in there.equations]
        lengths, steps = collapsed(there.dims, [s for own in reads for _, s in own])
        left = iter(steps)
        dense = self._scope.index(0, all_of(Var("", lengths)).strides)
        lines: list[tuple[str, str]] = []
        stores: list[str] = []
        for e, own in zip(there.equations, reads, strict=True):
            at = [(v, self._scope.index(v.offset, next(left))) for v, _ in own]
            right = (
                self._reduction(e, at) if e.op in REDUCTIONS else self._spelled(e, at, here, dense)
            )
            lines.append((self._kept(e, right, dense), place(e)))
            for target in self._storage.direct.get(e.out, ()):
                element = self._element(e.out, dense)
                number = element if e.out in self._storage.scratch else _number(element, e.out)
                stores.append(f"{self._scope.target(target)}[{dense}] = {number};")
        return self._nest(lengths, [*aligned(lines), *stores])

    def _reads(self, e: Equation, here: set[Var]) -> list[tuple[View, tuple[int, ...]]]:
        """What an equation reads from arrays, with the strides along its loop's axes.

        What the loop itself computes is at hand and left out.
        """
        views = [self._views[v] for v in e.inputs]
        if e.op in REDUCTIONS:
            return [(v, _row_strides(e, k, v)) for k, v in enumerate(views)]
        return [(v, loop_strides(v)) for v in views if v.root not in here]

    def _spelled(
        self, e: Equation, at: Sequence[tuple[View, str]], here: set[Var], dense: str
    ) -> str:
        """An elementwise equation's right-hand side; ``at`` is where it reads from arrays."""
        places = iter(at)
        operands: list[str] = []
        for a in e.args:
            if not isinstance(a, Var):
                operands.append(real(a))
                continue
            root = self._views[a].root
            if root in here:
                text = self._element(root, dense)
                condition = a.dtype == "bool" and root in self._storage.scratch
            else:
                v, index = next(places)
                text, condition = f"{self._scope.memory(v.root)}[{index}]", a.dtype == "bool"
            operands.append(f"({text} != 0.0f)" if condition else text)
        if e.op in HELPERS:
            self.helpers.add(e.op)
        return spell(e, operands)

    def _reduction(self, e: Equation, at: Sequence[tuple[View, str]]) -> str:
        """A call of the helper that makes one element of whole rows."""
        views = [v for v, _ in at]
        starts = [self._scope.at(self._scope.memory(v.root), index) for v, index in at]
        helper = REDUCTIONS[e.op]
        if e.op == "matmul":
            n, steps = views[0].shape[1], (views[0].strides[1], views[1].strides[0])
            if n == 1 or steps == (1, 1):
                words = [*starts, self._scope.size(n)]
            else:
                helper = "dot_apart"
                a, b = map(self._scope.size, steps)
                words = [starts[0], a, starts[1], b, self._scope.size(n)]
        else:
            axis, (v,) = e["axis"], views
            words = [*starts, self._scope.size(v.strides[axis]), self._scope.size(v.shape[axis])]
        self.helpers.add(helper)
        return f"{helper}({', '.join(words)})"

    def _kept(self, e: Equation, right: str, dense: str) -> str:
        """The statement that keeps a value: in its array, or for its loop alone."""
        if e.out in self._storage.scratch:
            return f"{self._scope.value(e.out)}[{dense}] = {_number(right, e.out)};"
        kind = "int" if e.out.dtype == "bool" else "float"
        return f"const {kind} {self._scope.value(e.out)} = {right};"

    def _element(self, var: Var, dense: str) -> str:
        """The element that a loop has computed and is at."""
        name = self._scope.value(var)
        return f"{name}[{dense}]" if var in self._storage.scratch else name

    def _nest(self, lengths: Shape, body: list[str]) -> list[str]:
        heads = [
            "    " * k + f"for (size_t {i} = 0; {i} < {self._scope.size(n)}; {i}++) {{"
            for k, (i, n) in enumerate(zip(INDICES, lengths, strict=False))
        ]
        depth = len(heads)
        tails = ["    " * k + "}" for k in reversed(range(depth))]
        return [*heads, *("    " * depth + line for line in body), *tails]

    # --- moves and copies

    def _move(self, e: Equation) -> list[str]:
        whole, name = all_of(e.out), self._scope.value(e.out)
        sources = [self._views[v] for v in e.inputs]
        lines = [note(f"{replace(e, location=None)}   {place(e)}".rstrip())]
        if e.op == "cat":
            start = 0
            for source in sources:
                target = part(whole, e["axis"], start, 1, source.shape)
                lines += self._copy(name, target, self._scope.memory(source.root), source)
                start = start + source.shape[e["axis"]]
            return lines
        (source,) = sources
        memory = self._scope.memory(source.root)
        if e.op == "take":
            return [*lines, *self._chosen(e, whole.shape, name, whole, memory, source)]
        lines += self._nest((n_elements(e.out.shape),), [f"{name}[{INDICES[0]}] = 0.0f;"])
        if e.op == "place":
            target = part(whole, e["axis"], e["start"], e["step"], source.shape)
            return lines + self._copy(name, target, memory, source)
        return [*lines, *self._chosen(e, source.shape, name, whole, memory, source)]

    def _copy(self, to: str, target: View, of: str, source: View) -> list[str]:
        """The elements of one view to those of another of the same shape."""
        if n_elements(source.shape) == 0:
            return []
        lengths, (t, s) = collapsed(
            dims(source.shape), [loop_strides(target), loop_strides(source)]
        )
        there, here = self._scope.index(target.offset, t), self._scope.index(source.offset, s)
        return self._nest(lengths, [f"{to}[{there}] = {of}[{here}];"])

    def _chosen(
        self, e: Equation, looped: Shape, to: str, target: View, of: str, source: View
    ) -> list[str]:
        """Elements whose places along an axis stand in a table: of the source, or of a sum."""
        indices, axis = e["indices"], len(looped) + e["axis"]
        if n_elements(looped) == 0:
            return []
        table = self._scope.table(e.out)
        kind = "unsigned short" if max(indices) < 2**16 else "unsigned long"
        self.tables += [
            f"static const {kind} {table}[{len(indices)}] = {{", *rows(map(str, indices)), "};",
        ]  # fmt: skip
        takes = e.op == "take"

        def index(v: View, by_table: bool) -> str:
            symbols = list(INDICES[: len(looped)])
            if by_table:
                symbols[axis] = f"{table}[{symbols[axis]}]"
            steps = map(self._scope.size, v.strides)
            return added([self._scope.size(v.offset), *map(times, symbols, steps)])

        there, here = index(target, not takes), index(source, takes)
        return self._nest(looped, [f"{to}[{there}] {'=' if takes else '+='} {of}[{here}];"])


def _number(expression: str, var: Var) -> str:
    """A value as a number, which a condition becomes in memory."""
    return f"({expression}) ? 1.0f : 0.0f" if var.dtype == "bool" else expression


def _row_strides(e: Equation, operand: int, v: View) -> tuple[int, ...]:
    """How far apart the rows of an operand begin along the axes of the result's loop."""
    if e.op == "matmul":
        rest = (0,) * (len(e.out.shape) - 1)
        strides = (v.strides[0], *rest) if operand == 0 else (0, *v.strides[1:])
    else:
        axis = len(v.shape) + e["axis"]
        strides = tuple(0 if k == axis else s for k, s in enumerate(v.strides))
    return tuple(s for n, s in zip(e.out.shape, strides, strict=True) if n != 1)
