"""How cells start where their papers say so: fillers for ``param(init=...)``, in place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST = 100
"""The longest time scale, in steps, that cells with time constants start with."""


@torch.no_grad()
def forget_bias(b: Tensor) -> None:
    """An LSTM's ``b`` [4*H] in the order i, f, g, o: forget gates at 1, the rest in ±1/√H.

    A forget gate that starts open lets the gradient through time from the first update on
    (Gers et al. 2000; Jozefowicz et al. 2015).
    """
    hidden_size = b.shape[0] // 4
    b.uniform_(-1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))
    b[hidden_size : 2 * hidden_size].fill_(1.0)


@torch.no_grad()
def chrono_bias(b: Tensor) -> None:
    """``b`` [2*H] in the order forget gate, candidate: log U(1, ``LONGEST`` − 1), and 0.

    A unit whose forget gate has the bias log(T) remembers for about T steps (Tallec and Ollivier
    2018, arXiv:1804.11188).
    """
    forget, candidate = b.chunk(2)
    forget.uniform_(1, LONGEST - 1).log_()
    candidate.zero_()


@torch.no_grad()
def log_time_constants(log_tau: Tensor) -> None:
    """Logarithms of time constants in 1 … ``LONGEST`` steps, spread evenly over the scales."""
    log_tau.uniform_(0, math.log(LONGEST))
