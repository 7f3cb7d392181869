"""``jacobians``: what one step does to small differences of the states.

The singular values of J_t = ∂(all states at t)/∂(those at t − 1) are the factors by which a step
stretches or shrinks them, in the directions where it does: a gradient that flows back through the
step is multiplied by its transpose (Pascanu, Mikolov and Bengio 2013).  Where all are below 1
gradients vanish; where many are near 1 they are kept (dynamical isometry: Saxe, McClelland and
Ganguli 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import jacrev  # pyright: ignore[reportPrivateImportUsage]

from unrolled.inspect.given import Progress, one_sequence
from unrolled.inspect.step import Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_STEPS, LEAST_STEPS = 100, 8
_BUDGET = 2.5e9
"""Of steps × S³ for each layer, which takes a second or two of one core."""


@dataclass(frozen=True, eq=False)
class LayerJacobians:
    """The Jacobians of one layer in one direction.

    Attributes:
        name: The layer's.
        states: The names of its states, whose vectors stand one behind the other.
        length: The steps of the sequence.
        at: The steps that were looked at, from 0, int64 ``[K]``, evenly over the sequence.
        singular: The singular values at each of them, the largest first, float64 ``[K, S]``.
    """

    name: str
    states: tuple[str, ...]
    length: int
    at: Tensor
    singular: Tensor


@dataclass(frozen=True, eq=False)
class Jacobians:
    """Those of all layers, along one sequence."""

    layers: tuple[LayerJacobians, ...]

    def table(self) -> list[dict[str, Any]]:
        """A row a layer: singular values, over the steps that were looked at."""
        return [
            {
                "layer": layer.name,
                "states": ", ".join(layer.states),
                "size": layer.singular.shape[1],
                "steps": f"{len(layer.at)} of {layer.length}",
                "largest": float(layer.singular.max()),
                "mean of the largest": float(layer.singular[:, 0].mean()),
                "mean": float(layer.singular.mean()),
                "smallest": float(layer.singular.min()),
                "share above 1": float((layer.singular > 1).double().mean()),
            }
            for layer in self.layers
        ]

    def plot(self) -> Figure:
        """Singular values over time, a panel a layer.

        Raises:
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures.jacobians import jacobians

        return jacobians(self)


def jacobians(
    model: nn.Module,
    x: str | Sequence[Any],
    steps: int | None = None,
    *,
    progress: Progress | None = None,
) -> Jacobians:
    """The singular values of each layer's Jacobians along a real sequence, in float64.

    Args:
        model: Any module with recurrent layers; it runs in evaluation mode.
        x: The model's arguments in a tuple, of whose batch the longest sequence is taken; or a
            text, for a language model, which reads it after "<eos>" where its vocabulary has that.
        steps: How many steps of each layer to look at; by default at most 100, and fewer the more
            states there are, at least 8 (18 for an LSTM of 256 units): the result says at which.
        progress: See :data:`unrolled.inspect.given.Progress`.

    Raises:
        ModelError: where there are no recurrent layers, or parameters are not finite.
        DataError: where the text is empty or unknown to the model.
        TypeError: where ``x`` is of another type.
        ValueError: where the input is empty, a sequence is shorter than ``steps``, states or
            Jacobians are not finite.
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    tell = progress or (lambda what, share: None)
    found: list[LayerJacobians] = []
    runs = one_sequence(model, x)
    for n, (run, sequence) in enumerate(runs):
        step = Step.of(run, sequence)
        count = min(len(step), _affordable(step.size)) if steps is None else steps
        if count > len(step):
            raise ValueError(f"{step.name}: the sequence has {len(step)} steps, not {count}")
        at = torch.linspace(0, len(step) - 1, count, dtype=torch.float64).round().long()
        singular: list[Tensor] = []
        for k, t in enumerate(at.tolist()):
            tell(f"Jacobians of {step.name}", (n + k / count) / len(runs))
            singular.append(torch.linalg.svdvals(jacobian(step, t)).cpu())
        names = tuple(run.states)
        found.append(LayerJacobians(step.name, names, len(step), at, torch.stack(singular)))
    tell("Jacobians", 1.0)
    return Jacobians(tuple(found))


def jacobian(step: Step, t: int) -> Tensor:
    """∂(all states at t)/∂(those at t − 1), float64 ``[S, S]``, of the step's own equations.

    Raises:
        ValueError: where it is not finite.
    """
    x = step.x[t]
    found: Tensor = jacrev(lambda states: step(x, states))(step.states[t])
    if not found.isfinite().all():
        raise ValueError(f"{step.name}: the Jacobian of step {t} is not finite")
    return found


def _affordable(size: int) -> int:
    return max(LEAST_STEPS, min(MOST_STEPS, int(_BUDGET / size**3)))
