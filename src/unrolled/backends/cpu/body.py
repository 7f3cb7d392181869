"""The body of a step in C: fused elementwise loops, products, reductions, joins, rearrangements."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from unrolled.backends.cpu.layout import Address
from unrolled.backends.cpu.memory import Memory
from unrolled.backends.cpu.positions import positions
from unrolled.backends.cpu.spelling import spell
from unrolled.backends.cpu.text import (
    aligned,
    equation_comment,
    note,
    number,
    place,
)
from unrolled.ir import Atom, Equation, Var, n_elements


class Body:
    """The statements of one step; ``tables`` are the positions that rearrangements look up."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._layout = memory.layout
        self._sinks: dict[Var, list[tuple[str, str]]] = defaultdict(list)
        self.tables: list[str] = []

    def lines(self, written: tuple[Var, ...]) -> list[str]:
        """All work of a step, level by level."""
        copies: list[str] = []
        for var in written:
            if var not in self._memory.direct:
                to = f"{self._memory.name(var)}__t + r * {n_elements(var.shape)}L"
                self._add_sink(var, to, "=", copies)
        for equation in self._layout.placement.totals:
            total = f"{self._memory.name(equation.out)}__a"
            self._add_sink(equation.inputs[0], total, "+=", copies)
        lines: list[str] = []
        for equations in self._layout.by_level():
            loops: dict[int, list[Equation]] = defaultdict(list)
            others: list[Equation] = []
            for equation in equations:
                if self._layout.kinds[equation.out] == "elementwise":
                    loops[n_elements(equation.out.shape)].append(equation)
                else:
                    others.append(equation)
            for n, group in loops.items():
                lines += self._loop(n, group)
            for equation in others:
                lines += self._other(equation)
        return lines + copies

    def _add_sink(self, var: Var, to: str, assign: str, copies: list[str]) -> None:
        """Have a value written to a stream or added to a sum: in its own loop where that can be."""
        address = self._layout.address(var)
        root = address.root
        kind = self._layout.kinds.get(root)
        if kind == "elementwise" and self._layout.whole(var):
            self._sinks[root].append((to, assign))
            return
        if kind == "cat" and self._layout.whole(var):
            equation = next(e for e in self._layout.placement.loop if e.out == root)
            parts = [self._layout.address(p).root for p in equation.inputs]
            homes = [self._layout.homes.get(p) for p in parts]
            if all(home is not None and home.root == root for home in homes):
                for part, home in zip(parts, homes, strict=True):
                    assert home is not None
                    plus = f" + {home.offset}" if home.offset else ""
                    self._add_sink(part, f"{to}{plus}", assign, copies)
                return
        n = n_elements(var.shape)
        index = "0" if address.scalar else "j"
        copies += [
            "",
            note(f"{var}, {'kept' if assign == '=' else 'summed up'}"),
            "for (long r = r0; r < r1; r++) {",
            f"    const real *const from = {self._memory.row(var)};",
            f"    real *const to = {to};",
            "    VECTORISED",
            f"    for (long j = 0; j < {n}; j++) to[j] {assign} from[{index}];",
            "}",
        ]

    def _loop(self, n: int, equations: list[Equation]) -> list[str]:
        own = {e.out for e in equations}
        reads: dict[str, str] = {}
        body: list[tuple[str, str]] = []
        writes: list[str] = []
        declared: list[str] = []
        booleans = {e.out for e in equations if e.out.dtype == "bool"}

        def operand(atom: Atom) -> str:
            if not isinstance(atom, Var):
                return number(atom)
            address = self._layout.address(atom)
            if address.root in own and self._layout.whole(atom):
                return self._memory.name(address.root)
            source = self._memory.row(atom)
            if source not in reads:
                reads[source] = f"{self._memory.name(atom)}__r"
            text = f"{reads[source]}[{'0' if address.scalar else 'j'}]"
            return f"({text} != 0)" if atom.dtype == "bool" else text

        for equation in equations:
            name = self._memory.name(equation.out)
            kind = "int" if equation.out in booleans else "real"
            expression = spell(equation, [operand(a) for a in equation.args])
            body.append((f"const {kind} {name} = {expression};", place(equation)))
            targets: list[tuple[str, str]] = []
            if equation.out in self._layout.scratch:
                targets.append((self._memory.row(equation.out), "="))
            targets += self._sinks.get(equation.out, [])
            for k, (target, assign) in enumerate(targets):
                pointer = f"{name}__o{k}"
                declared.append(f"real *const {pointer} = {target};")
                writes.append(f"{pointer}[j] {assign} {name};")
        lines = ["", "for (long r = r0; r < r1; r++) {"]
        lines += [f"    const real *const {name} = {source};" for source, name in reads.items()]
        lines += [f"    {line}" for line in declared]
        lines += ["    VECTORISED", f"    for (long j = 0; j < {n}; j++) {{"]
        lines += [f"        {line}" for line in aligned(body) + writes]
        return [*lines, "    }", "}"]

    def _other(self, equation: Equation) -> list[str]:
        match self._layout.kinds[equation.out]:
            case "product":
                return self._product(equation)
            case "reduction":
                return self._reduction(equation)
            case "cat":
                return self._cat(equation)
            case _:
                return self._rearrangement(equation)

    def _product(self, equation: Equation) -> list[str]:
        _, vector = equation.inputs
        m, k = n_elements(equation.out.shape), n_elements(vector.shape)
        base, distance = self._memory.place(self._layout.address(vector))
        name = self._memory.name(equation.out)
        return [
            "",
            equation_comment(equation),
            f"PRODUCT({k}, {m}, {base}, {distance}, {name}__w, {name}__s, "
            f"{self._memory.strides[equation.out]});",
        ]

    def _reduction(self, equation: Equation) -> list[str]:
        (source,) = equation.inputs
        axis = len(source.shape) + equation["axis"]
        length = int(source.shape[axis])
        inner = n_elements(source.shape[axis + 1 :])
        outer = n_elements(source.shape[:axis])
        address = self._layout.address(source)
        index = "0" if address.scalar else f"(o * {length} + j) * {inner} + i"
        start, update = {
            "sum": ("0", "total += from[{0}];"),
            "mean": ("0", "total += from[{0}];"),
            "amax": (
                "from[{1}]",
                "total = from[{0}] > total || from[{0}] != from[{0}] ? from[{0}] : total;",
            ),
        }[equation.op]
        first = "0" if address.scalar else f"o * {length} * {inner} + i"
        loop = "VECTORISED_SUM" if equation.op != "amax" else ""
        result = f"total / {length}" if equation.op == "mean" else "total"
        return [
            "",
            equation_comment(equation),
            "for (long r = r0; r < r1; r++) {",
            f"    const real *const from = {self._memory.row(source)};",
            f"    real *const to = {self._memory.row(equation.out)};",
            f"    for (long o = 0; o < {outer}; o++)",
            f"        for (long i = 0; i < {inner}; i++) {{",
            f"            real total = {start.format('', first)};",
            *([f"            {loop}"] if loop else []),
            f"            for (long j = 0; j < {length}; j++) {update.format(index)}",
            f"            to[o * {inner} + i] = {result};",
            "        }",
            "}",
        ]

    def _cat(self, equation: Equation) -> list[str]:
        lines: list[str] = []
        offset = 0
        for part in equation.inputs:
            n = n_elements(part.shape)
            root = self._layout.address(part).root
            home = self._layout.homes.get(root)
            if home != Address(equation.out, offset):
                index = "0" if self._layout.address(part).scalar else "j"
                plus = f" + {offset}" if offset else ""
                lines += [
                    "",
                    note(f"{part.name}, its part of: {replace(equation, location=None)}"),
                    "for (long r = r0; r < r1; r++) {",
                    f"    const real *const from = {self._memory.row(part)};",
                    f"    real *const to = {self._memory.row(equation.out)}{plus};",
                    f"    for (long j = 0; j < {n}; j++) to[j] = from[{index}];",
                    "}",
                ]
            offset += n
        return lines

    def _rearrangement(self, equation: Equation) -> list[str]:
        """Whatever moves numbers about: by a table of positions."""
        n = n_elements(equation.out.shape)
        lines = [
            "",
            equation_comment(equation),
            "for (long r = r0; r < r1; r++) {",
            f"    real *const to = {self._memory.row(equation.out)};",
        ]
        scatters = equation.op in ("place", "put")
        if scatters:
            lines.append(f"    memset(to, 0, {n} * sizeof(real));")
        for k, (source, moves) in enumerate(positions(equation)):
            table = f"{self._memory.name(equation.out)}__x{k}"
            numbers = ", ".join(f"{a}, {b}" for a, b in moves)
            self.tables.append(note(f"{equation.out}: which of its numbers is which of {source}"))
            self.tables.append(f"static const int {table}[{2 * len(moves)}] = {{{numbers}}};")
            scalar = self._layout.address(source).scalar
            value = f"from{k}[{'0' if scalar else f'{table}[2 * j + 1]'}]"
            lines += [
                f"    const real *const from{k} = {self._memory.row(source)};",
                f"    for (long j = 0; j < {len(moves)}; j++)",
                f"        to[{table}[2 * j]] {'+=' if scatters else '='} {value};",
            ]
        return [*lines, "}"]
