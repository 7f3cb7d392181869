"""Tracing: names from the user's variables, lines from the user's code, nothing left behind."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import cProfile
import gc
import inspect
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import sigmoid, tanh

from unrolled import CellError, cell, param
from unrolled.cell import Cell
from unrolled.cells import CELLS, gru, lstm
from unrolled.ir import Graph
from unrolled.locations import signature_location

SIZES = {"D": 3, "H": 4}


def names(graph: Graph) -> list[str]:
    return [e.out.name for e in graph.equations]


def ops(graph: Graph) -> dict[str, str]:
    """What computes each named value."""
    return {e.out.name: e.op for e in graph.equations if not e.out.name.startswith("v")}


# --- names ----------------------------------------------------------------------------------------


@cell
def plain(x, h, *, W=param("H", "D"), b=param("H")):
    a = W @ x
    s = a + b
    return tanh(s + h)


def test_values_are_called_what_the_user_calls_them() -> None:
    graph = plain.graph(SIZES)
    assert str(graph).splitlines()[4:] == [
        f"  a[H] = matmul(W, x)   # test_trace.py:{line_of(plain, 'a =')}",
        f"  s[H] = add(a, b)      # test_trace.py:{line_of(plain, 's =')}",
        f"  v1[H] = add(s, h)     # test_trace.py:{line_of(plain, 'return')}",
        f"  v2[H] = tanh(v1)      # test_trace.py:{line_of(plain, 'return')}",
        "  next h <- v2",
        "  output y = v2",
    ]


@cell
def reassigned(x, h, *, W=param("H", "D")):
    a = W @ x
    a = a + h
    a = tanh(a)
    h = h * a
    return h


def test_a_variable_that_is_assigned_again_is_numbered() -> None:
    graph = reassigned.graph(SIZES)
    assert names(graph) == ["a", "a_1", "a_2", "h_1"]
    assert [v.name for v in graph.states] == ["h"]


@cell
def unpacked(x, h, *, W=param("3*H", "D")):
    r, z, n = (W @ x).chunk(3)
    (first, *rest), last = h.split(2)[0].unbind(), h[-1]
    return (1 - sigmoid(z)) * tanh(n * first + last + rest[0]) + sigmoid(r)


def test_unpacking_names_the_parts() -> None:
    found = ops(unpacked.graph(SIZES))
    assert found == {
        "r": "slice",
        "z": "slice",
        "n": "slice",
        "first": "reshape",
        "last": "reshape",
    }


def gate(value, weight):
    pre = weight @ value
    return sigmoid(pre)


@cell
def with_helper(x, h, *, W=param("H", "D"), V=param("H", "D")):
    f = gate(x, W)
    g = gate(x, V)
    return f * h + g


def test_a_helpers_locals_name_values_too() -> None:
    assert names(with_helper.graph(SIZES)) == ["pre", "f", "pre_1", "g", "v1", "v2"]


@cell
def first_name_wins(x, h, *, W=param("H", "D")):
    a = W @ x
    b = a
    c = b
    return c + h


def test_the_first_name_of_a_value_is_kept() -> None:
    assert names(first_name_wins.graph(SIZES)) == ["a", "v1"]


@cell
def last_line_names(x, h, *, W=param("H", "D")):
    out = tanh(W @ x + h)
    return out


def test_a_name_given_on_the_last_line_counts() -> None:
    assert names(last_line_names.graph(SIZES))[-1] == "out"


@cell
def underscore(x, h, *, W=param("H", "D")):
    _ = W @ x
    _, kept = h.chunk(2)
    return torch.cat([kept, kept]) + _[0] + (W @ x)


def test_an_underscore_is_no_name() -> None:
    assert "_" not in names(underscore.graph(SIZES))


@cell
def name_of_a_parameter(x, h, *, W=param("H", "D"), b=param("H")):
    b = b * 2
    x = x + 1
    return W @ x + b + h


def test_an_argument_that_is_assigned_again_is_numbered() -> None:
    assert names(name_of_a_parameter.graph(SIZES))[:2] == ["b_1", "x_1"]


@cell
def looks_numbered(x, v1, *, v2=param("H", "D")):
    v3 = v2 @ x
    return tanh(v3 + v1) * sigmoid(v1)


def test_names_that_look_like_ours_are_kept_apart() -> None:
    graph = looks_numbered.graph(SIZES)
    found = [v.name for v in (*graph.sources, *(e.out for e in graph.equations))]
    assert len(set(found)) == len(found)
    assert found[:4] == ["x", "v1", "v2", "v3"]


@cell
def unicode_names(x, h, *, Γ=param("H", "D"), β=param("H")):
    größe = Γ @ x + β
    return größe * h


def test_names_may_have_any_letters() -> None:
    graph = unicode_names.graph(SIZES)
    assert [p.name for p in graph.parameters] == ["Γ", "β"]
    assert "größe" in names(graph)


def nested(k: int) -> Any:
    scale = k + 1

    def inner(x, h, *, W=param("H", "D")):
        out = scale * (W @ x) + h
        return out

    return inner


def test_a_closure_is_traced_with_its_own_values() -> None:
    graphs = [cell(nested(k)).graph(SIZES) for k in range(2)]
    assert [g.equations[1].args[0] for g in graphs] == [1.0, 2.0]


def test_a_comprehension_is_the_users_code() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        rows = [row * x for row in W]
        return torch.stack([row.sum() for row in rows]) + h

    graph = step.graph(SIZES)
    assert {e.location.line for e in graph.equations if e.location} == {
        line_of(step, "rows ="),
        line_of(step, "return"),
    }


# --- lines ----------------------------------------------------------------------------------------


def line_of(of: Cell, text: str) -> int:
    lines, first = inspect.getsourcelines(of.function)
    [k] = [k for k, line in enumerate(lines) if text in line]
    return first + k


@cell
def over_lines(x, h, *, W=param("H", "D"), b=param("H")):
    a = (
        W @ x
        + b
    )  # fmt: skip
    c = torch.where(
        a > 0,
        a,
        tanh(a),
    )
    return c + h


def test_each_equation_knows_its_line() -> None:
    found = {e.op: e.location.line for e in over_lines.graph(SIZES).equations if e.location}
    assert found["matmul"] == line_of(over_lines, "W @ x")
    # A sum over two lines, and a call over five, begin on their first.
    assert found["gt"] == line_of(over_lines, "a > 0")
    assert found["tanh"] == line_of(over_lines, "tanh(a)")
    assert found["where"] == line_of(over_lines, "torch.where")


def test_an_equation_in_a_helper_has_the_helpers_line() -> None:
    graph = with_helper.graph(SIZES)
    lines, first = inspect.getsourcelines(gate)
    assert [e.location.line for e in graph.equations if e.location] == [
        first + 1,
        first + 2,
        first + 1,
        first + 2,
        line_of(with_helper, "return"),
        line_of(with_helper, "return"),
    ]
    assert {e.location.file for e in graph.equations if e.location} == {__file__}
    assert len(lines) == 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the interpreter knows no columns")
def test_each_equation_knows_its_columns() -> None:
    marked: list[tuple[str, str]] = []
    for equation in plain.graph(SIZES).equations:
        assert equation.location is not None
        code, carets = equation.location.excerpt().splitlines()
        marked.append((equation.op, code[carets.index("^") : carets.rindex("^") + 1]))
    assert marked == [
        ("matmul", "W @ x"),
        ("add", "a + b"),
        ("add", "s + h"),
        ("tanh", "tanh(s + h)"),
    ]


def test_a_composition_is_at_the_users_call() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return torch.nn.functional.layer_norm(W @ x + h, h.shape)

    graph = step.graph(SIZES)
    assert len(graph.equations) > 6
    assert {e.location.line for e in graph.equations if e.location} == {line_of(step, "return")}


@pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
def test_every_equation_of_a_textbook_cell_has_a_line_in_it(textbook: Cell) -> None:
    lines, first = inspect.getsourcelines(textbook.function)
    for equation in textbook.graph(textbook.example_sizes()).equations:
        assert equation.location is not None
        if equation.location.file == textbook.function.__code__.co_filename:
            assert first < equation.location.line < first + len(lines)
        else:
            assert equation.location.file.endswith("activations.py")


@pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
def test_values_of_a_textbook_cell_are_named_after_its_variables(textbook: Cell) -> None:
    variables = set(textbook.function.__code__.co_varnames)
    graph = textbook.graph(textbook.example_sizes())
    named = {n for n in names(graph) if not (n[0] == "v" and n[1:].isdigit())}
    # `y_1` is the second value of y; a helper's `v` is its argument.
    assert {n if n in variables else n.rpartition("_")[0] for n in named} <= variables | {"", "v"}


def test_the_definition_is_where_def_stands() -> None:
    assert plain.location is not None
    assert plain.location.line == line_of(plain, "def plain")
    where = signature_location(plain.function, "b")
    code, carets = where.excerpt().splitlines()
    assert code[carets.index("^") : carets.rindex("^") + 1] == 'b=param("H")'
    assert signature_location(plain.function, "not there") == plain.location


# --- nothing left behind --------------------------------------------------------------------------


def unknown(x, h):
    return torch.tan(h)


def failing(x, h):
    raise KeyError("mine")


@pytest.mark.parametrize("function", [plain.function, unknown, failing])
@pytest.mark.parametrize("outer", [None, lambda *_: None])
def test_the_profile_hook_is_put_back(function: Any, outer: Any) -> None:
    before = sys.getprofile()
    sys.setprofile(outer)
    try:
        if function is plain.function:
            plain.graph(SIZES)
        else:
            with pytest.raises((CellError, KeyError)):
                cell(function).graph(SIZES)
        assert sys.getprofile() is outer
    finally:
        sys.setprofile(before)


def test_a_trace_under_a_profiler() -> None:
    profiler = cProfile.Profile()
    graph = profiler.runcall(lstm.graph, SIZES)
    assert without_names(graph) == without_names(lstm.graph(SIZES))


def without_names(graph: Graph) -> Graph:
    numbered = {e.out.name: f"n{k}" for k, e in enumerate(graph.equations)}
    return graph.rename(numbered)


def test_torch_draws_random_numbers_again_after_a_trace() -> None:
    with pytest.raises(CellError):
        cell(unknown).graph(SIZES)
    assert torch.rand(3).shape == (3,)


def test_a_trace_keeps_nothing_alive() -> None:
    def build() -> weakref.ref[Any]:
        class Held:
            pass

        held = Held()

        @cell
        def step(x, h, *, W=param("H", "D")):
            assert held is not None
            return W @ x + h

        step.graph(SIZES)
        return weakref.ref(held)

    held = build()
    gc.collect()
    assert held() is None


# --- again, inside of itself, and in threads ------------------------------------------------------


def test_the_same_trace_gives_the_same_graph() -> None:
    for textbook in CELLS.values():
        sizes = textbook.example_sizes()
        assert textbook.graph(sizes) == textbook.graph(sizes)


def test_a_trace_within_a_trace() -> None:
    inner: list[Graph] = []

    @cell
    def step(x, h, *, W=param("H", "D")):
        a = W @ x
        inner.append(gru.graph(SIZES))
        b = a + h
        return b

    graph = step.graph(SIZES)
    assert names(graph) == ["a", "b"]
    assert inner == [gru.graph(SIZES)]


def test_a_trace_within_a_trace_that_fails() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        a = W @ x
        with pytest.raises(CellError):
            cell(unknown).graph(SIZES)
        b = a + h
        return b

    before = sys.getprofile()
    assert names(step.graph(SIZES)) == ["a", "b"]
    assert sys.getprofile() is before


def test_traces_in_four_threads_at_once() -> None:
    wanted = {name: c.graph(c.example_sizes()) for name, c in CELLS.items()}
    start = threading.Barrier(4)

    def work(k: int) -> list[str]:
        start.wait()
        different: list[str] = []
        order = list(CELLS.items())[k:] + list(CELLS.items())[:k]
        for name, c in order * 2:
            if k == 3:
                with pytest.raises(CellError):
                    cell(unknown).graph(SIZES)
            if c.graph(c.example_sizes()) != wanted[name]:
                different.append(name)
        return different

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[], [], [], []]


def test_a_parameter_declared_and_a_size_are_told_apart() -> None:
    """D and H equal in number do not mix: a square cell prints the names that it declared."""
    graph = plain.graph({"D": 4, "H": 4})
    assert [str(v) for v in graph.sources] == ["x[D]", "h[H]", "W[H, D]", "b[H]"]


def test_equations_of_a_dtype_differ_only_where_the_dtype_matters() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return torch.nn.functional.rms_norm(W @ x + h, h.shape)

    single, double = (step.graph(SIZES, t) for t in (torch.float32, torch.float64))
    [eps] = [
        e.args[1] for e in single.equations if e.op == "add" and e.args[1] not in single.states
    ]
    assert eps == torch.finfo(torch.float32).eps
    assert replace(single, equations=()) == replace(double, equations=())
    assert single != double


def test_no_grad_in_a_step_is_refused() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
        with torch.no_grad():
            kept = h * 2
        return torch.tanh(W @ x + kept)

    with pytest.raises(
        CellError, match=r"no_grad\(\) in a step.*\n.*kept = h \* 2.*\n.*\n.*detach"
    ):
        step.graph({"D": 3, "H": 4})


def test_a_step_is_traced_under_an_outer_no_grad() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
        return torch.tanh(W @ x + h)

    with torch.no_grad():
        assert str(step.graph({"D": 3, "H": 4})).count("tanh") == 1
