"""How each op that works on elements is spelled in C99; ``{0}``, ``{1}``, … are its operands.

An operand is a name, an element of an array or a literal, so the templates need no parentheses.
As in torch, ``maximum`` and ``minimum`` of a NaN and anything are NaN, and its ``sign`` is 0.
"""

from __future__ import annotations

from unrolled.interop.c.text import real
from unrolled.ir import Equation

SPELLING = {
    "neg": "-{0}",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "abs": "fabsf({0})",
    "sign": "(float)(({0} > 0.0f) - ({0} < 0.0f))",
    "relu": "{0} < 0.0f ? 0.0f : {0}",
    "exp": "expf({0})",
    "expm1": "expm1f({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sqrt": "sqrtf({0})",
    "rsqrt": "1.0f / sqrtf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "erf": "erff({0})",
    "tanh": "tanhf({0})",
    "sigmoid": "sigmoid({0})",
    "maximum": "maximum({0}, {1})",
    "minimum": "minimum({0}, {1})",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "logical_not": "!{0}",
    "where": "{0} ? {1} : {2}",
    "pow": "powf({0}, {exponent})",
    "detach": "{0}",
    "reshape": "{0}",
}
"""Element by element; a reshape or a detach where it has to copy."""

REDUCTIONS = {"sum": "sum", "mean": "mean", "amax": "largest", "matmul": "dot"}
"""Element by element too, each from whole rows of the operands: the helper that does it."""

_POWERS = {
    2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", 1.0: "{0}", -1.0: "1.0f / {0}",
    # As torch has them: C's pow has another sign at -0 and no NaN at minus infinity.
    0.5: "sqrtf({0})", -0.5: "1.0f / sqrtf({0})",
}  # fmt: skip

HELPERS = {
    "sigmoid": """\
// 1 / (1 + e^-x), where no exponential overflows.
static float sigmoid(float x) {
    const float z = expf(-fabsf(x));
    return (x < 0.0f ? z : 1.0f) / (1.0f + z);
}
""",
    "maximum": """\
// The larger one; NaN where either is.
static float maximum(float a, float b) { return a > b || a != a ? a : b; }
""",
    "minimum": """\
// The smaller one; NaN where either is.
static float minimum(float a, float b) { return a < b || a != a ? a : b; }
""",
    "dot": """\
// The sum of n products, of numbers one behind the other.
static float dot(const float *a, const float *b, size_t n) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}
""",
    "dot_apart": """\
// The sum of n products, of numbers that lie as far apart as their steps say.
static float dot_apart(const float *a, size_t a_step, const float *b, size_t b_step, size_t n) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += a[i * a_step] * b[i * b_step];
    }
    return sum;
}
""",
    "sum": """\
// The sum of n numbers that lie a step apart.
static float sum(const float *a, size_t step, size_t n) {
    float total = 0.0f;
    for (size_t i = 0; i < n; i++) {
        total += a[i * step];
    }
    return total;
}
""",
    "mean": """\
// The mean of n numbers that lie a step apart.
static float mean(const float *a, size_t step, size_t n) {
    float total = 0.0f;
    for (size_t i = 0; i < n; i++) {
        total += a[i * step];
    }
    return total / (float)n;
}
""",
    "largest": """\
// The largest of n numbers that lie a step apart; NaN where one is.
static float largest(const float *a, size_t step, size_t n) {
    float most = a[0];
    for (size_t i = 1; i < n; i++) {
        if (a[i * step] > most || a[i * step] != a[i * step]) {
            most = a[i * step];
        }
    }
    return most;
}
""",
}
"""The functions that a step may call, by their names; only those that one does are written."""


def spell(equation: Equation, operands: list[str]) -> str:
    """The C expression of an elementwise equation."""
    template = SPELLING[equation.op]
    if equation.op == "pow":
        exponent = float(equation["exponent"])
        return _POWERS.get(exponent, template).format(*operands, exponent=real(exponent))
    return template.format(*operands)
