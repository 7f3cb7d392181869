"""Noise in a step: against the plain loop with the same draws, in evaluation, and what is drawn."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, sigmoid, tanh
from torch.nn.utils.rnn import pack_sequence

import unrolled as ur
from combinators.samples import NOISY, noisy, reader
from oracle import agreement
from oracle.agreement import Problem, assert_agree, cotangents, run
from oracle.rounding import ROUNDINGS
from oracle.running_error import Bounds, analyse
from unrolled import cells, naive, noise, param
from unrolled.cell import Cell
from unrolled.nn import stack
from unrolled.nn.noise import draw
from unrolled.packing import Packing, packing
from unrolled.steps import EVEN, Steps

ALL = pytest.mark.parametrize("cell", NOISY.values(), ids=NOISY)
SIZES = {"input_size": 5, "hidden_size": 6, "P": 7, "O": 9}
Noise = dict[str, Tensor]


def drawn(cell: Cell, sizes: dict[str, int], steps: int, batch: int, seed: int = 0) -> Noise:
    torch.manual_seed(seed)
    lengths = cell.noise_sizes(sizes)
    given = [(spec, int(lengths[name])) for name, spec in cell.noise.items()]
    x = torch.empty(steps, batch, 1, dtype=torch.float64)
    return draw(given, batch, x, EVEN)


def problem(cell: Cell, steps: int = 7, batch: int = 5) -> tuple[Problem, Noise]:
    sizes = cell.resolve_sizes(**SIZES)
    return agreement.problem(cell, sizes, steps, batch), drawn(cell, sizes, steps, batch)


def bounds(p: Problem, like: agreement.Results, given: Noise) -> Bounds:
    d_y, d_states = cotangents(p, like.y, like.states)
    with torch.no_grad():
        graph = p.cell.graph(p.sizes, torch.float64)
        return analyse(graph, p.x, p.states, {**p.parameters, **given}, d_y, d_states)


@ALL
def test_both_backends_equal_the_plain_loop(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    p, given = problem(cell)
    assert given
    expected = run(partial(naive.recurrence, noise=given), p)
    bound = bounds(p, expected, given)
    assert not bound.ambiguous
    on = partial(ur.recurrence, noise=given)
    assert_agree(run(partial(on, backend="reference"), p), expected, bound)
    for op in ROUNDINGS:  # functions of the C within 4 ulp
        monkeypatch.setitem(ROUNDINGS, op, 8)
    bound = bounds(p, expected, given)
    for every in (None, 3):
        found = run(partial(on, backend="cpu", checkpoint=every), p)
        assert_agree(found, expected, bound)


@ALL
def test_without_noise_it_is_evaluated_at_the_mean(cell: Cell) -> None:
    p, given = problem(cell)
    expected = agreement.plain(p)
    p = replace(p, cell=cell.evaluated)
    bound = agreement.bounds(p, expected)
    assert_agree(run(partial(ur.recurrence, backend="reference"), p), expected, bound)
    p = replace(p, cell=cell)
    assert_agree(run(partial(ur.recurrence, backend="reference"), p), expected, bound)
    mean = {n: torch.full_like(m, cell.noise[n].p) for n, m in given.items()}
    same = run(partial(naive.recurrence, noise=mean), p)
    assert_agree(same, expected, bound)


@ALL
def test_second_derivatives_see_the_same_noise(cell: Cell) -> None:
    p, given = problem(cell, 2, 1)
    names, n = list(p.parameters), len(p.states)

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        params = dict(zip(names, rest[n:], strict=True))
        y, final = ur.recurrence(cell, x, rest[:n], params, noise=given, backend="cpu")
        return (y, *final)

    leaves = tuple(t.clone().requires_grad_() for t in p.leaves.values())
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_noise_may_be_differentiated_too() -> None:
    p, given = problem(noisy, 3, 2)
    m = given["m"].clone().requires_grad_()

    def function(m: Tensor, backend: str, every: int | None) -> Tensor:
        drawn = {**given, "m": m}
        return ur.recurrence(noisy, p.x, p.states, p.parameters, backend, every, noise=drawn)[0]

    for backend, every in (("cpu", None), ("reference", None), ("cpu", 2)):
        assert torch.autograd.gradcheck(lambda m, b=backend, e=every: function(m, b, e), m)


# --- what each computes


def test_zoneout_keeps_elements_of_states() -> None:
    made = ur.zoneout(cells.lstm, h=0.25, c=0.5)
    p, given = problem(made)
    h, c = p.states
    for t, x in enumerate(p.x):
        _, (h_new, c_new) = naive.recurrence(cells.lstm, x[None], (h, c), p.parameters)
        h = torch.where(given["zoneout_h"][t] == 1, h, h_new)
        c = torch.where(given["zoneout_c"][t] == 1, c, c_new)
        y, final = naive.recurrence(
            made, p.x[: t + 1], p.states, p.parameters, {n: m[: t + 1] for n, m in given.items()}
        )
        assert torch.equal(y[t], h)
        assert torch.equal(final[0], h)
        assert torch.equal(final[1], c)
    assert 0 < given["zoneout_h"].mean() < 1


def test_variational_dropout_masks_what_products_read_and_nothing_else() -> None:
    made = ur.variational_dropout(cells.gru_cho, input=0.5, h=0.25, output=0.5)

    @ur.cell
    def by_hand(
        x: Any, h: Any, *, W: Any = param("3*H", "D"), U: Any = param("3*H", "H"),
        b: Any = param("3*H"), m_x: Any = noise("D", p=0.5, each="sequence"),
        m_h: Any = noise("H", p=0.75, each="sequence"),
        m_y: Any = noise("H", p=0.5, each="sequence"),
    ) -> Any:  # fmt: skip
        x = x * m_x / 0.5
        read = h * m_h / 0.75
        (W_r, W_z, W_h), (U_r, U_z, U_h), (b_r, b_z, b_h) = W.chunk(3), U.chunk(3), b.chunk(3)
        r = sigmoid(W_r @ x + U_r @ read + b_r)
        z = sigmoid(W_z @ x + U_z @ read + b_z)
        h_tilde = tanh(W_h @ x + U_h @ (r * read) + b_h)
        h = z * h + (1 - z) * h_tilde
        return h * m_y / 0.5, (h,)

    p, given = problem(made)
    names = {"dropout_input": "m_x", "dropout_h": "m_h", "dropout_output": "m_y"}
    renamed = {names[n]: m for n, m in given.items()}
    found = run(partial(naive.recurrence, noise=given), p)
    bound = bounds(p, found, given)
    other = replace(p, cell=by_hand)
    assert_agree(run(partial(naive.recurrence, noise=renamed), other), found, bound)


@pytest.mark.parametrize("rates", [{"h": 0.25}, {"input": 0.5, "h": 0.5, "output": 0.1}])
def test_dropout_costs_nothing_in_evaluation(rates: dict[str, float]) -> None:
    made = ur.variational_dropout(cells.lstm, **rates)
    sizes = {"D": 3, "H": 5}
    lines = [str(c.graph(sizes)).split("\n", 1)[1] for c in (made.evaluated, cells.lstm)]
    assert lines[0] == lines[1]


# --- what is drawn


def test_as_many_ones_as_the_probability_says() -> None:
    torch.manual_seed(0)
    like = torch.empty(50, 40, 3)
    for each in ("step", "sequence"):
        for p in (0.0, 0.1, 0.75, 1.0):
            spec = (replace(noisy.noise["m"], p=p, each=each), 100)
            found = draw([spec], 40, like, EVEN)["m"]
            assert found.shape == (50, 40, 100)
            assert set(found.unique().tolist()) <= {0.0, 1.0}
            n = 50 * 40 * 100 if each == "step" else 40 * 100
            # Within five standard deviations of the mean of n draws.
            assert abs(found.mean() - p) <= 5 * (p * (1 - p) / n) ** 0.5 + 1e-6
            same = all(torch.equal(step, found[0]) for step in found)
            assert same == (each == "sequence" or p in (0.0, 1.0))


def test_a_sequence_has_one_mask_at_all_its_steps() -> None:
    """Packed too, where the examples of a step are the first so many."""
    spec = noisy.noise["k"], 5
    lengths = [4, 3, 1, 0]
    torch.manual_seed(0)
    padded = draw([spec], 4, torch.empty(4, 4, 5), EVEN)["k"]
    how = packing(lengths, padded)
    assert isinstance(how, Packing)
    torch.manual_seed(0)
    packed = draw([spec], 4, torch.empty(1, 8, 5), Steps(False, how.batch_sizes))["k"]
    assert torch.equal(packed, how.pack(padded))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_noise_with_lengths_and_resets_in_either_direction(backend: str) -> None:
    p, given = problem(noisy)
    lengths = torch.tensor([7, 2, 0, 5, 7])
    resets = torch.rand(7, 5) < 0.3
    for reverse in (False, True):
        options: dict[str, Any] = {"lengths": lengths, "resets": resets, "reverse": reverse}
        found = ur.recurrence(noisy, p.x, p.states, p.parameters, backend, noise=given, **options)
        expected = naive.recurrence(noisy, p.x, p.states, p.parameters, given, **options)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@ALL
def test_a_layer_draws_in_training_and_only_then(cell: Cell, backend: str) -> None:
    sizes = {k: v for k, v in {"P": 7, "O": 9}.items() if k in cell.size_names()}
    layer = ur.Recurrent(cell, 5, 6, 2, bidirectional=True, sizes=sizes, backend=backend)
    x = torch.randn(4, 3, 5)
    torch.manual_seed(1)
    y, _ = layer(x)
    torch.manual_seed(1)
    again, _ = layer(x)
    assert torch.equal(y, again)
    assert not torch.equal(y, layer(x)[0])
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    layer.eval()
    evaluated, _ = layer(x)
    assert torch.equal(evaluated, layer(x)[0])
    plain = ur.Recurrent(cell.evaluated, 5, 6, 2, bidirectional=True, sizes=sizes, backend=backend)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(evaluated, plain(x)[0])
    assert [len(g.inputs) for g in layer.graphs()] == [1] * len(layer.graphs())


def test_each_sample_of_vmap_draws_its_own() -> None:
    layer = ur.Recurrent(ur.zoneout(cells.gru, h=0.3), 5, 8)
    x = torch.randn(4, 1, 5).expand(4, 3, 5)
    params: dict[str, Tensor] = dict(layer.named_parameters())

    def loss(given: dict[str, Tensor], of: Tensor) -> Tensor:
        y, _ = torch.func.functional_call(layer, given, (of.unsqueeze(1),))
        return y.square().sum()

    gradients = torch.func.vmap(
        torch.func.grad(loss), in_dims=(None, 1), randomness="different"
    )(params, x)  # fmt: skip
    assert not torch.equal(gradients["W_hh_l0"][0], gradients["W_hh_l0"][1])
    same = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1), randomness="same")(params, x)
    torch.testing.assert_close(same["W_hh_l0"][0], same["W_hh_l0"][1])


def test_layers_and_directions_draw_each_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []
    called = stack.draw

    def noted(*args: Any) -> Any:
        found = called(*args)
        given.append(found["zoneout_h"])
        return found

    monkeypatch.setattr(stack, "draw", noted)
    layer = ur.Recurrent(ur.zoneout(cells.gru, h=0.5), 3, 20, 2, bidirectional=True)
    layer(torch.randn(4, 3, 3))
    assert len(given) == 4
    for k, m in enumerate(given):
        assert m.shape == (4, 3, 20)
        assert not any(torch.equal(m, other) for other in given[:k])
    given.clear()
    layer(pack_sequence([torch.randn(n, 3) for n in (5, 3, 3, 1)]))
    assert [tuple(m.shape) for m in given] == [(1, 12, 20)] * 4


def test_a_cell_on_its_own_is_evaluated_unless_it_is_given_noise() -> None:
    x, h = torch.randn(3).double(), torch.randn(5).double()
    W, U = torch.randn(5, 3).double(), torch.randn(5, 5).double()
    kept = noisy(x, h, W=W, U=U, m=torch.ones(5).double())
    assert torch.equal(kept, h)
    mean = noisy(x, h, W=W, U=U)
    torch.testing.assert_close(mean, tanh(W @ x + U @ h) * 0.75 + 0.25 * h)
    assert noisy.evaluated is noisy.evaluated
    assert cells.gru.evaluated is cells.gru
    assert noisy.evaluated.evaluated is noisy.evaluated
    assert list(noisy.bind(m=0.0).noise) == ["k"]


@ALL
def test_pickles(cell: Cell) -> None:
    for made in (cell, cell.evaluated):
        back = pickle.loads(pickle.dumps(made))
        sizes = cell.resolve_sizes(**SIZES)
        assert str(back.graph(sizes)) == str(made.graph(sizes))
        assert back.noise == made.noise


def test_within_torch_compile() -> None:
    made = ur.zoneout(cells.gru, h=0.5)
    p, given = problem(made)
    params = {n: t.clone().requires_grad_() for n, t in p.parameters.items()}

    def loss(m: Tensor) -> Tensor:
        y, _ = ur.recurrence(made, p.x, p.states, params, noise={"zoneout_h": m})
        return y.square().sum()

    m = given["zoneout_h"]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected, found = loss(m), compiled(m)
    assert torch.equal(expected, found)
    ours, theirs = (torch.autograd.grad(v, list(params.values())) for v in (expected, found))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    layer = ur.Recurrent(made, 5, 6)
    seen = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 3, 5)
    assert not torch.equal(seen(x)[0], seen(x)[0])
    layer.eval()
    assert torch.equal(seen(x)[0], layer(x)[0])


# --- what is refused


def text(error: pytest.ExceptionInfo[ur.CellError]) -> tuple[str, str]:
    return error.value.problem, error.value.hint


def test_noise_that_is_declared_wrongly() -> None:
    def certain(x: Any, h: Any, *, m: Any = noise("H", p=1.5)) -> Any:
        return m * h + x

    with pytest.raises(ur.CellError) as caught:
        ur.cell(certain)
    assert text(caught) == (
        "cell certain: m is noise with p=1.5, each='step'",
        "p is a probability in 0 … 1, each is 'step' or 'sequence'",
    )

    def misplaced(x: Any, h: Any, m: Any = noise("H", p=0.5)) -> Any:
        return m * h + x

    with pytest.raises(ur.CellError) as caught:
        ur.cell(misplaced)
    assert text(caught)[0] == "cell misplaced: state m has noise as its default"

    @ur.cell
    def idle(x: Any, h: Any, *, m: Any = noise("H", p=0.5)) -> Any:
        return h + x.sum()

    with pytest.raises(ur.CellError) as caught:
        idle.graph({"D": 3, "H": 5})
    assert text(caught) == (
        "cell idle: noise m[H] is never used",
        "it would be drawn for nothing: use it, or take it out of the signature",
    )


def test_noise_that_has_no_meaning_as_a_number() -> None:
    @ur.cell
    def sliced(
        x: Any, h: Any, *, W: Any = param("H", "D"), k: Any = noise("H", p=0.25),
        m: Any = noise("H", p=0.5),
    ) -> Any:  # fmt: skip
        return k * h + m[:1] * (W @ x)

    @ur.cell
    def multiplied(
        x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
        m: Any = noise("H", p=0.5),
    ) -> Any:  # fmt: skip
        return W @ x + U @ m + h

    for cell, expected in (
        (sliced, "'float' object is not subscriptable"),
        (multiplied, "a matrix product with a number"),
    ):
        cell.graph({"D": 3, "H": 5})
        with pytest.raises(ur.CellError) as caught:
            ur.Recurrent(cell, 3, 5)
        assert text(caught) == (
            f"cell {cell.name}: in evaluation, where the noise m is the number 0.5, the step does "
            f"not run: {expected}",
            "use noise elementwise alone, as in m * h",
        )
        assert caught.value.location is not None
        assert caught.value.location.file == __file__


def test_noise_that_does_not_fit() -> None:
    p, given = problem(noisy)
    for wrong, kind, message in (
        ({"m": given["m"]}, TypeError, "cell noisy has the noise m, k; got m"),
        ({**given, "m": given["m"][:3]}, ValueError,
         "noise m must be [T, B, H] = [7, 5, 6], got [3, 5, 6]"),
        ({**given, "m": given["m"].float()}, TypeError,
         "noise m is torch.float32 on cpu, and x torch.float64 on cpu: convert one to the other"),
        ({**given, "m": 0.5}, TypeError, "noise m must be a tensor, got float"),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            ur.recurrence(noisy, p.x, p.states, p.parameters, noise=wrong)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(TypeError) as none:
        ur.recurrence(
            cells.gru, torch.zeros(1, 1, 3), (torch.zeros(1, 5),),
            {n: torch.zeros([*map(int, s)]) for n, s in
             cells.gru.parameter_shapes({"D": 3, "H": 5}).items()},
            noise={"m": torch.zeros(1, 1, 5)},
        )  # fmt: skip
    assert str(none.value) == "cell gru has the noise none; got m"


def test_equations_that_read_noise_are_not_a_cells() -> None:
    with pytest.raises(ValueError) as caught:
        Cell.from_graphs([noisy.graph({"D": 3, "H": 5})])
    assert str(caught.value) == (
        "the graphs of noisy read noise (m, k): save those of Cell.evaluated"
    )
    assert Cell.from_graphs([noisy.evaluated.graph({"D": 3, "H": 5})]).name == "noisy"


def test_rates_and_states_that_are_none() -> None:
    for call, problem, hint in (
        (lambda: ur.zoneout(cells.lstm, m=0.5), "zoneout: cell lstm has no state m",
         "its states are h, c"),
        (lambda: ur.zoneout(cells.gru, 0.1),
         "zoneout(gru): 0.1 without a name says nothing of which state",
         "name it: zoneout(cell, h=0.1)"),
        (lambda: ur.variational_dropout(cells.gru, 0.1),
         "variational_dropout(gru): 0.1 without a name says nothing of which state",
         "name it: variational_dropout(cell, h=0.1)"),
        (lambda: ur.zoneout(cells.lstm), "zoneout(lstm) names no state",
         "zoneout(cell, h=0.1)"),
        (lambda: ur.zoneout(cells.lstm, c=1.5),
         "zoneout(lstm): c=1.5, expected a number from 0 to 1",
         "it is the probability of each element: zoneout(cell, c=0.1)"),
        (lambda: ur.variational_dropout(cells.lstm), "variational_dropout(lstm) drops nothing",
         "variational_dropout(cell, input=0.2, h=0.2, output=0.2)"),
        (lambda: ur.variational_dropout(cells.lstm, h=1.0),
         "variational_dropout(lstm): h=1.0, expected a number from 0 to below 1",
         "it is the probability of each element: variational_dropout(cell, h=0.1)"),
        (lambda: ur.variational_dropout(cells.gru, c=0.5),
         "variational_dropout of a state: cell gru has no state c", "its states are h"),
        (lambda: ur.variational_dropout(cells.lstm, c=0.5).graph({"D": 3, "H": 5}),
         "variational_dropout(lstm): no product of a matrix reads the state c",
         "it has nothing to drop there; zoneout(cell, …) works on any state"),
    ):  # fmt: skip
        with pytest.raises(ur.CellError) as caught:
            call()
        assert text(caught) == (problem, hint)


def test_the_states_of_a_users_cell_are_masked_where_products_read_them() -> None:
    graph = ur.variational_dropout(reader, s=0.5).graph({"D": 3, "H": 5, "P": 4})
    text = str(graph)
    (joined,) = [e for e in graph.equations if e.op == "cat"]
    assert "dropout_s" in text
    assert joined.inputs[0].name != "s"
