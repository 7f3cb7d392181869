"""Emission: the C of a loop over time, from its placement and layout, into ``templates/loop.c``."""

from __future__ import annotations

import keyword
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePath

from unrolled.backends.cpu.layout import Address, Layout, lay_out
from unrolled.backends.cpu.place import Placement
from unrolled.backends.cpu.spelling import spell
from unrolled.ir import Atom, Equation, Var, n_elements

TEMPLATE = Path(__file__).parent / "templates" / "loop.c"
_RESERVED = set(
    "asm auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef typeof "
    "union unsigned void volatile while real whole vec T B t r j k b0 R id n p ld main linux unix i386 "
    "fabs sqrt expm1 log log1p sin cos erf pow".split()
)
"""Words of C, of the template, and libm's functions, which a variable would hide."""
_SHAPED = re.compile(r"(next|out|sum)\d+|[^a-z]*[A-Z][^a-z]*[A-Z][^a-z]*")
"""The template's own pointers, and what may be a macro."""
_ALIGN = 16  # numbers: rows of scratch memory start on a cache line


@dataclass(frozen=True)
class Source:
    """The C text of a loop, and the order of its pointers.

    ``scratch_row`` numbers of scratch memory are needed for each row of a block, ``shared_row`` for each
    row where threads share products, both in units of ``real``; ``widest`` is the longest vector
    written.
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
    return _Emitter(placement, padded).source()


class _Emitter:
    def __init__(self, placement: Placement, padded: int) -> None:
        self.placement = placement
        self.layout: Layout = lay_out(placement)
        self.lanes = padded
        self.names: dict[Var, str] = {}
        self.products = tuple(e for e in placement.loop if e.op == "matmul")
        self.scratch_row = 0
        self.shared_row = 0
        self.offsets: dict[Var, int] = {}
        self.direct: dict[Var, int] = {}
        self.strides: dict[Var, int] = {}
        self.widest = max(
            (n_elements(v.shape) for v in (*placement.written, *(e.out for e in placement.totals))),
            default=1,
        )
        self.tables: list[str] = []

    def source(self) -> Source:
        placement = self.placement
        written = tuple(v for v in placement.written if v not in placement.graph.states)
        written += tuple(v for v in placement.written if v in placement.graph.states)
        for m, var in enumerate(written):
            stored = var in self.layout.scratch and var not in self.layout.homes
            if stored and self.layout.kinds[var] != "product":
                self.direct[var] = m
        self._give_scratch()
        body = self._body(written)
        fields = {
            "name": _plain(placement.graph.name),
            "tables": "\n".join(self.tables),
            "pointers": self._pointers(written),
            "begin": self._begin(),
            "step": self._step_pointers(written),
            "body": body,
            "next": self._next(),
            "finish": self._finish(written),
        }
        text = TEMPLATE.read_text(encoding="utf-8")
        for hole, value in fields.items():
            text = text.replace(f"/*{{{hole}}}*/", value)
        return Source(
            text, placement.streams, placement.arrays, self.products, placement.graph.states, written,
            placement.totals, self.scratch_row, self.shared_row, self.widest,
        )  # fmt: skip

    # -- names and memory

    def name(self, var: Var) -> str:
        """The user's name for a value, as C allows it; derived names end in ``__`` and a letter."""
        if var not in self.names:
            base = re.sub(r"[^A-Za-z0-9]+", "_", var.name).strip("_") or "u"
            word = keyword.iskeyword(base) or base in _RESERVED or base.removesuffix("f") in _RESERVED
            if base[0].isdigit() or word or _SHAPED.fullmatch(base):
                base = f"{base}_"
            taken = set(self.names.values())
            name, n = base, 1
            while name in taken:
                n += 1
                name = f"{base}_{n}"
            self.names[var] = name
        return self.names[var]

    def _give_scratch(self) -> None:
        for equation in self.placement.loop:
            var = equation.out
            if var not in self.layout.scratch or var in self.layout.homes:
                continue
            is_product = self.layout.kinds[var] == "product"
            unit = max(self.lanes, _ALIGN) if is_product else _ALIGN
            stride = -(-n_elements(var.shape) // unit) * unit
            self.strides[var] = stride
            if is_product:
                self.offsets[var] = self.shared_row
                self.shared_row += stride * (3 if var in self.layout.doubled else 2)
            else:
                self.offsets[var] = self.scratch_row
                self.scratch_row += stride * (2 if var in self.layout.doubled else 1)

    def _place(self, address: Address) -> tuple[str, str]:
        """A row's address in C without the row (``base``), and the distance of rows."""
        root, offset = address.root, address.offset
        if root in self.layout.homes:
            home = self.layout.homes[root]
            return self._place(Address(home.root, home.offset + offset))
        plus = f" + {offset}" if offset else ""
        name = self.name(root)
        if root in self.placement.graph.states:
            return f"{name}__h{plus}", f"{name}__l"
        if root in self.placement.streams:
            return f"{name}__t{plus}", f"{name}__l"
        if root in self.placement.arrays:
            return f"{name}__a{plus}", "0"
        return f"{name}__s{plus}", f"{name}__d" if root in self.direct else str(self.strides[root])

    def row(self, var: Var) -> str:
        """The C address of a value's row ``r``."""
        base, distance = self._place(self.layout.address(var))
        return base if distance == "0" else f"{base} + r * {distance}"

    # -- pieces of the template

    def _pointers(self, written: tuple[Var, ...]) -> str:
        """Unpacking of the pointer array, in the order that ``Source`` says."""
        lines: list[str] = []
        k = 0
        for m, var in enumerate(self.placement.streams):
            lines.append(f"const real *const {self.name(var)}__b = p[{k}];")
            lines.append(f"const long {self.name(var)}__l = ld[{m}];")
            k += 1
        for var in self.placement.arrays:
            lines.append(f"const real *const {self.name(var)}__a = p[{k}];")
            k += 1
        for equation in self.products:
            lines.append(f"const real *const {self.name(equation.out)}__w = p[{k}];")
            k += 1
        for var in self.placement.graph.states:
            lines.append(f"const real *const {self.name(var)}__i = p[{k}];")
            k += 1
        for m, _ in enumerate(written):
            lines.append(f"real *const out{m}__b = p[{k}];")
            k += 1
        for var in self.placement.graph.states:
            lines.append(f"real *const {self.name(var)}__f = p[{k}];")
            k += 1
        for m, equation in enumerate(self.placement.totals):
            n = n_elements(equation.out.shape)
            lines.append(f"real *const sum{m}__b = (real *)p[{k}] + id * {n}L;")
            k += 1
        return _indent(lines, 1)

    def _begin(self) -> str:
        lines: list[str] = []
        for var in self.placement.graph.states:
            n = n_elements(var.shape)
            lines.append(f"const real *{self.name(var)}__h = {self.name(var)}__i + b0 * {n}L;")
            lines.append(f"long {self.name(var)}__l = {n};")
        return _indent(lines, 1)

    def _step_pointers(self, written: tuple[Var, ...]) -> str:
        lines: list[str] = []
        for var in self.placement.streams:
            name = self.name(var)
            lines.append(f"const real *const {name}__t = {name}__b + (t * B + b0) * {name}__l;")
        for m, var in enumerate(written):
            lines.append(
                f"real *const out{m}__t = out{m}__b + (t * B + b0) * {n_elements(var.shape)}L;"
            )
        for var, offset in self.offsets.items():
            stride = self.strides[var]
            if self.layout.kinds[var] == "product":
                # Another thread may still read a state's product of two steps ago.
                turn = "step % 3" if var in self.layout.doubled else "parity"
                lines.append(
                    f"real *const {self.name(var)}__s = shared + R * ({offset} + {turn} * {stride});"
                )
            else:
                name = self.name(var)
                plus = f" + parity * {stride}" if var in self.layout.doubled else ""
                memory = f"scratch + R * ({offset}{plus})"
                if var in self.direct:
                    n = n_elements(var.shape)
                    memory = f"split ? {memory} : out{self.direct[var]}__t"
                    lines.append(f"const long {name}__d = split ? {stride} : {n};")
                lines.append(f"real *const {name}__s = {memory};")
        return _indent(lines, 2)

    def _next(self) -> str:
        lines: list[str] = []
        states = self.placement.graph.states
        for k, var in enumerate(self.placement.graph.next_states):
            base, distance = self._place(self.layout.address(var))
            lines.append(f"const real *const next{k}__h = {base};")
            lines.append(f"const long next{k}__l = {distance};")
        for k, state in enumerate(states):
            lines.append(f"{self.name(state)}__h = next{k}__h;")
            lines.append(f"{self.name(state)}__l = next{k}__l;")
        return _indent(lines, 2)

    def _finish(self, written: tuple[Var, ...]) -> str:
        lines: list[str] = []
        for state in self.placement.graph.states:
            name, n = self.name(state), n_elements(state.shape)
            lines += [
                "for (long r = 0; r < R; r++)",
                f"    if (OWNS(r)) memcpy({name}__f + (b0 + r) * {n}L, {name}__h + r * {name}__l, "
                f"{n} * sizeof(real));",
            ]
        return _indent(lines, 1)

    # -- the body of a step

    def _body(self, written: tuple[Var, ...]) -> str:
        self.sinks: dict[Var, list[tuple[str, str]]] = defaultdict(list)
        copies: list[str] = []
        for m, var in enumerate(written):
            to = f"out{m}__t + r * {n_elements(var.shape)}L"
            if var in self.direct:
                n, name = n_elements(var.shape), self.name(var)
                copies += [
                    f"for (long r = 0; split && r < R; r++)  // {_plain(var.name)}",
                    f"    if (OWNS(r)) memcpy({to}, {name}__s + r * {name}__d, {n} * sizeof(real));",
                ]
            else:
                self._add_sink(var, to, "=", copies)
        for m, equation in enumerate(self.placement.totals):
            self._add_sink(equation.inputs[0], f"sum{m}__b", "+=", copies)
        lines: list[str] = []
        for equations in self.layout.by_level():
            loops: dict[int, list[Equation]] = defaultdict(list)
            others: list[Equation] = []
            for equation in equations:
                if self.layout.kinds[equation.out] == "elementwise":
                    loops[n_elements(equation.out.shape)].append(equation)
                else:
                    others.append(equation)
            for n, group in loops.items():
                lines += self._loop(n, group)
            for equation in others:
                lines += self._other(equation)
        return _indent(lines + copies, 2)

    def _add_sink(self, var: Var, to: str, assign: str, copies: list[str]) -> None:
        """Have a value written to a stream or added to a sum: in its own loop where that can be."""
        address = self.layout.address(var)
        root = address.root
        kind = self.layout.kinds.get(root)
        if kind == "elementwise" and self.layout.whole(var):
            self.sinks[root].append((to, assign))
            return
        if kind == "cat" and self.layout.whole(var):
            equation = next(e for e in self.placement.loop if e.out == root)
            parts = [self.layout.address(p).root for p in equation.inputs]
            homes = [self.layout.homes.get(p) for p in parts]
            if all(home is not None and home.root == root for home in homes):
                for part, home in zip(parts, homes, strict=True):
                    assert home is not None
                    self._add_sink(part, f"{to} + {home.offset}", assign, copies)
                return
        n = n_elements(var.shape)
        index = "0" if address.scalar else "j"
        copies += [
            f"for (long r = 0; r < R; r++) {{  // {_plain(var.name)}",
            f"    const real *const from = {self.row(var)};",
            f"    real *const to = OWNS(r) ? {to} : unowned;",
            "    VECTORISED",
            f"    for (long j = 0; j < {n}; j++) to[j] {assign} from[{index}];",
            "}",
        ]

    def _loop(self, n: int, equations: list[Equation]) -> list[str]:
        own = {e.out for e in equations}
        reads: dict[str, str] = {}
        body: list[str] = []
        writes: list[str] = []
        declared: list[str] = []
        booleans = {e.out for e in equations if e.out.dtype == "bool"}

        def operand(atom: Atom) -> str:
            if not isinstance(atom, Var):
                return (
                    f"(real){float(atom)!r}"
                    if atom == atom and abs(atom) != float("inf")
                    else _special(atom)
                )
            address = self.layout.address(atom)
            if address.root in own and self.layout.whole(atom):
                return self.name(address.root)
            source = self.row(atom)
            if source not in reads:
                reads[source] = f"{self.name(atom)}__r"
            text = f"{reads[source]}[{'0' if address.scalar else 'j'}]"
            return f"({text} != 0)" if atom.dtype == "bool" else text

        for equation in equations:
            name = self.name(equation.out)
            kind = "int" if equation.out in booleans else "real"
            expression = spell(equation, [operand(a) for a in equation.args])
            body.append(f"const {kind} {name} = {expression};{_comment(equation)}")
            targets: list[tuple[str, str]] = []
            if equation.out in self.layout.scratch:
                targets.append((self.row(equation.out), "="))
            owned = self.sinks.get(equation.out, [])
            for k, (target, assign) in enumerate([*targets, *owned]):
                pointer = f"{name}__o{k}"
                guarded = f"OWNS(r) ? {target} : unowned" if k >= len(targets) else target
                declared.append(f"real *const {pointer} = {guarded};")
                writes.append(f"{pointer}[j] {assign} {name};")
        lines = ["for (long r = 0; r < R; r++) {"]
        lines += [f"    const real *const {name} = {source};" for source, name in reads.items()]
        lines += [f"    {line}" for line in declared]
        lines += ["    VECTORISED", f"    for (long j = 0; j < {n}; j++) {{"]
        lines += [f"        {line}" for line in body + writes]
        return [*lines, "    }", "}"]

    def _other(self, equation: Equation) -> list[str]:
        match self.layout.kinds[equation.out]:
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
        base, distance = self._place(self.layout.address(vector))
        name = self.name(equation.out)
        return [
            f"PRODUCT({k}, {m}, {base}, {distance}, {name}__w, {name}__s, {self.strides[equation.out]});"
            f"{_comment(equation)}"
        ]

    def _reduction(self, equation: Equation) -> list[str]:
        (source,) = equation.inputs
        axis = len(source.shape) + equation["axis"]
        length = int(source.shape[axis])
        inner = n_elements(source.shape[axis + 1 :])
        outer = n_elements(source.shape[:axis])
        address = self.layout.address(source)
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
            f"for (long r = 0; r < R; r++) {{{_comment(equation)}",
            f"    const real *const from = {self.row(source)};",
            f"    real *const to = {self.row(equation.out)};",
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
            root = self.layout.address(part).root
            home = self.layout.homes.get(root)
            if home != Address(equation.out, offset):
                index = "0" if self.layout.address(part).scalar else "j"
                lines += [
                    f"for (long r = 0; r < R; r++) {{{_comment(equation)}",
                    f"    const real *const from = {self.row(part)};",
                    f"    real *const to = {self.row(equation.out)} + {offset};",
                    f"    for (long j = 0; j < {n}; j++) to[j] = from[{index}];",
                    "}",
                ]
            offset += n
        return lines

    def _rearrangement(self, equation: Equation) -> list[str]:
        """Whatever moves numbers about: by a table of positions."""
        n = n_elements(equation.out.shape)
        lines = [
            f"for (long r = 0; r < R; r++) {{{_comment(equation)}",
            f"    real *const to = {self.row(equation.out)};",
        ]
        scatters = equation.op in ("place", "put")
        if scatters:
            lines.append(f"    memset(to, 0, {n} * sizeof(real));")
        for k, (source, positions) in enumerate(_positions(equation)):
            table = f"{self.name(equation.out)}__x{k}"
            numbers = ", ".join(f"{a}, {b}" for a, b in positions)
            self.tables.append(f"static const int {table}[{2 * len(positions)}] = {{{numbers}}};")
            scalar = self.layout.address(source).scalar
            value = f"from{k}[{'0' if scalar else f'{table}[2 * j + 1]'}]"
            lines += [
                f"    const real *const from{k} = {self.row(source)};",
                f"    for (long j = 0; j < {len(positions)}; j++)",
                f"        to[{table}[2 * j]] {'+=' if scatters else '='} {value};",
            ]
        return [*lines, "}"]


def _positions(equation: Equation) -> list[tuple[Var, list[tuple[int, int]]]]:
    """For each operand, which element of the result is which of its elements: (to, from)."""
    import torch

    from unrolled.ops import TABLE

    found: list[tuple[Var, list[tuple[int, int]]]] = []
    if equation.op in ("place", "put"):
        inverse = {"place": "slice", "put": "take"}[equation.op]
        (source,) = equation.inputs
        attributes = tuple((k, v) for k, v in equation.attributes if k != "size")
        whole = torch.arange(n_elements(equation.out.shape)).reshape(
            [int(s) for s in equation.out.shape]
        )
        view = Equation(source, inverse, (equation.out,), attributes)
        taken = TABLE[inverse].run(view, whole).reshape(-1).tolist()
        return [(source, [(to, k) for k, to in enumerate(taken)])]
    base = 0
    marked: list[torch.Tensor] = []
    for source in equation.inputs:
        n = n_elements(source.shape)
        marked.append(torch.arange(base, base + n).reshape([int(s) for s in source.shape]))
        base += n
    result = TABLE[equation.op].run(equation, *marked).reshape(-1).tolist()
    base = 0
    for source in equation.inputs:
        n = n_elements(source.shape)
        found.append(
            (source, [(to, v - base) for to, v in enumerate(result) if base <= v < base + n])
        )
        base += n
    return found


def _special(value: float) -> str:
    if value != value:
        return "NAN"
    return "INFINITY" if value > 0 else "(-INFINITY)"


def _comment(equation: Equation) -> str:
    if equation.location is None:
        return ""
    return f"  // {_plain(PurePath(equation.location.file).name)}:{equation.location.line}"


def _plain(text: str) -> str:
    """A text for a comment, which must not end it: saved equations may come from anyone."""
    return re.sub(r"[^\w .,:<>\[\]()-]", "_", text)


def _indent(lines: list[str], levels: int) -> str:
    return "\n".join("    " * levels + line if line else line for line in lines)
