"""Pictures of cells: what is in them, that nothing lies on anything else, and what they say."""

import re
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, reject, settings
from torch import Tensor

import unrolled
from drawn_cells import ALL, W, graph_of
from oracle.random_cells import DrawnCell, drawn_cells
from unrolled.errors import CellError
from unrolled.inspect import cell_diagram
from unrolled.inspect.diagram.boxes import Content
from unrolled.inspect.diagram.content import content
from unrolled.inspect.diagram.layout import CAPTION, layout
from unrolled.inspect.diagram.names import Text, typeset, width
from unrolled.inspect.diagram.routing import Frame, Routed, corner, route
from unrolled.passes.stages import stages

SVG = "{http://www.w3.org/2000/svg}"
CLOSE = 2.0
"""Nearer than this, two parallel wires look like one."""


@lru_cache
def drawn(name: str) -> tuple[Content, Routed]:
    shown = content(graph_of(name))
    return shown, route(shown, layout(shown))


def plain(text: Text) -> str:
    return "".join(run.text for run in text)


def whole(frame: Frame, caption: bool) -> Frame:
    high = CAPTION if caption else 0.0
    return Frame(frame.x, frame.y - high, frame.width, frame.height + high)


def meet(a: Frame, b: Frame) -> bool:
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


def boxes_lie_apart(shown: Content, routed: Routed) -> None:
    frames = routed.frames
    boxes = {b.key: b for b in shown.boxes}
    assert frames.keys() == boxes.keys()
    with_captions = {k: whole(f, bool(boxes[k].caption)) for k, f in frames.items()}
    assert not [(a, b) for (a, f), (b, g) in combinations(with_captions.items(), 2) if meet(f, g)]


@pytest.mark.parametrize("name", ALL)
def test_text_fits_into_its_box(name: str) -> None:
    shown, routed = drawn(name)
    frames = routed.frames
    for box in shown.boxes:
        frame = frames[box.key]
        assert max(map(width, (*box.lines, box.caption))) <= frame.width
        assert 16 * len(box.lines) <= frame.height


def wires_end_at_their_boxes(shown: Content, routed: Routed) -> None:
    boxes = {b.key: b for b in shown.boxes}
    assert [(r.source, r.target) for r in routed.routes] == [
        (w.source, w.target) for w in shown.wires
    ]
    for r in routed.routes:
        source, target = routed.frames[r.source], routed.frames[r.target]
        (x, y), (end, at) = r.points[0], r.points[-1]
        assert x == source.x + source.width
        assert y == pytest.approx(source.y + source.height / 2, abs=1e-9)
        assert target.y <= at <= target.y + target.height
        assert 0 <= end - target.x <= corner(boxes[r.target], target.height)
        for (ax, ay), (bx, by) in zip(r.points, r.points[1:], strict=False):
            assert ax == bx or abs(ay - by) < 0.02, "wires go at right angles"
            assert bx >= ax, "and from the left to the right"
            line = Frame(ax, min(ay, by), bx - ax, abs(by - ay))
            for key, frame in routed.frames.items():
                if key not in (r.source, r.target):
                    assert not meet(line, whole(frame, bool(boxes[key].caption))), (r, key)


def wires_lie_apart(shown: Content, routed: Routed) -> None:
    segments = [
        (r.source, *a, *b)
        for r in routed.routes
        for a, b in zip(r.points, r.points[1:], strict=False)
    ]
    for (of, ax, ay, bx, by), (other, cx, cy, dx, dy) in combinations(segments, 2):
        if of == other:
            continue
        if ax == bx and cx == dx and abs(ax - cx) < CLOSE:
            assert max(ay, by) < min(cy, dy) or max(cy, dy) < min(ay, by), (of, other)
        if ax != bx and cx != dx and abs(ay - cy) < CLOSE:
            assert bx <= cx or dx <= ax, (of, other)


@pytest.mark.parametrize("name", ALL)
def test_nothing_lies_on_anything_else(name: str) -> None:
    boxes_lie_apart(*drawn(name))
    wires_end_at_their_boxes(*drawn(name))
    wires_lie_apart(*drawn(name))


@given(drawn_cells())
@settings(max_examples=30)
def test_cells_of_any_form_are_drawn(cell: DrawnCell) -> None:
    try:
        graph = cell.cell.graph(dict(cell.sizes))
    except CellError:  # some forms draw what is refused
        reject()
    shown = content(graph)
    routed = route(shown, layout(shown))
    boxes_lie_apart(shown, routed)
    wires_end_at_their_boxes(shown, routed)
    wires_lie_apart(shown, routed)
    covered = {e.out for b in shown.boxes for e in b.covers}
    assert covered == {e.out for e in shown.graph.equations}
    ElementTree.fromstring(cell_diagram(graph))


@pytest.mark.parametrize("name", ALL)
def test_every_equation_parameter_and_state_is_in_it(name: str) -> None:
    shown, _ = drawn(name)
    covered = [e.out.name for b in shown.boxes for e in b.covers]
    assert set(covered) == {e.out.name for e in shown.graph.equations}
    in_boxes = {p for b in shown.boxes for p in b.parameters}
    assert {v.name for v in shown.graph.parameters} <= in_boxes
    keys = {b.key for b in shown.boxes}
    for state in shown.graph.states:
        assert {state.name, f"next {state.name}"} <= keys
    words = [plain(t) for b in shown.boxes for t in (*b.lines, b.caption)]
    for name in in_boxes:
        parts = [e.out.name for e in shown.graph.equations if name in {v.name for v in e.inputs}]
        assert any(plain(typeset(n)) in w for n in (name, *parts) for w in words), name
    for output in shown.graph.outputs:
        assert any(plain(typeset(output.name, "t")) in w for w in words)


