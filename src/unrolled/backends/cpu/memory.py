"""Memory: what the values of a loop are called in C, and where a row of each one stands."""

from __future__ import annotations

import keyword
import re

from unrolled.backends.cpu.layout import Address, Layout
from unrolled.ir import Var, n_elements

_RESERVED = {
    "asm", "auto", "break", "case", "char", "const", "continue", "default", "do", "double",
    "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "typeof", "union", "unsigned", "void", "volatile", "while", "real", "whole", "vec", "T", "B",
    "t", "r", "j", "k", "b0", "R", "id", "n", "p", "ld", "main", "linux", "unix", "i386", "fabs",
    "sqrt", "expm1", "log", "log1p", "sin", "cos", "erf", "pow",
}  # fmt: skip
"""Words of C, of the template, and libm's functions, which a variable would hide."""
_SHAPED = re.compile(r"[^a-z]*[A-Z][^a-z]*[A-Z][^a-z]*")
"""What may be a macro."""
_ALIGN = 16  # numbers: rows of scratch memory start on a cache line


class Memory:
    """Names, scratch memory and addresses of one loop.

    ``written`` are the values that are wanted for every step, in the order of their pointers.
    Those of them that the loop reads too are kept where they are written (``direct``), unless
    threads share the examples; then each has its own copy.
    """

    def __init__(self, layout: Layout, written: tuple[Var, ...], lanes: int) -> None:
        self.layout = layout
        self.lanes = lanes
        self.names: dict[Var, str] = {}
        self.scratch_row = 0
        self.shared_row = 0
        self.offsets: dict[Var, int] = {}
        self.strides: dict[Var, int] = {}
        self.direct = {
            var: m
            for m, var in enumerate(written)
            if var in layout.scratch and var not in layout.homes and layout.kinds[var] != "product"
        }
        self._give_scratch()

    def name(self, var: Var) -> str:
        """The user's name for a value, as C allows it; derived names end in ``__`` and a letter."""
        if var not in self.names:
            base = re.sub(r"[^A-Za-z0-9]+", "_", var.name).strip("_") or "u"
            word = (
                keyword.iskeyword(base) or base in _RESERVED or base.removesuffix("f") in _RESERVED
            )
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
        for equation in self.layout.placement.loop:
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

    def scratch(self, var: Var) -> str:
        """The rows of scratch memory of a value at this step."""
        offset, stride = self.offsets[var], self.strides[var]
        base, turn = "scratch", "parity"
        if self.layout.kinds[var] == "product":
            # Another thread may still read a state's product of two steps ago.
            base, turn = "shared", "step % 3" if var in self.layout.doubled else "parity"
        elif var not in self.layout.doubled:
            return f"{base} + R * {offset}" if offset else base
        plus = f"{offset} + " if offset else ""
        return f"{base} + R * ({plus}{turn} * {stride})"

    def place(self, address: Address) -> tuple[str, str]:
        """A row's address in C without the row (``base``), and the distance of rows."""
        root, offset = address.root, address.offset
        if root in self.layout.homes:
            home = self.layout.homes[root]
            return self.place(Address(home.root, home.offset + offset))
        plus = f" + {offset}" if offset else ""
        name = self.name(root)
        if root in self.layout.placement.graph.states:
            return f"{name}__h{plus}", f"{name}__l"
        if root in self.layout.placement.streams:
            return f"{name}__t{plus}", f"{name}__l"
        if root in self.layout.placement.arrays:
            return f"{name}__a{plus}", "0"
        return f"{name}__s{plus}", f"{name}__l" if self.two_strides(root) else str(
            self.strides[root]
        )

    def two_strides(self, var: Var) -> bool:
        """Whether the rows of a value stand closer where it is kept than in scratch memory."""
        return var in self.direct and self.strides[var] != n_elements(var.shape)

    def row(self, var: Var) -> str:
        """The C address of a value's row ``r``."""
        base, distance = self.place(self.layout.address(var))
        return base if distance == "0" else f"{base} + r * {distance}"
