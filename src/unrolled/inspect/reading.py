"""What each layer computes at each step: over a text, window by window, or over any input.

The state goes through from window to window, so the text is read as one; memory for the logits is
that of a window, and what is kept goes to the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.errors import ModelError
from unrolled.inspect.text import TextSample
from unrolled.inspect.watch import LayerRun, Named, watch
from unrolled.ir import Graph
from unrolled.models.language_model import LanguageModel

Progress = Callable[[str, float], None]
"""Told what is done, and which share of it, 0 to 1."""

# Numbers that are in memory at once: logits of a window, about 64 MB in float32.
_LOGITS = 1 << 24
_WINDOWS = 20
_LEAST_WINDOW = 256


@dataclass(frozen=True, eq=False)
class LayerSteps:
    """One direction of one layer, all N steps of all its sequences one after the other.

    Attributes:
        name: What the layer is called: ``recurrent l0``.
        graph: The equations of a step.
        parameters: By the cell's names.
        states: By name ``[N, size]`` on the CPU, after each step.
        values: What else was asked for, by name ``[N, …]`` on the CPU.
    """

    name: str
    graph: Graph
    parameters: Mapping[str, Tensor]
    states: Mapping[str, Tensor]
    values: Mapping[str, Tensor]


def read_input(model: nn.Module, x: Tensor, values: Named | None = None) -> list[LayerSteps]:
    """The layers of any model over an input that it is called with.

    Raises:
        ModelError: where the model has no recurrent layers, or a parameter that is no number.
        ValueError: where the input holds a number that is not finite.
    """
    if x.is_floating_point() and not bool(x.isfinite().all()):
        raise ValueError(f"the input holds {int((~x.isfinite()).sum())} numbers that aren't finite")
    with watch(model, values) as seen, torch.no_grad():
        model(x)
    if not seen.runs:
        raise ModelError("the model's call ran none of its recurrent layers: there is nothing seen")
    return _joined([_steps(run) for run in seen.runs])


def read_text(
    model: nn.Module,
    sample: TextSample,
    values: Named | None = None,
    look: Callable[[Tensor], None] | None = None,
    progress: Progress | None = None,
) -> list[LayerSteps]:
    """The layers of a language model over a text, without what stands before the text.

    Args:
        model: The model whose tokens they are.
        sample: The text.
        values: Which values of a step are kept beside the states.
        look: Called with the logits ``[t, V]`` of each window, first to last: what the model
            expects after each token of the text, and first of all what it expects at its
            beginning, where something stands before it. N + 1 rows in all, or N.
        progress: Told after each window.

    Raises:
        TypeError: where it is no language model.
        ModelError: where a parameter is no finite number.
    """
    if not isinstance(model, LanguageModel):
        raise TypeError(f"text is read by a LanguageModel, this is a {type(model).__name__}")
    tokens = sample.fed.to(model.device)
    most = max(1, _LOGITS // len(model.vocabulary))
    window = min(most, max(_LEAST_WINDOW, len(tokens) // _WINDOWS))
    found: list[LayerSteps] = []
    state: tuple[Tensor, ...] | None = None
    with watch(model, values) as seen, torch.no_grad():
        for start in range(0, len(tokens), window):
            part = tokens[start : start + window]
            logits, state = model(part, state)
            if look is not None:
                look(logits[:, 0])
            found += [_steps(run) for run in seen.runs]
            seen.runs.clear()
            if progress is not None:
                progress("reading the text", (start + len(part)) / len(tokens))
    return _joined(found, skipped=len(sample.before))


def _steps(run: LayerRun) -> LayerSteps:
    n_steps, batch = run.x.shape[:2]
    takes_part = torch.arange(n_steps).unsqueeze(1) < run.lengths.cpu()

    def flat(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # By sequence, so that steps of one follow each other.
        return {
            name: v.detach().cpu().transpose(0, 1)[takes_part.T] if batch > 1 else _only(v)
            for name, v in values.items()
        }

    def _only(v: Tensor) -> Tensor:
        return v.detach().cpu()[: int(run.lengths[0]), 0]

    return LayerSteps(run.name, run.graph, run.parameters, flat(run.states), flat(run.values))


def _joined(found: list[LayerSteps], skipped: int = 0) -> list[LayerSteps]:
    """What each layer computed in all of its calls, as one."""
    layers: dict[str, list[LayerSteps]] = {}
    for steps in found:
        layers.setdefault(steps.name, []).append(steps)

    def joined(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([p[name] for p in parts])[skipped:] for name in parts[0]}

    for name, parts in layers.items():
        for state, v in joined([p.states for p in parts]).items():
            lost = int((~v.isfinite()).any(1).sum())
            if lost:
                raise ModelError(
                    f"{name}: after {lost:,} of {len(v):,} steps the state {state} is not finite: "
                    "it grows without bound; give a shorter input or another model"
                )
    return [
        LayerSteps(
            name,
            parts[0].graph,
            parts[0].parameters,
            joined([p.states for p in parts]),
            joined([p.values for p in parts]),
        )
        for name, parts in layers.items()
    ]
