"""Where each element of a rearranged value comes from: found by rearranging the positions."""

from __future__ import annotations

import torch

from unrolled.ir import Equation, Var, n_elements
from unrolled.ops import TABLE


def positions(equation: Equation) -> list[tuple[Var, list[tuple[int, int]]]]:
    """For each operand, which element of the result is which of its elements: (to, from)."""
    found: list[tuple[Var, list[tuple[int, int]]]] = []
    if equation.op in ("place", "put"):
        inverse = {"place": "slice", "put": "take"}[equation.op]
        (source,) = equation.inputs
        attributes = tuple((k, v) for k, v in equation.attributes if k != "size")
        whole = torch.arange(n_elements(equation.out.shape)).reshape(
            [int(s) for s in equation.out.shape]
        )
        view = Equation(source, inverse, (equation.out,), attributes)
        taken = TABLE[inverse].run(view, whole).reshape(-1).tolist()
        return [(source, [(to, k) for k, to in enumerate(taken)])]
    base = 0
    marked: list[torch.Tensor] = []
    for source in equation.inputs:
        n = n_elements(source.shape)
        marked.append(
            torch.arange(base, base + n, device="cpu").reshape([int(s) for s in source.shape])
        )
        base += n
    result = TABLE[equation.op].run(equation, *marked).reshape(-1).tolist()
    base = 0
    for source in equation.inputs:
        n = n_elements(source.shape)
        found.append(
            (source, [(to, v - base) for to, v in enumerate(result) if base <= v < base + n])
        )
        base += n
    return found
