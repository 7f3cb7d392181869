"""The C around the body of a step: pointers, where things are at a step, and the states' way on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

from unrolled.backends.cpu.memory import Memory
from unrolled.backends.cpu.place import Placement
from unrolled.backends.cpu.text import aligned, note
from unrolled.ir import Equation, Var, n_elements


class Pieces:
    """The declarations around the body of a step."""

    def __init__(
        self, placement: Placement, memory: Memory, products: tuple[Equation, ...]
    ) -> None:
        self._placement = placement
        self._memory = memory
        self._products = products

    def pointers(
        self,
        written: tuple[Var, ...],
        totals: Mapping[Equation, int],
        totals_size: int,
        uneven: bool,
    ) -> list[str]:
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
        if uneven:
            group(
                "what resets put in or take out",
                [("real", f"{name(v)}__z", str(v)) for v in states],
            )
        else:
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
        return lines + aligned(sums)

    def begin(self) -> list[str]:
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
        return ["", *lines]

    def step(self, written: tuple[Var, ...]) -> list[str]:
        """Where everything is at this step."""
        lines: list[str] = []
        for var in self._placement.streams:
            name = self._memory.name(var)
            lines.append(f"const real *const {name}__t = {name}__b + at * {name}__l;")
        for var in written:
            name, n = self._memory.name(var), n_elements(var.shape)
            lines.append(f"real *const {name}__t = {name}__b + at * {n}L;")
        for var in self._memory.offsets:
            lines.append(f"real *const {self._memory.name(var)}__s = {self._memory.scratch(var)};")
        return lines

    def following(self) -> list[str]:
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
        return lines

    def finish(self) -> list[str]:
        """The states after the last step."""
        lines: list[str] = []
        for state in self._placement.graph.states:
            name, n = self._memory.name(state), n_elements(state.shape)
            lines += [
                "for (long r = r0; r < r1; r++)",
                f"    memcpy({name}__f + (b0 + r) * {n}L, {name}__h + r * {name}__l, "
                f"{n} * sizeof(real));",
            ]
        return lines

    def in_place(self, backwards: bool) -> list[str]:
        """The states of the block; before a forward step, resets put fresh ones in."""
        lines: list[str] = []
        for state in self._placement.graph.states:
            name, n = self._memory.name(state), n_elements(state.shape)
            lines += [
                f"real *const {name}__h = {name}__f + b0 * {n}L;",
                f"const long {name}__l = {n};",
            ]
            if not backwards:
                lines += [
                    "if (resets)",
                    "    for (long r = r0; r < r1; r++)",
                    "        if (resets[r])",
                    f"            memcpy({name}__h + r * {n}L, {name}__z + (b0 + r) * {n}L, "
                    f"{n} * sizeof(real));",
                ]
        return lines

    def following_in_place(self, backwards: bool) -> list[str]:
        """The states for the next step; after a backward step, resets take them out."""
        lines = ["", note("the states of the next step")]
        graph = self._placement.graph
        for state, var in zip(graph.states, graph.next_states, strict=True):
            name, n = self._memory.name(state), n_elements(state.shape)
            if state != var:
                base, distance = self._memory.place(self._memory.layout.address(var))
                lines += [
                    "for (long r = r0; r < r1; r++)",
                    f"    memcpy({name}__h + r * {n}L, {base} + r * {distance}, "
                    f"{n} * sizeof(real));",
                ]
            if backwards:
                lines += [
                    "if (resets)",
                    "    for (long r = r0; r < r1; r++)",
                    f"        for (long j = 0; resets[r] && j < {n}; j++) {{",
                    f"            {name}__z[(b0 + r) * {n}L + j] += {name}__h[r * {n}L + j];",
                    f"            {name}__h[r * {n}L + j] = 0;",
                    "        }",
                ]
        return lines
