"""Every function that a cell can use, by the name that torch calls it by, with calls of it.

Each call is a function of the input x [6], the state h [6] and the parameter W [6, 6].
"""

# ruff: noqa: SIM300 - a number or a captured tensor on the left of a comparison is the point.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

Call = Callable[[Any, Any, Any], Any]

BOUNDS = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 3.0], dtype=torch.float64)
MASK = torch.tensor([True, False, True, True, False, False])

ONE_OPERAND: dict[str, list[Call]] = {
    "abs": [lambda x, h, W: abs(h), lambda x, h, W: torch.abs(h)],
    "absolute": [lambda x, h, W: torch.absolute(h)],
    "bool": [lambda x, h, W: torch.where(h.bool(), x, 2.0)],
    "celu": [lambda x, h, W: F.celu(h), lambda x, h, W: F.celu(h, 0.5)],
    "clamp": [
        lambda x, h, W: h.clamp(-1, 3),
        lambda x, h, W: torch.clamp(h, min=-1.0),
        lambda x, h, W: torch.clamp(h, max=6),
        lambda x, h, W: h.clamp(min=3, max=-1),
        lambda x, h, W: h.clamp(BOUNDS, BOUNDS + 1),
        lambda x, h, W: h.clamp(min=BOUNDS),
        lambda x, h, W: h.clamp(BOUNDS + 1, BOUNDS),
    ],
    "clamp_max": [lambda x, h, W: h.clamp_max(1.0)],
    "clamp_min": [lambda x, h, W: torch.clamp_min(h, -1.0)],
    "clip": [lambda x, h, W: torch.clip(h, -1, 1)],
    "clone": [lambda x, h, W: h.clone()],
    "contiguous": [lambda x, h, W: h.contiguous()],
    "cos": [lambda x, h, W: torch.cos(h)],
    "detach": [lambda x, h, W: h.detach() * h],
    "double": [lambda x, h, W: (h > 0).double() * h, lambda x, h, W: h.double()],
    "elu": [lambda x, h, W: F.elu(h), lambda x, h, W: F.elu(h, alpha=2.0)],
    "erf": [lambda x, h, W: torch.erf(h), lambda x, h, W: torch.special.erf(h)],
    "exp": [lambda x, h, W: torch.exp(h), lambda x, h, W: h.exp()],
    "expit": [lambda x, h, W: torch.special.expit(h)],
    "expm1": [lambda x, h, W: torch.expm1(h)],
    "float": [lambda x, h, W: (h > 0).float() * h],
    "float_power": [lambda x, h, W: torch.float_power(h, 2)],
    "full_like": [lambda x, h, W: torch.full_like(h, 2.5) * h],
    "gelu": [lambda x, h, W: F.gelu(h), lambda x, h, W: F.gelu(h, approximate="tanh")],
    "hardsigmoid": [lambda x, h, W: F.hardsigmoid(h)],
    "hardswish": [lambda x, h, W: F.hardswish(h)],
    "hardtanh": [lambda x, h, W: F.hardtanh(h), lambda x, h, W: F.hardtanh(h, -3.0, 6.0)],
    "leaky_relu": [lambda x, h, W: F.leaky_relu(h), lambda x, h, W: F.leaky_relu(h, 0.2)],
    "log": [lambda x, h, W: torch.log(h)],
    "log1p": [lambda x, h, W: torch.log1p(h)],
    "log_sigmoid": [lambda x, h, W: F.logsigmoid(h)],
    "logical_not": [lambda x, h, W: torch.where(~(h > 0), h, 2 * h)],
    "bitwise_not": [lambda x, h, W: torch.where(torch.bitwise_not(h > 0), h, 2 * h)],
    "mish": [lambda x, h, W: F.mish(h)],
    "neg": [lambda x, h, W: -h, lambda x, h, W: torch.neg(h)],
    "negative": [lambda x, h, W: torch.negative(h)],
    "ones_like": [lambda x, h, W: torch.ones_like(h) - h],
    "pow": [
        lambda x, h, W: h**2,
        lambda x, h, W: h**3,
        lambda x, h, W: h**-1,
        lambda x, h, W: h**0,
        lambda x, h, W: h**1,
        lambda x, h, W: torch.pow(h, 0.5),
        lambda x, h, W: h**-1.5,
        lambda x, h, W: 2**h,
        lambda x, h, W: torch.pow(0.5, h),
    ],
    "reciprocal": [lambda x, h, W: torch.reciprocal(h)],
    "relu": [lambda x, h, W: torch.relu(h), lambda x, h, W: F.relu(h)],
    "relu6": [lambda x, h, W: F.relu6(h)],
    "rsqrt": [lambda x, h, W: torch.rsqrt(h)],
    "selu": [lambda x, h, W: torch.selu(h), lambda x, h, W: F.selu(h)],
    "sgn": [lambda x, h, W: torch.sgn(h)],
    "sigmoid": [lambda x, h, W: torch.sigmoid(h), lambda x, h, W: h.sigmoid()],
    "sign": [lambda x, h, W: torch.sign(h) * h],
    "silu": [lambda x, h, W: F.silu(h)],
    "sin": [lambda x, h, W: torch.sin(h)],
    "softplus": [
        lambda x, h, W: F.softplus(h),
        lambda x, h, W: F.softplus(h, beta=2.0, threshold=6.0),
    ],
    "softsign": [lambda x, h, W: F.softsign(h)],
    "sqrt": [lambda x, h, W: torch.sqrt(h)],
    "square": [lambda x, h, W: torch.square(h)],
    "tanh": [lambda x, h, W: torch.tanh(h), lambda x, h, W: F.tanh(h)],
    "to": [
        lambda x, h, W: (h > 0).to(h.dtype) * x,
        lambda x, h, W: h.to("cpu"),
        lambda x, h, W: torch.where(h.to(torch.bool), h, x),
        lambda x, h, W: h.to(dtype=torch.float64),
    ],
    "type": [lambda x, h, W: (h > 0).type(torch.float64) * h],
    "type_as": [lambda x, h, W: (h > 0).type_as(h) * h],
    "zeros_like": [lambda x, h, W: torch.zeros_like(h) + h],
}
"""Applied to each element by itself, whatever it is."""

