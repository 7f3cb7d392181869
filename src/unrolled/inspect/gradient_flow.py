"""``gradient_flow``: how far back the gradient of a loss at the end of a sequence reaches.

Whether a recurrent network can learn that something long ago matters is decided by the norm of
∂loss_T/∂state_t over the distance T − t (Hochreiter, "Untersuchungen zu dynamischen neuronalen
Netzen", 1991; Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent
is difficult", 1994; Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
networks", 2013).  The derivatives are total ones, by the backward pass that training uses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ModelError
from unrolled.inspect.decay import Decay, decay, undecided
from unrolled.inspect.given import Progress, arguments, cut
from unrolled.inspect.reads import read_along
from unrolled.inspect.text import TextSample
from unrolled.inspect.watch import LayerRun, recurrent_layers, watch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTILES = (0.1, 0.5, 0.9)
SEQUENCES, STEPS = 64, 100
_LEAST = 4
_HUGE = 1e300

Loss = Callable[[Any], Tensor]
"""From a model's output to one number for each sequence ``[B]``, or one for all."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Norms of a gradient over the distance 0 … N − 1 from the end, over the sequences of a batch.

    Attributes:
        mean: Their mean, float64 ``[N]``.
        low: The value that a tenth of them is below ``[N]``.
        median: The median ``[N]``.
        high: The value that a tenth is above ``[N]``.
        count: How many sequences reach so far back, int64 ``[N]``.
    """

    mean: Tensor
    low: Tensor
    median: Tensor
    high: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class LayerFlow:
    """The gradient's flow through one layer in one direction.

    Attributes:
        name: The layer's.
        states: The curve of each state, by name.
        together: The curve of all states as one vector, by which the layer is judged.
        decay: The verdict, the memory horizon and the reason, for the mean over the sequences.
    """

    name: str
    states: dict[str, Curve]
    together: Curve
    decay: Decay


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """How gradients flow back through a model's layers.

    Attributes:
        layers: Each layer, as the model is.
        initial: Each layer as it would be at initialisation; empty where that was not asked for.
        kept: The parameters that are the same at initialisation, since their module has no
            ``reset_parameters``.
        sequences: How many sequences were measured.
    """

    layers: tuple[LayerFlow, ...]
    initial: tuple[LayerFlow, ...]
    kept: tuple[str, ...]
    sequences: int

    def table(self) -> list[dict[str, Any]]:
        """A row for each layer, as it is and at initialisation."""
        both = (("as it is", self.layers), ("at initialisation", self.initial))
        return [
            {
                "layer": layer.name,
                "when": when,
                "verdict": layer.decay.verdict,
                "factor a step": layer.decay.rate,
                "horizon": layer.decay.reach,
                "reason": layer.decay.reason,
            }
            for when, layers in both
            for layer in layers
        ]

    def plot(self) -> Figure:
        """Norms over the distance, a panel a layer.

        Raises:
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures.gradient_flow import gradient_flow

        return gradient_flow(self)


def gradient_flow(
    model: nn.Module,
    x: str | Sequence[Any],
    loss: Loss | None = None,
    *,
    initial: bool = True,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
) -> GradientFlow:
    """Measures ∂loss_T/∂state_t over the distance T − t, for each layer and state.

    Distance 0 is the last step of a sequence, in the order of the layer's walk, that its loss hangs
    on: its own end, where lengths differ.

    The verdict is about the mean over the sequences, which is what a training step sees: most
    sequences may end with nothing that refers far back, as long as some do.  It comes from the rate
    at which the *slowest* part of the gradient falls or grows, fitted to the second half of the
    curve, and not from how much is forgotten, which any trained network does:
    :func:`unrolled.inspect.decay.decay`.

    There is no verdict where the gradient comes in far from the end as well, so that the distance
    is none that it has crossed: where the loss reads every step (pooling by mean, maximum or
    attention), and where a layer is read by one that walks time the other way (all but the top of a
    bidirectional stack).  It is then ``unknown``, and its reason says which: see
    :func:`unrolled.inspect.reads.read_along`, for which the model runs once more.

    Args:
        model: Any module with recurrent layers; it runs in evaluation mode.
        x: The model's arguments in a tuple; or a text, for a language model, which is cut into up
            to 64 sequences without overlap, the loss being the cross-entropy of the token after
            each.
        loss: From the model's output to one number for each sequence ``[B]``, or their sum, of the
            last step alone. Not for a text.
        initial: Whether to measure the same with parameters drawn anew (in a copy, by the
            ``reset_parameters`` of each module that has it).
        seed: Of these draws; torch's own generator is left as it is.
        steps: The length of a text's sequences; by default 100, or what a shorter text gives.
        progress: See :data:`unrolled.inspect.given.Progress`.

    Raises:
        ModelError: where there are no recurrent layers, parameters are not finite, or can't be
            drawn anew.
        DataError: where the text is too short, or unknown to the model.
        TypeError: where ``x`` or the loss is of another type.
        ValueError: where the input is empty, or the loss is of a wrong shape, not finite, or hangs
            on no state.
    """
    recurrent_layers(model)
    if isinstance(x, str):
        if loss is not None:
            raise ValueError("a text brings its own loss, the next token's: leave loss out")
        if steps is None:
            steps = min(STEPS, max(len(TextSample.of(model, x, STEPS + 1)) - 1, _LEAST))
        elif steps < _LEAST:
            raise ValueError(f"steps must be at least {_LEAST}, got {steps}")
        tokens, targets = cut(model, x, steps, SEQUENCES)
        given: tuple[Any, ...] = (tokens,)
        measured: Loss = lambda out: F.cross_entropy(out[0][-1], targets, reduction="none")
    elif loss is None:
        raise ValueError(
            "expected loss=, a function from the model's output to one number for each sequence"
        )
    elif steps is not None:
        raise ValueError("steps= cuts a text; these sequences have their own length")
    else:
        given, measured = arguments(model, x), loss

    tell = progress or (lambda what, share: None)
    tell("gradient flow", 0.0)
    layers, n = _measure(model, given, measured)
    if not initial:
        tell("gradient flow", 1.0)
        return GradientFlow(layers, (), (), n)
    tell("gradient flow at initialisation", 0.5)
    drawn, kept = _drawn_anew(model, seed)
    before, _ = _measure(drawn, given, measured)
    tell("gradient flow at initialisation", 1.0)
    return GradientFlow(layers, before, kept, n)


