"""Checkpointing: backpropagation through time in the memory of a few states.

The forward run keeps the state before every k-th step and nothing else.  The reverse run takes
the segments from last to first, runs each forward again for its residuals, and then backward.  With
k = √T, both the kept states and one segment's residuals are O(√T) (Griewank 1992; Chen et al.
2016), for one more forward run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unrolled.backends.protocol import Gradients, Kernel, Run, Values
from unrolled.lower import Plan

_STATE, _PARAMETER = "state:", "parameter:"


class Checkpointed:
    """A kernel that keeps the states before every ``every``-th step in place of all residuals."""

    differentiable = False

    def __init__(self, kernel: Kernel, plan: Plan, every: int) -> None:
        self._kernel = kernel
        self._input, *self._noise = (v.name for v in plan.forward.graph.inputs)
        self._every = every

    def source(self, dtype: torch.dtype, backwards: bool) -> str | None:
        """What the kernel that runs the segments has."""
        return self._kernel.source(dtype, backwards)

    def forward(
        self, x: Tensor, states: Sequence[Tensor], parameters: Mapping[str, Tensor], keep: bool
    ) -> Run:
        """Run over ``x`` [T, B, D]; the residuals are the states between segments."""
        if not keep:
            return self._kernel.forward(x, states, parameters, keep=False)
        residuals: Values = {_PARAMETER + name: p for name, p in parameters.items()}
        residuals[self._input] = x
        runs: list[Run] = []
        current = tuple(states)
        segments = self._segments(parameters, len(x))
        for k, segment in enumerate(x.split(self._every)):
            residuals.update((f"{_STATE}{k}:{n}", s) for n, s in enumerate(current))
            runs.append(self._kernel.forward(segment, current, segments[k], keep=False))
            current = runs[-1].states
        outputs = {name: torch.cat([run.outputs[name] for run in runs]) for name in runs[0].outputs}
        return Run(outputs, current, residuals)

    def _segments(self, parameters: Mapping[str, Tensor], n_steps: int) -> list[Values]:
        """The parameters of each segment, and its part of the noise."""
        starts = range(0, max(1, n_steps), self._every)
        return [
            {n: p[t : t + self._every] if n in self._noise else p for n, p in parameters.items()}
            for t in starts
        ]

    def backward(
        self, residuals: Values, d_outputs: Mapping[str, Tensor], d_states: Sequence[Tensor]
    ) -> Gradients:
        """Each segment forward again, then backward, from the last to the first."""
        parameters = {
            name.removeprefix(_PARAMETER): value
            for name, value in residuals.items()
            if name.startswith(_PARAMETER)
        }
        x = residuals[self._input]
        segments, given = x.split(self._every), self._segments(parameters, len(x))
        cotangents = {name: d.split(self._every) for name, d in d_outputs.items()}
        over_time: dict[str, list[Tensor]] = {}
        totals: Values = {}
        current = tuple(d_states)
        for k in reversed(range(len(segments))):
            states = [residuals[f"{_STATE}{k}:{n}"] for n in range(len(current))]
            run = self._kernel.forward(segments[k], states, given[k], keep=True)
            d_segment = {name: d[k] for name, d in cotangents.items()}
            found = self._kernel.backward(run.residuals, d_segment, current)
            current = found.states
            for name, value in found.outputs.items():
                if name == self._input or name in self._noise:
                    over_time.setdefault(name, []).append(value)
                else:
                    totals[name] = totals[name] + value if name in totals else value
        for name, values in over_time.items():
            totals[name] = torch.cat(values[::-1])
        return Gradients(totals, current)