TWO_OPERANDS: dict[str, list[Call]] = {
    "__and__": [lambda x, h, W: torch.where(MASK & (h > 0), x, h)],
    "__or__": [lambda x, h, W: torch.where(MASK | (h > 0), x, h)],
    "add": [
        lambda x, h, W: x + h,
        lambda x, h, W: 1 + h,
        lambda x, h, W: torch.add(x, h, alpha=2),
        lambda x, h, W: BOUNDS + h,
    ],
    "addcmul": [lambda x, h, W: torch.addcmul(x, h, W[0], value=0.5)],
    "bitwise_and": [
        lambda x, h, W: torch.where(torch.bitwise_and(x > 0, h > 0), x, h),
    ],
    "bitwise_or": [lambda x, h, W: torch.where(torch.bitwise_or(x > 0, h > 0), x, h)],
    "div": [
        lambda x, h, W: x / h,
        lambda x, h, W: 2 / h,
        lambda x, h, W: h / 3,
        lambda x, h, W: BOUNDS / h,
    ],
    "divide": [lambda x, h, W: torch.divide(x, h)],
    "eq": [
        lambda x, h, W: torch.where(x == h, x * 2, h),
        lambda x, h, W: torch.where((x > 0) == (h > 0), x, h),
    ],
    "fmax": [
        lambda x, h, W: torch.fmax(x, h),
        lambda x, h, W: torch.fmax(h, BOUNDS),
        lambda x, h, W: torch.fmax(BOUNDS, h),
    ],
    "fmin": [lambda x, h, W: torch.fmin(x, h)],
    "ge": [lambda x, h, W: torch.where(x >= h, x, h), lambda x, h, W: torch.where(0 >= h, x, h)],
    "greater": [lambda x, h, W: torch.where(torch.greater(x, h), x, h)],
    "greater_equal": [lambda x, h, W: torch.where(torch.greater_equal(x, h), x, h)],
    "gt": [
        lambda x, h, W: torch.where(x > h, x, h),
        lambda x, h, W: torch.where(1.0 > h, x, h),
        lambda x, h, W: x > h,
    ],
    "le": [lambda x, h, W: torch.where(x <= h, x, h), lambda x, h, W: torch.where(0 <= h, x, h)],
    "lerp": [lambda x, h, W: torch.lerp(x, h, 0.3), lambda x, h, W: torch.lerp(x, h, W[0])],
    "less": [lambda x, h, W: torch.where(torch.less(x, h), x, h)],
    "less_equal": [lambda x, h, W: torch.where(torch.less_equal(x, h), x, h)],
    "logical_and": [
        lambda x, h, W: torch.where((x > 0) & (h > 0), x, h),
        lambda x, h, W: torch.where(torch.logical_and(x, h), x, 2 * h),
        lambda x, h, W: torch.where((h > 0) & MASK, x, h),
    ],
    "logical_or": [lambda x, h, W: torch.where((x > 0) | (h > 0), x, h)],
    "lt": [
        lambda x, h, W: torch.where(x < h, x, h),
        lambda x, h, W: torch.where(BOUNDS < h, x, h),
    ],
    "max": [lambda x, h, W: torch.max(x, h)],
    "maximum": [lambda x, h, W: torch.maximum(x, h), lambda x, h, W: torch.maximum(h, BOUNDS)],
    "min": [lambda x, h, W: torch.min(x, h)],
    "minimum": [lambda x, h, W: torch.minimum(x, h)],
    "mul": [
        lambda x, h, W: x * h,
        lambda x, h, W: 3 * h,
        lambda x, h, W: BOUNDS * h,
        lambda x, h, W: (x > 0) * h,
    ],
    "multiply": [lambda x, h, W: torch.multiply(x, h)],
    "ne": [lambda x, h, W: torch.where(x != h, x * 2, h)],
    "not_equal": [lambda x, h, W: torch.where(torch.not_equal(x, h), x, h * 2)],
    "rsub": [lambda x, h, W: torch.rsub(x, h), lambda x, h, W: torch.rsub(x, h, alpha=2)],
    "sub": [
        lambda x, h, W: x - h,
        lambda x, h, W: 1 - h,
        lambda x, h, W: torch.sub(x, h, alpha=2),
        lambda x, h, W: BOUNDS - h,
    ],
    "subtract": [lambda x, h, W: torch.subtract(x, h)],
    "true_divide": [lambda x, h, W: torch.true_divide(x, h)],
    "where": [
        lambda x, h, W: torch.where(x > h, x, h),
        lambda x, h, W: torch.where(h > 0, 1.0, h),
        lambda x, h, W: torch.where(h > 0, 1.0, -2.0) * x,
        lambda x, h, W: h.where(x > 0, W[0]),
        lambda x, h, W: torch.where(MASK, x, h),
        lambda x, h, W: torch.where(x[:1] > 0, x, h),
        lambda x, h, W: torch.where((x > h)[2:], x[2:], h[2:]),
        lambda x, h, W: torch.where(torch.cat([x > 0, h > 0]), torch.cat([x, h]), 0.0),
    ],
}
"""Applied to pairs of elements, ties among them."""

