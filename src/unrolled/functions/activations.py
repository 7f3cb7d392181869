"""Elementwise functions: those of the op table, and activations composed of them.

A composition gives torch's values and torch's derivatives, also where a function is not smooth
(``hardtanh`` has none at its ends, ``clamp`` passes it on there), and never ``0 · inf``: what
goes into an ``exp`` is cut off first.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from unrolled.functions.arithmetic import binary, unary
from unrolled.functions.operands import align, as_proxy, operand, real
from unrolled.proxy import Proxy, register

for _name in (
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "erf",
    "sign",
    "relu",
    "tanh",
    "sigmoid",
):
    register(_name)(unary(_name))
for _name, _op in (
    ("negative", "neg"), ("neg", "neg"), ("abs", "abs"), ("absolute", "abs"), ("expit", "sigmoid"),
    ("sgn", "sign"), ("expm1", "expm1"), ("log1p", "log1p"), ("detach", "detach"),
):  # fmt: skip
    register(_name)(unary(_op))


@register("where")
def where(condition: Any, input: Any, other: Any) -> Proxy:
    """Elementwise choice; the condition is a comparison."""
    anchor = next(v for v in (condition, input, other) if isinstance(v, Proxy))
    if _is_condition(input) and not _is_condition(condition):
        condition, input = input, condition  # the method: a.where(condition, b)
    c, a, b = align(anchor, condition, input, other, what="where")
    if not isinstance(c, Proxy) or c.value.dtype != "bool":
        anchor.fail(
            f"where needs a condition, got {c.value if isinstance(c, Proxy) else c}",
            "compare first, as in torch.where(x > 0, a, b)",
        )
    return c.emit("where", real(a), real(b))


def _is_condition(value: Any) -> bool:
    return isinstance(value, (Proxy, Tensor)) and value.dtype is torch.bool


def _within(x: Any, low: Any, high: Any) -> Any:
    """``x`` where it lies strictly between, else the bound, with no derivative at the bounds."""
    return where(x <= low, low, where(x >= high, high, x))


@register("leaky_relu")
def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """The identity above 0, a small multiple of it below (Maas et al. 2013)."""
    return where(input > 0, input, input * negative_slope)


@register("elu")
def elu(input: Any, alpha: float = 1.0) -> Any:
    """The identity above 0, alpha (e^x - 1) below (Clevert et al. 2016)."""
    below = where(input > 0, 0.0, input)
    return where(input > 0, input, alpha * unary("expm1")(below))


@register("celu")
def celu(input: Any, alpha: float = 1.0) -> Any:
    """ELU with a continuous derivative for every alpha (Barron 2017)."""
    below = where(input > 0, 0.0, input)
    return where(input > 0, input, alpha * unary("expm1")(below / alpha))


@register("selu")
def selu(input: Any) -> Any:
    """The self-normalising ELU (Klambauer et al. 2017)."""
    return 1.0507009873554804934193349852946 * elu(input, 1.6732632423543772848170429916717)


@register("softplus")
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta; x itself where beta x is over the threshold, as in torch."""
    scaled = input * beta
    safe = where(scaled > threshold, 0.0, scaled)
    return where(scaled > threshold, input, unary("log1p")(unary("exp")(safe)) / beta)


@register("log_sigmoid")
def logsigmoid(input: Any) -> Any:
    """The logarithm of σ(x), without overflow."""
    magnitude = unary("abs")(input)
    return binary("minimum", input, 0.0) - unary("log1p")(unary("exp")(-magnitude))


@register("silu")
def silu(input: Any) -> Any:
    """``x σ(x)`` (Elfwing et al. 2018)."""
    return input * unary("sigmoid")(input)


@register("mish")
def mish(input: Any) -> Any:
    """``x tanh(softplus(x))`` (Misra 2019)."""
    return input * unary("tanh")(softplus(input))


@register("gelu")
def gelu(input: Any, *, approximate: str = "none") -> Any:
    """``x Φ(x)``, or its tanh approximation (Hendrycks & Gimpel 2016)."""
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (input + 0.044715 * (input * input * input))
        return 0.5 * input * (1 + unary("tanh")(inner))
    return input * (0.5 * (1 + unary("erf")(input * math.sqrt(0.5))))


@register("hardtanh")
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """The identity, cut off at two bounds."""
    return _within(input, min_val, max_val)


@register("relu6")
def relu6(input: Any) -> Any:
    """The identity, cut off at 0 and 6."""
    return _within(input, 0.0, 6.0)


@register("hardsigmoid")
def hardsigmoid(input: Any) -> Any:
    """(x + 3) / 6 cut off at 0 and 1."""
    return _within(input, -3.0, 3.0) / 6 + 0.5


@register("hardswish")
def hardswish(input: Any) -> Any:
    """``x · hardsigmoid(x)`` (Howard et al. 2019); NaN at minus infinity, as in torch."""
    middle = _within(input, -3.0, 3.0)  # finite, so that the branch not taken is
    within = middle * (middle / 6 + 0.5)
    return where(input <= -3, input * 0.0, where(input >= 3, input, within))


@register("softsign")
def softsign(input: Any) -> Any:
    """``x / (1 + |x|)``."""
    return input / (1 + unary("abs")(input))


@register("clamp", "clip")
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """``input`` cut off at bounds, numbers or tensors; it passes its derivative on at them."""
    if min is None and max is None:
        as_proxy(input).fail("clamp needs min, max or both")
    x = as_proxy(input)
    low, high = (None if bound is None else operand(bound, x) for bound in (min, max))
    y = x
    if high is not None:
        y = where(y > high, high, y)
    if low is not None:
        y = where(x < low, low if high is None else _lower_bound(low, high), y)
    return y


def _lower_bound(low: Any, high: Any) -> Any:
    """The lower bound, or the upper one where that is lower still."""
    if not isinstance(low, Proxy) and not isinstance(high, Proxy):
        return min(low, high)
    return where(low > high, high, low)


@register("clamp_min")
def clamp_min(input: Any, min: Any) -> Any:
    """``input``, at least ``min``."""
    return clamp(input, min=min)


@register("clamp_max")
def clamp_max(input: Any, max: Any) -> Any:
    """``input``, at most ``max``."""
    return clamp(input, max=max)
