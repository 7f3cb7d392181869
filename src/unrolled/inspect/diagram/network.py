"""The network unrolled through time: each layer's cell once for each step, as in the textbooks.

Time runs from left to right, layers lie above each other, each direction in a band of its own whose
cells all have the same parameters.  What the compiler takes out of the loop is drawn as what it
is: one product over all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from unrolled.inspect.diagram.boxes import Box
from unrolled.inspect.diagram.content import content
from unrolled.inspect.diagram.names import Text, plain, typeset, width
from unrolled.inspect.diagram.routing import Frame, Point
from unrolled.inspect.diagram.svg import legend, picture, rectangle, text, wire
from unrolled.inspect.equations import LayerEquations, equations
from unrolled.ir import Graph

MOST = 12
CELL, GAP, STATE, HIGH, RISE, BAR = 96.0, 64.0, 44.0, 24.0, 26.0, 24.0
"""A cell's width, between cells, a state's box and its height, between rows, a bar's height."""

LEGEND = (
    ("product", "a cell; those of a row share their parameters"),
    ("product early", "computed for all time steps at once, outside of the loop"),
    ("recurrent", "state before the first and after the last step"),
    ("wire carried", "state, handed from step to step"),
    ("box io", "input, output"),
)


@dataclass(frozen=True)
class Placed:
    """A box in its place."""

    frame: Frame
    kind: str
    lines: tuple[Text, ...]
    radius: float
    said: str = ""


@dataclass(frozen=True)
class Line:
    """A wire through these corners, and what is written above its middle."""

    points: tuple[Point, ...]
    kind: str = "wire"
    label: Text = ()


@dataclass
class Scene:
    """All that is drawn, with y growing upward from the inputs until :meth:`turned`."""

    boxes: list[Placed] = field(default_factory=list[Placed])
    lines: list[Line] = field(default_factory=list[Line])
    bands: list[tuple[Frame, str]] = field(default_factory=list[tuple[Frame, str]])
    width: float = 0.0
    height: float = 0.0


def network_diagram(model: nn.Module, steps: int = 3) -> str:
    """A model's recurrent layers over so many time steps as SVG, for HTML or a file.

    Each recurrent module of the model is a picture of its own, below the one before it.

    Raises:
        ModelError: where the model has no recurrent layers, or a parameter that is no finite
            number.
        ValueError: where ``steps`` is not from 1 to 12.
    """
    if isinstance(steps, bool) or not 1 <= steps <= MOST:
        raise ValueError(
            f"steps= is how many time steps are drawn, from 1 to {MOST}; got {steps!r}"
        )
    modules: dict[str, list[LayerEquations]] = {}
    for layer in equations(model):
        modules.setdefault(layer.name.rpartition(" ")[0], []).append(layer)
    body: list[str] = []
    top, wide = 10.0, 0.0
    for name, layers in modules.items():
        scene = unrolled_scene(layers, steps)
        body.append(text(8, top + 12, plain(f"{name}: {_size(layers)}"), "", "start"))
        body += _drawn(scene, top + 24)
        top += scene.height + 40
        wide = max(wide, scene.width)
    samples, high = legend(8, top, wide - 16, LEGEND)
    names = ", ".join(modules)
    words = "; ".join(f"{name}: {_size(layers)}" for name, layers in modules.items())
    title = f"{names} unrolled over {steps} time steps"
    return picture(wide, top + high, title, words, [*body, *samples])


def _size(layers: Sequence[LayerEquations]) -> str:
    cells = ", ".join(dict.fromkeys(layer.cell for layer in layers))
    both = ", both directions" if layers[0].directions == 2 else ""
    return f"{len(layers)} layer{'s' * (len(layers) > 1)} of {cells}{both}"


