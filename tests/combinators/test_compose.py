"""What composed cells are: named, picklable, nested, saved; what each computes; what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, rms_norm

import unrolled as ur
from cell_samples import inputs, parameters, random, rounding, states, step
from combinators.samples import COMPOSED, reader, squared
from unrolled import cells, param
from unrolled.cell import Cell
from unrolled.combinators import around, combinator, fresh, parameter, run
from unrolled.serialize import graph_from_dict, graph_to_dict

GIVEN = random(16, 5, seed=3)


def close(a: Tensor, b: Tensor, params: dict[str, Tensor]) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=rounding(params, GIVEN))


def test_a_nested_cell_has_a_name_parameters_and_the_doc_of_the_one_inside() -> None:
    made = ur.residual(ur.layer_norm(cells.lstm_concat, "products", "c"), project=True)
    assert repr(made) == (
        "<cell residual(layer_norm(lstm_concat, products, c), project=True): x[D]; a[H], c[H]; "
        "W_c[H, H+D], W_u[H, H+D], W_f[H, H+D], W_o[H, H+D], b_c[H], b_u[H], b_f[H], b_o[H], "
        "gain_W_c[H], gain_W_u[H], gain_W_f[H], gain_W_o[H], gain_c[H], shift_c[H], "
        "W_residual[H, D]>"
    )
    assert made.doc == cells.lstm_concat.doc
    assert made.location == cells.lstm_concat.location
    assert ur.with_activation(cells.gru, tanh=torch.relu).name == "with_activation(gru, tanh=relu)"
    assert ur.initialised(cells.gru, b_hh=0.0).name == "initialised(gru, b_hh=0.0)"


@combinator
def beside(cell: Cell, other: Any) -> Cell:
    """A user's own that is given another cell, or a function."""
    return cell


def test_names_of_cells_and_functions_that_are_given() -> None:
    assert beside(cells.gru, cells.lstm).name == "beside(gru, lstm)"
    relu = partial(torch.nn.functional.leaky_relu, negative_slope=0.1)
    assert beside(cells.gru, relu).name == "beside(gru, partial(leaky_relu, negative_slope=0.1))"
    assert beside(cells.gru, lambda v: v).name == "beside(gru, lambda)"
    assert beside(cells.gru, object()).name == "beside(gru, object)"


def test_names_that_are_taken_get_a_number() -> None:
    twice = ur.layer_norm(ur.layer_norm(cells.gru_cho, "h"), "h")
    assert [*twice.parameters][3:] == ["gain_h", "shift_h", "gain_h_2", "shift_h_2"]
    assert "gain_W_2" in ur.layer_norm(cells.lstm_coupled).parameters
    assert [*ur.layer_norm(cells.lstm_layer_norm, "h").parameters][-2:] == ["gain_h_2", "shift_h"]


@pytest.mark.parametrize("name", [n for n in COMPOSED if "layer_norm(gru, products" not in n])
def test_pickles_by_what_made_it_and_copies_as_itself(name: str) -> None:
    made = COMPOSED[name]
    back = pickle.loads(pickle.dumps(made))
    assert back is not made
    assert copy.deepcopy(made) is made
    sizes = made.example_sizes() | {"D": 48, "P": 48}
    assert (repr(back), str(back.graph(sizes))) == (repr(made), str(made.graph(sizes)))
    assert [p.init for p in back.parameters.values()] == [p.init for p in made.parameters.values()]


def test_what_was_bound_is_pickled_too() -> None:
    made = ur.residual(ur.project(reader, "P").bind(slope=0.25)).bind(R=0.5)
    assert "R" not in made.parameters
    back = pickle.loads(pickle.dumps(made))
    sizes = {"D": 4, "H": 3, "P": 4}
    assert str(back.graph(sizes)) == str(made.graph(sizes))
    assert "mul(0.25, s)" in str(back.graph(sizes))


def test_a_composed_cell_that_no_module_leads_to_is_refused_by_its_inner_name() -> None:
    @ur.cell
    def local(x: Any, h: Any) -> Any:
        return h + x

    with pytest.raises(pickle.PicklingError, match=r"^cell local can't be pickled, as "):
        pickle.dumps(ur.residual(local))


