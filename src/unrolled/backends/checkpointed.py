"""Checkpointing: backpropagation through time in the memory of a few states.

The forward run keeps the state before every k-th step and nothing else.  The reverse run takes
the segments from last to first, runs each forward again for its residuals, and then backward.  With
k = √T, both the kept states and one segment's residuals are O(√T) (Griewank 1992; Chen et al.
2016), for one more forward run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Literal

import torch
from torch import Tensor

from unrolled.backends.protocol import Gradients, Run, Runner, Values
from unrolled.lower import Plan
from unrolled.steps import EVEN, Steps

Checkpoint = int | Literal["sqrt"] | None
"""Which states are kept for the backward pass: all, every so many steps, or every √T."""

_STATE, _PARAMETER, _FRESH = "state:", "parameter:", "fresh:"


def check_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` if it is one, else ``ValueError``."""
    whole = isinstance(checkpoint, int) and not isinstance(checkpoint, bool)
    if checkpoint is None or checkpoint == "sqrt" or (whole and checkpoint >= 1):
        return checkpoint
    raise ValueError(
        f"checkpoint={checkpoint!r}: expected 'sqrt' or the number of steps from one kept "
        "state to the next, 1 or more"
    )


def segment(checkpoint: int | Literal["sqrt"], n_steps: int) -> int:
    """The number of steps from one kept state to the next; ``ValueError`` where it is none."""
    checked = check_checkpoint(checkpoint)
    return checked if isinstance(checked, int) else max(1, isqrt(n_steps))


class Checkpointed:
    """A kernel that keeps the states before every ``every``-th step in place of all residuals."""

    differentiable = False

    def __init__(self, kernel: Runner, plan: Plan, every: int) -> None:
        self._kernel = kernel
        self._input, *self._noise = (v.name for v in plan.forward.graph.inputs)
        self._every = every

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        keep: bool,
        steps: Steps = EVEN,
        fresh: Sequence[Tensor] = (),
    ) -> Run:
        """Run over ``x`` [T, B, D]; the residuals are the states between segments."""
        if not keep:
            return self._kernel.forward(x, states, parameters, False, steps, fresh)
        residuals: Values = {_PARAMETER + name: p for name, p in parameters.items()}
        residuals |= {f"{_FRESH}{n}": s for n, s in enumerate(fresh)}
        residuals[self._input] = x
        runs: list[Run] = []
        current = tuple(states)
        for k, segment in enumerate(self._segments(steps, x)):
            residuals.update((f"{_STATE}{k}:{n}", s) for n, s in enumerate(current))
            part, given = segment.of(x), self._within(segment, parameters)
            runs.append(self._kernel.forward(part, current, given, False, segment.steps, fresh))
            current = runs[-1].states
        in_time = runs[::-1] if steps.opposite else runs
        dim = 0 if steps.batch_sizes is None else 1
        outputs = {
            name: torch.cat([run.outputs[name] for run in in_time], dim) for name in runs[0].outputs
        }
        return Run(outputs, current, residuals)

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """Each segment forward again, then backward, from the last to the first."""
        parameters = {
            name.removeprefix(_PARAMETER): value
            for name, value in residuals.items()
            if name.startswith(_PARAMETER)
        }
        fresh = [value for name, value in residuals.items() if name.startswith(_FRESH)]
        x = residuals[self._input]
        segments = self._segments(steps, x)
        over_time: dict[str, list[Tensor]] = {}
        totals: Values = {}
        taken_out: tuple[Tensor, ...] = ()
        current = tuple(d_states)
        for k in reversed(range(len(segments))):
            segment = segments[k]
            states = [residuals[f"{_STATE}{k}:{n}"] for n in range(len(current))]
            given = self._within(segment, parameters)
            run = self._kernel.forward(segment.of(x), states, given, True, segment.steps, fresh)
            d_segment = {name: segment.of(d) for name, d in d_outputs.items()}
            found = self._kernel.backward(run.residuals, d_segment, current, segment.steps)
            current = found.states
            before = taken_out or tuple(map(torch.zeros_like, found.fresh))
            taken_out = tuple(a + b for a, b in zip(before, found.fresh, strict=True))
            for name, value in found.outputs.items():
                if name == self._input or name in self._noise:
                    over_time.setdefault(name, []).append(value)
                else:
                    totals[name] = totals[name] + value if name in totals else value
        for name, values in over_time.items():
            in_time = values if steps.opposite else values[::-1]
            totals[name] = torch.cat(in_time, 0 if steps.batch_sizes is None else 1)
        return Gradients(totals, current, taken_out)

    def _within(self, segment: _Segment, parameters: Mapping[str, Tensor]) -> Values:
        """The parameters, and the segment's part of the noise among them."""
        return {n: segment.of(p) if n in self._noise else p for n, p in parameters.items()}

    def _segments(self, steps: Steps, x: Tensor) -> list[_Segment]:
        """Segments of so many steps, in the order in which they are walked."""
        lead = x.shape[:2]
        sizes, first = steps.sizes(lead), steps.first_rows(lead)
        found: list[_Segment] = []
        for start in range(0, max(1, len(sizes)), self._every):
            stop = min(start + self._every, len(sizes))
            if steps.batch_sizes is None:
                segment = _Segment(0, start, stop, steps)
            else:
                part = replace(steps, batch_sizes=steps.batch_sizes[start:stop])
                segment = _Segment(1, first[start], first[stop], part)
            if steps.resets is not None:
                resets = replace(segment.steps, resets=segment.of(steps.resets))
                segment = replace(segment, steps=resets)
            found.append(segment)
        return found[::-1] if steps.opposite else found


@dataclass(frozen=True)
class _Segment:
    """Neighbouring steps: where they stand in values over time, and how they are walked."""

    dim: int
    start: int
    stop: int
    steps: Steps

    def of(self, value: Tensor) -> Tensor:
        """The part of a value over all steps."""
        return value.narrow(self.dim, self.start, self.stop - self.start)
