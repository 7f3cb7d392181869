"""Saved equations: equal when they come back, and refused where anything was tampered with."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from oracle import agreement
from oracle.agreement import assert_agree, bounds, compiled, plain
from unrolled import CellError, cell, lower, param
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS, gru, lstm
from unrolled.errors import Location, ModelError
from unrolled.ir import Graph, n_elements
from unrolled.latex import latex
from unrolled.serialize import graph_from_dict, graph_to_dict
from unrolled.verify import verify

ALL = pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
GIVEN = {"D": 3, "H": 4, "P": 2, "O": 5}

MASK = torch.tensor([True, False, True, False])


@cell
def with_everything(x, h, c, *, W=param("H", "D"), s=param(), V=param("2*H", "D")):
    """Attributes of every kind: slices with a step, indices, shapes, constants, odd numbers."""
    a = torch.where(MASK & (h > 0), W @ x, h[[3, 1, 0, 0]]) ** 2
    b = torch.cat([a[::2], (V @ x)[1:7:3]]).reshape(2, 2).T.flatten()
    c = torch.where(c == math.inf, 0.0, c) * torch.tensor([0.1, -math.inf, 1e-300, 3.0])
    return torch.softmax(b, 0) + h.flip(0), (s * b, c), {"m": b.amax(), "p": a > 0.5}


def saved(graph: Graph) -> Any:
    return json.loads(json.dumps(graph_to_dict(graph)))


def with_short_locations(graph: Graph) -> Graph:
    """What is kept of a place in the source: the file's own name, and the line."""
    equations = tuple(
        replace(e, location=Location(PurePath(e.location.file).name, e.location.line))
        if e.location
        else e
        for e in graph.equations
    )
    return replace(graph, equations=equations)


@pytest.mark.parametrize("textbook", [*CELLS.values(), with_everything], ids=lambda c: c.name)
def test_a_round_trip_gives_the_same_graph(textbook: Cell) -> None:
    graph = textbook.graph(GIVEN)
    again = graph_from_dict(saved(graph))
    assert again == with_short_locations(graph)
    assert str(again) == str(graph)
    assert latex(again) == latex(graph)
    assert saved(again) == saved(graph)


def test_what_is_saved_holds_no_path() -> None:
    text = json.dumps(graph_to_dict(lstm.graph(GIVEN)))
    assert "lstms.py" in text
    assert "/lstms.py" not in text
    assert len(text) < 20_000


