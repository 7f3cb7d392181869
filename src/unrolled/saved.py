"""What is handed from the forward operator to the backward operator.

A kernel's residuals may be the operator's own inputs, its output, or one memory under two names:
the sequence of states before each step is the one after each step, shifted by one.  An operator of
torch's may return none of these.  So it returns the other residuals only, and the backward operator
makes those again: from the inputs, from ``y``, and by shifting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.backends.protocol import Values
from unrolled.ir import Var, concrete
from unrolled.lower import Plan


@dataclass(frozen=True)
class Saved:
    """``kept`` is what the forward operator returns, ``read`` what the backward operator is given.

    ``read`` are names in the plan's forward graph, or ``initial h`` for a state's initial value.
    ``shifted`` are the states that are made again, each with the name of its next value.
    ``constants`` are residuals too, and known from the plan.
    """

    kept: tuple[Var, ...]
    read: tuple[str, ...]
    shifted: Mapping[str, str]
    constants: Mapping[str, tuple[Var, tuple[float, ...]]]

    def residuals(self, read: Values, like: Tensor) -> Values:
        """The residuals that a kernel's backward run takes, from what is ``read``."""
        values = dict(read)
        for name, (var, data) in self.constants.items():
            value = torch.tensor(data, dtype=like.dtype, device=like.device)
            values[name] = value.reshape(concrete(var.shape))
        for state, following in self.shifted.items():
            first = read[initial(state)].unsqueeze(0)
            values[state] = torch.cat((first, read[following]))[:-1]
        return values


def initial(state: str) -> str:
    """The name of a state's value before the first step."""
    return f"initial {state}"


def saved(plan: Plan) -> Saved:
    """What the reverse pass of a plan for the output ``y`` reads; nothing, where it has none."""
    if plan.reverse is None:
        return Saved((), (), {}, {})
    graph, residuals = plan.forward.graph, plan.reverse.graph.residuals
    at_hand = {v.name for v in (*graph.inputs, *graph.parameters)}
    at_hand |= {o.var.name for o in graph.outputs if o.var.per_step}
    following = dict(zip((v.name for v in graph.states), graph.next_states, strict=True))
    constants = {c.var.name: (c.var, c.data) for c in graph.constants}
    others = [v for v in residuals if v.name not in at_hand and v.name not in constants]
    kept = {v.name: v for v in others if v.name not in following}
    shifted: dict[str, str] = {}
    for var in others:
        after = following.get(var.name)
        if after is None:
            continue
        if after.per_step and (after.name in at_hand or after.name in kept):
            shifted[var.name] = after.name
        else:
            kept[var.name] = var
    names = [v.name for v in residuals if v.name not in constants and v.name not in shifted]
    for state, name in shifted.items():
        names += [initial(state), name]
    return Saved(
        tuple(kept.values()),
        tuple(dict.fromkeys(names)),
        shifted,
        {v.name: constants[v.name] for v in residuals if v.name in constants},
    )
