"""How the CPU backend spells each elementwise op in C; ``{0}``, ``{1}``, … are its operands.

As in torch, ``maximum`` and ``minimum`` of a NaN and anything are NaN, and its ``sign`` is 0.
Functions in capitals are in ``templates/functions.h``, in the loop's precision.
"""

from __future__ import annotations

from unrolled.backends.cpu.text import number
from unrolled.ir import Equation

SPELLING = {
    "neg": "-{0}",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "abs": "FABS({0})",
    "sign": "(real)({0} > 0) - (real)({0} < 0)",
    "relu": "{0} < 0 ? 0 : {0}",
    "exp": "EXP({0})",
    "expm1": "EXPM1({0})",
    "log": "LOG({0})",
    "log1p": "LOG1P({0})",
    "sqrt": "SQRT({0})",
    "rsqrt": "1 / SQRT({0})",
    "sin": "SIN({0})",
    "cos": "COS({0})",
    "erf": "ERF({0})",
    "tanh": "TANH({0})",
    "sigmoid": "SIGMOID({0})",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
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
    "pow": "POW({0}, {exponent})",
    "detach": "{0}",
}

_POWERS = {
    2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", 1.0: "{0}", -1.0: "1 / {0}",
    # As torch has them: C's pow has another sign at -0 and no NaN at minus infinity.
    0.5: "SQRT({0})", -0.5: "1 / SQRT({0})",
}  # fmt: skip


def spell(equation: Equation, operands: list[str]) -> str:
    """The C expression of an elementwise equation."""
    template = SPELLING[equation.op]
    if equation.op == "pow":
        exponent = float(equation["exponent"])
        template = _POWERS.get(exponent, template)
        return template.format(*operands, exponent=number(exponent))
    return template.format(*operands)
