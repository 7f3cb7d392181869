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
    "t", "r", "j", "k", "b0", "R", "id", "n", "p", "ld", "sums", "main", "linux", "unix", "i386",
    "fabs", "sqrt", "expm1", "log", "log1p", "sin", "cos", "erf", "pow",
}  # fmt: skip
"""Words of C, of the template, and libm's functions, which a variable would hide."""
_SHAPED = re.compile(r"[^a-z]*[A-Z][^a-z]*[A-Z][^a-z]*")
"""What may be a macro."""
_ALIGN = 16  # numbers: rows of scratch memory start on a cache line


class Memory:
    """Names, scratch memory and addresses of one loop.

    ``written`` are the values that are wanted for every step, in the order of their pointers.
    Those of them that the loop reads too are kept where they are written (``direct``).
    """

    def __init__(self, layout: Layout, written: tuple[Var, ...], lanes: int) -> None:
        self.layout = layout
        self.lanes = lanes
        self.names: dict[Var, str] = {}
        self.scratch_row = 0
        self.offsets: dict[Var, int] = {}
        self.strides: dict[Var, int] = {}
        self.direct = {
            var
            for var in written
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
            n = n_elements(var.shape)
            if var in self.direct:
                self.strides[var] = n
                continue
            unit = max(self.lanes, _ALIGN) if self.layout.kinds[var] == "product" else _ALIGN
            self.strides[var] = -(-n // unit) * unit
            self.offsets[var] = self.scratch_row
            self.scratch_row += self.strides[var] * (2 if var in self.layout.doubled else 1)

    def scratch(self, var: Var) -> str:
        """The rows of scratch memory of a value at this step."""
        offset, stride = self.offsets[var], self.strides[var]
        if var not in self.layout.doubled:
            return f"scratch + R * {offset}" if offset else "scratch"
        plus = f"{offset} + " if offset else ""
        return f"scratch + R * ({plus}parity * {stride})"

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
        return f"{name}__{'t' if root in self.direct else 's'}{plus}", str(self.strides[root])

    def row(self, var: Var) -> str:
        """The C address of a value's row ``r``."""
        base, distance = self.place(self.layout.address(var))
        return base if distance == "0" else f"{base} + r * {distance}"
