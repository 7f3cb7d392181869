"""Where boxes stand: a layered drawing, time from left to right, in three lanes.

After Sugiyama, Tagawa and Toda 1981: boxes go into columns by the longest path to them, wires over
several columns pass through each at a place of their own, the order in a column comes from the
barycentres of neighbours, and heights from weighted isotonic regression, which keeps the order and
the distances.  The lanes lie above each other: after, in and before the time loop.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from unrolled.inspect.diagram.boxes import Box, Content
from unrolled.inspect.diagram.names import width

LANES = ("after", "loop", "before")
LINE, CAPTION, PADDING = 16.0, 15.0, 7.0
BETWEEN = 12.0
"""From one box to the next, and between wires that pass a column."""

EDGES = {"after": (30.0, 14.0), "loop": (30.0, 14.0), "before": (14.0, 28.0)}
"""Of each lane, above and below its boxes; its title stands where no wires leave it."""

SWEEPS = 16


@dataclass(eq=False)
class Item:
    """What stands in a column: a box, or the place at which a box's wire passes (``box`` is None).

    ``above`` and ``below`` are what it needs on either side of its height ``y``.
    """

    net: str
    box: Box | None
    lane: int
    column: int
    width: float = 0.0
    above: float = 0.0
    below: float = 0.0
    y: float = 0.0
    left: list[Item] = field(default_factory=list["Item"])
    right: list[Item] = field(default_factory=list["Item"])


@dataclass
class Layout:
    """Columns of items from top to bottom, and the lanes' upper and lower edges, where used."""

    columns: list[list[Item]]
    lanes: dict[int, tuple[float, float]]
    items: dict[str, Item]


def layout(content: Content) -> Layout:
    """Columns, order and heights; the horizontal places follow from the wires between."""
    items = {b.key: _item(b, content) for b in content.boxes}
    _assign_columns(content, items)
    columns = _columns(content, items)
    _order(columns)
    lanes = _heights(columns)
    return Layout(columns, lanes, items)


def _item(box: Box, content: Content) -> Item:
    lane = LANES.index(box.lane)
    inputs = sum(w.target == box.key for w in content.wires)
    wide = max(width(line) for line in box.lines)
    high = LINE * len(box.lines) + (2 if box.kind == "sign" else PADDING)
    high = max(high, 24.0, 11.0 * inputs + 4)
    wide = max(24.0, wide + (2 if box.kind == "sign" and wide < 12 else 2 * PADDING))
    item = Item(box.key, box, lane, 0, wide, high / 2, high / 2)
    if box.caption:
        item.above += CAPTION
        item.width = max(item.width, width(box.caption) + 4)
    return item


def box_height(item: Item) -> float:
    """The height of the box alone, without its caption."""
    return 2 * item.below


def _assign_columns(content: Content, items: dict[str, Item]) -> None:
    """The longest path from the left; what is known before the loop stands close to its reader."""
    readers: dict[str, list[str]] = defaultdict(list)
    sources: dict[str, list[str]] = defaultdict(list)
    for wire in content.wires:
        readers[wire.source].append(wire.target)
        sources[wire.target].append(wire.source)
    ordered = _topological(list(items), sources)
    for key in ordered:
        items[key].column = max((items[s].column + 1 for s in sources[key]), default=0)
    ends = [i for i in items.values() if i.box and i.box.kind in ("next", "result")]
    last = max(i.column for i in items.values())
    last = max(last, 2)
    for item in ends:
        item.column = last
    for key in reversed(ordered):
        item = items[key]
        assert item.box
        early = item.lane == LANES.index("before") and item.box.kind not in ("input", "result")
        if early and readers[key]:
            item.column = min(items[r].column for r in readers[key]) - 1


def _topological(keys: Sequence[str], sources: dict[str, list[str]]) -> list[str]:
    done: dict[str, None] = {}
    stack = list(reversed(keys))
    while stack:
        key = stack.pop()
        if key in done:
            continue
        missing = [s for s in sources[key] if s not in done]
        if missing:
            stack += [key, *missing]
        else:
            done[key] = None
    return list(done)


def _columns(content: Content, items: dict[str, Item]) -> list[list[Item]]:
    """The items of each column, with the places at which wires pass."""
    columns: list[list[Item]] = [[] for _ in range(max(i.column for i in items.values()) + 1)]
    products = {b.key for b in content.boxes if b.kind == "product"}
    read_by = {b.key: sum(w.source == b.key and w.target in products for w in content.wires)
               for b in content.boxes}  # fmt: skip
    states = [b.key for b in content.boxes if b.kind == "state"]
    rank = {key: k for k, key in enumerate(sorted(states, key=lambda s: read_by[s]))}
    rank |= {f"next {key}": k for key, k in rank.items()}
    for item in sorted(items.values(), key=lambda i: (i.lane, rank.get(i.net, len(rank)))):
        columns[item.column].append(item)
    readers: dict[str, list[Item]] = defaultdict(list)
    for wire in content.wires:
        readers[wire.source].append(items[wire.target])
    for source in items.values():
        targets = readers[source.net]
        before = source
        for column in range(source.column + 1, max((t.column for t in targets), default=0)):
            for target in (t for t in targets if t.column == column):
                _link(before, target)
            ahead = [t.lane for t in targets if t.column > column]
            lane = source.lane if source.lane in ahead else ahead[0]
            place = Item(source.net, None, lane, column)
            columns[column].append(place)
            _link(before, place)
            before = place
        for target in (t for t in targets if t.column == before.column + 1):
            _link(before, target)
    return columns


def _link(left: Item, right: Item) -> None:
    left.right.append(right)
    right.left.append(left)