@pytest.mark.parametrize("name", ALL)
def test_boxes_stand_in_the_lane_of_the_stage_that_computes_them(name: str) -> None:
    shown, _ = drawn(name)
    placed = stages(shown.graph)
    for box in shown.boxes:
        for equation in box.covers:
            if equation.out.per_step and box.kind not in ("next", "result"):
                # A view is drawn with what reads it.
                view = equation.op in ("broadcast", "reshape", "detach")
                alike = placed[equation.out] == box.lane or box.key.endswith(" before")
                mixed = equation.op in ("add", "sub", "mul") and box.lane == "loop"
                assert alike or view or mixed, (box, str(equation))


@pytest.mark.parametrize("name", ALL)
def test_it_is_well_formed_and_inside_of_its_view(name: str) -> None:
    root = ElementTree.fromstring(cell_diagram(graph_of(name)))
    assert root.tag == f"{SVG}svg"
    _, _, wide, high = map(float, root.attrib["viewBox"].split())
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.attrib[k]) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= wide + 0.5
        assert 0 <= y <= y + h <= high
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.attrib["x"]) <= wide
        assert 0 <= float(text.attrib["y"]) <= high - 4
    for path in root.iter(f"{SVG}path"):
        numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", path.attrib["d"])]
        assert all(0 <= x <= wide for x in numbers[::2])
        assert all(0 <= y <= high for y in numbers[1::2])


def test_the_lstm_is_the_textbooks() -> None:
    shown = content(graph_of("lstm"))
    boxes = {b.key: b for b in shown.boxes}
    assert [(plain(b.caption), b.lane, *map(plain, b.lines)) for b in shown.boxes] == [
        ("", "loop", "ht−1"),
        ("", "loop", "ct−1"),
        ("", "before", "xt"),
        ("", "before", "× Wii", "+ bii"),
        ("", "loop", "× Whi", "+ bhi"),
        ("", "loop", "+"),
        ("it", "loop", "σ"),
        ("", "before", "× Wif", "+ bif"),
        ("", "loop", "× Whf", "+ bhf"),
        ("", "loop", "+"),
        ("ft", "loop", "σ"),
        ("", "before", "× Wig", "+ big"),
        ("", "loop", "× Whg", "+ bhg"),
        ("", "loop", "+"),
        ("gt", "loop", "tanh"),
        ("", "before", "× Wio", "+ bio"),
        ("", "loop", "× Who", "+ bho"),
        ("", "loop", "+"),
        ("ot", "loop", "σ"),
        ("", "loop", "⊙"),
        ("", "loop", "⊙"),
        ("ct", "loop", "+"),
        ("", "loop", "tanh"),
        ("", "loop", "⊙"),
        ("", "loop", "ht = yt"),
        ("", "loop", "ct"),
    ]
    read = [(boxes[w.source], boxes[w.target]) for w in shown.wires]
    forget = [b for a, b in read if plain(a.caption) == "ft"]
    assert [(a.key, plain(a.caption)) for a, b in read if b is forget[0]] == [
        ("f", "ft"),
        ("c", ""),
    ]


def test_it_says_what_it_is_for_those_who_do_not_see_it() -> None:
    root = ElementTree.fromstring(cell_diagram(ALL["gru"], {"D": 3, "H": 4}))
    assert root.findtext(f"{SVG}title") == "One time step of gru"
    described = root.findtext(f"{SVG}desc") or ""
    assert described == str(ALL["gru"].graph({"D": 3, "H": 4}))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "One time step of gru"


def test_names_are_escaped() -> None:
    graph = graph_of("elman")
    names = {"h": 'h"><script>alert(1)</script>', "W_xh": "W&<b>", "v1": "'--><i>"}
    renamed = graph.rename(names)
    named = replace(renamed, name="<script>")
    picture = cell_diagram(named)
    ElementTree.fromstring(picture)
    assert "<script" not in picture
    assert "<b>" not in picture
    assert "<i>" not in picture


def test_no_ids_so_that_a_page_may_hold_several() -> None:
    assert " id=" not in cell_diagram(graph_of("lstm"))
    assert "url(" not in cell_diagram(graph_of("lstm"))


def test_the_same_cell_is_the_same_picture() -> None:
    assert cell_diagram(ALL["lstm"]) == cell_diagram(ALL["lstm"])


def test_sizes_that_do_not_fit_are_the_cells_error() -> None:
    @unrolled.cell
    def needs_alike(x: Tensor, h: Tensor, *, W: Tensor = W) -> Tensor:
        return x + h + W @ x

    with pytest.raises(CellError):
        cell_diagram(needs_alike, {"D": 3, "H": 4})
    assert cell_diagram(needs_alike, {"D": 4, "H": 4}).startswith("<svg")


def test_sizes_beside_equations_are_refused() -> None:
    message = "sizes= are a cell's; equations that are given have theirs"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cell_diagram(graph_of("elman"), {"D": 3, "H": 4})