REDUCTIONS: dict[str, list[Call]] = {
    "amax": [
        lambda x, h, W: torch.amax(h, -1),
        lambda x, h, W: h.amax(),
        lambda x, h, W: W.amax(0, keepdim=True) * h,
        lambda x, h, W: (W * h).amax((0, 1)),
    ],
    "amin": [lambda x, h, W: torch.amin(h, dim=0), lambda x, h, W: (W * h).amin()],
    "layer_norm": [
        lambda x, h, W: F.layer_norm(h, (6,)),
        lambda x, h, W: F.layer_norm(h, h.shape, W[0], W[1], 1e-3),
        lambda x, h, W: F.layer_norm(W * h, (6, 6)),
        lambda x, h, W: F.layer_norm(h, [6], bias=x),
    ],
    "linalg_vector_norm": [
        lambda x, h, W: torch.linalg.vector_norm(h),
        lambda x, h, W: torch.linalg.vector_norm(W * h, ord=2, dim=1),
    ],
    "log_softmax": [lambda x, h, W: F.log_softmax(h, -1), lambda x, h, W: h.log_softmax(0)],
    "logsumexp": [
        lambda x, h, W: torch.logsumexp(h, 0),
        lambda x, h, W: (W * h).logsumexp((0, 1)),
        lambda x, h, W: torch.logsumexp(W + h, 1, keepdim=True),
    ],
    "max": [lambda x, h, W: torch.max(h), lambda x, h, W: (W * h).max()],
    "mean": [
        lambda x, h, W: h.mean(),
        lambda x, h, W: torch.mean(W * h, 0),
        lambda x, h, W: (W * h).mean((0, 1), keepdim=True),
        lambda x, h, W: (W * h).mean(axis=1, keepdims=True),  # pyright: ignore[reportCallIssue]
    ],
    "min": [lambda x, h, W: torch.min(h)],
    "norm": [
        lambda x, h, W: torch.norm(h),
        lambda x, h, W: h.norm(),
        lambda x, h, W: W / W.norm(dim=1, keepdim=True),
        lambda x, h, W: torch.norm(W, "fro") * h,
    ],
    "rms_norm": [
        lambda x, h, W: F.rms_norm(h, (6,)),
        lambda x, h, W: F.rms_norm(h, (6,), W[0], eps=1e-4),
    ],
    "softmax": [
        lambda x, h, W: torch.softmax(h, 0),
        lambda x, h, W: F.softmax(W * h, dim=1),
        lambda x, h, W: F.softmax(BOUNDS, dim=0) * h,
    ],
    "std": [
        lambda x, h, W: h.std(),
        lambda x, h, W: torch.std(W * h, 0, correction=0),
        lambda x, h, W: h.std(unbiased=False),
    ],
    "sum": [
        lambda x, h, W: h.sum(),
        lambda x, h, W: (W * h).sum(0),
        lambda x, h, W: (W * h).sum((0, 1)),
        lambda x, h, W: torch.sum(W * h, -1, True),
        lambda x, h, W: (h > 0).sum() * h,
        lambda x, h, W: sum(h),
    ],
    "var": [
        lambda x, h, W: torch.var(h),
        lambda x, h, W: torch.var(h, False),
        lambda x, h, W: torch.var(W * h, 1, unbiased=False),
        lambda x, h, W: (W * h).var((0, 1), correction=2, keepdim=True),
    ],
}

