"""What a step function may be written with: helpers, loops, options, captured values, outputs."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh

from oracle.agreement import assert_agree, bounds, compiled, plain, problem
from unrolled import CellError, cell, lower, naive, param, recurrence, state
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import gru, lstm, rnn

SIZES = {"D": 3, "H": 4, "P": 2}

DECAY = torch.tensor([0.9, 0.5, 0.25, 0.125], dtype=torch.float64)
HALF = torch.tensor(0.5)
EVEN = torch.arange(4) % 2 == 0
ROTATION = torch.eye(4, dtype=torch.float64).roll(1, 0)


def gate(v, w, u, h):
    """A helper: its local names name the values of each call."""
    pre = w @ v + u @ h
    return sigmoid(pre)


@cell
def with_helpers(x, h, *, W=param("2*H", "D"), U=param("2*H", "H")):
    W_z, W_n = W.chunk(2)
    U_z, U_n = U.chunk(2)
    z = gate(x, W_z, U_z, h)
    n = 2 * gate(x, W_n, U_n, h) - 1
    return z * h + (1 - z) * n


@cell
def with_loops(x, h, *, W=param("H", "D"), a=param("H")):
    total = torch.zeros(h.shape[-1], dtype=h.dtype)
    for k, v in enumerate(h.chunk(2)):
        total = total + v.sum() / (k + 1)
    for _ in range(3):
        h = tanh(h * a + W @ x + total)
    return torch.stack([row.sum() for row in W]) * h


@cell
def with_options(
    x, h, *, W=param("H", "D"), activation="tanh", layers=1, residual=False, scale=1.0
):
    out = h
    for _ in range(layers):
        out = getattr(torch, activation)(W @ x + out)
    if residual:
        out = out + h
    return scale * out


@cell
def with_captured(x, h, *, W=param("H", "D")):
    h = DECAY * h + (1 - DECAY) * (W @ x) * HALF
    h = torch.where(EVEN, h, ROTATION @ h)
    h = h * np.float32(0.5)  # type: ignore[operator]
    return math.sqrt(0.5) * h * np.float64(1.5) * np.int64(3)


@cell
def with_scalar_parameters(x, h, *, W=param("H", "D"), rate=param(), beta=param(1)):
    return (1 - sigmoid(rate)) * h + sigmoid(rate) * tanh(beta * (W @ x))


@cell
def with_parameters_alone(x, h, *, V=param("H", "H"), W=param("H", "D"), g=param("H")):
    normed = g[:, None] * V / V.norm(dim=1, keepdim=True)
    skew = V - V.T
    return tanh(normed @ h + skew @ h + W @ x)


@cell
def with_another_length(x, h=state("P"), c=state("H"), *, W=param("H", "D+P"), R=param("P", "H")):
    c = tanh(W @ torch.cat([h, x])) + 0.5 * c
    return R @ c, c


@cell
def with_an_output(x, h, *, W=param("H", "D"), V=param("P", "H")):
    h = tanh(W @ x + h)
    return V @ h, (h,)


@cell
def with_a_list(x, h, c, *, W=param("H", "D")):
    return [tanh(W @ x + c), 0.5 * c + h]


@cell
def without_parameters(x, h):
    return 0.5 * h + x.sum()


@cell
def with_a_memory_of_inputs(x, h=state("D")):
    return x - h, (x,)


@cell
def with_integer_lengths(x, h=state(3), *, W=param(3, "D"), U=param("H-1", 3)):
    return tanh(W @ x + U @ h)


STEPS: dict[str, Cell] = {
    "helpers": with_helpers,
    "loops": with_loops,
    "options": with_options,
    "options bound": with_options.bind(activation="relu", layers=2, residual=True, scale=0.5),
    "captured": with_captured,
    "scalar parameters": with_scalar_parameters,
    "a parameter held": with_scalar_parameters.bind(rate=0.25),
    "two parameters held": lstm.bind(b_ih=0.0, b_hh=1.0),
    "an option and a parameter": rnn.bind(nonlinearity="relu").bind(b_hh=0),
    "held at an integer": gru.bind(b_hh=1),
    "parameters alone": with_parameters_alone,
    "a state of another length": with_another_length,
    "an output": with_an_output,
    "a list": with_a_list,
    "no parameters": without_parameters,
    "a memory of inputs": with_a_memory_of_inputs,
    "integer lengths": with_integer_lengths,
}


@pytest.mark.parametrize("name", STEPS)
def test_equals_the_plain_loop(name: str) -> None:
    p = problem(STEPS[name], SIZES, steps=4, batch=3)
    expected = plain(p)
    bound = bounds(p, expected)
    assert not bound.ambiguous
    assert_agree(compiled(p), expected, bound)


def test_a_held_parameter_is_no_parameter_any_more() -> None:
    bound = lstm.bind(b_ih=0.0, b_hh=1.0)
    assert list(bound.parameters) == ["W_ih", "W_hh"]
    assert {n: s.init for n, s in bound.held.items()} == {"b_ih": 0.0, "b_hh": 1.0}
    assert list(lstm.parameters) == ["W_ih", "W_hh", "b_ih", "b_hh"]
    graph = bound.graph({"D": 3, "H": 4})
    assert [c.var.name for c in graph.constants] == ["b_ih", "b_hh"]
    assert set(graph.constants[1].data) == {1.0}


def test_a_held_parameter_equals_the_parameter_of_that_number() -> None:
    x = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    h = torch.zeros(2, 4)
    W, U = torch.ones(12, 3) / 3, torch.ones(12, 4) / 4
    given = {"W_ih": W, "W_hh": U, "b_ih": torch.full((12,), 0.5)}
    held, _ = recurrence(gru.bind(b_hh=-0.25), x, (h,), given)
    free, _ = recurrence(gru, x, (h,), given | {"b_hh": torch.full((12,), -0.25)})
    assert torch.equal(held, free)


def test_the_step_runs_by_itself_on_tensors() -> None:
    x, h, W = torch.ones(3), torch.zeros(4), torch.ones(4, 3)
    assert torch.equal(with_options(x, h, W=W), torch.tanh(W @ x))
    assert torch.equal(with_options.bind(scale=2.0)(x, h, W=W), 2 * torch.tanh(W @ x))
    held = with_scalar_parameters.bind(rate=0.0, beta=1.0)
    assert torch.equal(held(x, h, W=W), 0.5 * torch.tanh(W @ x))


@cell
def with_further_outputs(x, h, *, W=param("2*H", "D"), U=param("2*H", "H")):
    z, n = (W @ x + U @ h).chunk(2)
    z, n = sigmoid(z), tanh(n)
    new = z * h + (1 - z) * n
    return new, {"z": z, "candidate": n, "open": z > 0.5, "share": z.mean(), "gates": W[:2]}


def test_further_outputs_are_there_when_asked_for() -> None:
    p = problem(with_further_outputs, SIZES, steps=3, batch=2)
    graph = p.cell.graph(SIZES, torch.float64)
    assert [o.name for o in graph.outputs] == ["y", "z", "candidate", "open", "share", "gates"]
    wanted = tuple(o.name for o in graph.outputs)
    kernel = ReferenceKernel(lower(graph, wanted))
    found = kernel.forward(p.x, p.states, p.parameters, keep=False).outputs
    h = p.states[0]
    for t in range(3):
        steps = [p.cell(p.x[t, b], h[b], **p.parameters) for b in range(2)]
        for name in wanted[1:]:
            want = torch.stack([extras[name] for _, extras in steps])
            torch.testing.assert_close(found[name][t], want, rtol=1e-14, atol=1e-15)
        h = torch.stack([y for y, _ in steps])


def test_what_nobody_asks_for_is_not_computed() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return tanh(W @ x + h), {"costly": torch.exp(h) * torch.sin(x.sum())}

    plan = lower(step.graph({"D": 3, "H": 4}), ("y",), ("x", "W"))
    assert "exp" not in {e.op for e in plan.forward.graph.equations}


def test_gradients_of_a_further_output() -> None:
    p = problem(with_further_outputs, SIZES, steps=3, batch=2)
    graph = p.cell.graph(SIZES, torch.float64)
    kernel = ReferenceKernel(lower(graph, ("z",), ("x", "W", "U")))
    run = kernel.forward(p.x, p.states, p.parameters, keep=True)
    zero = torch.zeros_like(p.states[0])
    found = kernel.backward(run.residuals, {"z": torch.ones_like(run.outputs["z"])}, (zero,))

    leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
    h, total = leaves["h"], torch.tensor(0.0, dtype=torch.float64)
    for x_t in leaves["x"]:
        steps = [p.cell(x_t[b], h[b], W=leaves["W"], U=leaves["U"]) for b in range(2)]
        total = total + sum((extras["z"].sum() for _, extras in steps), start=total * 0)
        h = torch.stack([y for y, _ in steps])
    wanted = torch.autograd.grad(total, [leaves[n] for n in ("x", "W", "U", "h")])
    ours = (found.outputs["x"], found.outputs["W"], found.outputs["U"], found.states[0])
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)


def test_the_concatenated_form_is_split_and_its_input_half_hoisted() -> None:
    plan = lower(with_another_length.graph({"D": 3, "H": 4, "P": 2}))
    products = {e.op: e.inputs[1].name for e in plan.forward.loop if e.op == "matmul"}
    assert "x" not in products.values()
    assert [e.inputs[1].name for e in plan.forward.before if e.op == "matmul"] == ["x"]


def test_cells_are_traced_through() -> None:
    bound = with_options.bind(activation="relu", residual=True)

    @cell
    def residual(x, h, *, W=param("H", "D"), scale=0.5):
        return h + scale * bound(x, h, W=W)

    @cell
    def outer(x, h, *, W_ih=param("3*H", "D"), W_hh=param("3*H", "H")):
        inner = gru.bind(b_ih=0.5, b_hh=0.0)
        return h + inner(x, h, W_ih=W_ih, W_hh=W_hh)

    for c in (residual, outer):
        p = problem(c, SIZES, steps=3, batch=2)
        expected = plain(p)
        assert_agree(compiled(p), expected, bounds(p, expected))


def test_modules_without_parameters_can_be_called() -> None:
    activation = nn.Sequential(nn.Softplus(), nn.Hardtanh(0.0, 2.0))

    @cell
    def step(x, h, *, W=param("H", "D")):
        return activation(W @ x + h)

    p = problem(step, SIZES, steps=3, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))


def test_a_captured_tensor_is_read_when_traced() -> None:
    scale = torch.ones(4)

    @cell
    def step(x, h, *, W=param("H", "D")):
        return scale * (W @ x) + h

    [constant] = step.graph({"D": 3, "H": 4}).constants
    assert constant.data == (1.0, 1.0, 1.0, 1.0)


def test_numbers_that_are_not_finite_are_literals_too() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return torch.where(h == math.inf, 0.0, W @ x + h)

    graph = step.graph({"D": 3, "H": 4})
    assert "eq(h, inf)" in str(graph)
    y, _ = naive.recurrence(
        step, torch.zeros(1, 1, 3), (torch.tensor([[math.inf, 1, 2, 3]]),), {"W": torch.ones(4, 3)}
    )
    assert y.tolist() == [[[0, 1, 2, 3]]]


def test_no_name_is_reserved() -> None:
    @cell
    def step(v1, k, *, v2=param("H", "D"), d_k=param("H")):
        v3 = v2 @ v1 + d_k
        v5 = tanh(v3 * k)
        return v5 + sigmoid(v3)

    p = problem(step, SIZES, steps=3, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))


def test_sizes_are_plain_integers_in_the_step() -> None:
    seen: list[object] = []

    @cell
    def step(x, h, *, W=param("2*H", "D")):
        H, D = h.shape[-1], x.size(0)
        seen.extend([H, D, len(W), W.ndim, W.numel(), isinstance(H, int), h.dtype, str(2 * H + D)])
        pad = torch.zeros(H - D)
        return (W[:H] @ x) + torch.cat([x, pad]) + h

    step.graph({"D": 3, "H": 4}, torch.float64)
    assert seen == [4, 3, 8, 2, 24, True, torch.float64, "D + 2*H"]


def test_a_bound_cell_keeps_what_it_is() -> None:
    bound = with_options.bind(layers=2)
    assert bound.name == with_options.name
    assert bound.doc == with_options.doc
    assert with_options.options["layers"] == 1
    with pytest.raises(CellError):
        bound.bind(depth=2)


def test_an_output_that_is_the_same_at_each_step() -> None:
    @cell
    def step(x, h, *, b=param("H")):
        return b * 2, (h + x.sum(),)

    p = problem(step, SIZES, steps=3, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))


def test_a_state_that_becomes_a_parameter() -> None:
    @cell
    def step(x, h, *, b=param("H")):
        return h * x.sum(), (torch.sin(b),)

    p = problem(step, SIZES, steps=3, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))


def test_a_state_that_becomes_a_constant() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return h + W @ x, (torch.zeros_like(h),)

    p = problem(step, SIZES, steps=3, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))


def test_states_that_change_places() -> None:
    @cell
    def step(x, h, c, *, W=param("H", "D")):
        return c, h + W @ x

    p = problem(step, SIZES, steps=5, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))


def test_a_state_that_passes_unchanged() -> None:
    @cell
    def step(x, h, c, *, W=param("H", "D")):
        return tanh(W @ x + c + h), c

    p = problem(step, SIZES, steps=4, batch=2)
    expected = plain(p)
    assert_agree(compiled(p), expected, bounds(p, expected))
    _, final = recurrence(step, p.x, p.states, p.parameters, backend="reference")
    assert torch.equal(final[1], p.states[1])


def constant_of(values: Tensor) -> tuple[float, ...]:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return values * h + W @ x

    [constant] = step.graph({"D": 3, "H": len(values)}).constants
    return constant.data


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(4),
        torch.tensor([0, 1, 1, 0], dtype=torch.uint8),
        torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float32),
        torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.bfloat16),
        torch.ones(8)[::2],
        torch.ones(1).expand(4),
    ],
)
def test_captured_tensors_keep_their_numbers(values: Tensor) -> None:
    assert constant_of(values) == tuple(values.double().tolist())