@pytest.mark.parametrize("cell", COMPOSED.values(), ids=COMPOSED)
def test_the_equations_survive_a_file_and_run(cell: Cell) -> None:
    graph = cell.graph({"D": 5, "H": 5, "P": 5, "O": 9}, torch.float64)
    back = graph_from_dict(json.loads(json.dumps(graph_to_dict(graph))))
    loaded = Cell.from_graphs([back])
    assert loaded.name == cell.name
    sizes = {"D": 5, "H": 5, "P": 5, "O": 9}
    params = {n: random(*s, seed=1) for n, s in cell.parameter_shapes(sizes).items()}
    given = [random(16, n, seed=2) for n in cell.state_sizes(sizes)]
    x = random(3, 16, 5, seed=4)
    ours, theirs = (ur.recurrence(c, x, given, params)[0] for c in (cell, loaded))
    assert torch.equal(ours, theirs)


@combinator
def doubled(cell: Cell, times: int) -> Cell:
    """One of a user's own, in the way that ours are made."""

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        y, new, extras = run(cell, x, states, arguments).returned()
        return times * y, new, extras

    return around(cell, step)


def test_a_users_own_function_of_cells() -> None:
    made = pickle.loads(pickle.dumps(ur.residual(doubled(cells.gru, 2), project=True)))
    assert made.name == "residual(doubled(gru, 2), project=True)"
    params = parameters(made)
    y, h = step(made, params, [GIVEN])
    close(y, 2 * h + inputs()[0] @ params["W_residual"].T, params)


@combinator
def scaled(cell: Cell) -> Cell:
    """A user's own with a parameter of its own."""
    name = fresh(cell, "scale")

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        scale = arguments.pop(name)
        y, new, extras = run(cell, x, states, arguments).returned()
        return scale * y, new, extras

    return around(cell, step, [parameter(name, "H", init=1.0)])


def test_a_users_own_function_with_a_parameter_nests() -> None:
    made = scaled(scaled(cells.gru))
    assert [*made.parameters][4:] == ["scale", "scale_2"]
    params = parameters(made)
    y, h = step(made, params, [GIVEN])
    close(y, params["scale"] * params["scale_2"] * h, params)
    layer = ur.Recurrent(made, 3, 5)
    assert torch.equal(layer.get_parameter("scale_2_l0"), torch.ones(5))


def test_further_parameters_without_a_name_or_with_one_that_is_taken() -> None:
    def step(x: Any, h: Any, **arguments: Any) -> Any:
        return run(cells.gru, x, (h,), arguments).returned()

    with pytest.raises(TypeError) as nameless:
        around(cells.gru, step, [param("H")])
    assert str(nameless.value) == (
        "around(gru): a parameter without a name: param() takes its name from a signature; here it "
        "is parameter('scale', 'H', init=1.0)"
    )
    for name in ("x", "h", "W_hh"):
        with pytest.raises(ur.CellError) as caught:
            around(cells.gru, step, [parameter(name, "H")])
        assert problem(caught) == (
            f"around(gru): the name {name} is taken",
            f"fresh(cell, '{name}') gives one that is free",
        )
    with pytest.raises(ur.CellError) as caught:
        around(cells.gru, step, [parameter("a", "H"), parameter("a", "H")])
    assert problem(caught)[0] == "around(gru): the name a is taken"
    with pytest.raises(ur.CellError) as wrong:
        parameter("a", "H %")
    assert (wrong.value.problem, wrong.value.hint) == (
        "parameter a: 'H %' is no size", "use names, integers and + - * //, as in '3*H'",
    )  # fmt: skip


# --- what each computes


