"""Derivative rules made slightly wrong on purpose, to see that the comparison notices."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from unrolled.ir import Equation, Graph
from unrolled.lower import lower
from unrolled.ops import TABLE
from unrolled.recurrence import compile_step

WRONG_BY = 1e-6

RULES = {name: row.vjp for name, row in TABLE.items() if row.vjp is not None}


def rules_used(graph: Graph) -> set[str]:
    """The ops whose rules make the compiled reverse step of the graph."""
    used: set[str] = set()

    def watched(name: str) -> Any:
        def rule(equation: Equation, *operands: Any) -> tuple[Any, ...]:
            used.add(name)
            return RULES[name](equation, *operands)

        return rule

    with pytest.MonkeyPatch.context() as patch:
        for name in RULES:
            patch.setitem(TABLE, name, replace(TABLE[name], vjp=watched(name)))
        lower(graph, wrt=[v.name for v in (*graph.inputs, *graph.parameters)])
    return used


@contextmanager
def slightly_wrong(name: str) -> Generator[None]:
    """All cotangents that the rule of this op hands on are too large by a millionth.

    Kernels are cached, so what is compiled with the wrong rule must neither be found nor be left.
    """

    def rule(equation: Equation, *operands: Any) -> tuple[Any, ...]:
        contributions = RULES[name](equation, *operands)
        return tuple(None if d is None else d * (1 + WRONG_BY) for d in contributions)

    compile_step.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLE, name, replace(TABLE[name], vjp=rule))
        yield
    compile_step.cache_clear()