def _order(columns: list[list[Item]]) -> None:
    """The best order found by barycentres from both sides, then by swaps of neighbours."""
    for column in columns:
        column.sort(key=lambda i: i.lane)
    best, fewest = [list(c) for c in columns], _crossings(columns)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        inner = range(1, len(columns) - 1)
        for k in inner if forward else reversed(inner):
            beside = columns[k - 1 if forward else k + 1]
            places = {i: p for p, i in enumerate(beside)}
            now = {i: p for p, i in enumerate(columns[k])}

            def centre(item: Item) -> float:
                near = [places[n] for n in (item.left if forward else item.right)]  # noqa: B023
                return sum(near) / len(near) if near else now[item]  # noqa: B023

            columns[k].sort(key=lambda i: (i.lane, centre(i)))
        _swap(columns)
        crossings = _crossings(columns)
        if crossings < fewest:
            best, fewest = [list(c) for c in columns], crossings
    for column, order in zip(columns, best, strict=True):
        column[:] = order


def _swap(columns: list[list[Item]]) -> None:
    """Swaps neighbours within a lane as long as that saves crossings."""
    for left, column, right in zip(columns, columns[1:-1], columns[2:], strict=False):
        place = {i: p for side in (left, right) for p, i in enumerate(side)}
        improved = True
        while improved:
            improved = False
            for p in range(len(column) - 1):
                a, b = column[p : p + 2]
                if a.lane == b.lane and _between(a, b, place) > _between(b, a, place):
                    column[p : p + 2] = [b, a]
                    improved = True


def _between(upper: Item, lower: Item, place: dict[Item, int]) -> int:
    """How often the wires of two neighbours cross on both sides."""
    return sum(
        place[a] > place[b]
        for near, far in ((upper.left, lower.left), (upper.right, lower.right))
        for a in near
        for b in far
    )


def _crossings(columns: list[list[Item]]) -> int:
    """Pairs of wires in a wrong order: inversions, counted by insertion."""
    total = 0
    for left, right in pairwise(columns):
        place = {i: p for p, i in enumerate(right)}
        ends = [p for item in left for p in sorted(place[r] for r in item.right)]
        seen: list[int] = []
        for end in ends:
            at = bisect_right(seen, end)
            total += len(seen) - at
            seen.insert(at, end)
    return total


def _distance(upper: Item, lower: Item) -> float:
    return upper.below + BETWEEN + lower.above


def _heights(columns: list[list[Item]]) -> dict[int, tuple[float, float]]:
    """Gives each item its height, and returns the edges of the lanes."""
    bands: dict[int, tuple[float, float]] = {}
    top = 0.0
    for lane in range(len(LANES)):
        groups = [[i for i in column if i.lane == lane] for column in columns]
        groups = [g for g in groups if g]
        if not groups:
            continue
        need = max(g[0].above + g[-1].below + sum(map(_distance, g, g[1:])) for g in groups)
        above, below = EDGES[LANES[lane]]
        bands[lane] = (top + above, top + above + need)
        top += above + need + below + 8
        for group in groups:
            y = bands[lane][0]
            for upper, item in zip([None, *group], group, strict=False):
                y += item.above if upper is None else _distance(upper, item)
                item.y = y
    for sweep in range(2 * SWEEPS):
        order = columns if sweep % 2 == 0 else columns[::-1]
        for column in order:
            for lane, band in bands.items():
                _settle([i for i in column if i.lane == lane], band)
    for column in columns:
        for item in sorted(column, key=lambda i: i.box is not None):
            _straighten(column, item, bands[item.lane])
    edges = {lane: EDGES[LANES[lane]] for lane in bands}
    return {
        lane: (low - edges[lane][0], high + edges[lane][1]) for lane, (low, high) in bands.items()
    }


def _settle(group: list[Item], band: tuple[float, float]) -> None:
    """Moves items towards their neighbours, in order, at their distances, within the band."""
    if not group:
        return
    offsets = [0.0]
    for upper, lower in pairwise(group):
        offsets.append(offsets[-1] + _distance(upper, lower))
    blocks: list[tuple[float, float, int]] = []  # mean, weight, items
    for item, offset in zip(group, offsets, strict=True):
        near = [(n.y, _stiffness(item, n)) for n in (*item.left, *item.right)] or [(item.y, 1.0)]
        weight = sum(w for _, w in near)
        mean, size = sum(y * w for y, w in near) / weight - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, of, n = blocks.pop()
            mean = (mean * weight + other * of) / (weight + of)
            weight, size = weight + of, size + n
        blocks.append((mean, weight, size))
    low = band[0] + group[0].above
    high = band[1] - group[-1].below - offsets[-1]
    wanted = [mean for mean, _, n in blocks for _ in range(n)]
    for item, offset, place in zip(group, offsets, wanted, strict=True):
        item.y = min(max(place, low), high) + offset


def _stiffness(a: Item, b: Item) -> float:
    """Long wires are kept straight before all."""
    return (1.0, 3.0, 12.0)[(a.box is None) + (b.box is None)]


def _straighten(column: list[Item], item: Item, band: tuple[float, float]) -> None:
    """Puts an item level with what it reads, where there is room."""
    k = column.index(item)
    levels = [n.y for n in item.left if n.net == item.net or len(item.left) == 1]
    if not levels:
        return
    low, high = band[0] + item.above, band[1] - item.below
    if k > 0 and column[k - 1].lane == item.lane:
        low = column[k - 1].y + _distance(column[k - 1], item)
    if k + 1 < len(column) and column[k + 1].lane == item.lane:
        high = column[k + 1].y - _distance(item, column[k + 1])
    if low <= levels[0] <= high:
        item.y = levels[0]
