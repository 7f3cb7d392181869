"""Recurrent cells without gates: Elman's, in each way it is written, the leaky one and IndRNN."""

# A step function stands as in the textbook; its arguments' roles are what @cell reads.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from torch import cat, exp, relu, tanh
from torch.nn.init import uniform_

from unrolled.cell import cell, param
from unrolled.cells.activations import activation
from unrolled.cells.initial import log_time_constants


@cell
def rnn(
    x, h, *, W_ih=param("H", "D"), W_hh=param("H", "H"), b_ih=param("H"), b_hh=param("H"),
    nonlinearity="tanh",
):  # fmt: skip
    """Simple recurrent network with two biases, as ``torch.nn.RNN`` has it.

    h_t = g(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), where g is tanh, relu or sigmoid.

    Paper: Elman 1990, "Finding structure in time", Cognitive Science 14(2).
    """
    g = activation(nonlinearity)
    return g(W_ih @ x + b_ih + W_hh @ h + b_hh)


@cell
def elman(
    x, h, *, W_xh=param("H", "D"), W_hh=param("H", "H"), b_h=param("H"), nonlinearity="tanh"
):  # fmt: skip
    """Simple recurrent network, one bias, a weight for the input and one for the state.

    h_t = g(W_xh x_t + W_hh h_{t-1} + b_h), where g is tanh, relu or sigmoid.

    Paper: Elman 1990, "Finding structure in time", Cognitive Science 14(2).
    """
    g = activation(nonlinearity)
    return g(W_xh @ x + W_hh @ h + b_h)


@cell
def elman_rows(
    x, h, *, W_xh=param("D", "H"), W_hh=param("H", "H"), b_h=param("H"), nonlinearity="tanh"
):  # fmt: skip
    """Simple recurrent network on row vectors: the weights stand at the right, transposed.

    h_t = g(x_t W_xh + h_{t-1} W_hh + b_h), where g is tanh, relu or sigmoid.

    Paper: Elman 1990, "Finding structure in time", Cognitive Science 14(2).
    """
    g = activation(nonlinearity)
    return g(x @ W_xh + h @ W_hh + b_h)


@cell
def elman_concat(x, a, *, W_a=param("H", "H+D"), b_a=param("H"), nonlinearity="tanh"):
    """Simple recurrent network with one weight for the state and the input, side by side.

    a_t = g(W_a [a_{t-1}, x_t] + b_a), where g is tanh, relu or sigmoid.

    Paper: Elman 1990, "Finding structure in time", Cognitive Science 14(2); the form of
    Ng 2018, "Sequence Models" (lectures).
    """
    g = activation(nonlinearity)
    return g(W_a @ cat([a, x]) + b_a)


@cell
def elman_output(
    x, h, *, W_xh=param("H", "D"), W_hh=param("H", "H"), b_h=param("H"),
    W_hy=param("O", "H"), b_y=param("O"), nonlinearity="tanh", output="identity",
):  # fmt: skip
    """Simple recurrent network with an output of its own, of size O, at each step.

    h_t = g(W_xh x_t + W_hh h_{t-1} + b_h);  y_t = g'(W_hy h_t + b_y), where g' is identity (y are
    logits), sigmoid or softmax.

    Paper: Elman 1990, "Finding structure in time", Cognitive Science 14(2).
    """
    h = activation(nonlinearity)(W_xh @ x + W_hh @ h + b_h)
    y = activation(output)(W_hy @ h + b_y)
    return y, (h,)


@cell
def elman_concat_output(
    x, a, *, W_a=param("H", "H+D"), b_a=param("H"), W_y=param("O", "H"), b_y=param("O"),
    nonlinearity="tanh", output="softmax",
):  # fmt: skip
    """Simple recurrent network with the concatenated weight and an output of size O.

    a_t = g(W_a [a_{t-1}, x_t] + b_a);  ŷ_t = g'(W_y a_t + b_y), where g' is softmax, sigmoid or
    identity.

    Paper: Elman 1990, "Finding structure in time", Cognitive Science 14(2); the form of
    Ng 2018, "Sequence Models" (lectures).
    """
    a = activation(nonlinearity)(W_a @ cat([a, x]) + b_a)
    y_hat = activation(output)(W_y @ a + b_y)
    return y_hat, (a,)


@cell
def leaky_rnn(
    x, h, *, W=param("H", "D"), U=param("H", "H"), b=param("H"),
    log_tau=param("H", init=log_time_constants), dt=1.0,
):  # fmt: skip
    """Leaky (continuous-time) recurrent network, with a time constant for each unit.

    τ dh/dt = −h + tanh(W x + U h + b), solved over a step of length dt with the right side's tanh
    held: h_t = k h_{t-1} + (1 − k) tanh(W x_t + U h_{t-1} + b), k = exp(−dt/τ).  Euler's
    k = 1 − dt/τ is its first order; this one is stable for every τ > 0, and τ is learned through
    its logarithm.

    Paper: Funahashi and Nakamura 1993, "Approximation of dynamical systems by continuous time
    recurrent neural networks", Neural Networks 6(6).
    """
    keep = exp(-dt / exp(log_tau))
    return keep * h + (1 - keep) * tanh(W @ x + U @ h + b)


@cell
def indrnn(x, h, *, W=param("H", "D"), u=param("H", init=uniform_), b=param("H")):
    """Independently recurrent network: each unit sees its own past alone.

    h_t = relu(W x_t + u ⊙ h_{t-1} + b).  u starts uniform in [0, 1], the limit for long
    sequences of the paper's [0, 2^(1/T)].

    Paper: Li et al. 2018, "Independently recurrent neural network (IndRNN): building a longer and
    deeper RNN", arXiv:1803.04831.
    """
    return relu(W @ x + u * h + b)
