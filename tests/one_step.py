"""One function as a step's further output: traced and run, and by torch, with gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled import cell, lower, param
from unrolled.backends.reference import ReferenceKernel
from unrolled.ir import Graph

Function = Callable[..., Tensor]
"""Of the input x [D], the state h [H] and the parameter W [H, D]."""


@dataclass(frozen=True)
class Result:
    """A value for each example [B, ...] and the gradients of its weighted sum."""

    value: Tensor
    d_x: Tensor
    d_h: Tensor
    d_W: Tensor

    def parts(self) -> dict[str, Tensor]:
        return {"value": self.value, "d_x": self.d_x, "d_h": self.d_h, "d_W": self.d_W}


def graph_of(f: Function, D: int, H: int, dtype: torch.dtype = torch.float64) -> Graph:
    """A step that passes its state on and whose further output ``o`` is ``f(x, h, W)``."""

    @cell
    def step(x: Any, h: Any, *, W: Any = param("H", "D")) -> Any:
        return W @ x, (h,), {"o": f(x, h, W)}

    return step.graph({"D": D, "H": H}, dtype)


def compiled(f: Function, x: Tensor, h: Tensor, W: Tensor, weight: Tensor | None) -> Result:
    """By the equations and their adjoint, for a batch: x [B, D], h [B, H], W [H, D].

    ``weight`` is the cotangent of the value; ones where there is none.
    """
    graph = graph_of(f, x.shape[1], h.shape[1], x.dtype)
    kernel = ReferenceKernel(lower(graph, ("o",), ("x", "W")))
    run = kernel.forward(x[None], (h,), {"W": W}, keep=True)
    value = run.outputs["o"]
    d = torch.ones_like(value) if weight is None else weight[None].to(value.dtype)
    if value.dtype is torch.bool:
        d = torch.zeros(value.shape, dtype=x.dtype)
    found = kernel.backward(run.residuals, {"o": d}, (torch.zeros_like(h),))
    return Result(value[0], found.outputs["x"][0], found.states[0], found.outputs["W"])


def by_torch(f: Function, x: Tensor, h: Tensor, W: Tensor, weight: Tensor | None) -> Result:
    """By torch itself, example for example."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, h, W)]
    value = torch.stack([f(leaves[0][b], leaves[1][b], leaves[2]) for b in range(len(x))])
    d = torch.ones_like(value) if weight is None else weight
    grads: list[Tensor | None] = [None] * 3
    if value.requires_grad:
        grads = list(torch.autograd.grad(value, leaves, d, allow_unused=True))
    found = (torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads, strict=True))
    return Result(value.detach(), *found)
