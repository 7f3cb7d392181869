"""Cells whose gates are written in ways of their own, with the states that each keeps."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import unrolled
from unrolled.cells import CELLS
from unrolled.combinators import zoneout

W, U, B = unrolled.param("H", "D"), unrolled.param("H", "H"), unrolled.param("H")


@unrolled.cell
def hard(x: Tensor, c: Tensor, *, W: Tensor = W, U: Tensor = U) -> Any:
    f = F.hardsigmoid(W @ x + U @ c)
    return f * c + (1 - f) * torch.tanh(W @ x)


@unrolled.cell
def keras_hard(x: Tensor, c: Tensor, *, W: Tensor = W, U: Tensor = U) -> Any:
    f = torch.clamp(0.2 * (W @ x + U @ c) + 0.5, 0, 1)
    return (1 + -f) * c + f * torch.tanh(W @ x)


@unrolled.cell
def by_tanh(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    f = 0.5 * (torch.tanh(W @ x) + 1)
    return f * c + W @ x


@unrolled.cell
def written_twice(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    return torch.sigmoid(W @ x) * c + (1 - torch.sigmoid(W @ x)) * torch.tanh(W @ x)


@unrolled.cell
def scalar(x: Tensor, c: Tensor, *, W: Tensor = W, u: Tensor = unrolled.param(1, "D")) -> Any:
    f = torch.sigmoid(u @ x)
    return f * c + (1 - f) * torch.tanh(W @ x)


@unrolled.cell
def two_factors(x: Tensor, c: Tensor, *, W: Tensor = W, U: Tensor = U) -> Any:
    a, b = torch.sigmoid(W @ x), torch.sigmoid(U @ c)
    return (a * b) * c + torch.tanh(W @ x)


@unrolled.cell
def sigmoid_candidate(x: Tensor, c: Tensor, *, W: Tensor = W, b: Tensor = B) -> Any:
    z, n = torch.sigmoid(W @ x + b), torch.sigmoid(W @ x)
    return z * c + (1 - z) * n


@unrolled.cell
def softmax(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    p = torch.softmax(W @ x, -1)
    return (1 - p) * c + p * torch.tanh(W @ x)


@unrolled.cell
def activations(x: Tensor, c: Tensor, *, W: Tensor = W, U: Tensor = U) -> Any:
    v = W @ x + U @ c
    return F.silu(v) + F.gelu(v) + F.mish(v) + F.hardswish(v) + 2 * torch.sigmoid(v)


@unrolled.cell
def by_softplus(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    k = torch.exp(-F.softplus(W @ x))  # σ(−W x)
    return k * c + W @ x


@unrolled.cell
def by_steep_softplus(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    k = torch.exp(-F.softplus(W @ x, beta=2.5, threshold=7.0) * torch.exp(W @ x))
    return k * c + W @ x


@unrolled.cell
def by_log_sigmoid(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    k = torch.exp(F.logsigmoid(W @ x))
    return k * c + W @ x


@unrolled.cell
def by_decay(x: Tensor, c: Tensor, *, W: Tensor = W) -> Any:
    k = torch.exp(-torch.relu(W @ x))
    return k * c + W @ x


OWN: dict[str, tuple[unrolled.Cell, dict[str, list[str]]]] = {
    "hard": (hard, {"f": ["c"]}),
    "keras_hard": (keras_hard, {"f": ["c"]}),
    "by_tanh": (by_tanh, {"f": ["c"]}),
    "written_twice": (written_twice, {"σ(v1)": ["c"]}),
    "scalar": (scalar, {"f": ["c"]}),
    "two_factors": (two_factors, {"a": ["c"], "b": ["c"]}),
    "sigmoid_candidate": (sigmoid_candidate, {"z": ["c"]}),
    "softmax": (softmax, {"p": ["c"]}),
    "activations": (activations, {}),
    "by_softplus": (by_softplus, {"k": ["c"]}),
    "by_steep_softplus": (by_steep_softplus, {"k": ["c"]}),
    "by_log_sigmoid": (by_log_sigmoid, {"k": ["c"]}),
    "by_decay": (by_decay, {"k": ["c"]}),
    "zoneout": (zoneout(CELLS["lstm"], c=0.25), {"f": ["c"], "i": [], "o": []}),
}