PRODUCTS: dict[str, list[Call]] = {
    "addmv": [
        lambda x, h, W: torch.addmv(x, W, h),
        lambda x, h, W: torch.addmv(x, W, h, beta=0.5, alpha=2.0),
    ],
    "adjoint": [lambda x, h, W: W.adjoint() @ h],
    "dot": [lambda x, h, W: torch.dot(x, h), lambda x, h, W: x.dot(h)],
    "ger": [lambda x, h, W: torch.ger(x, h)],
    "inner": [
        lambda x, h, W: torch.inner(x, h),
        lambda x, h, W: torch.inner(h, W),
        lambda x, h, W: torch.inner(W, h),
        lambda x, h, W: torch.inner(W, W * h),
    ],
    "linear": [
        lambda x, h, W: F.linear(h, W),
        lambda x, h, W: F.linear(h, W, x),
        lambda x, h, W: F.linear(W * x, W * h),
        lambda x, h, W: F.linear(h, W[0]),
    ],
    "matmul": [
        lambda x, h, W: W @ h,
        lambda x, h, W: h @ W,
        lambda x, h, W: x @ h,
        lambda x, h, W: W @ W @ h,
        lambda x, h, W: (W - W.T) @ h,
        lambda x, h, W: (W * h) @ x,
        lambda x, h, W: W @ (W * h),
        lambda x, h, W: (W * h) @ (W * x),
        lambda x, h, W: W[:4] @ h,
        lambda x, h, W: torch.eye(6, dtype=torch.float64)[:4] @ h,
        lambda x, h, W: h @ torch.ones(6, 2, dtype=torch.float64),
        lambda x, h, W: torch.matmul(W, h),
        lambda x, h, W: h.matmul(W),
    ],
    "mm": [lambda x, h, W: torch.mm(W, W) * h],
    "mv": [lambda x, h, W: torch.mv(W, h)],
    "outer": [
        lambda x, h, W: torch.outer(x, h),
        lambda x, h, W: torch.outer(BOUNDS, h),
        lambda x, h, W: torch.outer(h, BOUNDS),
    ],
    "permute": [
        lambda x, h, W: W.permute(1, 0) @ h,
        lambda x, h, W: W.permute((0, 1)) @ h,
        lambda x, h, W: h.permute(0),
        lambda x, h, W: torch.permute(W, (-1, -2)) @ h,
    ],
    "swapaxes": [lambda x, h, W: W.swapaxes(0, 1) @ h],
    "swapdims": [lambda x, h, W: W.swapdims(-1, 0) @ h],
    "t": [lambda x, h, W: W.t() @ h, lambda x, h, W: W.T @ h, lambda x, h, W: W.mT @ h],
    "transpose": [
        lambda x, h, W: W.transpose(0, 1) @ h,
        lambda x, h, W: W.transpose(1, -1) @ h,
        lambda x, h, W: (W * h).transpose(-2, -1),
    ],
    "vdot": [lambda x, h, W: torch.vdot(x, h)],
}

