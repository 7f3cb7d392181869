"""The network unrolled through time: a cell for each layer, direction and step, wired in order."""

import re
from itertools import combinations
from typing import cast
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

import unrolled
from unrolled.cells import CELLS
from unrolled.errors import ModelError
from unrolled.inspect import equations, network_diagram
from unrolled.inspect.diagram.network import Scene, unrolled_scene
from unrolled.inspect.diagram.routing import Frame

SVG = "{http://www.w3.org/2000/svg}"
D, H = 5, 7
MODELS = {
    "one": unrolled.LSTM(D, H),
    "three layers": unrolled.GRU(D, H, 3),
    "both directions": unrolled.LSTM(D, H, 2, bidirectional=True),
    "an output of its own": unrolled.Recurrent(CELLS["elman_output"], D, H, sizes={"O": 3}),
    "both with an output": unrolled.Recurrent(
        CELLS["elman_output"], D, H, 2, sizes={"O": 3}, bidirectional=True
    ),
    "cells of two kinds": unrolled.Recurrent([CELLS["lstm_peephole"], CELLS["mingru"]], D, [H, 4]),
}
STEPS = 4


def scene(name: str) -> Scene:
    return unrolled_scene(equations(MODELS[name]), STEPS)


def meet(a: Frame, b: Frame) -> bool:
    apart = a.x + a.width <= b.x or b.x + b.width <= a.x
    return not (apart or a.y + a.height <= b.y or b.y + b.height <= a.y)


@pytest.mark.parametrize("name", MODELS)
def test_boxes_lie_apart_and_inside(name: str) -> None:
    found = scene(name)
    frames = [b.frame for b in found.boxes]
    assert not [(a, b) for a, b in combinations(frames, 2) if meet(a, b)]
    for f in frames:
        assert 0 <= f.x <= f.x + f.width <= found.width
        assert 0 <= f.y <= f.y + f.height <= found.height


@pytest.mark.parametrize("name", MODELS)
def test_wires_go_from_box_to_box_and_through_none(name: str) -> None:
    found = scene(name)
    frames = [b.frame for b in found.boxes]

    def touches(x: float, y: float) -> bool:
        return any(
            f.x - 0.01 <= x <= f.x + f.width + 0.01 and f.y - 0.01 <= y <= f.y + f.height + 0.01
            for f in frames
        )

    for line in found.lines:
        assert touches(*line.points[0]), line
        assert touches(*line.points[-1]), line
        for (ax, ay), (bx, by) in zip(line.points, line.points[1:], strict=False):
            assert ax == bx or ay == by
            segment = Frame(min(ax, bx), min(ay, by), abs(bx - ax), abs(by - ay))
            inside = [f for f in frames if _crosses(segment, f)]
            assert not inside, (line, inside)


def _crosses(segment: Frame, frame: Frame) -> bool:
    """Whether a wire is within a box, not only at its edge."""

    def within(a: float, b: float, low: float, size: float) -> bool:
        return a < low + size - 0.01 and b > low + 0.01

    across = within(segment.x, segment.x + segment.width, frame.x, frame.width)
    return across and within(segment.y, segment.y + segment.height, frame.y, frame.height)


@pytest.mark.parametrize("name", MODELS)
def test_there_is_a_cell_for_each_layer_direction_and_step(name: str) -> None:
    layers, found = equations(MODELS[name]), scene(name)
    rows = sum(layer.directions for layer in layers)
    cells = [b for b in found.boxes if b.kind == "product"]
    assert len(cells) == rows * STEPS
    assert {b.said for b in cells} == {str(layer.graph) for layer in layers}
    states = sum(len(layer.graph.states) * layer.directions for layer in layers)
    assert len([b for b in found.boxes if b.kind == "recurrent"]) == 2 * states
    assert len([w for w in found.lines if "carried" in w.kind]) == states * (STEPS + 1)
    assert len([b for b in found.boxes if b.kind == "box io"]) == 2 * STEPS


def test_what_is_outside_of_the_loop_is_one_bar() -> None:
    bars = [b.said for b in scene("both with an output").boxes if "early" in b.kind]
    assert bars == ["W_xh", "W_hy, b_y"] * 2
    assert [b.said for b in scene("three layers").boxes if "early" in b.kind] == ["W_ih, b_ih"] * 3


def test_a_direction_from_the_end_runs_back() -> None:
    lines = [w.points for w in scene("both directions").lines if "carried" in w.kind]
    to_the_right = [points for points in lines if points[0][0] < points[-1][0]]
    assert len(to_the_right) * 2 == len(lines)


def test_every_module_is_drawn_and_escaped() -> None:
    model = nn.ModuleDict({"a<b>&": unrolled.LSTM(D, H), "decoder": unrolled.GRU(D, H)})
    picture = network_diagram(model, 2)
    root = ElementTree.fromstring(picture)
    assert root.findtext(f"{SVG}title") == "a<b>&, decoder unrolled over 2 time steps"
    assert root.findtext(f"{SVG}desc") == "a<b>&: 1 layer of lstm; decoder: 1 layer of gru"
    assert "<b>" not in picture
    _, _, wide, high = map(float, root.attrib["viewBox"].split())
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.attrib[k]) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= wide
        assert 0 <= y <= y + h <= high


@pytest.mark.parametrize("steps", [0, 13, True])
def test_steps_that_can_not_be_drawn(steps: int) -> None:
    message = f"steps= is how many time steps are drawn, from 1 to 12; got {steps!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network_diagram(MODELS["one"], steps)


def test_one_step_and_the_most() -> None:
    for steps in (1, 12):
        ElementTree.fromstring(network_diagram(MODELS["both directions"], steps))


def test_a_model_that_is_not_finite_is_refused() -> None:
    model = unrolled.GRU(D, H)
    with torch.no_grad():
        cast("Tensor", model.bias_hh_l0)[2] = float("nan")
    with pytest.raises(ModelError, match=r"^recurrent\.bias_hh_l0 holds 1 numbers that are not"):
        network_diagram(model)
