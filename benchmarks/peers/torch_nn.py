"""``torch.nn.RNN``, ``GRU`` and ``LSTM``, one layer, time-major."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.peers.contestant import Contestant, in_torch
from benchmarks.problems import Mode, Problem

LAYERS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
NAMES = {
    "W_ih": "weight_ih_l0",
    "W_hh": "weight_hh_l0",
    "b_ih": "bias_ih_l0",
    "b_hh": "bias_hh_l0",
}


def build(problem: Problem, mode: Mode) -> Contestant:
    """The layer with the problem's parameters."""
    x, params = problem.leaves(mode)
    layer = LAYERS[problem.cell.name](problem.point.D, problem.point.H)
    layer.load_state_dict({NAMES[name]: p for name, p in params.items()})
    layer.train(mode == "training")
    h = [s.unsqueeze(0) for s in problem.states]
    initial = tuple(h) if len(h) > 1 else h[0]

    def forward() -> tuple[Tensor, tuple[Tensor, ...]]:
        y, final = layer(x, initial)
        return y, tuple(s.squeeze(0) for s in (final if isinstance(final, tuple) else (final,)))

    weights = dict(layer.named_parameters())
    return in_torch(problem, mode, forward, (x, *(weights[NAMES[name]] for name in params)))
