"""``Padded``: a kernel on padded sequences, packed for it; what it gives is padded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from unrolled.backends.protocol import Gradients, Run, Runner, Values
from unrolled.lower import Plan
from unrolled.steps import EVEN, Steps
from unrolled.walk import walk


class Padded:
    """A kernel whose ``steps`` have lengths and resets as the user gave them.

    Residuals stay packed.  Torch can record it where it can record the kernel.
    """

    def __init__(self, kernel: Runner, plan: Plan) -> None:
        self._kernel = kernel
        self.differentiable = kernel.differentiable
        self._over_time = {v.name for v in plan.forward.graph.inputs}

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        keep: bool,
        steps: Steps = EVEN,
        fresh: Sequence[Tensor] = (),
    ) -> Run:
        """Run over ``x`` [T, B, D]."""
        how, walked = walk(x, steps.lengths, steps.resets, reverse=steps.opposite)
        if how is None:
            return self._kernel.forward(x, states, parameters, keep, walked, fresh)
        run = self._kernel.forward(
            how.pack(x),
            [how.sort(s) for s in states],
            {n: how.pack(p) if n in self._over_time else p for n, p in parameters.items()},
            keep,
            walked,
            [how.sort(s) for s in fresh],
        )
        outputs = {name: how.unpack(y) for name, y in run.outputs.items()}
        return Run(outputs, tuple(map(how.unsort, run.states)), run.residuals)

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """From cotangents of outputs [T, B, size] and final states to everything wanted."""
        like = next(iter(d_outputs.values()))
        how, walked = walk(like, steps.lengths, steps.resets, reverse=steps.opposite)
        if how is None:
            return self._kernel.backward(residuals, d_outputs, d_states, walked)
        found = self._kernel.backward(
            residuals,
            {name: how.pack(d) for name, d in d_outputs.items()},
            [how.sort(d) for d in d_states],
            walked,
        )
        return Gradients(
            {n: how.unpack(d) if n in self._over_time else d for n, d in found.outputs.items()},
            tuple(map(how.unsort, found.states)),
            tuple(map(how.unsort, found.fresh)),
        )
