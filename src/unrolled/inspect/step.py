"""One step of a layer as a function of its states as one vector, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.inspect.watch import LayerRun
from unrolled.interpret import evaluate
from unrolled.ir import Graph


@dataclass(frozen=True, eq=False)
class Step:
    """The user's equations along one sequence of a run.

    Attributes:
        name: The layer's.
        graph: The equations.
        parameters: By name, float64.
        x: The inputs ``[T, D]``.
        states: The states before each step, one behind the other in one vector, ``[T, S]``.
    """

    name: str
    graph: Graph
    parameters: Mapping[str, Tensor]
    x: Tensor
    states: Tensor

    @staticmethod
    def of(run: LayerRun, sequence: int) -> Step:
        """That of a run, along one of its sequences."""
        n = int(run.lengths[sequence])
        before = torch.cat([run.before[k][sequence] for k in run.states], -1)
        after = torch.cat([s[: n - 1, sequence] for s in run.states.values()], -1)
        return Step(
            run.name,
            run.graph,
            {k: p.double() for k, p in run.parameters.items()},
            run.x[:n, sequence].double(),
            torch.cat([before.unsqueeze(0), after]).double(),
        )

    def __len__(self) -> int:
        """The steps of the sequence."""
        return len(self.x)

    @property
    def size(self) -> int:
        """S, the length of all states together."""
        return self.states.shape[1]

    def __call__(self, x: Tensor, states: Tensor) -> Tensor:
        """The next states ``[…, S]`` from an input ``[…, D]`` and states ``[…, S]``."""
        sizes = [int(v.shape[0]) for v in self.graph.states]
        new = evaluate(self.graph, x, states.split(sizes, -1), dict(self.parameters))[1]
        return torch.cat(new, -1)
