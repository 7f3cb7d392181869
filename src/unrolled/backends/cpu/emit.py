"""Emission: the C of a loop over time, from its placement and layout, into ``templates/loop.c``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

from unrolled.backends.cpu.body import Body
from unrolled.backends.cpu.layout import lay_out
from unrolled.backends.cpu.memory import Memory
from unrolled.backends.cpu.place import Placement
from unrolled.backends.cpu.text import aligned, indent, note, plain
from unrolled.ir import Equation, Var, n_elements

TEMPLATE = Path(__file__).parent / "templates" / "loop.c"


@dataclass(frozen=True)
class Source:
    """The C text of a loop, and the order of its pointers.

    ``scratch_row`` numbers of scratch memory are needed for each row of a block.  Each thread has
    ``totals_size`` numbers for the sums over steps and examples, and ``totals`` says where in them
    each stands.
    """

    text: str
    streams: tuple[Var, ...]
    arrays: tuple[Var, ...]
    matrices: tuple[Equation, ...]
    states: tuple[Var, ...]
    written: tuple[Var, ...]
    totals: Mapping[Equation, int]
    totals_size: int
    scratch_row: int


def emit(placement: Placement, padded: int) -> Source:
    """The source of the loop; products write rows in whole vectors of ``padded`` numbers."""
    states = placement.graph.states
    written = tuple(v for v in placement.written if v not in states)
    written += tuple(v for v in placement.written if v in states)
    memory = Memory(lay_out(placement), written, padded)
    products = tuple(e for e in placement.loop if e.op == "matmul")
    body = Body(memory)
    sizes = [n_elements(e.out.shape) for e in placement.totals]
    starts = (0, *accumulate(sizes))
    totals = dict(zip(placement.totals, starts, strict=False))
    # A thread's sums don't share a cache line with another's.
    totals_size = -(-starts[-1] // 16) * 16
    pieces = _Pieces(placement, memory, products)
    fields = {
        "name": plain(placement.graph.name),
        "pointers": pieces.pointers(written, totals, totals_size),
        "begin": pieces.begin(),
        "step": pieces.step(written),
        "body": body.text(written),
        "next": pieces.following(),
        "finish": pieces.finish(),
        "tables": "\n".join(body.tables),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for hole, value in fields.items():
        text = text.replace(f"/*{{{hole}}}*/", value)
    return Source(
        text, placement.streams, placement.arrays, products, states, written, totals, totals_size,
        memory.scratch_row,
    )  # fmt: skip


class _Pieces:
    """The declarations around the body of a step."""

    def __init__(
        self, placement: Placement, memory: Memory, products: tuple[Equation, ...]
    ) -> None:
        self._placement = placement
        self._memory = memory
        self._products = products

    def pointers(
        self, written: tuple[Var, ...], totals: Mapping[Equation, int], totals_size: int
    ) -> str:
        """Unpacking of the call's own addresses and distances, in ``Source``'s order."""
        name, states = self._memory.name, self._placement.graph.states
        lines: list[str] = []
        order = count()

        def group(title: str, declared: Iterable[tuple[str, str, str]]) -> None:
            rows = [
                (f"{kind} *const {pointer} = ({kind} *){{}};", text)
                for kind, pointer, text in declared
            ]
            if rows:
                lines.append(note(title))
                numbered = [(code.format(f"p[{next(order)}]"), text) for code, text in rows]
                lines.extend(aligned(numbered))

        streams = self._placement.streams
        group("read at every step", [("const real", f"{name(v)}__b", str(v)) for v in streams])
        lines += [f"const long {name(v)}__l = p[{next(order)}];" for v in streams]
        group(
            "the same at every step",
            [("const real", f"{name(v)}__a", str(v)) for v in self._placement.arrays],
        )
        group(
            "packed matrices",
            [
                ("const real", f"{name(e.out)}__w", f"{e.inputs[0]}, for {e.out.name}")
                for e in self._products
            ],
        )
        group(
            "states before the first step",
            [("const real", f"{name(v)}__i", str(v)) for v in states],
        )
        group("kept for every step", [("real", f"{name(v)}__b", str(v)) for v in written])
        group("states after the last step", [("real", f"{name(v)}__f", str(v)) for v in states])
        if totals:
            lines.append(note("sums over steps and examples, this thread's part of them"))
            lines.append(f"real *const sums = (real *)p[{next(order)}] + id * {totals_size}L;")
        sums = [
            (
                f"real *const {name(e.out)}__a = sums + {start};",
                f"{e.out} = total({e.inputs[0].name})",
            )
            for e, start in totals.items()
        ]
        return indent(lines + aligned(sums), 1)

    def begin(self) -> str:
        """The states before the first step; where all are kept, they stand before the others."""
        lines: list[str] = []
        for var in self._placement.graph.states:
            n = n_elements(var.shape)
            name = self._memory.name(var)
            lines.append(f"const real *{name}__h = {name}__i + b0 * {n}L;")
            lines.append(f"long {name}__l = {n};")
        for state, following in self._placement.shifted:
            n = n_elements(state.shape)
            to = f"{self._memory.name(following)}__b + (before * B + b0 + r) * {n}L"
            lines += [
                "for (long r = r0; r < r1; r++)",
                f"    memcpy({to}, {self._memory.name(state)}__h + r * {n}L, {n} * sizeof(real));",
            ]
        if self._placement.shifted:
            lines.insert(0, "const long before = call->backwards ? T : -1;")
        return indent(["", *lines], 1)

    def step(self, written: tuple[Var, ...]) -> str:
        """Where everything is at this step."""
        lines: list[str] = []
        for var in self._placement.streams:
            name = self._memory.name(var)
            lines.append(f"const real *const {name}__t = {name}__b + (t * B + b0) * {name}__l;")
        for var in written:
            name, n = self._memory.name(var), n_elements(var.shape)
            lines.append(f"real *const {name}__t = {name}__b + (t * B + b0) * {n}L;")
        for var in self._memory.offsets:
            lines.append(f"real *const {self._memory.name(var)}__s = {self._memory.scratch(var)};")
        return indent(lines, 2)

    def following(self) -> str:
        """The states for the next step.

        None of them is another's memory (:mod:`.place` sees to it), so their order is free.
        """
        lines = ["", note("the states of the next step")]
        graph = self._placement.graph
        for state, var in zip(graph.states, graph.next_states, strict=True):
            if state == var:
                continue
            base, distance = self._memory.place(self._memory.layout.address(var))
            name = self._memory.name(state)
            lines += [f"{name}__h = {base};", f"{name}__l = {distance};"]
        return indent(lines, 2)

    def finish(self) -> str:
        """The states after the last step."""
        lines: list[str] = []
        for state in self._placement.graph.states:
            name, n = self._memory.name(state), n_elements(state.shape)
            lines += [
                "for (long r = r0; r < r1; r++)",
                f"    memcpy({name}__f + (b0 + r) * {n}L, {name}__h + r * {name}__l, "
                f"{n} * sizeof(real));",
            ]
        return indent(lines, 1)
