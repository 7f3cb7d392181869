"""Layers of every kind and the calls of them that torch's tools are tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

import unrolled as ur
from layer_samples import rounding
from unrolled import cells

T, B, D, H = 9, 5, 3, 4
LENGTHS = torch.tensor([9, 2, 0, 5, 7])


@dataclass(frozen=True)
class Sample:
    """How a layer is made, and what it is called with besides ``x``."""

    make: Callable[..., Any]
    given: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def layer(self, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
        torch.manual_seed(0)
        return self.make(dtype=dtype, **self.options, **options)

    def call(
        self, layer: nn.Module, steps: int = T, batch: int = B
    ) -> tuple[Tensor, dict[str, Any]]:
        """``x``, and the keywords of a call."""
        source = torch.Generator().manual_seed(1)
        x = torch.randn(steps, batch, D, generator=source, dtype=torch.float64)
        resets = torch.rand(steps, batch, generator=source) < 0.3
        if layer.batch_first:
            x, resets = x.transpose(0, 1).contiguous(), resets.T.contiguous()
        lengths = LENGTHS.repeat(2)[:batch].clamp(max=steps)
        every: dict[str, Any] = {"lengths": lengths, "resets": resets}
        given = {name: every[name] for name in self.given}
        if self.outputs:
            given["outputs"] = self.outputs
        return x.to(next(layer.parameters()).dtype), given


def _stack(cell: Any, **fixed: Any) -> Callable[..., Any]:
    return lambda **options: ur.Recurrent(cell, D, H, 2, **fixed, **options)


def _drop_in(name: str, **fixed: Any) -> Callable[..., Any]:
    return lambda **options: getattr(ur, name)(D, H, 2, **fixed, **options)


SAMPLES = {
    "plain": Sample(_stack(cells.gru, bidirectional=True)),
    "lengths": Sample(_stack(cells.lstm, bidirectional=True, learn_initial=True), ("lengths",)),
    "resets": Sample(_stack(cells.gru, learn_initial=True), ("resets",)),
    "all at once": Sample(
        _stack(cells.lstm, bidirectional=True, batch_first=True, learn_initial=True),
        ("lengths", "resets"),
        ("c",),
    ),
    "checkpoint": Sample(
        _stack(cells.gru_cho, checkpoint="sqrt", bidirectional=True), ("lengths", "resets")
    ),
    "checkpoint, even": Sample(_stack(cells.mgu, checkpoint=2)),
    "a cell for each layer": Sample(
        lambda **o: ur.Recurrent(
            [cells.lstm, cells.gru], D, [4, 5], bidirectional=True, learn_initial=True, **o
        ),
        ("lengths",),
    ),
    "composed": Sample(
        lambda **o: ur.Recurrent(ur.residual(cells.gru_cho), D, D, 2, **o),
        ("lengths",),
    ),
    "noisy": Sample(_stack(ur.zoneout(cells.lstm, h=0.5), bidirectional=True)),
    "RNN": Sample(_drop_in("RNN", bidirectional=True)),
    "GRU": Sample(_drop_in("GRU", bidirectional=True, batch_first=True), ("lengths", "resets")),
    "LSTM": Sample(_drop_in("LSTM", proj_size=2), ("lengths",)),
}


def tensors(result: Any) -> list[Tensor]:
    """All tensors of a layer's results."""
    return pytree.tree_leaves(result)


def squares(result: Any) -> Tensor:
    """A loss that reads every result."""
    return torch.stack([(k + 1) * t.square().sum() for k, t in enumerate(tensors(result))]).sum()


def loss_of(layer: nn.Module, given: Mapping[str, Any]) -> Callable[..., Tensor]:
    """``loss(parameters, x)``; noise is the same in every call."""

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return squares(functional_call(layer, parameters, (x,), dict(given)))

    return loss


def filled(found: Any, like: Any) -> list[Tensor]:
    """Gradients, with zeros for what was not reached."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, like, strict=True)]


def assert_close(
    found: Any, expected: Any, layers: int = 2, steps: int = T, batch: int = B
) -> None:
    """Equal but for rounding; derivatives of derivatives say more ``layers`` than there are."""
    assert len(found) == len(expected)
    most = max((float(e.detach().abs().max()) for e in expected if e.numel()), default=1.0)
    for a, b in zip(found, expected, strict=True):
        unit = torch.finfo(b.dtype).eps / torch.finfo(torch.float64).eps
        bound = unit * rounding(layers, steps, batch, most)
        torch.testing.assert_close(a, b, rtol=0, atol=bound)
