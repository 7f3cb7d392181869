"""The reference kernel: empty sequences, odd memory layouts, what it keeps, derivatives again."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, sigmoid, tanh

from oracle import agreement
from oracle.agreement import Problem
from unrolled import cell, lower, naive, param, recurrence
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS, gru_cho, lstm, mingru

SIZES = {"D": 3, "H": 4}


@cell
def with_outputs(x, h, c, *, W=param("2*H", "D"), U=param("2*H", "H"), b=param("H")):
    """A state that passes on, outputs that vary and one that doesn't, a condition, a matrix."""
    z, n = (W @ x + U @ h).chunk(2)
    h = sigmoid(z) * h + tanh(n) * c
    outer = h[:, None] * x
    return tanh(b), (h, c), {"open": z > 0, "same": b * 2, "outer": outer, "total": n.sum(), "x": x}


OUTPUTS = ("y", "open", "same", "outer", "total", "x")


def problem(of: Cell, steps: int = 3, batch: int = 2) -> Problem:
    return agreement.problem(of, SIZES, steps, batch)


def kernel_of(p: Problem, outputs: tuple[str, ...] = ("y",), *wrt: str) -> ReferenceKernel:
    return ReferenceKernel(lower(p.cell.graph(p.sizes, torch.float64), outputs, wrt))


def forward(kernel: ReferenceKernel, p: Problem, keep: bool = False) -> Any:
    return kernel.forward(p.x, p.states, p.parameters, keep)


def run(p: Problem, **leaves: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """By recurrence, with some of the tensors given anew."""
    given = p.leaves | leaves
    states = tuple(given[s.name] for s in p.cell.states)
    params = {n: given[n] for n in p.parameters}
    return recurrence(p.cell, given[p.cell.input], states, params, backend="reference")


# --- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "batch"), [(3, 2), (1, 1), (0, 2), (3, 0), (0, 0)])
def test_outputs_and_states_of_any_length(steps: int, batch: int) -> None:
    p = problem(with_outputs, steps, batch)
    found = forward(kernel_of(p, OUTPUTS), p)
    shapes = {n: tuple(t.shape) for n, t in found.outputs.items()}
    lead = (steps, batch)
    assert shapes == {
        "y": (*lead, 4), "open": (*lead, 4), "same": (*lead, 4), "outer": (*lead, 4, 3),
        "total": lead, "x": (*lead, 3),
    }  # fmt: skip
    assert {n: t.dtype for n, t in found.outputs.items()} == {
        n: torch.bool if n == "open" else torch.float64 for n in OUTPUTS
    }
    assert [tuple(s.shape) for s in found.states] == [(batch, 4), (batch, 4)]
    assert torch.equal(found.states[1], p.states[1])
    assert torch.equal(found.outputs["x"], p.x)
    if steps == 0:
        assert torch.equal(found.states[0], p.states[0])


@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0), (0, 0)])
@pytest.mark.parametrize("of", [lstm, gru_cho, mingru, with_outputs], ids=lambda c: c.name)
def test_gradients_of_nothing_are_zero(of: Cell, steps: int, batch: int) -> None:
    p = problem(of, steps, batch)
    leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
    y, final = run(p, **leaves)
    total = y.sum() + sum((s.sum() for s in final), start=y.sum() * 0)
    found = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
    for name in (p.cell.input, *p.parameters):
        assert found[name].shape == leaves[name].shape
        assert not found[name].any()
    for state in p.cell.states:
        # No step was made: the final states are the initial ones.
        assert torch.equal(found[state.name], torch.ones_like(leaves[state.name]))


def test_the_final_state_is_the_last_one() -> None:
    p = problem(lstm, steps=5)
    y, (h, c) = run(p)
    assert torch.equal(y[-1], h)
    halfway = [s.clone() for s in p.states]
    for part in p.x.split([2, 3]):
        ends, halfway = run(p, x=part, **dict(zip("hc", halfway, strict=True)))
    assert torch.equal(ends, y[2:])  # pyright: ignore[reportPossiblyUnboundVariable]
    assert torch.equal(halfway[0], h)
    assert torch.equal(halfway[1], c)


