"""Wires at right angles: between two columns each wire turns on a track of its own.

All wires of one value share its track, and branch from it.  Tracks are chosen as in channel
routing: a wire that leaves a column at the height at which another enters the next turns before it,
so that wires cross, but never lie on each other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from unrolled.inspect.diagram.boxes import Box, Content
from unrolled.inspect.diagram.layout import Item, Layout, box_height

TRACK, CLOSE, ARROW, SIDE = 9.0, 6.0, 9.0, 8.0
"""Between tracks; heights that count as one; room for the arrow's head; room beside a column."""

ROUND = {"sign", "state", "next", "input", "result"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """A box's place: its upper left corner and its size, without the caption."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """A wire's corners, from the right edge of its source to the left edge of its target."""

    source: str
    target: str
    mark: str
    points: tuple[Point, ...]


@dataclass
class Routed:
    """Boxes and wires in their places, the points at which wires branch, and the width of all."""

    frames: dict[str, Frame]
    routes: list[Route]
    branches: set[Point]
    width: float
    columns: list[float]


@dataclass
class _Net:
    """What one value's wire does between two columns."""

    name: str
    left: float
    ends: list[Item]
    right: list[float] = field(default_factory=list[float])
    track: int = 0

    @property
    def low(self) -> float:
        return min(self.left, *self.right)

    @property
    def high(self) -> float:
        return max(self.left, *self.right)

    @property
    def straight(self) -> bool:
        return self.high - self.low < 0.01


def route(content: Content, placed: Layout) -> Routed:
    """The wires of a layout, and the horizontal places of its columns."""
    ports = _ports(placed)
    n = len(placed.columns)
    gaps = [_gap(column, ports) for column in placed.columns[:-1]]
    x = 0.0
    lefts: list[float] = []
    starts: list[float] = []
    for k, column in enumerate(placed.columns):
        lefts.append(x)
        x += max((i.width for i in column), default=0.0)
        starts.append(x)
        if k < n - 1:
            tracks = max((net.track + 1 for net in gaps[k].values() if not net.straight), default=0)
            x += SIDE + TRACK * tracks + SIDE + ARROW
    frames: dict[str, Frame] = {}
    for k, column in enumerate(placed.columns):
        wide = max((i.width for i in column), default=0.0)
        for item in column:
            if item.box is not None:
                own = item.width
                left = lefts[k] + (wide - own) / 2
                high = box_height(item)
                frames[item.net] = Frame(left, item.y - high / 2, own, high)
    routes = [
        Route(
            w.source,
            w.target,
            w.mark,
            _points(w.source, w.target, placed, ports, gaps, starts, frames),
        )
        for w in content.wires
    ]
    branches = {
        p
        for nets, start in zip(gaps, starts, strict=False)
        for net in nets.values()
        for p in _branches(net, start)
    }
    return Routed(frames, routes, branches, x, lefts)


def _ports(placed: Layout) -> dict[tuple[str, Item], float]:
    """The height at which the wire of a value enters an item."""
    found: dict[tuple[str, Item], float] = {}
    for column in placed.columns:
        for item in column:
            sources = sorted(item.left, key=lambda s: (s.y, s.net))
            if item.box is None:
                found |= {(s.net, item): item.y for s in sources}
                continue
            room = box_height(item) / 2 - 5
            if len(sources) == 1:
                (source,) = sources
                level = abs(source.y - item.y) <= room
                found[source.net, item] = source.y if level else item.y
                continue
            space = min(9.0, 2 * room / max(1, len(sources) - 1))
            low = item.y - room
            heights: list[float] = []
            for source in sources:  # level with its source where it can be
                low = max(low, min(source.y, item.y + room))
                heights.append(low)
                low += space
            high = item.y + room
            for k in reversed(range(len(heights))):
                heights[k] = min(heights[k], high)
                high = heights[k] - space
            found |= {(s.net, item): y for s, y in zip(sources, heights, strict=True)}
    return found


def _nets(column: list[Item], ports: dict[tuple[str, Item], float]) -> dict[str, _Net]:
    nets: dict[str, _Net] = {}
    for item in column:
        if item.right:
            right = [ports[item.net, r] for r in item.right]
            nets[item.net] = _Net(item.net, item.y, item.right, right)
    return nets


def _gap(column: list[Item], ports: dict[tuple[str, Item], float]) -> dict[str, _Net]:
    """What all wires do behind a column; where two would swap heights, one ends a little aside."""
    nets = _nets(column, ports)
    for _ in range(2 * len(nets)):
        caught = _assign_tracks([n for n in nets.values() if not n.straight])
        if not caught or not _step_aside(caught, ports):
            break
        nets = _nets(column, ports)
    return nets


def _assign_tracks(turning: list[_Net]) -> list[_Net]:
    """Gives each net a track; returns those that each have to turn before another of them."""
    before: dict[int, set[int]] = defaultdict(set)
    for a, first in enumerate(turning):
        for b, second in enumerate(turning):
            if a != b and any(abs(first.left - y) < CLOSE for y in second.right):
                before[b].add(a)
    waiting = set(range(len(turning)))
    caught: list[_Net] = []
    placed: list[_Net] = []
    while waiting:
        free = [k for k in waiting if not before[k] & waiting]
        if not free:
            caught = caught or [turning[k] for k in sorted(waiting)]
            free = sorted(waiting)
        k = min(free, key=lambda k: _turn(turning[k]))
        waiting.discard(k)
        net = turning[k]
        net.track = max((turning[b].track + 1 for b in before[k] - waiting), default=0)
        while any(o.track == net.track and _overlap(o, net) for o in placed):
            net.track += 1
        placed.append(net)
    return caught


def _step_aside(caught: list[_Net], ports: dict[tuple[str, Item], float]) -> bool:
    """Moves one end off the height of another's start, where there is room; says whether."""
    for net in caught:
        for end, y in zip(net.ends, net.right, strict=True):
            lefts = [o.left for o in caught if o is not net]
            others = [at for (name, item), at in ports.items() if item is end and name != net.name]
            if all(abs(left - y) >= CLOSE for left in lefts):
                continue
            room = 7.0 if end.box is None else box_height(end) / 2 - 4
            for to in (end.y + CLOSE + 0.5, end.y - CLOSE - 0.5):
                apart = all(abs(to - taken) >= CLOSE for taken in (*lefts, *others))
                if abs(to - end.y) <= room and apart:
                    ports[net.name, end] = to
                    if end.box is None:
                        end.y = to
                    return True
    return False


def _turn(net: _Net) -> tuple[float, float]:
    """Which turns first: of wires that go down the lowest, of those that go up the highest."""
    down = sum(net.right) / len(net.right) > net.left
    return (-net.left if down else net.left, net.left)


def _overlap(a: _Net, b: _Net) -> bool:
    return a.low - CLOSE < b.high and b.low - CLOSE < a.high


def _track_x(net: _Net, start: float) -> float:
    return start + SIDE + TRACK * (net.track + 0.5)


def _points(
    source: str,
    target: str,
    placed: Layout,
    ports: dict[tuple[str, Item], float],
    gaps: list[dict[str, _Net]],
    starts: list[float],
    frames: dict[str, Frame],
) -> tuple[Point, ...]:
    end, at = placed.items[target], placed.items[source]
    frame = frames[source]
    points: list[Point] = [(frame.x + frame.width, at.y)]  # a source's wire leaves its middle
    while at is not end:
        ahead = next((i for i in at.right if i is end), None)
        ahead = ahead or next(i for i in at.right if i.box is None)
        y, net = ports[source, ahead], gaps[at.column][source]
        if abs(y - at.y) > 0.01:
            x = _track_x(net, starts[at.column])
            points += [(x, at.y), (x, y)]
        at = ahead
    y, frame = ports[source, end], frames[target]
    points.append((frame.x + _inset(end, frame, y), y))
    return tuple(points)


def _inset(item: Item, frame: Frame, y: float) -> float:
    """How far the outline of a box with round ends is from its left edge at a height."""
    assert item.box
    radius = corner(item.box, frame.height)
    beyond = abs(y - frame.y - frame.height / 2) - (frame.height / 2 - radius)
    return radius - math.sqrt(radius**2 - beyond**2) if beyond > 0 else 0.0


def corner(box: Box, height: float) -> float:
    """The radius of a box's corners."""
    return min(12.0, height / 2) if box.kind in ROUND else 4.0


def _branches(net: _Net, start: float) -> set[Point]:
    """Where a wire goes in three directions or more."""
    if net.straight:
        return set()
    found: set[Point] = set()
    for y in {net.left, *net.right}:
        ways = (y == net.left) + (y in net.right) + (y > net.low) + (y < net.high)
        if ways > 2:
            found.add((_track_x(net, start), y))
    return found
