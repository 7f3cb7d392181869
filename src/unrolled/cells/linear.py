"""Cells whose gates see the input alone: linear and elementwise in the state."""

# A step function stands as in the textbook; its arguments' roles are what @cell reads.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from torch import sigmoid

from unrolled.cell import cell, param


@cell
def mingru(x, h, *, W=param("2*H", "D"), b=param("2*H")):
    """Minimal GRU: the update gate and the candidate see the input alone.

    z = σ(W_z x + b_z), h̃ = W_h x + b_h;  h_t = (1 − z) ⊙ h_{t-1} + z ⊙ h̃.  z lets in.

    Paper: Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201.
    """
    W_z, W_h = W.chunk(2)
    b_z, b_h = b.chunk(2)
    z = sigmoid(W_z @ x + b_z)
    h_tilde = W_h @ x + b_h
    return (1 - z) * h + z * h_tilde


@cell
def minlstm(x, h, *, W=param("3*H", "D"), b=param("3*H")):
    """Minimal LSTM: forget and input gate see the input alone and are scaled to add up to one.

    f, i = σ(W x + b), h̃ = W_h x + b_h;  f' = f / (f + i), i' = i / (f + i);
    h_t = f' ⊙ h_{t-1} + i' ⊙ h̃.

    Paper: Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201.
    """
    W_f, W_i, W_h = W.chunk(3)
    b_f, b_i, b_h = b.chunk(3)
    f = sigmoid(W_f @ x + b_f)
    i = sigmoid(W_i @ x + b_i)
    h_tilde = W_h @ x + b_h
    f_prime, i_prime = f / (f + i), i / (f + i)
    return f_prime * h + i_prime * h_tilde


@cell
def sru(x, c, *, W=param("3*H", "D"), b=param("2*H"), W_s=param("H", "D")):
    """Simple recurrent unit: a light recurrence under a highway connection.

    x̃ = W x, f, r = σ(W x + b);  c_t = f ⊙ c_{t-1} + (1 − f) ⊙ x̃;  h_t = r ⊙ c_t + (1 − r) ⊙ W_s x.
    In the form of the paper's first version (2017), whose gates don't see the state.  The paper's
    highway carries x itself, which needs D = H; W_s is the identity there.

    Paper: Lei et al. 2018, "Simple recurrent units for highly parallelizable recurrence",
    arXiv:1709.02755.
    """
    W_x, W_f, W_r = W.chunk(3)
    b_f, b_r = b.chunk(2)
    x_tilde = W_x @ x
    f = sigmoid(W_f @ x + b_f)
    r = sigmoid(W_r @ x + b_r)
    c = f * c + (1 - f) * x_tilde
    h = r * c + (1 - r) * (W_s @ x)
    return h, (c,)
