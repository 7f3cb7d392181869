"""What torch's functions mean in equations: a few primitives, and everything else composed of them.

Handlers have torch's own argument names, so that what PyTorch accepts is accepted here.  A
composition gives torch's values and torch's derivatives, also where a function is not smooth
(``hardtanh`` has none at its ends, ``clamp`` passes it on there), and never ``0 · inf``: an
``exp`` in the branch of a ``where`` is clamped first.

Primitives of arithmetic and shapes are in :mod:`unrolled.arithmetic`; this file has activations,
reductions and normalisations.
"""

from __future__ import annotations

import math
from typing import Any

from unrolled.arithmetic import align, as_proxy, binary, real, unary
from unrolled.ir import n_elements
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
    proxies = [p for p in (condition, input, other) if isinstance(p, Proxy)]
    c, a, b = align(proxies[0], condition, real(input), real(other))
    if not isinstance(c, Proxy) or c.var.dtype != "bool":
        proxies[0].fail(
            "where needs a condition that was compared from traced values",
            "for example torch.where(x > 0, a, b)",
        )
    return c.emit("where", a, b)


def _within(x: Any, low: Any, high: Any) -> Any:
    """``x`` where it lies strictly between, else the bound, with no derivative at the bounds."""
    return where(x <= low, low, where(x >= high, high, x))


# --- activations ------------------------------------------------------------------------------


@register("leaky_relu")
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x above 0, a small multiple of it below (Maas et al. 2013)."""
    return where(input > 0, input, input * negative_slope)


@register("elu")
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, alpha (e^x - 1) below (Clevert et al. 2016)."""
    below = binary("minimum", where(input > 0, 0.0, input), 0.0)
    return where(input > 0, input, alpha * unary("expm1")(below))


@register("celu")
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """ELU with a continuous derivative for every alpha (Barron 2017)."""
    below = where(input > 0, 0.0, input)
    return where(input > 0, input, alpha * unary("expm1")(below / alpha))


@register("selu")
def selu(input: Any, inplace: bool = False) -> Any:
    """The self-normalising ELU (Klambauer et al. 2017)."""
    return 1.0507009873554804934193349852946 * elu(input, 1.6732632423543772848170429916717)


@register("softplus")
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta; x itself where beta x is over the threshold, as in torch."""
    scaled = input * beta
    safe = where(scaled > threshold, 0.0, scaled)
    return where(scaled > threshold, input, unary("log1p")(unary("exp")(safe)) / beta)


@register("logsigmoid", "log_sigmoid")
def logsigmoid(input: Any) -> Any:
    """log σ(x), without overflow."""
    magnitude = unary("abs")(input)
    return binary("minimum", input, 0.0) - unary("log1p")(unary("exp")(-magnitude))


@register("silu")
def silu(input: Any, inplace: bool = False) -> Any:
    """x σ(x) (Elfwing et al. 2018)."""
    return input * unary("sigmoid")(input)


@register("mish")
def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x)) (Misra 2019)."""
    return input * unary("tanh")(softplus(input))


@register("gelu")
def gelu(input: Any, *, approximate: str = "none") -> Any:
    """x Φ(x), or its tanh approximation (Hendrycks & Gimpel 2016)."""
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (input + 0.044715 * (input * input * input))
        return 0.5 * input * (1 + unary("tanh")(inner))
    return input * (0.5 * (1 + unary("erf")(input * math.sqrt(0.5))))


