"""The picture of a cell: one time step, from its old states at the left to its new at the right.

What no state reaches is drawn in a lane of its own, below the loop, because it is computed for all
time steps at once; what no state needs, above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unrolled.cell import Cell
from unrolled.inspect.diagram.boxes import Box
from unrolled.inspect.diagram.content import content
from unrolled.inspect.diagram.fold import unnamed
from unrolled.inspect.diagram.layout import CAPTION, LANES, LINE, layout
from unrolled.inspect.diagram.names import plain, typeset, width
from unrolled.inspect.diagram.routing import Frame, Point, Route, Routed, corner, route
from unrolled.inspect.diagram.svg import dot, legend, picture, rectangle, text, wire
from unrolled.ir import Graph

MARGIN = 14.0
TITLES = {
    "after": "after the loop: computed for all time steps at once",
    "loop": "in the time loop: one step after the other",
    "before": "before the loop: computed for all time steps at once",
}
LEGEND = (
    ("product", "parameters, shared by all time steps"),
    ("product early", "the same, outside of the loop"),
    ("box", "operation in the loop"),
    ("box early", "outside of the loop"),
    ("recurrent", "state, handed from step to step"),
    ("box io", "input, output"),
    ("wire carried", "a state as it was before the step"),
)


def cell_diagram(cell: Cell | Graph, sizes: Mapping[str, int] | None = None) -> str:
    """The picture of a cell as SVG, for HTML or a file.

    Args:
        cell: A cell, drawn as it is evaluated, or the equations of a step.
        sizes: A cell's named sizes, as ``{"D": 65, "H": 256}``; they matter only where its step
            depends on them.

    Raises:
        CellError: where the cell does not run at these sizes.
        ValueError: where sizes are given for equations, which have theirs.
    """
    graph = _graph(cell, sizes)
    shown = content(graph)
    placed = layout(shown)
    routed = route(shown, placed)
    boxes = {b.key: b for b in shown.boxes}
    wide = max(routed.width, 520.0)
    body: list[str] = []
    top = MARGIN
    for lane, (low, high) in placed.lanes.items():
        kind = "lane loop" if LANES[lane] == "loop" else "lane"
        body.append(rectangle(0, low + top, wide + 2 * MARGIN, high - low, kind, 8))
        y = high + top - 9 if LANES[lane] == "before" else low + top + 15
        body.append(text(8, y, plain(TITLES[LANES[lane]]), "small", "start"))
    bottom = max(high for _, high in placed.lanes.values()) + top
    carried = {b.key for b in shown.boxes if b.kind == "state"}
    shifted = _shifted(routed, MARGIN, top)
    drawn: dict[str, list[tuple[Point, ...]]] = {}
    for line in sorted(shifted.routes, key=lambda r: r.source in carried):
        kind = "wire carried" if line.source in carried else "wire"
        earlier = drawn.setdefault(line.source, [])
        body.append(_wire(line, kind, shifted.branches, earlier))
        earlier.append(line.points)
    for line in shifted.routes:
        state = " carried-head" if line.source in carried else ""
        body += [dot(*p, f"head{state}") for p in line.points if p in shifted.branches]
    body = list(dict.fromkeys(body))
    for key, frame in shifted.frames.items():
        body += _box(boxes[key], frame)
    samples, high = legend(8, bottom + 22, wide + 2 * MARGIN - 16, LEGEND)
    body += samples
    listed, more = _parameters(graph, 8, bottom + 22 + high, wide + 2 * MARGIN - 16)
    body += listed
    total = bottom + 22 + high + more
    title = f"One time step of {graph.name}"
    return picture(wide + 2 * MARGIN, total, title, str(graph), body)


def _graph(cell: Cell | Graph, sizes: Mapping[str, int] | None) -> Graph:
    if isinstance(cell, Graph):
        if sizes is not None:
            raise ValueError("sizes= are a cell's; equations that are given have theirs")
        return cell
    evaluated = cell.evaluated
    return evaluated.graph(evaluated.example_sizes() if sizes is None else sizes)


def _shifted(routed: Routed, x: float, y: float) -> Routed:
    return Routed(
        {k: Frame(f.x + x, f.y + y, f.width, f.height) for k, f in routed.frames.items()},
        [
            Route(r.source, r.target, r.mark, tuple((px + x, py + y) for px, py in r.points))
            for r in routed.routes
        ],
        {(px + x, py + y) for px, py in routed.branches},
        routed.width,
        routed.columns,
    )


def _wire(line: Route, kind: str, branches: set[Point], earlier: list[tuple[Point, ...]]) -> str:
    """A wire from where it leaves the others of its value."""
    common = max((_common(line.points, other) for other in earlier), default=0)
    points = line.points
    if common > 1:
        (bx, by), (x, y) = points[common - 2 : common]
        length = abs(x - bx) + abs(y - by)
        back = min(6.0, length) / length
        points = ((x + (bx - x) * back, y + (by - y) * back), *points[common - 1 :])
    drawn = wire(points, kind, branches)
    if line.mark:
        x, y = line.points[-1]
        drawn += text(x - 10, y - 4, plain(line.mark), "small", "end")
    return drawn


def _common(points: Sequence[Point], others: Sequence[Point]) -> int:
    """How many corners two wires share from the start."""
    pairs = enumerate(zip(points, others, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(points), len(others)))


def _box(box: Box, frame: Frame) -> list[str]:
    kind = {
        "state": "recurrent", "next": "recurrent", "input": "box io", "result": "box io",
        "product": "product", "parameter": "product", "once": "product",
    }.get(box.kind, "box")  # fmt: skip
    kind = "product" if box.parameters else kind
    if box.lane != "loop" and kind in ("product", "box"):
        kind += " early"
    said = "\n".join(str(e) for e in box.covers)
    radius = corner(box, frame.height)
    parts = [rectangle(frame.x, frame.y, frame.width, frame.height, kind, radius, said)]
    middle = frame.x + frame.width / 2
    first = frame.y + frame.height / 2 - LINE * (len(box.lines) - 1) / 2 + 4.5
    parts += [text(middle, first + LINE * k, line) for k, line in enumerate(box.lines)]
    if box.caption:
        parts.append(text(middle, frame.y - CAPTION + 11, box.caption))
    return parts


def _parameters(graph: Graph, x: float, y: float, within: float) -> tuple[list[str], float]:
    """Each parameter with its shape, and the names of its parts."""
    parts: dict[str, list[str]] = {v.name: [] for v in graph.parameters}
    for equation in graph.equations:
        if equation.op == "slice" and not unnamed(equation.out):
            parts.get(equation.inputs[0].name, []).append(equation.out.name)
    drawn: list[str] = []
    left, start = x, y
    for var in graph.parameters:
        shape = " × ".join(str(s).replace("*", "") for s in var.shape)
        words = (*typeset(var.name), *plain(f": {shape}"))
        for k, part in enumerate(parts[var.name]):
            words = (*words, *plain(", " if k else " = ["), *typeset(part))
        words = (*words, *plain("]")) if parts[var.name] else words
        wide = width(words, 11.0) + 20
        if left > x and left + wide > x + within:
            left, y = x, y + 20
        drawn.append(text(left, y, words, "small", "start"))
        left += wide
    return drawn, y - start + 16
