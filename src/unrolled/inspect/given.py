"""What a model is called with: its own arguments, or a text where it is a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from unrolled.inspect.text import TextSample
from unrolled.inspect.watch import LayerRun, watch
from unrolled.models.language_model import LanguageModel

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, from 0 to 1."""


def arguments(model: nn.Module, x: str | Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of a call: ``x`` itself, or the tokens ``[T, 1]`` of a text.

    Raises:
        TypeError: where ``x`` is neither, or a text for a model that reads none.
        DataError: where the text is empty or unknown to the model.
        ValueError: where there are no steps or no sequences.
    """
    if isinstance(x, str):
        return (TextSample.of(model, x).fed.to(cast(LanguageModel, model).device),)
    if not isinstance(x, (tuple, list)):
        raise TypeError(
            "expected a text, or the model's arguments in a tuple, (x,) for one; got "
            f"{type(x).__name__}"
        )
    for n, value in enumerate(x):
        if isinstance(value, Tensor) and 0 in value.shape[:2]:
            raise ValueError(
                f"argument {n + 1} of the model is empty, {list(value.shape)}: give one sequence "
                "or more, of one step or more"
            )
    return tuple(x)


def cut(model: nn.Module, text: str, steps: int, most: int) -> tuple[Tensor, Tensor]:
    """A text in sequences that don't overlap, evenly over all of it, as tokens ``[T, B]``.

    Each begins in the middle of things, on the state zero.  With them the token after each, int64
    ``[B]``; T is at least 4, B at most ``most``.

    Raises:
        TypeError: where the model reads no text.
        DataError: where the text has fewer than ``steps + 1`` tokens, or what the model can't read.
    """
    sample = TextSample.of(model, text, least=steps + 1)
    n = len(sample)
    count = min(most, n // (steps + 1))
    starts = torch.linspace(0, n - steps - 1, count, dtype=torch.float64).long()
    places = starts + torch.arange(steps + 1).unsqueeze(1)
    tokens = sample.tokens[places].to(cast(LanguageModel, model).device)
    return tokens[:-1], tokens[-1]


def one_sequence(model: nn.Module, x: str | Sequence[Any]) -> list[tuple[LayerRun, int]]:
    """What each layer does on the longest sequence of a batch: its run, and which one that is.

    Raises:
        ModelError: where there are no recurrent layers, numbers that are not finite, or a layer
            that ran several times.
        ValueError: where a layer's input or states are not finite.
    """
    given = arguments(model, x)
    with watch(model) as seen, torch.no_grad():
        model(*given)
    for run in seen.once():
        values = {"input": run.x, **{f"state {k}": s for k, s in run.states.items()}}
        for what, value in values.items():
            if not value.isfinite().all():
                at = int((~value.isfinite()).flatten(1).any(1).nonzero()[0])
                raise ValueError(f"{run.name}: its {what} is not finite from step {at} on")
    return [(run, int(run.lengths.argmax())) for run in seen.runs]
