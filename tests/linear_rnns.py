"""Recurrent layers whose gradients, Jacobians and exponents are known in closed form."""

from typing import Any

import torch
from torch import Tensor

import unrolled

D, H = 3, 5


@unrolled.cell
def linear(
    x: Tensor, h: Tensor, *, W: Any = unrolled.param("H", "D"), U: Any = unrolled.param("H", "H")
) -> Tensor:
    """No activation: a step's Jacobian is U."""
    return W @ x + U @ h


def with_matrix(matrix: Tensor) -> unrolled.Recurrent:
    """A linear layer in float64 with this recurrent matrix."""
    torch.manual_seed(0)
    layer = unrolled.Recurrent(linear, D, len(matrix), dtype=torch.float64)
    with torch.no_grad():
        layer.get_parameter("U_l0").copy_(matrix)
    return layer


def scaled_orthogonal(rho: float) -> unrolled.Recurrent:
    """U = ρ Q: every norm is multiplied by ρ at each step."""
    torch.manual_seed(1)
    return with_matrix(rho * torch.linalg.qr(torch.randn(H, H, dtype=torch.float64))[0])


def sequence(steps: int, batch: int = 1, size: int = D) -> Tensor:
    """Random input ``[T, B, D]`` in float64."""
    draw = torch.Generator().manual_seed(2)
    return torch.randn(steps, batch, size, generator=draw, dtype=torch.float64)
