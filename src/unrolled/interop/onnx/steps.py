"""One time step of ONNX's RNN, GRU and LSTM nodes, as cells.

The equations and the order of gates (i, o, f, c and z, r, h; peepholes i, o, f) are those of the
ONNX specification, opset 22.  Where it leaves a question open, ONNX Runtime's answer is taken:
``clip`` bounds what goes into the gates' activations, peepholes included, and leaves the cell state
that ``h`` reads as it is; ``input_forget`` makes the forget gate 1 − i.
"""

# A step function stands as in the specification; its arguments' roles are what @cell reads.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import cat

from unrolled.cell import Cell, cell, param
from unrolled.interop.onnx.activations import Activation

SIGMOID, TANH = Activation("Sigmoid"), Activation("Tanh")


def _clipped(f: Activation, clip: float | None) -> Callable[[Any], Any]:
    if clip is None:
        return f
    return lambda v: f(torch.clamp(v, -clip, clip))


@cell
def rnn(
    x, h, *, W=param("H", "D"), R=param("H", "H"), B=param("2*H"), activations=(TANH,), clip=None
):  # fmt: skip
    """H_t = f(W x + R h + W_b + R_b)."""
    f = _clipped(activations[0], clip)
    W_b, R_b = B.chunk(2)
    return f(W @ x + R @ h + W_b + R_b)


@cell
def gru(
    x, h, *, W=param("3*H", "D"), R=param("3*H", "H"), B=param("6*H"),
    activations=(SIGMOID, TANH), clip=None, linear_before_reset=False,
):  # fmt: skip
    """z, r = f(…); h̃ = g(W_h x + R_h (r ⊙ h) + R_bh + W_bh); H_t = (1 − z) ⊙ h̃ + z ⊙ h.

    With ``linear_before_reset``, h̃ = g(W_h x + r ⊙ (R_h h + R_bh) + W_bh).
    """
    f, g = (_clipped(a, clip) for a in activations)
    W_z, W_r, W_h = W.chunk(3)
    R_z, R_r, R_h = R.chunk(3)
    W_bz, W_br, W_bh, R_bz, R_br, R_bh = B.chunk(6)
    z = f(W_z @ x + R_z @ h + W_bz + R_bz)
    r = f(W_r @ x + R_r @ h + W_br + R_br)
    if linear_before_reset:
        h_tilde = g(W_h @ x + r * (R_h @ h + R_bh) + W_bh)
    else:
        h_tilde = g(W_h @ x + R_h @ (r * h) + R_bh + W_bh)
    return (1 - z) * h_tilde + z * h


@cell
def lstm(
    x, h, c, *, W=param("4*H", "D"), R=param("4*H", "H"), B=param("8*H"), P=param("3*H"),
    activations=(SIGMOID, TANH, TANH), clip=None, input_forget=False, with_c=False,
):  # fmt: skip
    """i, f = f(… + P ⊙ c); C_t = f ⊙ c + i ⊙ g(…); o = f(… + P_o ⊙ C_t); H_t = o ⊙ h(C_t).

    ``with_c`` puts out H_t and C_t side by side.
    """
    f, g = (_clipped(a, clip) for a in activations[:2])
    H = h.shape[-1]
    v = W @ x + R @ h + B[: 4 * H] + B[4 * H :]
    v_i, v_o, v_f, v_c = v.chunk(4)
    P_i, P_o, P_f = P.chunk(3)
    i = f(v_i + P_i * c)
    keep = 1 - i if input_forget else f(v_f + P_f * c)
    c = keep * c + i * g(v_c)
    h = f(v_o + P_o * c) * activations[2](c)
    return (cat([h, c]) if with_c else h), (h, c)


CELLS: dict[str, Cell] = {"RNN": rnn, "GRU": gru, "LSTM": lstm}