@pytest.mark.parametrize("name", ["x", "h", "c", "W_ih", "W_hh", "b_ih"])
@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded", "offset"])
def test_memory_layouts(name: str, layout: str) -> None:
    p = problem(lstm)
    tensor = p.leaves[name]
    if layout == "transposed":
        given = tensor.movedim(0, -1).contiguous().movedim(-1, 0)
    elif layout == "strided":
        given = torch.stack([tensor, tensor], -1)[..., 0]
    elif layout == "offset":
        given = torch.cat([torch.zeros(7).double(), tensor.flatten()])[7:].reshape(tensor.shape)
    else:
        tensor = tensor[:1].expand(tensor.shape)
        given = tensor
        tensor = tensor.contiguous()
    assert torch.equal(given, tensor)
    results: list[tuple[Tensor, ...]] = []
    for one in (tensor, given):
        leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
        leaf = one.detach().requires_grad_()
        y, final = run(p, **(leaves | {name: leaf}))
        wanted = [leaf if n == name else t for n, t in leaves.items()]
        results.append((y, *final, *torch.autograd.grad(y.square().sum() + final[1].sum(), wanted)))
    # Torch's products may sum in another order where the memory is laid out otherwise: n terms.
    bound = 40 * torch.finfo(torch.float64).eps
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


def test_arguments_are_left_as_they_are() -> None:
    p = problem(lstm)
    before = {n: t.clone() for n, t in p.leaves.items()}
    leaves = {n: t.requires_grad_() for n, t in p.leaves.items()}
    y, final = run(p, **leaves)
    (y.sum() + final[0].sum()).backward()
    assert all(torch.equal(before[n], t) for n, t in leaves.items())


def test_no_device_is_assumed() -> None:
    p = problem(with_outputs)
    on_meta = {n: t.to("meta") for n, t in p.leaves.items()}
    y, final = run(p, **on_meta)
    assert {t.device.type for t in (y, *final)} == {"meta"}
    assert tuple(y.shape) == (3, 2, 4)


# --- what is kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize("of", CELLS.values(), ids=CELLS)
def test_what_is_kept_is_what_the_reverse_run_reads(of: Cell) -> None:
    sizes = of.resolve_sizes(3, 4, P=2, O=5)
    p = agreement.problem(of, sizes, 3, 2)
    kernel = kernel_of(p, ("y",), of.input, *of.parameters)
    assert kernel.plan.reverse is not None
    kept = forward(kernel, p, keep=True).residuals
    assert list(kept) == [v.name for v in kernel.plan.reverse.graph.residuals]
    for var in kernel.plan.reverse.graph.residuals:
        lead = (3, 2) if var.per_step else ()
        assert tuple(kept[var.name].shape) == (*lead, *var.shape)
    assert forward(kernel, p, keep=False).residuals == {}


def test_without_gradients_nothing_is_recorded() -> None:
    p = problem(lstm)
    leaves = {n: t.requires_grad_() for n, t in p.leaves.items()}
    with torch.no_grad():
        y, final = run(p, **leaves)
    assert not any(t.requires_grad for t in (y, *final))
    with torch.inference_mode():
        z, _ = run(p, **leaves)
    assert torch.equal(y, z)
    assert not any(t.requires_grad for t in run(p, **{n: t.detach() for n, t in leaves.items()})[1])


def test_a_reverse_run_must_have_been_asked_for() -> None:
    p = problem(lstm)
    kernel = kernel_of(p)
    with pytest.raises(AssertionError, match="lowered without wrt"):
        kernel.backward({}, {"y": torch.zeros(3, 2, 4)}, p.states)


@pytest.mark.parametrize("wrt", [("x",), ("W_hh",), ("b_ih", "x"), ("h",), ("h", "c")])
def test_only_the_gradients_asked_for_are_computed(wrt: tuple[str, ...]) -> None:
    p = problem(lstm)
    names = {n for n in wrt if n not in ("h", "c")}
    kernel = kernel_of(p, ("y",), *wrt)
    assert kernel.plan.reverse is not None
    assert {o.name for o in kernel.plan.reverse.graph.outputs} == names
    some = {n: t.clone().requires_grad_(n in wrt) for n, t in p.leaves.items()}
    every = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
    for leaves in (some, every):
        y, final = run(p, **leaves)
        (y.square().sum() + final[1].sum()).backward()
    for name, leaf in some.items():
        if name in wrt:
            torch.testing.assert_close(leaf.grad, every[name].grad, rtol=1e-13, atol=1e-14)
        else:
            assert leaf.grad is None