@register("hardtanh")
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x cut off at two bounds."""
    return _within(input, min_val, max_val)


@register("relu6")
def relu6(input: Any, inplace: bool = False) -> Any:
    """x cut off at 0 and 6."""
    return _within(input, 0.0, 6.0)


@register("hardsigmoid")
def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """(x + 3) / 6 cut off at 0 and 1."""
    return _within(input, -3.0, 3.0) / 6 + 0.5


@register("hardswish")
def hardswish(input: Any, inplace: bool = False) -> Any:
    """x · hardsigmoid(x) (Howard et al. 2019)."""
    return where(input <= -3, 0.0, where(input >= 3, input, input * (input / 6 + 0.5)))


@register("softsign")
def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return input / (1 + unary("abs")(input))


@register("clamp", "clip")
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """``input`` cut off at one or two bounds, numbers or tensors; it passes its derivative at them."""
    if min is None and max is None:
        as_proxy(input).fail("clamp needs min, max or both")
    y = input
    if max is not None:
        y = where(y > max, max, y)
    if min is not None:
        y = where(input < min, min if max is None else _lower_bound(min, max), y)
    return y


def _lower_bound(low: Any, high: Any) -> Any:
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


# --- reductions --------------------------------------------------------------------------------


def _axes(x: Proxy, dim: Any) -> list[int]:
    """Axes counted from the end; all of them for ``None``."""
    if dim is None or dim == ():
        return list(range(-x.ndim, 0))
    given = list(dim) if isinstance(dim, (tuple, list)) else [dim]  # type: ignore[arg-type]
    for d in given:
        if not -x.ndim <= d < x.ndim:
            x.fail(f"dimension {d} of {x.var}, which has {x.ndim}")
    return [d - x.ndim if d >= 0 else d for d in given]


def reduce(op: str, x: Any, dim: Any, keepdim: bool) -> Proxy:
    """Apply a reduction of the op table along axes, and drop them unless they are kept."""
    x = as_proxy(x)
    axes = _axes(x, dim)
    y = x
    for axis in axes:
        y = y.emit(op, axis=axis)
    if keepdim or not axes:
        return y
    kept = tuple(n for a, n in enumerate(x.shape) if a - x.ndim not in axes)
    return y.emit("reshape", shape=kept)


@register("sum")
def sum_(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Proxy:
    """The sum along axes."""
    return reduce("sum", real(input), dim, keepdim)


@register("amax")
def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Proxy:
    """The largest element along axes."""
    return reduce("amax", input, dim, keepdim)


@register("amin")
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Proxy:
    """The smallest element along axes."""
    return -reduce("amax", -as_proxy(input), dim, keepdim)


def _count(x: Proxy, dim: Any) -> int:
    return n_elements(tuple(x.shape[a] for a in _axes(x, dim)))


@register("mean")
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean along axes."""
    return reduce("mean", real(input), dim, keepdim)


@register("var")
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """The variance along axes, over n - correction (1 unless said otherwise)."""
    x = as_proxy(input)
    minus = (1 if unbiased else 0) if correction is None else correction
    centred = x - mean(x, dim, True)
    return sum_(centred * centred, dim, keepdim) / float(_count(x, dim) - minus)


@register("std")
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """The standard deviation along axes."""
    return unary("sqrt")(var(input, dim, unbiased, keepdim, correction=correction))


@register("norm", "vector_norm", "linalg_vector_norm")
def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The Euclidean norm along axes, whose derivative at 0 is 0 as in torch."""
    x = as_proxy(input)
    if p not in (2, 2.0, "fro", None):
        x.fail(
            f"norm with p={p!r}: a cell has the Euclidean norm", "write it out with abs, ** and sum"
        )
    squares = sum_(x * x, dim, keepdim)
    safe = where(squares == 0, 1.0, squares)
    return where(squares == 0, 0.0, unary("sqrt")(safe))


# --- softmax and normalisations ------------------------------------------------------------------


@register("softmax")
def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """e^x over its sum, shifted by the largest element so that nothing overflows."""
    x = as_proxy(input)
    e = unary("exp")(x - amax(x, _softmax_dim(x, dim), True).emit("detach"))
    return e / sum_(e, _softmax_dim(x, dim), True)


@register("log_softmax")
def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """The logarithm of softmax, without overflow."""
    x = as_proxy(input)
    shifted = x - amax(x, _softmax_dim(x, dim), True).emit("detach")
    return shifted - unary("log")(sum_(unary("exp")(shifted), _softmax_dim(x, dim), True))


@register("logsumexp")
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """log of the sum of e^x, without overflow."""
    x = as_proxy(input)
    largest = amax(x, dim, True).emit("detach")
    total = unary("log")(sum_(unary("exp")(x - largest), dim, True)) + largest
    return total if keepdim else sum_(total, dim)


def _softmax_dim(x: Proxy, dim: int | None) -> int:
    if dim is None:
        x.fail("softmax needs the dimension it runs along", "softmax(v, dim=-1)")
    return dim


@register("layer_norm")
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:  # fmt: skip
    """(x - mean) / sqrt(variance + eps), scaled and shifted (Ba et al. 2016)."""
    x = as_proxy(input)
    dims = _normalized(x, normalized_shape)
    centred = x - mean(x, dims, True)
    y = centred * unary("rsqrt")(mean(centred * centred, dims, True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@register("rms_norm")
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """x over the root of its mean square, scaled (Zhang & Sennrich 2019)."""
    import torch

    x = as_proxy(input)
    small = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * unary("rsqrt")(mean(x * x, _normalized(x, normalized_shape), True) + small)
    return y if weight is None else y * weight


def _normalized(x: Proxy, shape: Any) -> list[int]:
    wanted = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)  # type: ignore[arg-type]
    if not wanted or tuple(x.shape[-len(wanted) :]) != wanted:
        x.fail(f"normalized_shape {wanted} does not end the shape of {x.var}")
    return list(range(-len(wanted), 0))
