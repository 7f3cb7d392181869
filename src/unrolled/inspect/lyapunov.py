"""``lyapunov``: the rates at which differences between states grow or fade along a sequence.

The QR method (Benettin et al. 1980) as Engelken, Wolf and Abbott, "Lyapunov spectra of chaotic
recurrent neural networks", Physical Review Research 5 (2023), have it: orthonormal vectors are
carried along by the step's derivative and made orthonormal again after each step; the mean of the
logarithm of what each lost or gained is its exponent.  Here they are carried as gradients are, from
the last step to the first by the transposed derivative: a product of matrices has the same singular
values as its transpose, J_tᵀ Q takes one backward pass, and J_t is never made.  exp(λ) is the
factor a step of a difference, and of a gradient; 1/|λ| the steps in which it falls to 1/e.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unrolled.inspect.given import Progress, one_sequence
from unrolled.inspect.numerals import numeral
from unrolled.inspect.step import Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL, SOME = 64, 16
"""Layers with so many states get all exponents, larger ones so many."""
_WORK = 5e9
"""Of steps × exponents × (S + D) × S for each layer, which takes a few seconds."""
_BLOCKS = 10
_LEAST = 20


@dataclass(frozen=True, eq=False)
class LayerExponents:
    """The Lyapunov spectrum of one layer in one direction.

    Attributes:
        name: The layer's.
        exponents: The k largest, in falling order, per step, float64 ``[k]``; −∞ for directions
            that a step maps to zero.
        errors: Their standard errors ``[k]``, of the means of ten parts of the sequence.
        size: S, how many there are.
        warm_up: The last steps of those that were walked, which only turn the vectors.
        steps: The steps before these, over which it is the mean.
        length: The steps of the whole sequence.
    """

    name: str
    exponents: Tensor
    errors: Tensor
    size: int
    warm_up: int
    steps: int
    length: int

    @property
    def reason(self) -> str:
        """What the largest exponent means, in words."""
        top, error = float(self.exponents[0]), float(self.errors[0])
        told = f"the largest exponent is {numeral(top)} ± {numeral(error, 2)} a step"
        if top == -math.inf:
            return "after one step nothing is left of a difference"
        if abs(top) <= 2 * error or abs(top) < 1e-9:
            return f"{told}, zero within its error: differences are kept"
        if top > 0:
            return f"{told}: differences grow by {numeral(100 * math.expm1(top))} % a step, chaos"
        return f"{told}: differences fall to 1/e in {numeral(-1 / top)} steps"


@dataclass(frozen=True, eq=False)
class Lyapunov:
    """The spectra of all layers, along one sequence; each layer's, given its input."""

    layers: tuple[LayerExponents, ...]

    def table(self) -> list[dict[str, Any]]:
        """A row a layer."""
        return [
            {
                "layer": layer.name,
                "largest": float(layer.exponents[0]),
                "error": float(layer.errors[0]),
                "exponents": f"{len(layer.exponents)} of {layer.size}",
                "steps": f"{layer.steps} of {layer.length}",
                "reason": layer.reason,
            }
            for layer in self.layers
        ]

    def plot(self) -> Figure:
        """The exponents in falling order, with their errors.

        Raises:
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures.jacobians import lyapunov

        return lyapunov(self)


def lyapunov(
    model: nn.Module,
    x: str | Sequence[Any],
    k: int | None = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Lyapunov:
    """The k largest Lyapunov exponents of each layer along a real sequence, in float64.

    Args:
        model: Any module with recurrent layers; it runs in evaluation mode.
        x: The model's arguments in a tuple, of whose batch the longest sequence is taken; or a
            text, for a language model, which reads it after "<eos>" where its vocabulary has that.
        k: How many exponents; by default all of a layer with at most 64 states, else 16.
        steps: How many of the sequence's first steps to walk, a tenth of which (at most 100) are
            for warming up; by default as many as a few seconds allow, which the result says.
        seed: Of the vectors to begin with.
        progress: See :data:`unrolled.inspect.given.Progress`.

    Raises:
        ModelError: where there are no recurrent layers, or parameters are not finite.
        DataError: where the text is empty or unknown to the model.
        TypeError: where ``x`` is of another type.
        ValueError: where the input is empty, a sequence is shorter than ``steps`` or 20, ``k`` is
            more than a layer's states, states or derivatives are not finite.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if steps is not None and steps < _LEAST:
        raise ValueError(f"steps must be at least {_LEAST}, got {steps}")
    found: list[LayerExponents] = []
    runs = one_sequence(model, x)
    for n, (run, sequence) in enumerate(runs):
        step = Step.of(run, sequence)
        asked = steps or _LEAST
        if len(step) < asked:
            raise ValueError(f"{step.name}: the sequence has {len(step)} steps, not {asked}")
        count = k or (step.size if step.size <= ALL else SOME)
        if count > step.size:
            raise ValueError(f"{step.name} has {step.size} states, so no {count} exponents")
        total = steps or min(len(step), _affordable(step, count))
        told = partial(_tell, progress, step.name, n, len(runs))
        logs = _logs(step, count, total, seed, told)
        warm_up = min(total // 10, 100)
        found.append(_mean(step, logs[warm_up:], warm_up))
    if progress:
        progress("Lyapunov exponents", 1.0)
    return Lyapunov(tuple(found))


def _tell(progress: Progress | None, name: str, layer: int, layers: int, share: float) -> None:
    if progress:
        progress(f"Lyapunov exponents of {name}", (layer + share) / layers)


def _logs(step: Step, k: int, steps: int, seed: int, tell: Callable[[float], None]) -> Tensor:
    """The logarithm of what each vector gains at each step, ``[steps, k]``."""
    draw = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(step.size, k, generator=draw, dtype=torch.float64))[0]
    q = q.to(step.states.device)
    logs: list[Tensor] = []
    for t in reversed(range(steps)):
        if t % 50 == 0:
            tell(1 - t / steps)
        q, r = torch.linalg.qr(_carried(step, t, q))
        logs.append(r.diagonal().abs().log().cpu())
    return torch.stack(logs)


def _carried(step: Step, t: int, vectors: Tensor) -> Tensor:
    """What the transposed derivative of a step makes of the columns ``[S, k]``."""
    k = vectors.shape[1]
    with torch.enable_grad():
        states = step.states[t].repeat(k, 1).requires_grad_()
        after = step(step.x[t].expand(k, -1), states)
        (moved,) = torch.autograd.grad(after, states, vectors.T.contiguous())
    if not moved.isfinite().all():
        raise ValueError(f"{step.name}: the derivative of step {t} is not finite")
    return moved.T


def _mean(step: Step, logs: Tensor, warm_up: int) -> LayerExponents:
    exponents = logs.mean(0)
    blocks = torch.stack([part.mean(0) for part in logs.tensor_split(_BLOCKS)])
    errors = (blocks.std(0) / math.sqrt(_BLOCKS)).nan_to_num(0.0)
    order = exponents.argsort(descending=True, stable=True)
    return LayerExponents(
        step.name, exponents[order], errors[order], step.size, warm_up, len(logs), len(step)
    )


def _affordable(step: Step, k: int) -> int:
    each = k * step.size * (step.size + step.x.shape[1])
    return max(_LEAST, int(_WORK / each))