def test_layer_norm_of_products_is_the_papers() -> None:
    made = ur.layer_norm(cells.elman)

    @ur.cell
    def by_hand(x, h, *, W_xh=param("H", "D"), W_hh=param("H", "H"), b_h=param("H"),
                gain_W_xh=param("H"), gain_W_hh=param("H")):  # fmt: skip
        a = layer_norm(W_xh @ x, h.shape, gain_W_xh) + layer_norm(W_hh @ h, h.shape, gain_W_hh)
        return torch.tanh(a + b_h)

    assert (
        str(made.graph({"D": 3, "H": 5})).splitlines()[2:4]
        == (str(by_hand.graph({"D": 3, "H": 5})).splitlines()[2:4])
    )
    params = parameters(made)
    assert torch.equal(step(made, params, [GIVEN])[1], step(by_hand, params, [GIVEN])[1])


@ur.cell
def joint(x, h, c, *, W=param("4*H", "D"), U=param("4*H", "H"), b=param("4*H")):  # type: ignore[no-untyped-def]
    """An LSTM whose gates are one product, as those of ``lstm_layer_norm``."""
    i, f, g, o = (W @ x + U @ h + b).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def test_of_gates_that_are_one_product_it_is_lstm_layer_norm_but_for_the_cell_state() -> None:
    made = ur.layer_norm(joint)
    params = parameters(made)
    names = {"gain_W": "gain_x", "gain_U": "gain_h"}
    theirs = {names.get(n, n): p for n, p in params.items()}
    theirs |= {"gain_c": torch.ones(5).double(), "shift_c": torch.zeros(5).double()}
    given = states(joint)
    ours_c = step(made, params, given)[2]
    assert torch.equal(ours_c, step(cells.lstm_layer_norm, theirs, given)[2])


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_normalised_states_are_handed_on_and_put_out(kind: str) -> None:
    function = getattr(ur, kind)
    made = function(cells.lstm, "h")
    params = parameters(made)
    given = states(made)
    y, h, c = step(made, params, given)
    inner = {n: p for n, p in params.items() if n in cells.lstm.parameters}
    _, plain_h, plain_c = step(cells.lstm, inner, given)
    if kind == "layer_norm":
        expected = layer_norm(plain_h, (5,), params["gain_h"], params["shift_h"])
    else:
        expected = rms_norm(plain_h, (5,), params["gain_h"])
    assert torch.equal(y, h)
    assert torch.equal(c, plain_c)
    close(h, expected, params)


def test_activations_are_replaced_as_functions_and_as_methods() -> None:
    params = parameters(cells.rnn)
    ours = step(ur.with_activation(cells.rnn, tanh=torch.relu), params, [GIVEN])
    theirs = step(cells.rnn.bind(nonlinearity="relu"), params, [GIVEN])
    assert torch.equal(ours[1], theirs[1])

    @ur.cell
    def ways(x: Any, h: Any, *, W: Any = param("H", "D")) -> Any:
        a = W @ x + h
        return a.sigmoid() + torch.special.expit(a) + torch.nn.functional.sigmoid(a)

    replaced = ur.with_activation(ways, sigmoid=squared)
    params = parameters(replaced)
    graph = replaced.graph({"D": 3, "H": 5})
    assert sum(e.op == "sigmoid" for e in graph.equations) == 3, "those inside of `squared`"
    h = step(replaced, params, [GIVEN])[1]
    a = step(ur.with_activation(ways, sigmoid=lambda v: v), params, [GIVEN])[1] / 3
    close(h, 3 * squared(a), params)


def test_a_name_replaces_all_that_mean_the_same_and_nothing_else() -> None:
    @ur.cell
    def aliases(x: Any, h: Any, *, W: Any = param("H", "D")) -> Any:
        return torch.sigmoid(W @ x) * torch.special.expit(h)

    @ur.cell
    def alone(x: Any, h: Any, *, W: Any = param("H", "D")) -> Any:
        return torch.maximum(W @ x, torch.special.expit(h)) * h

    x, h = inputs()[0], GIVEN
    params = parameters(aliases)
    a = x @ params["W"].T
    for made, expected in (
        (ur.with_activation(aliases, sigmoid=torch.relu), a.relu() * h.relu()),
        (ur.with_activation(alone, expit=torch.relu), torch.maximum(a, h.relu()) * h),
        (ur.with_activation(alone, sigmoid=torch.relu), torch.maximum(a, h.relu()) * h),
        (ur.with_activation(alone, maximum=torch.relu), a.relu() * h),
    ):
        close(step(made, params, [h])[1], expected, params)
        traced, _ = ur.recurrence(made, x[None], (h,), params)
        close(traced[0], expected, params)


