"""Emission: the C of a loop over time, from its placement and layout, into a template.

``templates/loop.c`` is for even sequences.  ``templates/uneven.c``, for several lengths and resets,
takes the same body; its states stand in one place, where ``loop.c`` lets them move with the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from unrolled.backends.cpu.body import Body
from unrolled.backends.cpu.layout import lay_out
from unrolled.backends.cpu.memory import Memory
from unrolled.backends.cpu.pieces import Pieces
from unrolled.backends.cpu.place import Placement
from unrolled.backends.cpu.text import indent, plain
from unrolled.ir import Equation, Var, n_elements

TEMPLATES = Path(__file__).parent / "templates"


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


def emit(
    placement: Placement, padded: int, uneven: bool = False, backwards: bool = False
) -> Source:
    """The source of the loop; products write rows in whole vectors of ``padded`` numbers.

    ``uneven`` is for a placement without ``shifted`` states; ``backwards`` says there that the
    states are cotangents.
    """
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
    pieces = Pieces(placement, memory, products)
    depth = 1 if uneven else 2
    fields = {
        "name": plain(placement.graph.name),
        "pointers": indent(pieces.pointers(written, totals, totals_size, uneven), 1),
        "body": indent(body.lines(written), depth),
        "tables": "\n".join(body.tables),
    }
    if uneven:
        fields["step"] = indent(pieces.step(written) + pieces.in_place(backwards), depth)
        fields["next"] = indent(pieces.following_in_place(backwards), depth)
    else:
        fields["begin"] = indent(pieces.begin(), 1)
        fields["step"] = indent(pieces.step(written), depth)
        fields["next"] = indent(pieces.following(), depth)
        fields["finish"] = indent(pieces.finish(), 1)
    text = (TEMPLATES / ("uneven.c" if uneven else "loop.c")).read_text(encoding="utf-8")
    for hole, value in fields.items():
        text = text.replace(f"/*{{{hole}}}*/", value)
    return Source(
        text, placement.streams, placement.arrays, products, states, written, totals, totals_size,
        memory.scratch_row,
    )  # fmt: skip
