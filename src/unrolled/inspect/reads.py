"""Whence a loss reads the states of a layer: at the end of its walk alone, or all along the way.

Over the distance from the end of a sequence, a gradient's norm tells of the layer's memory only
where all of it came in at the end.  Where the loss reads every step (pooling by mean, maximum or
attention), or a layer that walks time the other way does, the gradient comes in far from the end
too, and has crossed fewer steps than the distance says: the curve is a U, or flat.

The direct reads are found by cutting: the model runs once more, each layer's output a leaf.  The
derivatives of the loss, and of the other layers' inputs, by these leaves then cross no recurrent
layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.inspect.watch import LayerRun, watch


def read_along(
    model: nn.Module,
    given: Sequence[Any],
    total: Callable[[Any], Tensor],
    by_input: Sequence[Tensor],
    ends: Sequence[Tensor],
) -> list[str]:
    """For each run of a layer, why a distance from its end is none that the gradient has crossed.

    What is read within the half of the steps that is next to the end does no harm, since a rate is
    fitted to the other half.

    Args:
        model: The model.
        given: Its arguments.
        total: From its output to the loss, one number.
        by_input: The loss's derivative by each run's input ``[T, B, D]``, in the run's order.
        ends: The last step of each run that the loss hangs on ``[B]``, −1 for none.

    Returns:
        The reason in words for each run; "" where it is read at its end alone.
    """
    with torch.enable_grad(), watch(model, cut=True) as seen:
        loss = total(model(*given))
    runs = seen.runs
    found = [""] * len(runs)
    # What reads a layer runs after it, so its own reads are known.
    for n in reversed(range(len(runs))):
        run, end = runs[n], ends[n]
        if _far(_by(loss, run, None), end):
            found[n] = "the loss reads its states all along the sequence, not at the end alone"
            continue
        for q in range(n + 1, len(runs)):
            reader = runs[q]
            if not _far(_by(reader.x, run, by_input[q]), end):
                continue
            if reader.opposite != run.opposite:
                found[n] = f"{reader.name}, which walks the other way, reads its states to the end"
                found[n] += " that is far for this layer"
            elif found[q]:
                found[n] = f"{reader.name} reads its states, of which it is true that {found[q]}"
            elif not torch.equal(reader.lengths, run.lengths):
                found[n] = f"{reader.name} reads its states all along the sequence"
            if found[n]:
                break
    return found


def _by(value: Tensor, run: LayerRun, weight: Tensor | None) -> Tensor | None:
    """Where a value, weighted, depends directly on a run's outputs: bool ``[T, B]``."""
    if not value.requires_grad:
        return None
    grads = torch.autograd.grad(value, run.outputs, weight, retain_graph=True, allow_unused=True)
    # torch's stubs leave out that an unused one is None.
    found: list[Tensor | None] = list(grads)
    masks = [(run.unpack(g) != 0).flatten(2).any(-1) for g in found if g is not None]
    return torch.stack(masks).any(0) if masks else None


def _far(mask: Tensor | None, ends: Tensor) -> bool:
    """Whether a sequence is read more than half of its steps away from the end."""
    if mask is None:
        return False
    distance = ends - torch.arange(len(mask)).unsqueeze(1)
    return bool((mask.cpu() & (2 * distance > ends) & (distance > 0)).any())
