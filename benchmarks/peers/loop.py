"""A loop over time in plain PyTorch, as a careful user writes a cell that no library has.

The whole batch at once; the products with x are taken for all steps before the loop; bias and
recurrent product go in one ``addmm``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, addmm, sigmoid, tanh
from torch.nn.functional import layer_norm, linear

from benchmarks.peers.contestant import Contestant, in_torch
from benchmarks.problems import Mode, Problem

Loop = Callable[[Tensor, tuple[Tensor, ...], dict[str, Tensor]], tuple[Tensor, tuple[Tensor, ...]]]


def gru_cho(
    x: Tensor, states: tuple[Tensor, ...], p: dict[str, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """GRU, the reset before the product."""
    (h,) = states
    n = h.shape[1]
    U_rz, U_h = p["U"][: 2 * n].t(), p["U"][2 * n :].t()
    x_rz, x_h = linear(x, p["W"], p["b"]).split((2 * n, n), dim=2)
    ys: list[Tensor] = []
    for v_rz, v_h in zip(x_rz.unbind(), x_h.unbind(), strict=True):
        r, z = sigmoid(addmm(v_rz, h, U_rz)).chunk(2, dim=1)
        h = torch.lerp(tanh(addmm(v_h, r * h, U_h)), h, z)
        ys.append(h)
    return torch.stack(ys), (h,)


def lstm_peephole_gers(
    x: Tensor, states: tuple[Tensor, ...], p: dict[str, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """LSTM whose gates see the cell state, the output gate the new one."""
    h, c = states
    U = p["U"].t()
    p_i, p_f, p_o = p["p"].chunk(3)
    ys: list[Tensor] = []
    for v in linear(x, p["W"], p["b"]).unbind():
        v_i, v_f, v_g, v_o = addmm(v, h, U).chunk(4, dim=1)
        i, f = sigmoid(torch.addcmul(v_i, p_i, c)), sigmoid(torch.addcmul(v_f, p_f, c))
        c = torch.addcmul(f * c, i, tanh(v_g))
        h = sigmoid(torch.addcmul(v_o, p_o, c)) * tanh(c)
        ys.append(h)
    return torch.stack(ys), (h, c)


def lstm_layer_norm(
    x: Tensor, states: tuple[Tensor, ...], p: dict[str, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """LSTM with layer normalisation of both products and of the cell state."""
    h, c = states
    U = p["U"].t()
    n, width = h.shape[1:], p["b"].shape
    ys: list[Tensor] = []
    for v in layer_norm(linear(x, p["W"]), width, p["gain_x"], p["b"]).unbind():
        i, f, g, o = (v + layer_norm(h @ U, width, p["gain_h"])).chunk(4, dim=1)
        c = torch.addcmul(sigmoid(f) * c, sigmoid(i), tanh(g))
        h = sigmoid(o) * tanh(layer_norm(c, n, p["gain_c"], p["shift_c"]))
        ys.append(h)
    return torch.stack(ys), (h, c)


LOOPS: dict[str, Loop] = {
    loop.__name__: loop for loop in (gru_cho, lstm_peephole_gers, lstm_layer_norm)
}


def build(problem: Problem, mode: Mode) -> Contestant:
    """The loop as it stands."""
    return run(LOOPS[problem.cell.name], problem, mode)


def run(loop: Loop, problem: Problem, mode: Mode) -> Contestant:
    """A loop, compiled or not."""
    x, params = problem.leaves(mode)
    return in_torch(problem, mode, lambda: loop(x, problem.states, params), (x, *params.values()))