SHAPES: dict[str, list[Call]] = {
    "__getitem__": [
        lambda x, h, W: h[0],
        lambda x, h, W: h[-1],
        lambda x, h, W: h[1:4],
        lambda x, h, W: h[-3:],
        lambda x, h, W: h[:-2],
        lambda x, h, W: h[::2],
        lambda x, h, W: h[1:6:3],
        lambda x, h, W: h[2:100],
        lambda x, h, W: h[None],
        lambda x, h, W: h[:, None],
        lambda x, h, W: h[..., None],
        lambda x, h, W: h[...],
        lambda x, h, W: h[:],
        lambda x, h, W: h[[0, 2, 2, -1]],
        lambda x, h, W: h[torch.tensor([5, 0])],
        lambda x, h, W: h[torch.tensor(3)],
        lambda x, h, W: h[range(2, 5)],
        lambda x, h, W: W[0] * h,
        lambda x, h, W: W[1, -2] * h,
        lambda x, h, W: W[:, 2] * h,
        lambda x, h, W: W[..., 1] * h,
        lambda x, h, W: W[2:4, 1:3] * h[0],
        lambda x, h, W: W[:2, None, 0] * h,
        lambda x, h, W: W[[0, 3]] @ h,
        lambda x, h, W: W[:, [0, 3, 3]] * h[0],
        lambda x, h, W: W[..., [1]] * h,
        lambda x, h, W: (W * h)[None, 1, ..., 2:],
        lambda x, h, W: W[0][1:3] * h[[1, 2]],
        lambda x, h, W: h[h.shape[0] // 2 :],
    ],
    "broadcast_tensors": [lambda x, h, W: torch.broadcast_tensors(h, W)[0] * x],
    "broadcast_to": [lambda x, h, W: torch.broadcast_to(h, (3, 6))],
    "cat": [
        lambda x, h, W: torch.cat([h, x]),
        lambda x, h, W: torch.cat((h, W[0], BOUNDS)),
        lambda x, h, W: torch.cat([W * h, W], dim=1),
        lambda x, h, W: torch.cat([W, W * h], -2),
        lambda x, h, W: torch.cat([h]),
        lambda x, h, W: torch.cat([h, x > 0]),
        lambda x, h, W: W @ torch.cat([h[:2], x[:4]]),
    ],
    "chunk": [
        lambda x, h, W: h.chunk(2)[1],
        lambda x, h, W: h[:5].chunk(3)[2],
        lambda x, h, W: torch.chunk(h, 4)[-1],
        lambda x, h, W: h.chunk(100)[5],
        lambda x, h, W: W.chunk(3, dim=1)[1] * h[0],
        lambda x, h, W: torch.stack([p.sum() for p in h.chunk(4)]),
    ],
    "concat": [lambda x, h, W: torch.concat([h, x])],
    "concatenate": [lambda x, h, W: torch.concatenate([h, x], dim=0)],
    "expand": [
        lambda x, h, W: h.expand(3, 6),
        lambda x, h, W: h[:1].expand(4),
        lambda x, h, W: h[:, None].expand(-1, 2),
        lambda x, h, W: h.expand(h.shape),
    ],
    "expand_as": [lambda x, h, W: h.expand_as(W) * x],
    "flatten": [
        lambda x, h, W: (W * h).flatten(),
        lambda x, h, W: torch.flatten(h[None], 0, 1),
        lambda x, h, W: h[0].flatten(),
    ],
    "flip": [
        lambda x, h, W: h.flip(0),
        lambda x, h, W: torch.flip(W * h, (0, 1)),
        lambda x, h, W: (W * h).flip(-1),
    ],
    "hstack": [lambda x, h, W: torch.hstack([h, x]), lambda x, h, W: torch.hstack((W, W * h))],
    "index_select": [
        lambda x, h, W: torch.index_select(h, 0, torch.tensor([3, 3, 0])),
        lambda x, h, W: (W * h).index_select(-1, torch.tensor([1])),
    ],
    "narrow": [lambda x, h, W: h.narrow(0, 1, 3), lambda x, h, W: torch.narrow(h, 0, -2, 2)],
    "ravel": [lambda x, h, W: torch.ravel(W * h)],
    "repeat": [lambda x, h, W: h.repeat(2), lambda x, h, W: (W * h).repeat(2, 1)],
    "reshape": [
        lambda x, h, W: h.reshape(2, 3),
        lambda x, h, W: h.reshape((3, -1)),
        lambda x, h, W: torch.reshape(W * h, (-1,)),
        lambda x, h, W: h.reshape(h.shape),
    ],
    "roll": [
        lambda x, h, W: h.roll(2),
        lambda x, h, W: torch.roll(h, -1, 0),
        lambda x, h, W: (W * h).roll(1, dims=1),
    ],
    "select": [lambda x, h, W: torch.select(h, 0, 2), lambda x, h, W: (W * h).select(-1, -1)],
    "split": [
        lambda x, h, W: h.split(4)[1],
        lambda x, h, W: torch.split(h, [1, 2, 3])[1],
        lambda x, h, W: (W * h).split(2, dim=1)[2],
        lambda x, h, W: h.split(6)[0],
    ],
    "split_with_sizes": [lambda x, h, W: torch.split_with_sizes(h, [2, 4])[1]],
    "squeeze": [
        lambda x, h, W: h[None].squeeze(),
        lambda x, h, W: h[:, None].squeeze(-1),
        lambda x, h, W: h.squeeze(0),
        lambda x, h, W: torch.squeeze(h[:1]),
    ],
    "stack": [
        lambda x, h, W: torch.stack([h, x]),
        lambda x, h, W: torch.stack([h, x], dim=1),
        lambda x, h, W: torch.stack((h, W[0], BOUNDS), -1),
        lambda x, h, W: torch.stack([h.sum(), x[0]]),
    ],
    "tensor_split": [
        lambda x, h, W: torch.tensor_split(h, 4)[3],
        lambda x, h, W: h.tensor_split((1, 4))[1],
        lambda x, h, W: h.tensor_split(3)[1],
    ],
    "tile": [lambda x, h, W: torch.tile(h, (2,))],
    "unbind": [lambda x, h, W: h.unbind()[2], lambda x, h, W: torch.unbind(W * h, 1)[0]],
    "unsqueeze": [lambda x, h, W: h.unsqueeze(0), lambda x, h, W: torch.unsqueeze(h, -1)],
    "view": [lambda x, h, W: h.view(3, 2), lambda x, h, W: h.view(-1, 1)],
}

ALL = (ONE_OPERAND, TWO_OPERANDS, REDUCTIONS, PRODUCTS, SHAPES)


def labelled(table: dict[str, list[Call]]) -> dict[str, Call]:
    """Each call of a table by a name of its own."""
    return {f"{name}-{k}": f for name, calls in table.items() for k, f in enumerate(calls)}


def names() -> set[str]:
    return {name for table in ALL for name in table}


def calls_of(name: str) -> list[Call]:
    return [f for table in ALL for f in table.get(name, [])]