def unrolled_scene(layers: Sequence[LayerEquations], steps: int) -> Scene:
    """The boxes and wires of one stack of layers, from its inputs up."""
    scene = Scene()
    both = layers[0].directions == 2
    shown = [_loop_and_around(layer.graph) for layer in layers]
    cell = max([CELL, *(12 + width(line, 13.0) for s in shown for line in s.lines)])
    pitch = (2 if both else 1) * (cell + GAP)
    left = STATE + 28 + 10
    scene.width = left + steps * pitch - GAP + 28 + STATE + 10
    columns = [left + k * pitch for k in range(steps)]
    lanes = [x + cell / 2 for x in columns]
    back = [x + cell + GAP + cell / 2 for x in columns]
    middle = [(a + b) / 2 for a, b in zip(lanes, back, strict=True)] if both else lanes
    y = 0.0
    for k, x in enumerate(middle):
        scene.boxes.append(_end(x, y, typeset("x", str(k + 1))))
    y += HIGH
    foot = y  # where the wires upward begin
    for layer, around in zip(layers, shown, strict=True):
        if around.before:
            y += RISE
            _rise(scene, middle, foot, y)
            _bar(scene, y, left, around.before, steps * pitch - GAP)
            y += BAR
            foot = y
        outer = [lanes, back] if both else [lanes]
        tops: list[tuple[list[float], float]] = []
        for row, centres in enumerate(outer):
            y += RISE
            high = max(HIGH * 2, 30.0 * len(layer.graph.states))
            band = Frame(4, y - 14, scene.width - 8, high + 40)
            where = "" if not both else (", backward" if row else ", forward")
            number = layer.name.rpartition(" l")[2]
            scene.bands.append((band, f"layer {number}{where}"))
            direct = centres if around.before else middle
            for a, b in zip(direct, centres, strict=True):
                scene.lines.append(Line(_bent(a, foot, b, y)))
            _row(scene, layer, around, centres, (y, high, cell), bool(row))
            tops.append((centres, y + high))
            y += high + 28
        if around.after:
            for centres, foot in tops:
                _rise(scene, centres, foot, y)
            _bar(scene, y, left, around.after, steps * pitch - GAP)
            y += BAR
            tops = [(middle, y)]
        if len(tops) > 1:
            y += RISE - 16
            for x in middle:
                frame = Frame(x - 36, y, 72, HIGH)
                scene.boxes.append(Placed(frame, "box", (plain("[ → , ← ]"),), 4))
            for (centres, foot), side in zip(tops, (-14, 14), strict=True):
                for a, b in zip(centres, middle, strict=True):
                    scene.lines.append(Line(_bent(a, foot, b + side, y)))
            y += HIGH
            tops = [(middle, y)]
        foot = tops[0][1]
    y_to = y + RISE
    for k, x in enumerate(middle):
        scene.lines.append(Line(((x, foot), (x, y_to))))
        scene.boxes.append(_end(x, y_to, typeset("y", str(k + 1))))
    return _turned(scene, y_to + HIGH)


def _rise(scene: Scene, centres: Sequence[float], foot: float, y: float) -> None:
    for x in centres:
        scene.lines.append(Line(((x, foot), (x, y))))


def _bent(x: float, y: float, to: float, end: float) -> tuple[Point, ...]:
    """Straight up, or with a step to the side."""
    if abs(x - to) < 0.5:
        return ((x, y), (to, end))
    between = y + min(12.0, (end - y) / 2)
    return ((x, y), (x, between), (to, between), (to, end))


def _bar(scene: Scene, y: float, left: float, names: Sequence[str], wide: float) -> None:
    words = _listed("for all time steps at once: ", names, wide)
    frame = Frame(left, y, wide, BAR)
    scene.boxes.append(Placed(frame, "product early", (words,), 4, ", ".join(names)))