def test_a_loss_that_reads_nothing_differentiable() -> None:
    p = problem(with_outputs)
    b = p.parameters["b"].clone().requires_grad_()
    y, _ = run(p, b=b)
    [found] = torch.autograd.grad(y.sum(), [b])
    # The output does not vary, so each of the 3 * 2 steps gives the same.
    torch.testing.assert_close(found, 6 * (1 - tanh(b.detach()) ** 2), rtol=1e-14, atol=1e-14)


# --- derivatives of derivatives -------------------------------------------------------------------


def by_hessian_vector(loop: Any, p: Problem) -> list[Tensor]:
    """A loss's gradient, and the gradient of a weighted sum of that, and once more."""
    leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
    states = tuple(leaves[s.name] for s in p.cell.states)
    y, final = loop(p.cell, leaves[p.cell.input], states, {n: leaves[n] for n in p.parameters})
    value = (y**2).sum() + sum(((s * 0.5).sin().sum() for s in final), start=y.sum() * 0)
    found: list[Tensor] = []
    for _ in range(3):
        grads: list[Tensor | None] = list(
            torch.autograd.grad(value, list(leaves.values()), create_graph=True, allow_unused=True)
        )
        present = [g for g in grads if g is not None]
        found += [g.detach() for g in present]
        value = sum(
            ((g * (k + 1)).square().sum() for k, g in enumerate(present)), start=y.sum() * 0
        )
    return found


@cell
def awkward(x, h, c, *, W=param("H", "D"), U=param("H", "H"), b=param("H")):
    """A state that passes on, one that becomes the same for all, products of states and slices."""
    n = tanh(W @ x + (U - U.T) @ (h * c) + b)
    return n[:2] * h[2:], (n * c + torch.where(h > 0, h, 0.5 * h), sigmoid(b))


def reference(*args: Any) -> Any:
    return recurrence(*args, backend="reference")


@pytest.mark.parametrize("of", [awkward, lstm, gru_cho, with_outputs], ids=lambda c: c.name)
def test_first_second_and_third_derivatives(of: Cell) -> None:
    p = problem(of, steps=4)
    ours, theirs = by_hessian_vector(reference, p), by_hessian_vector(naive.recurrence, p)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        # Sums over at most 4 * 2 * 20 terms each time; the largest entries carry the error.
        largest = max(1.0, *(t.abs().max().item() for t in theirs))
        bound = (4 * 2 * 20) ** 1.5 * torch.finfo(torch.float64).eps * largest
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


def test_gradients_accumulate_and_can_be_had_twice() -> None:
    p = problem(lstm)
    W = p.parameters["W_hh"].clone().requires_grad_()
    y, _ = run(p, W_hh=W)
    y.sum().backward(retain_graph=True)
    assert W.grad is not None
    once = W.grad.clone()
    y.sum().backward()
    assert torch.equal(W.grad, 2 * once)


def test_one_tensor_for_both_states() -> None:
    p = problem(with_outputs)
    shared = p.states[0].clone().requires_grad_()
    y, final = run(p, h=shared, c=shared)
    [found] = torch.autograd.grad(final[0].sum() + final[1].sum() + y.sum(), [shared])
    apart = [p.states[0].clone().requires_grad_() for _ in range(2)]
    y, final = run(p, h=apart[0], c=apart[1])
    a, b = torch.autograd.grad(final[0].sum() + final[1].sum() + y.sum(), apart)
    torch.testing.assert_close(found, a + b, rtol=1e-15, atol=0)


# --- many at once ---------------------------------------------------------------------------------


def test_one_kernel_serves_several_threads() -> None:
    problems = [agreement.problem(lstm, SIZES, 5, 3, seed) for seed in range(4)]
    kernel = kernel_of(problems[0], ("y",), "x", *lstm.parameters)
    wanted = [forward(kernel, p).outputs["y"] for p in problems]

    def work(k: int) -> bool:
        same = True
        for _ in range(10):
            same &= torch.equal(forward(kernel, problems[k]).outputs["y"], wanted[k])
        return same

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
