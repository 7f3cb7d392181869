"""Layout: where each value of the loop lives, and in which order the loop's work is done.

Elementwise equations over vectors of one length are fused into one C loop; within it a value is a C
variable.  What another loop, a product or a reduction reads is kept in scratch memory, a row an
example.  Slices and reshapes are no work at all: they are offsets into what they are taken from.
The parts of a join are written to their places in it.

Work is ordered by level: an elementwise equation is on the level of what it reads in its own loop,
and one above everything else that it reads, or later, where it is first read.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from unrolled.backends.cpu.place import Placement
from unrolled.ir import Equation, Var, n_elements
from unrolled.ops import TABLE

Kind = Literal["alias", "elementwise", "product", "reduction", "rearrangement", "cat"]


@dataclass(frozen=True)
class Address:
    """``root`` from ``offset`` on; ``scalar`` where its one number is read for every position."""

    root: Var
    offset: int = 0
    scalar: bool = False


@dataclass
class Layout:
    """The decisions: addresses, levels, and who needs scratch memory or a place in a join."""

    placement: Placement
    kinds: dict[Var, Kind] = field(default_factory=dict[Var, Kind])
    addresses: dict[Var, Address] = field(default_factory=dict[Var, Address])
    levels: dict[Var, int] = field(default_factory=dict[Var, int])
    scratch: set[Var] = field(default_factory=set[Var])
    homes: dict[Var, Address] = field(default_factory=dict[Var, Address])
    doubled: set[Var] = field(default_factory=set[Var])

    def address(self, var: Var) -> Address:
        """Where a value is found."""
        return self.addresses.get(var, Address(var))

    def size(self, var: Var) -> int:
        """Its number of elements."""
        return n_elements(var.shape)

    def whole(self, var: Var) -> bool:
        """Whether it is all of its root, and not a part that starts where the root does."""
        address = self.address(var)
        return address == Address(address.root) and self.size(var) == self.size(address.root)

    def by_level(self) -> list[list[Equation]]:
        """The loop's equations, views left out, level by level."""
        groups: dict[int, list[Equation]] = defaultdict(list)
        for equation in self.placement.loop:
            if self.kinds[equation.out] != "alias":
                groups[self.levels[equation.out]].append(equation)
        return [groups[level] for level in sorted(groups)]


def lay_out(placement: Placement) -> Layout:
    """Decide for every value of the loop."""
    layout = Layout(placement)
    multiplied = _read_by_products(placement)
    for equation in placement.loop:
        layout.kinds[equation.out] = _kind(layout, equation, equation.out in multiplied)
    for equation in placement.loop:
        _find_address(layout, equation)
        _find_level(layout, equation)
    _put_off(layout)
    _find_scratch(layout)
    _find_homes(layout)
    return layout


def _read_by_products(placement: Placement) -> set[Var]:
    """The vectors that products read, and what these are views of."""
    found: set[Var] = set()
    for equation in reversed(placement.loop):
        if equation.op == "matmul":
            found.add(equation.inputs[1])
        elif equation.out in found and TABLE[equation.op].cost == "view":
            found.update(equation.inputs)
    return found


def _kind(layout: Layout, equation: Equation, multiplied: bool) -> Kind:
    match equation.op:
        case "matmul":
            return "product"
        case "sum" | "mean" | "amax":
            return "reduction"
        case "cat":
            return "cat" if equation["axis"] == -len(equation.out.shape) else "rearrangement"
        case "reshape":
            return "alias"
        case "broadcast" if layout.size(equation.inputs[0]) == 1 and not multiplied:
            return "alias"
        case "slice" if equation["step"] == 1 and equation["axis"] == -len(equation.out.shape):
            return "alias"
        case _:
            return "elementwise" if TABLE[equation.op].elementwise else "rearrangement"


def _find_address(layout: Layout, equation: Equation) -> None:
    if layout.kinds[equation.out] != "alias":
        return
    (source,) = equation.inputs
    below = layout.address(source)
    offset = below.offset
    if equation.op == "slice" and not below.scalar:
        row = layout.size(source) // int(source.shape[0])
        offset += int(equation["start"]) * row
    scalar = below.scalar or (equation.op == "broadcast" and layout.size(equation.out) > 1)
    layout.addresses[equation.out] = Address(below.root, offset, scalar)


def _find_level(layout: Layout, equation: Equation) -> None:
    if layout.kinds[equation.out] == "alias":
        return
    level = 0
    for var in equation.inputs:
        root = layout.address(var).root
        if root in layout.levels:
            level = max(level, layout.levels[root] + (not _fuses(layout, equation, var)))
    layout.levels[equation.out] = level


def _fuses(layout: Layout, equation: Equation, var: Var) -> bool:
    """Whether ``equation`` can read ``var`` as a variable of their common loop."""
    address = layout.address(var)
    return (
        layout.kinds[equation.out] == "elementwise"
        and layout.kinds.get(address.root) == "elementwise"
        and layout.whole(var)
        and layout.size(var) == layout.size(equation.out)
    )


def _put_off(layout: Layout) -> None:
    """Move elementwise equations to the level of the first that reads them.

    There they are variables of one loop more often, and go through scratch memory less.
    """
    readers: dict[Var, list[int]] = defaultdict(list)
    for equation in reversed(layout.placement.loop):
        out = equation.out
        if layout.kinds[out] == "alias":
            continue
        if layout.kinds[out] == "elementwise" and readers[out]:
            layout.levels[out] = max(layout.levels[out], min(readers[out]))
        for var in equation.inputs:
            last = layout.levels[out] - (not _fuses(layout, equation, var))
            readers[layout.address(var).root].append(last)


def _find_scratch(layout: Layout) -> None:
    placement = layout.placement
    for equation in placement.loop:
        if layout.kinds[equation.out] in ("product", "reduction", "rearrangement", "cat"):
            layout.scratch.add(equation.out)
        if layout.kinds[equation.out] == "alias":
            continue
        for var in equation.inputs:
            root = layout.address(var).root
            apart = layout.levels.get(root) != layout.levels[equation.out]
            if root in layout.levels and (apart or not _fuses(layout, equation, var)):
                layout.scratch.add(root)
    read_apart = (*placement.graph.next_states, *placement.written)
    for var in (*read_apart, *(e.inputs[0] for e in placement.totals)):
        root = layout.address(var).root
        direct = layout.kinds.get(root) == "elementwise" and layout.whole(var)
        if root in layout.levels and not direct:
            layout.scratch.add(root)
    for var in placement.graph.next_states:
        root = layout.address(var).root
        if root in layout.levels:
            layout.scratch.add(root)
            layout.doubled.add(root)


def _find_homes(layout: Layout) -> None:
    """Let the parts of a join be written where they belong in it, where they can be."""
    for equation in layout.placement.loop:
        if layout.kinds[equation.out] != "cat":
            continue
        offset = 0
        for part in equation.inputs:
            root = layout.address(part).root
            plain = layout.whole(part)
            free = root not in layout.homes and root not in layout.doubled
            if plain and free and layout.kinds.get(root) == "elementwise":
                layout.homes[root] = Address(equation.out, offset)
            offset += layout.size(part)