def test_a_rule_around_another_sees_what_the_inner_one_calls() -> None:
    inner = ur.with_activation(cells.rnn, tanh=torch.sin)
    ours = ur.with_activation(inner, sin=torch.cos)
    theirs = ur.with_activation(cells.rnn, tanh=torch.cos)
    params = parameters(cells.rnn)
    assert torch.equal(step(ours, params, [GIVEN])[1], step(theirs, params, [GIVEN])[1])
    lines = [str(c.graph({"D": 3, "H": 5})).split(":", 1)[1] for c in (ours, theirs)]
    assert lines[0] == lines[1]


# --- what is refused


def test_no_cell() -> None:
    with pytest.raises(TypeError) as caught:
        ur.residual(torch.tanh)  # type: ignore[arg-type]
    assert "expected a cell, got <built-in method tanh" in str(caught.value)


def problem(error: pytest.ExceptionInfo[ur.CellError]) -> tuple[str, str]:
    assert error.value.location is not None
    return error.value.problem, error.value.hint


def test_a_residual_connection_of_other_sizes() -> None:
    with pytest.raises(ur.CellError) as caught:
        ur.Recurrent(ur.residual(cells.gru), 3, 5)
    assert problem(caught) == (
        "residual(gru): the output has the length H, the input D",
        "residual(cell, project=True) adds W_residual @ x; or make the sizes equal, or give the "
        "layer of other sizes a cell of its own",
    )
    assert caught.value.location == cells.gru.location
    ur.Recurrent(ur.residual(cells.gru), 5, 5)


def test_a_projection_to_no_size() -> None:
    with pytest.raises(ur.CellError) as caught:
        ur.project(cells.gru, "P %")
    assert problem(caught) == (
        "project(gru): 'P %' is no size",
        "use names, integers and + - * //, as in 'P' or 'H//2'",
    )


def test_a_projection_of_no_length() -> None:
    with pytest.raises(ur.CellError) as caught:
        ur.Recurrent(ur.project(cells.gru, 0), 3, 5)
    assert (caught.value.problem, caught.value.hint) == (
        "cell project(gru, 0): W_project has the length 0, expected 1 or more",
        "declare another length",
    )


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_a_normalisation_of_what_is_not_there(kind: str) -> None:
    function = getattr(ur, kind)
    with pytest.raises(ur.CellError) as caught:
        function(cells.lstm, "products", "m")
    assert problem(caught) == (
        f"{kind} of a state: cell lstm has no state m", "its states are h, c",
    )  # fmt: skip

    @ur.cell
    def leaky(x: Any, h: Any, *, a: Any = param("H")) -> Any:
        return a * h + x.sum()

    with pytest.raises(ur.CellError) as caught:
        function(leaky)
    assert problem(caught) == (
        f"{kind}(leaky): the step has no product of a matrix and a vector",
        f"give the state that is to be normalised: {kind}(cell, 'h')",
    )
    with pytest.raises(ur.CellError) as caught:
        function(leaky, "h", "h")
    assert problem(caught)[0] == f"{kind}(leaky, h, h) names one twice"


def test_a_number_of_products_that_depends_on_an_option() -> None:
    @ur.cell
    def repeated(x: Any, h: Any, *, W: Any = param("H", "D"), n: Any = 2) -> Any:
        for _ in range(n):
            h = h + W @ x
        return h

    for n in (1, 3):
        with pytest.raises(ur.CellError) as caught:
            ur.layer_norm(repeated).bind(n=n).graph({"D": 3, "H": 5})
        assert problem(caught) == (
            "layer_norm(repeated): the number of products depends on the sizes or on an option; "
            "there were 2 when the cell was made",
            "bind the option before: layer_norm(cell.bind(…)); or name states to be normalised",
        )
        assert len(ur.layer_norm(repeated.bind(n=n)).parameters) == 1 + n