def _row(
    scene: Scene,
    layer: LayerEquations,
    around: _Around,
    centres: Sequence[float],
    box: tuple[float, float, float],
    back: bool,
) -> None:
    """The cells of one direction, and the states between them."""
    y, high, wide = box
    for x in centres:
        frame = Frame(x - wide / 2, y, wide, high)
        scene.boxes.append(Placed(frame, "product", around.lines, 4, str(layer.graph)))
    states = [v.name for v in layer.graph.states]
    n = len(centres)
    for k, name in enumerate(states):
        at = y + high / 2 + (high / len(states)) * ((len(states) - 1) / 2 - k)
        first = Frame(10, at - HIGH / 2, STATE, HIGH)
        last = Frame(scene.width - 10 - STATE, at - HIGH / 2, STATE, HIGH)
        ends = (typeset(name, "1" if back else "0"), typeset(name, str(n + 1 if back else n)))
        for frame, label in zip((first, last), ends, strict=True):
            scene.boxes.append(Placed(frame, "recurrent", (label,), 12))
        stops = [
            first.x + STATE,
            *(e for c in centres for e in (c - wide / 2, c + wide / 2)),
            last.x,
        ]
        for step in range(n + 1):
            a, b = stops[2 * step], stops[2 * step + 1]
            inner = 0 < step < n
            label = typeset(name, str(step + 1 if back else step)) if inner else ()
            points = ((b, at), (a, at)) if back else ((a, at), (b, at))
            scene.lines.append(Line(points, "wire carried", label))


@dataclass(frozen=True)
class _Around:
    """A cell's lines, and the parameters that are read before and after the loop."""

    lines: tuple[Text, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


def _loop_and_around(graph: Graph) -> _Around:
    boxes = content(graph).boxes
    names = [v.name for v in graph.parameters]

    def of(lane: str) -> tuple[str, ...]:
        read = {n for b in boxes if b.lane == lane and _computes(b) for n in b.parameters}
        return tuple(n for n in names if n in read)

    base = graph.name if len(graph.name) <= 24 else graph.name[:23] + "…"
    lines: list[Text] = [plain(base)]
    if of("loop"):
        lines.append(_listed("", of("loop"), 130))
    return _Around(tuple(lines), of("before"), of("after"))


def _computes(box: Box) -> bool:
    return box.kind in ("product", "function", "sign")


def _listed(start: str, names: Sequence[str], most: float) -> Text:
    """Names with commas, as many as there is room for."""
    words: Text = plain(start) if start else ()
    for k, name in enumerate(names):
        more = (*words, *plain(", " if k else ""), *typeset(name))
        if k and width(more) > most - 30:
            return (*words, *plain(", …"))
        words = more
    return words


def _end(x: float, y: float, label: Text) -> Placed:
    return Placed(Frame(x - STATE / 2, y, STATE, HIGH), "box io", (label,), 12)


def _turned(scene: Scene, height: float) -> Scene:
    """The scene with y growing downward, as in SVG."""

    def frame(f: Frame) -> Frame:
        return Frame(f.x, height - f.y - f.height, f.width, f.height)

    return Scene(
        [Placed(frame(b.frame), b.kind, b.lines, b.radius, b.said) for b in scene.boxes],
        [Line(tuple((x, height - y) for x, y in w.points), w.kind, w.label) for w in scene.lines],
        [(frame(f), words) for f, words in scene.bands],
        scene.width,
        height,
    )


def _drawn(scene: Scene, top: float) -> list[str]:
    parts: list[str] = []
    for frame, words in scene.bands:
        parts.append(rectangle(frame.x, frame.y + top, frame.width, frame.height, "lane loop", 8))
        parts.append(text(frame.x + 6, frame.y + top + 13, plain(words), "small", "start"))
    for line in scene.lines:
        points = [(x, y + top) for x, y in line.points]
        parts.append(wire(points, line.kind, set()))
        if line.label:
            (x, y), (end, _) = points  # beside its source, where no wire goes up
            parts.append(text(x + (30 if end > x else -30), y - 5, line.label, "small"))
    for box in scene.boxes:
        f = box.frame
        parts.append(rectangle(f.x, f.y + top, f.width, f.height, box.kind, box.radius, box.said))
        y = top + f.y + f.height / 2 - 8 * (len(box.lines) - 1) + 4.5
        parts += [text(f.x + f.width / 2, y + 16 * k, t) for k, t in enumerate(box.lines)]
    return parts
