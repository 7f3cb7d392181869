"""Emission: the C of a loop over time, from its placement and layout, into ``templates/loop.c``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unrolled.backends.cpu.body import Body
from unrolled.backends.cpu.layout import lay_out
from unrolled.backends.cpu.memory import Memory
from unrolled.backends.cpu.place import Placement
from unrolled.backends.cpu.text import indent, plain
from unrolled.ir import Equation, Var, n_elements

TEMPLATE = Path(__file__).parent / "templates" / "loop.c"


@dataclass(frozen=True)
class Source:
    """The C text of a loop, and the order of its pointers.

    ``scratch_row`` numbers of scratch memory are needed for each row of a block, ``shared_row``
    for each row where threads share products, both in units of ``real``; ``widest`` is the
    longest vector written.
    """

    text: str
    streams: tuple[Var, ...]
    arrays: tuple[Var, ...]
    matrices: tuple[Equation, ...]
    states: tuple[Var, ...]
    written: tuple[Var, ...]
    totals: tuple[Equation, ...]
    scratch_row: int
    shared_row: int
    widest: int


def emit(placement: Placement, padded: int) -> Source:
    """The source of the loop; products write rows in whole vectors of ``padded`` numbers."""
    states = placement.graph.states
    written = tuple(v for v in placement.written if v not in states)
    written += tuple(v for v in placement.written if v in states)
    memory = Memory(lay_out(placement), written, padded)
    products = tuple(e for e in placement.loop if e.op == "matmul")
    body = Body(memory)
    pieces = _Pieces(placement, memory, products)
    fields = {
        "name": plain(placement.graph.name),
        "pointers": pieces.pointers(written),
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
    sizes = [n_elements(v.shape) for v in (*written, *(e.out for e in placement.totals))]
    return Source(
        text, placement.streams, placement.arrays, products, states, written, placement.totals,
        memory.scratch_row, memory.shared_row, max(sizes, default=1),
    )  # fmt: skip


class _Pieces:
    """The declarations around the body of a step."""

    def __init__(
        self, placement: Placement, memory: Memory, products: tuple[Equation, ...]
    ) -> None:
        self._placement = placement
        self._memory = memory
        self._products = products

    def pointers(self, written: tuple[Var, ...]) -> str:
        """Unpacking of the pointer array, in the order that ``Source`` says."""
        lines: list[str] = []
        k = 0
        for m, var in enumerate(self._placement.streams):
            lines.append(f"const real *const {self._memory.name(var)}__b = p[{k}];")
            lines.append(f"const long {self._memory.name(var)}__l = ld[{m}];")
            k += 1
        for var in self._placement.arrays:
            lines.append(f"const real *const {self._memory.name(var)}__a = p[{k}];")
            k += 1
        for equation in self._products:
            lines.append(f"const real *const {self._memory.name(equation.out)}__w = p[{k}];")
            k += 1
        for var in self._placement.graph.states:
            lines.append(f"const real *const {self._memory.name(var)}__i = p[{k}];")
            k += 1
        for m, _ in enumerate(written):
            lines.append(f"real *const out{m}__b = p[{k}];")
            k += 1
        for var in self._placement.graph.states:
            lines.append(f"real *const {self._memory.name(var)}__f = p[{k}];")
            k += 1
        for m, equation in enumerate(self._placement.totals):
            n = n_elements(equation.out.shape)
            lines.append(f"real *const sum{m}__b = (real *)p[{k}] + id * {n}L;")
            k += 1
        return indent(lines, 1)

    def begin(self) -> str:
        """The states before the first step."""
        lines: list[str] = []
        for var in self._placement.graph.states:
            n = n_elements(var.shape)
            name = self._memory.name(var)
            lines.append(f"const real *{name}__h = {name}__i + b0 * {n}L;")
            lines.append(f"long {name}__l = {n};")
        return indent(lines, 1)

    def step(self, written: tuple[Var, ...]) -> str:
        """Where everything is at this step."""
        lines: list[str] = []
        for var in self._placement.streams:
            name = self._memory.name(var)
            lines.append(f"const real *const {name}__t = {name}__b + (t * B + b0) * {name}__l;")
        for m, var in enumerate(written):
            lines.append(
                f"real *const out{m}__t = out{m}__b + (t * B + b0) * {n_elements(var.shape)}L;"
            )
        for var, offset in self._memory.offsets.items():
            stride = self._memory.strides[var]
            if self._memory.layout.kinds[var] == "product":
                # Another thread may still read a state's product of two steps ago.
                turn = "step % 3" if var in self._memory.layout.doubled else "parity"
                lines.append(
                    f"real *const {self._memory.name(var)}__s = "
                    f"shared + R * ({offset} + {turn} * {stride});"
                )
            else:
                name = self._memory.name(var)
                plus = f" + parity * {stride}" if var in self._memory.layout.doubled else ""
                memory = f"scratch + R * ({offset}{plus})"
                if var in self._memory.direct:
                    n = n_elements(var.shape)
                    memory = f"split ? {memory} : out{self._memory.direct[var]}__t"
                    lines.append(f"const long {name}__d = split ? {stride} : {n};")
                lines.append(f"real *const {name}__s = {memory};")
        return indent(lines, 2)

    def following(self) -> str:
        """The states for the next step."""
        lines: list[str] = []
        states = self._placement.graph.states
        for k, var in enumerate(self._placement.graph.next_states):
            base, distance = self._memory.place(self._memory.layout.address(var))
            lines.append(f"const real *const next{k}__h = {base};")
            lines.append(f"const long next{k}__l = {distance};")
        for k, state in enumerate(states):
            lines.append(f"{self._memory.name(state)}__h = next{k}__h;")
            lines.append(f"{self._memory.name(state)}__l = next{k}__l;")
        return indent(lines, 2)

    def finish(self) -> str:
        """The states after the last step."""
        lines: list[str] = []
        for state in self._placement.graph.states:
            name, n = self._memory.name(state), n_elements(state.shape)
            lines += [
                "for (long r = 0; r < R; r++)",
                f"    if (OWNS(r)) memcpy({name}__f + (b0 + r) * {n}L, {name}__h + r * {name}__l, "
                f"{n} * sizeof(real));",
            ]
        return indent(lines, 1)