@ALL
def test_a_cell_of_saved_equations_runs_equal(textbook: Cell) -> None:
    sizes = textbook.resolve_sizes(3, 4, P=2, O=5)
    loaded = Cell.from_graphs([graph_from_dict(saved(textbook.graph(sizes, torch.float64)))])
    assert loaded.name == textbook.name
    p = agreement.problem(textbook, sizes, steps=3, batch=2)
    q = replace(p, cell=loaded)
    ours, theirs = compiled(p), compiled(q)
    assert torch.equal(ours.y, theirs.y)
    for a, b in zip(ours.gradients, theirs.gradients, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    expected = plain(q)
    assert_agree(ours, expected, bounds(p, expected))


def test_one_cell_of_several_sizes() -> None:
    graphs = [gru.graph({"D": d, "H": h}, torch.float64) for d, h in ((3, 4), (4, 4), (2, 6))]
    loaded = Cell.from_graphs([graph_from_dict(saved(g)) for g in graphs])
    for d, h in ((3, 4), (4, 4), (2, 6)):
        p = agreement.problem(gru, {"D": d, "H": h}, steps=2, batch=2)
        assert torch.equal(compiled(p).y, compiled(replace(p, cell=loaded)).y)


def test_other_sizes_than_the_saved_ones_are_refused() -> None:
    loaded = Cell.from_graphs([gru.graph({"D": 3, "H": 4}), gru.graph({"D": 4, "H": 4})])
    with pytest.raises(CellError) as caught:
        loaded.graph({"D": 5, "H": 4})
    assert str(caught.value) == (
        "cell gru was loaded as equations for x[D], h[H]; x[D], h[H], not for D=5, H=4\n"
        "  equations are saved at fixed sizes; build the layer from the cell's own function instead"
    )


def test_graphs_of_different_cells_are_no_cell() -> None:
    with pytest.raises(ValueError, match="the graphs of gru are of different cells"):
        Cell.from_graphs([gru.graph(GIVEN), lstm.graph(GIVEN)])
    with pytest.raises(ValueError, match="at least one graph"):
        Cell.from_graphs([])


def test_a_size_that_is_a_difference_comes_back() -> None:
    @cell
    def step(x, h, *, W=param("P - H", "D"), U=param("7 - H", "H // 2")):
        return h + (W @ x).sum() + U.sum()

    loaded = Cell.from_graphs([graph_from_dict(saved(step.graph({"D": 2, "H": 4, "P": 9})))])
    assert [p.shape for p in loaded.parameters.values()] == [("P - H", "D"), ("7 - H", "H//2")]
    assert loaded.parameter_shapes({"D": 2, "H": 4, "P": 9}) == {"W": (5, 2), "U": (3, 2)}


# --- tampered with --------------------------------------------------------------------------------


def damage(change: Callable[[Any], Any]) -> str:
    """The error for LSTM's equations after a change."""
    data = saved(lstm.graph(GIVEN))
    change(data)
    with pytest.raises(ModelError) as caught:
        graph_from_dict(data)
    return str(caught.value)


def set_at(*path: Any) -> Callable[[Any], Any]:
    """Put the last of ``path`` at the place that the others name."""
    *way, key, value = path

    def change(data: Any) -> None:
        for part in way:
            data = data[part]
        data[key] = value

    return change


def first(data: Any, op: str) -> Any:
    return next(e for e in data["equations"] if e["op"] == op)


DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an unknown op": (
        set_at("equations", 0, "op", "__import__"),
        "(ValueError: '__import__' is no op)",
    ),
    "a op that is no text": (set_at("equations", 0, "op", ["sum"]), "TypeError"),
    "another format": (
        set_at("format", 2),
        "equations of format 2, this Unrolled reads format 1: "
        "install the version of Unrolled that wrote them",
    ),
    "no format": (lambda d: d.pop("format"), "KeyError: 'format'"),
    "no equations": (lambda d: d.pop("equations"), "KeyError: 'equations'"),
    "a missing variable": (lambda d: d["variables"].pop("i"), "KeyError: 'i'"),
    "an operand that is nowhere": (
        lambda d: first(d, "mul")["args"].__setitem__(0, "nowhere"),
        "KeyError: 'nowhere'",
    ),
    "a wrong shape": (
        set_at("variables", "i", "shape", [5]),
        "the result is the value i[H] at each step, not the value i[5] at each step, in: "
        "i[5] = sigmoid(v5)",
    ),
    "a shape that does not fit": (
        set_at("variables", "h", "shape", [7]),
        "matrix's columns are not as many",
    ),
    "a negative length": (set_at("variables", "x", "shape", [-3]), "x[-3] has a negative length"),
    "a fractional length": (
        set_at("variables", "x", "shape", [3.0]),
        "3.0 is no whole number of a sensible size",
    ),
    "a true length": (set_at("variables", "x", "shape", [True]), "True is no whole number"),
    "a huge length": (
        set_at("variables", "x", "shape", [10**30]),
        "1000000000000000000000000000000 is no whole number of a sensible size",
    ),
    "a length without end": (
        set_at("variables", "x", "shape", [math.inf]),
        "inf is no whole number",
    ),
    "code as a size": (
        set_at("variables", "x", "shape", [[3, {"__import__('os')": 1}, 0]]),
        "is no size",
    ),
    "a name that is none": (
        lambda d: d["variables"].__setitem__("a; exit()", d["variables"].pop("i")),
        "'a; exit()' is no name",
    ),
    "a name that is empty": (
        lambda d: d["outputs"].__setitem__("", "h_1"),
        "'' is no name",
    ),
    "equations out of order": (
        lambda d: d["equations"].reverse(),
        "is read before it is defined",
    ),
    "a cycle": (
        lambda d: first(d, "sigmoid")["args"].__setitem__(0, "h_1"),
        "h_1[H] is read before it is defined",
    ),
    "an equation of itself": (
        lambda d: first(d, "sigmoid")["args"].__setitem__(0, "i"),
        "i[H] is read before it is defined, in: i[H] = sigmoid(i)",
    ),
    "a value that is defined twice": (
        lambda d: d["equations"].append(copy.deepcopy(d["equations"][0])),
        "W_ii is defined twice",
    ),
    "too many operands": (
        lambda d: first(d, "sigmoid")["args"].append("h"),
        "sigmoid takes 1 operand(s), not 2",
    ),
    "no variable among the operands": (
        lambda d: first(d, "sigmoid").__setitem__("args", [[1.0]]),
        "no variable is read, in: i[H] = sigmoid(1.0)",
    ),
    "two numbers in one operand": (
        lambda d: first(d, "mul")["args"].__setitem__(0, [1.0, 2.0]),
        "TypeError",
    ),
    "a text as a number": (
        lambda d: first(d, "mul")["args"].__setitem__(0, ["1"]),
        "'1' is no number",
    ),
    "a number too large for any type": (
        lambda d: first(d, "mul")["args"].__setitem__(0, [10**400]),
        "OverflowError",
    ),
    "a condition as a number": (
        set_at("variables", "i", "dtype", "bool"),
        "not the condition i[H] at each step",
    ),
    "a type that is none": (set_at("variables", "i", "dtype", "int"), "i is no variable"),
    "a role that is none": (set_at("variables", "i", "role", "admin"), "i is no variable"),
    "another role": (
        set_at("variables", "i", "role", "parameter"),
        "not the parameter i[H] at each step",
    ),
    "a parameter that varies": (
        set_at("variables", "W_ih", "per_step", True),
        "the parameter W_ih[4*H, D] varies over time",
    ),
    "a value that does not vary": (
        set_at("variables", "i", "per_step", False),
        "the result is the value i[H] at each step, not the value i[H] of the whole call",
    ),
    "per_step as a number": (set_at("variables", "i", "per_step", 1), "i is no variable"),
    "an unknown attribute": (
        lambda d: first(d, "sigmoid").__setitem__("attributes", {"scale": 2}),
        "TypeError",
    ),
    "an attribute that is a text": (
        lambda d: first(d, "slice")["attributes"].__setitem__("start", "0"),
        "'0' is no attribute",
    ),
    "a slice beyond the end": (
        lambda d: first(d, "slice")["attributes"].update(start=14, stop=18),
        "there is no slice 14:18:1 in a length of 4*H",
    ),
    "a slice before the start": (
        lambda d: first(d, "slice")["attributes"].update(start=-4, stop=0),
        "a length or position is no whole number",
    ),
    "an axis that is not there": (
        lambda d: first(d, "slice")["attributes"].__setitem__("axis", -3),
        "there is no axis -3 in 2",
    ),
    "a step of none": (
        lambda d: first(d, "slice")["attributes"].__setitem__("step", 0),
        "there is no slice",
    ),
    "a next state of another length": (
        set_at("next_states", 0, "b_ih"),
        "the state h[H] is followed by b_ih[4*H]",
    ),
    "a next state too few": (
        lambda d: d["next_states"].pop(),
        "states and next states differ in number",
    ),
    "two inputs": (lambda d: d["inputs"].append("h"), "h[H] stands among the inputs"),
    "no input": (lambda d: d["inputs"].clear(), "x[D] is read before it is defined"),
    "no output": (lambda d: d["outputs"].clear(), "a step's first output is y"),
    "a matrix as output": (set_at("outputs", "y", "W_ii"), "W_ii[H, D] is no vector"),
    "a list for a table": (set_at("variables", []), "AttributeError"),
    "a table for a list": (set_at("equations", {}), "{} is no list"),
    "a text for a list": (set_at("states", "hc"), "'hc' is no list"),
    "a name that is a number": (set_at("name", 3), "3 is no text"),
    "a location that is none": (set_at("equations", 0, "location", ["f.py", "1"]), "'1' is no"),
}