def _measure(
    model: nn.Module, given: tuple[Any, ...], loss: Loss
) -> tuple[tuple[LayerFlow, ...], int]:
    with torch.enable_grad(), watch(model, pushes=True) as seen:
        each = loss(model(*given))
        seen.once()
        _check(each)
        gradients = seen.gradients(each.sum())
    norms = [_norms(by_state) for _, by_state in gradients]
    ends = [_ends(torch.stack(list(n.values())).square().sum(0)) for n in norms]
    along = read_along(
        model, given, lambda out: loss(out).sum(), [by_input for by_input, _ in gradients], ends
    )
    flows = tuple(_flow(*args) for args in zip(seen.runs, norms, ends, along, strict=True))
    if not any(len(flow.together.median) for flow in flows):
        raise ValueError("the loss does not hang on any state: is it one of the last step?")
    return flows, max(len(run.lengths) for run in seen.runs)


def _check(each: object) -> None:
    if not isinstance(each, Tensor):
        raise TypeError(f"loss must give a tensor, got {type(each).__name__}")
    if each.dim() > 1:
        raise ValueError(
            f"loss must give one number for each sequence [B], or one, got {list(each.shape)}"
        )
    if not each.requires_grad:
        raise ValueError("the loss does not hang on any state: is it detached?")
    bad = int((~each.isfinite()).sum())
    if bad:
        raise ValueError(f"the loss is not finite for {bad} of {each.numel()} sequences")


def _norms(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """``[T, B]`` of each state's."""
    norms = {k: g.double().norm(dim=-1).cpu() for k, g in gradients.items()}
    # What overflowed on its way back is infinity less infinity.
    return {k: torch.where(n.isfinite(), n, torch.inf) for k, n in norms.items()}


def _ends(norms: Tensor) -> Tensor:
    """The last step that the loss hangs on, −1 for none ``[B]``."""
    return torch.where(norms != 0, torch.arange(len(norms)).unsqueeze(1), -1).amax(0)


def _flow(run: LayerRun, norms: dict[str, Tensor], ends: Tensor, along: str) -> LayerFlow:
    together = torch.stack(list(norms.values())).square().sum(0).sqrt()
    places = ends - torch.arange(max(int(ends.max()) + 1, 0)).unsqueeze(1)

    def at_distances(values: Tensor) -> Tensor:
        found = values.gather(0, places.clamp(min=0)) if len(places) else values[:0]
        return torch.where(places >= 0, found, torch.nan)

    each = at_distances(together)
    whole = _curve(each)
    steps, smallest = len(whole.mean) - 1, torch.finfo(run.x.dtype).tiny
    judged = undecided(steps, along) if along else decay(whole.mean, smallest, each)
    states = {k: _curve(at_distances(n)) for k, n in norms.items()}
    return LayerFlow(run.name, states, whole, judged)


def _curve(norms: Tensor) -> Curve:
    """Of norms over distance and sequence, NaN where a sequence does not reach so far back."""
    there = ~norms.isnan()
    count = there.sum(1)
    mean = torch.where(there, norms, 0.0).sum(1) / count
    if not len(norms):
        return Curve(mean, mean, mean, mean, count)
    # Between two infinities there is nothing to interpolate.
    points = torch.tensor(QUANTILES, dtype=norms.dtype)
    found = torch.nanquantile(norms.clamp(max=_HUGE), points, dim=1)
    low, median, high = torch.where(found >= _HUGE, torch.inf, found)
    return Curve(mean, low, median, high, count)


def _drawn_anew(model: nn.Module, seed: int) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy with parameters drawn anew, and the names of those that are the same."""
    drawn = copy.deepcopy(model)
    fresh: set[int] = set()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for path, module in drawn.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if not callable(reset):
                continue
            try:
                reset()
            except RuntimeError as error:
                raise ModelError(
                    f"{path or 'the model'} can't be drawn anew ({error}): pass initial=False"
                ) from error
            fresh.update(id(p) for p in module.parameters(recurse=False))
    kept = tuple(name for name, p in drawn.named_parameters() if id(p) not in fresh)
    return drawn, kept
