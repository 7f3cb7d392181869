"""A cell compiled against the plain loop over time, within the bound that rounding allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import unrolled
from oracle.running_error import Bounds, analyse
from unrolled import naive
from unrolled.cell import Cell

Recurrence = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Loss:
    """Which outputs (by time step) and final states a loss reads."""

    name: str
    steps: tuple[int, ...]
    states: tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """A cell with tensors to run it on, and the losses to differentiate."""

    cell: Cell
    sizes: Mapping[str, int]
    x: Tensor
    states: tuple[Tensor, ...]
    parameters: Mapping[str, Tensor]
    losses: tuple[Loss, ...]

    @property
    def leaves(self) -> dict[str, Tensor]:
        """All that gradients are taken of, by name."""
        states = zip((s.name for s in self.cell.states), self.states, strict=True)
        return {self.cell.input: self.x, **dict(states), **self.parameters}


@dataclass(frozen=True)
class Results:
    """Output, final states, and for each loss the gradients by name."""

    y: Tensor
    states: tuple[Tensor, ...]
    gradients: tuple[dict[str, Tensor], ...]


def problem(cell: Cell, sizes: Mapping[str, int], steps: int, batch: int, seed: int = 0) -> Problem:
    """Uniform random tensors: input, states and vectors in ±1, matrices in ±1/√columns."""
    source = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, scale: float = 1.0) -> Tensor:
        drawn = torch.rand([int(n) for n in shape], generator=source, dtype=torch.float64)
        return scale * (2 * drawn - 1)

    parameters = {
        name: uniform(*shape, scale=shape[-1] ** -0.5 if len(shape) > 1 else 1.0)
        for name, shape in cell.parameter_shapes(sizes).items()
    }
    states = tuple(uniform(batch, n) for n in cell.state_sizes(sizes))
    x = uniform(steps, batch, sizes["D"])
    return Problem(cell, sizes, x, states, parameters, three_losses(steps, len(states)))


def three_losses(steps: int, states: int) -> tuple[Loss, ...]:
    """All outputs and final states; some time steps only; the last state only."""
    some = tuple(t for t in range(steps) if t % 3 == 1) or tuple(range(min(steps, 1)))
    return (
        Loss("all", tuple(range(steps)), tuple(range(states))),
        Loss("some steps", some, ()),
        Loss("last state", (), (states - 1,)),
    )


def cotangents(
    p: Problem, y: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The losses' cotangents of ``y`` [T, losses, B, size] and of the states [losses, B, size].

    They are random where a loss reads, in numbers that float32 has too, and zero elsewhere.
    """
    source = torch.Generator().manual_seed(1)

    def weights(like: Tensor) -> Tensor:
        return 2 * torch.rand(like.shape, generator=source).double() - 1

    d_y = torch.zeros(len(y), len(p.losses), *y.shape[1:], dtype=torch.float64)
    d_states = tuple(torch.zeros(len(p.losses), *s.shape, dtype=torch.float64) for s in states)
    w_y, w_states = weights(y), [weights(s) for s in states]
    for k, loss in enumerate(p.losses):
        for t in loss.steps:
            d_y[t, k] = w_y[t]
        for s in loss.states:
            d_states[s][k] = w_states[s]
    return d_y, d_states


def run(recurrence: Recurrence, p: Problem, wrt: Sequence[str] | None = None) -> Results:
    """Results, and gradients with respect to the leaves named in ``wrt``, all by default.

    Each loss is handed only what it reads, so that autograd sees the rest as unused.
    """
    wanted = tuple(p.leaves) if wrt is None else tuple(wrt)
    leaf = {n: t.clone().requires_grad_(n in wanted) for n, t in p.leaves.items()}
    states = tuple(leaf[s.name] for s in p.cell.states)
    y, final = recurrence(p.cell, leaf[p.cell.input], states, {n: leaf[n] for n in p.parameters})
    d_y, d_states = cotangents(p, y, final)
    gradients: list[dict[str, Tensor]] = []
    for k, loss in enumerate(p.losses):
        read = [(y[t], d_y[t, k]) for t in loss.steps]
        read += [(final[s], d_states[s][k]) for s in loss.states]
        read = [(value, d) for value, d in read if value.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(wanted)
        if read:
            found = torch.autograd.grad(
                [value for value, _ in read],
                [leaf[n] for n in wanted],
                [d.to(y.dtype) for _, d in read],
                retain_graph=True,
                allow_unused=True,
            )
        pairs = zip(wanted, found, strict=True)
        gradients.append({n: torch.zeros_like(leaf[n]) if g is None else g for n, g in pairs})
    return Results(y.detach(), tuple(s.detach() for s in final), tuple(gradients))


def reference(*args: object) -> tuple[Tensor, tuple[Tensor, ...]]:
    """``unrolled.recurrence`` on the reference backend."""
    return unrolled.recurrence(*args, backend="reference")  # type: ignore[arg-type]


def compiled(p: Problem, wrt: Sequence[str] | None = None) -> Results:
    """What the compiler makes of the cell."""
    return run(reference, p, wrt)


def plain(p: Problem) -> Results:
    """The plain loop over time, and torch's autograd."""
    return run(naive.recurrence, p)


def bounds(p: Problem, like: Results, dtype: torch.dtype = torch.float64) -> Bounds:
    """How far rounding in ``dtype`` may take results of the problem from the exact ones."""
    d_y, d_states = cotangents(p, like.y, like.states)
    graph = p.cell.graph(p.sizes, torch.float64)
    with torch.no_grad():
        return analyse(graph, p.x, p.states, p.parameters, d_y, d_states, dtype)


def differences(a: Results, b: Results, bound: Bounds) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What is compared: its name, the difference, and the bound on each of the two."""
    assert a.y.shape == b.y.shape
    yield "output", a.y - b.y, bound.y
    for k, (s, r) in enumerate(zip(a.states, b.states, strict=True)):
        yield f"final state {k}", s - r, bound.states[k]
    for k, (g, h) in enumerate(zip(a.gradients, b.gradients, strict=True)):
        assert g.keys() <= h.keys()
        for name, d in g.items():
            assert d.shape == h[name].shape, name
            yield f"loss {k}, gradient of {name}", d - h[name], bound.gradients[name][k]


def assert_agree(a: Results, b: Results, bound: Bounds) -> None:
    """Both are within the bound of the exact results, so within twice the bound of each other."""
    wrong: list[str] = []
    for name, d, e in differences(a, b, bound):
        if not (d.abs() <= 2 * e).all():
            times = float((d.abs() / (2 * e)).nan_to_num().max())
            off = float(d.abs().max())
            wrong.append(f"{name}: off by {off:.3g}, {times:.3g} times what rounding allows")
    assert not wrong, "\n".join(wrong)