@pytest.mark.parametrize("title", DAMAGES)
def test_damaged_equations_are_refused(title: str) -> None:
    change, problem = DAMAGES[title]
    message = damage(change)
    assert problem in message
    if "format 2" not in message:
        assert message.startswith("the saved equations are damaged (")
        assert message.endswith("): restore the file from where the model was saved")


@pytest.mark.parametrize("data", [None, [], {}, "graph", 3, {"format": 1}])
def test_what_is_no_graph_at_all_is_refused(data: Any) -> None:
    with pytest.raises(ModelError):
        graph_from_dict(data)


def test_deep_nesting_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = {"tuple": [deep]}
    data = saved(lstm.graph(GIVEN))
    first(data, "slice")["attributes"]["start"] = deep
    with pytest.raises(ModelError):
        graph_from_dict(data)
    while isinstance(deep, dict):  # else its destruction is as deep
        deep = deep.pop("tuple").pop()


def test_a_long_size_is_refused_before_it_is_read() -> None:
    data = saved(lstm.graph(GIVEN))
    data["variables"]["x"]["shape"] = [[3, {"(" * 100_000: 1}, 0]]
    with pytest.raises(ModelError):
        graph_from_dict(data)


# --- changed at random ----------------------------------------------------------------------------

GRAPHS = [
    saved(c.graph(GIVEN)) for c in (*CELLS.values(), with_everything) if len(c.parameters) < 8
]

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from([2**31, 2**63, -(2**63), 10**400, 1e308, -0.0, 0.5]),
    st.sampled_from([math.inf, -math.inf, math.nan]),
    st.sampled_from(
        ["", "h", "x", "W", "v1", "sum", "H", "y", "real", "bool", "state", "__class__"]
    ),
    st.sampled_from([[], {}, [[]], [1.0], ["x"], {"size": 3}, {"tuple": [1]}, [3, {"H": 1}, 0]]),
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the data, by the keys that lead there."""
    keys: Any = (
        data.keys()
        if isinstance(data, dict)
        else range(len(data))
        if isinstance(data, list)
        else ()
    )
    for key in keys:
        yield (*path, key)
        yield from places(data[key], (*path, key))


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """One to three changes: a value for another, one removed, one from elsewhere, two exchanged."""
    data = copy.deepcopy(draw(st.sampled_from(GRAPHS)))
    for _ in range(draw(st.integers(1, 3))):
        all_places = list(places(data))
        path = draw(st.sampled_from(all_places))
        parent, key = at(data, path[:-1]), path[-1]
        kind = draw(st.sampled_from(["odd", "remove", "copy", "exchange", "repeat", "nudge"]))
        if kind == "odd":
            parent[key] = draw(ODD)
        elif kind == "remove":
            del parent[key]
        elif kind == "copy":
            parent[key] = copy.deepcopy(at(data, draw(st.sampled_from(all_places))))
        elif kind == "exchange":
            other = draw(st.sampled_from(all_places))
            if path[: len(other)] != other and other[: len(path)] != path:
                second = at(data, other[:-1])
                parent[key], second[other[-1]] = second[other[-1]], parent[key]
        elif kind == "repeat" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == "nudge" and isinstance(parent[key], int):
            parent[key] += draw(st.sampled_from([-1, 1]))
    return data


SMALL = 4096


@given(changed())
@settings(max_examples=400)
@example({**GRAPHS[0], "outputs": {"y": "h"}})
def test_whatever_was_changed_is_refused_or_runs(data: Any) -> None:
    try:
        graph = graph_from_dict(data)
    except ModelError:
        event("refused")
        return
    event("accepted")
    verify(graph)
    assert graph_from_dict(saved(graph)) == graph
    assert str(graph)
    assert latex(graph)
    loaded = Cell.from_graphs([graph])
    shapes = [v.shape for v in (*graph.sources, *(e.out for e in graph.equations))]
    if max(map(n_elements, shapes)) > SMALL:
        return
    plan = lower(graph, ("y",), (loaded.input, *loaded.parameters))
    kernel = ReferenceKernel(plan)
    x = torch.ones(2, 3, graph.inputs[0].shape[0])
    states = [torch.ones(3, s.shape[0]) for s in graph.states]
    run = kernel.forward(x, states, {p.name: torch.ones(p.shape) for p in graph.parameters}, True)
    assert run.outputs["y"].shape == (2, 3, graph.outputs[0].var.shape[0])
    found = kernel.backward(
        run.residuals,
        {"y": torch.ones_like(run.outputs["y"])},
        [torch.zeros_like(s) for s in states],
    )
    assert found.outputs[loaded.input].shape == x.shape
    for parameter in graph.parameters:
        assert found.outputs[parameter.name].shape == parameter.shape