def test_activations_that_can_not_be_replaced() -> None:
    for given, expected in (
        ({"tanhh": torch.relu}, ("no function tanhh that a cell can use", "close to it: tanh, ")),
        ({"tanh": "relu"}, ("tanh is replaced by a str, expected a function", "with_activation(")),
    ):
        with pytest.raises(ur.CellError) as caught:
            ur.with_activation(cells.gru, **given)  # type: ignore[arg-type]
        text, hint = problem(caught)
        assert text == f"with_activation(gru): {expected[0]}"
        assert hint.startswith(expected[1])
    with pytest.raises(ur.CellError) as caught:
        ur.with_activation(cells.gru)
    assert problem(caught)[0] == "with_activation(gru) replaces nothing"
    with pytest.raises(ur.CellError) as caught:
        ur.with_activation(cells.gru, relu=torch.tanh).graph({"D": 3, "H": 5})
    assert problem(caught) == (
        "with_activation(gru): the step never calls relu",
        "it calls add, chunk, matmul, mul, sigmoid, sub, tanh",
    )


def test_wrong_steps_are_shown_where_they_were_written() -> None:
    @ur.cell
    def forgetful(x: Any, h: Any, c: Any, *, W: Any = param("H", "D")) -> Any:
        return W @ x + h

    with pytest.raises(ur.CellError) as caught:
        ur.residual(forgetful).graph({"D": 3, "H": 3})
    assert problem(caught) == (
        "cell forgetful: the step returned 1 new state(s), expected 2",
        "`return h, c`, or the output before the states: `return y, (h, c,)`",
    )

    @ur.cell
    def grows(x: Any, h: Any, *, W: Any = param("2*H", "D"), unused: Any = param("H")) -> Any:
        return W @ x

    with pytest.raises(ur.CellError) as caught:
        ur.with_activation(ur.residual(grows, project=True), matmul=lambda v: v).graph(
            {"D": 3, "H": 3}
        )
    assert caught.value.location is not None
    assert caught.value.location.file == __file__
    with pytest.raises(ur.CellError) as caught:
        ur.layer_norm(grows, "output").graph({"D": 3, "H": 3})
    assert problem(caught)[0] == (
        "cell grows does not run at D=72, H=48: the state h[H] came back as (W @ x)[2*H]"
    )
    assert caught.value.location is not None
    assert caught.value.location.file == __file__


def test_a_parameter_that_is_never_used_is_shown_where_it_was_written() -> None:
    @ur.cell
    def idle(x: Any, h: Any, *, W: Any = param("H", "D"), unused: Any = param("H")) -> Any:
        return W @ x + h

    with pytest.raises(ur.CellError) as caught:
        ur.residual(idle, project=True).graph({"D": 3, "H": 3})
    assert "    def idle(x: Any, h: Any" in str(caught.value)
    assert problem(caught)[0].endswith("parameter unused[H] is never used")


def test_a_cell_that_runs_at_some_sizes_alone() -> None:
    shift = torch.ones(5)

    @ur.cell
    def fixed(x: Any, h: Any, *, W: Any = param("H", "D")) -> Any:
        return W @ x + h + shift

    with pytest.raises(ur.CellError) as caught:
        ur.layer_norm(fixed)
    text, hint = problem(caught)
    assert text.startswith("cell fixed does not run at D=72, H=48: ")
    assert hint == (
        "what is made of it must be known before a layer says the sizes: write the step for any "
        "size, and a length that never changes as a number, param(1, 'H')"
    )
    assert caught.value.location is not None
    assert caught.value.location.file == __file__
    ur.layer_norm(fixed, "h").graph({"D": 3, "H": 5})


def test_products_with_a_captured_matrix() -> None:
    fixed = torch.eye(48)

    @ur.cell
    def captured(x: Any, h: Any, *, W: Any = param("H", "D")) -> Any:
        return fixed @ (W @ x) + h

    assert list(ur.layer_norm(captured).parameters) == ["W", "gain_W", "gain_product"]
