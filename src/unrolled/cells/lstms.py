"""Long short-term memory and its variants: a cell state c that gates write, keep and read."""

# A step function stands as in the textbook; its arguments' roles are what @cell reads.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from torch import cat, sigmoid, tanh
from torch.nn.functional import layer_norm

from unrolled.cell import cell, param, state
from unrolled.cells.initial import chrono_bias, forget_bias


@cell
def lstm(
    x, h, c, *, W_ih=param("4*H", "D"), W_hh=param("4*H", "H"),
    b_ih=param("4*H"), b_hh=param("4*H"),
):  # fmt: skip
    """Long short-term memory with two biases, as ``torch.nn.LSTM`` has it.

    i, f, o = σ(W_i· x + b_i· + W_h· h + b_h·), g = tanh(…);  c_t = f ⊙ c_{t-1} + i ⊙ g;
    h_t = o ⊙ tanh(c_t).  Rows of the weights are in the order i, f, g, o.

    Paper: Hochreiter and Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8).
    """
    W_ii, W_if, W_ig, W_io = W_ih.chunk(4)
    W_hi, W_hf, W_hg, W_ho = W_hh.chunk(4)
    b_ii, b_if, b_ig, b_io = b_ih.chunk(4)
    b_hi, b_hf, b_hg, b_ho = b_hh.chunk(4)
    i = sigmoid(W_ii @ x + b_ii + W_hi @ h + b_hi)
    f = sigmoid(W_if @ x + b_if + W_hf @ h + b_hf)
    g = tanh(W_ig @ x + b_ig + W_hg @ h + b_hg)
    o = sigmoid(W_io @ x + b_io + W_ho @ h + b_ho)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c


@cell
def lstm_projected(
    x, h=state("P"), c=state("H"), *, W_ih=param("4*H", "D"), W_hh=param("4*H", "P"),
    b_ih=param("4*H"), b_hh=param("4*H"), W_hr=param("P", "H"),
):  # fmt: skip
    """LSTM whose hidden state is projected to size P, as ``torch.nn.LSTM(proj_size=P)`` has it.

    The gates of ``lstm`` over the projected state;  h_t = W_hr (o ⊙ tanh(c_t)).

    Paper: Sak, Senior and Beaufays 2014, "Long short-term memory based recurrent neural network
    architectures for large vocabulary speech recognition", arXiv:1402.1128.
    """
    W_ii, W_if, W_ig, W_io = W_ih.chunk(4)
    W_hi, W_hf, W_hg, W_ho = W_hh.chunk(4)
    b_ii, b_if, b_ig, b_io = b_ih.chunk(4)
    b_hi, b_hf, b_hg, b_ho = b_hh.chunk(4)
    i = sigmoid(W_ii @ x + b_ii + W_hi @ h + b_hi)
    f = sigmoid(W_if @ x + b_if + W_hf @ h + b_hf)
    g = tanh(W_ig @ x + b_ig + W_hg @ h + b_hg)
    o = sigmoid(W_io @ x + b_io + W_ho @ h + b_ho)
    c = f * c + i * g
    h = W_hr @ (o * tanh(c))
    return h, c


@cell
def lstm_one_bias(
    x, h, c, *, W=param("4*H", "D"), U=param("4*H", "H"), b=param("4*H", init=forget_bias)
):  # fmt: skip
    """LSTM with one bias, whose forget gates start open.

    i, f, o = σ(W x + U h + b), g = tanh(…);  c_t = f ⊙ c_{t-1} + i ⊙ g;  h_t = o ⊙ tanh(c_t).

    Paper: Gers, Schmidhuber and Cummins 2000, "Learning to forget: continual prediction with
    LSTM", Neural Computation 12(10).
    """
    W_i, W_f, W_g, W_o = W.chunk(4)
    U_i, U_f, U_g, U_o = U.chunk(4)
    b_i, b_f, b_g, b_o = b.chunk(4)
    i = sigmoid(W_i @ x + U_i @ h + b_i)
    f = sigmoid(W_f @ x + U_f @ h + b_f)
    g = tanh(W_g @ x + U_g @ h + b_g)
    o = sigmoid(W_o @ x + U_o @ h + b_o)
    c = f * c + i * g
    return o * tanh(c), c


@cell
def lstm_concat(
    x, a, c, *,
    W_c=param("H", "H+D"), W_u=param("H", "H+D"), W_f=param("H", "H+D"), W_o=param("H", "H+D"),
    b_c=param("H"), b_u=param("H"), b_f=param("H"), b_o=param("H"),
):  # fmt: skip
    """LSTM with concatenated weights and one bias a gate, written with Γ for the gates.

    c̃ = tanh(W_c [a, x] + b_c), Γ_u, Γ_f, Γ_o = σ(W [a, x] + b);  c_t = Γ_u ⊙ c̃ + Γ_f ⊙ c_{t-1};
    a_t = Γ_o ⊙ tanh(c_t).  The update gate Γ_u is the input gate i.

    Paper: Hochreiter and Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8); the
    form of Ng 2018, "Sequence Models" (lectures).
    """
    c_tilde = tanh(W_c @ cat([a, x]) + b_c)
    Gamma_u = sigmoid(W_u @ cat([a, x]) + b_u)
    Gamma_f = sigmoid(W_f @ cat([a, x]) + b_f)
    Gamma_o = sigmoid(W_o @ cat([a, x]) + b_o)
    c = Gamma_u * c_tilde + Gamma_f * c
    return Gamma_o * tanh(c), c


@cell
def lstm_peephole(
    x, a, c, *,
    W_c=param("H", "H+D"), W_u=param("H", "H+D"), W_f=param("H", "H+D"), W_o=param("H", "H+D"),
    b_c=param("H"), b_u=param("H"), b_f=param("H"), b_o=param("H"),
    p_u=param("H"), p_f=param("H"), p_o=param("H"),
):  # fmt: skip
    """LSTM, concatenated weights, whose gates all look at the cell state before this step.

    Γ_u, Γ_f, Γ_o = σ(W [a, x] + p ⊙ c_{t-1} + b), else as ``lstm_concat``.  With p = 1 the
    cell state itself is added to each gate.

    Paper: Gers and Schmidhuber 2000, "Recurrent nets that time and count", IJCNN; the form of
    Ng 2018, "Sequence Models" (lectures).
    """
    c_tilde = tanh(W_c @ cat([a, x]) + b_c)
    Gamma_u = sigmoid(W_u @ cat([a, x]) + p_u * c + b_u)
    Gamma_f = sigmoid(W_f @ cat([a, x]) + p_f * c + b_f)
    Gamma_o = sigmoid(W_o @ cat([a, x]) + p_o * c + b_o)
    c = Gamma_u * c_tilde + Gamma_f * c
    return Gamma_o * tanh(c), c


@cell
def lstm_peephole_gers(
    x, h, c, *, W=param("4*H", "D"), U=param("4*H", "H"), b=param("4*H"), p=param("3*H")
):  # fmt: skip
    """LSTM with peepholes whose output gate sees the new cell state.

    i, f = σ(W x + U h + p ⊙ c_{t-1} + b), g = tanh(W x + U h + b);  c_t = f ⊙ c_{t-1} + i ⊙ g;
    o = σ(W x + U h + p ⊙ c_t + b);  h_t = o ⊙ tanh(c_t).

    Paper: Gers, Schraudolph and Schmidhuber 2002, "Learning precise timing with LSTM recurrent
    networks", Journal of Machine Learning Research 3.
    """
    W_i, W_f, W_g, W_o = W.chunk(4)
    U_i, U_f, U_g, U_o = U.chunk(4)
    b_i, b_f, b_g, b_o = b.chunk(4)
    p_i, p_f, p_o = p.chunk(3)
    i = sigmoid(W_i @ x + U_i @ h + p_i * c + b_i)
    f = sigmoid(W_f @ x + U_f @ h + p_f * c + b_f)
    g = tanh(W_g @ x + U_g @ h + b_g)
    c = f * c + i * g
    o = sigmoid(W_o @ x + U_o @ h + p_o * c + b_o)
    return o * tanh(c), c


@cell
def lstm_coupled(x, h, c, *, W=param("3*H", "D"), U=param("3*H", "H"), b=param("3*H")):
    """LSTM with coupled input and forget gate (CIFG): what is forgotten makes room for the new.

    f, o = σ(W x + U h + b), g = tanh(…);  c_t = f ⊙ c_{t-1} + (1 − f) ⊙ g;  h_t = o ⊙ tanh(c_t).

    Paper: Greff et al. 2017, "LSTM: a search space odyssey", arXiv:1503.04069.
    """
    W_f, W_g, W_o = W.chunk(3)
    U_f, U_g, U_o = U.chunk(3)
    b_f, b_g, b_o = b.chunk(3)
    f = sigmoid(W_f @ x + U_f @ h + b_f)
    g = tanh(W_g @ x + U_g @ h + b_g)
    o = sigmoid(W_o @ x + U_o @ h + b_o)
    c = f * c + (1 - f) * g
    return o * tanh(c), c


@cell
def lstm_layer_norm(
    x, h, c, *, W=param("4*H", "D"), U=param("4*H", "H"), b=param("4*H", init=0.0),
    gain_x=param("4*H", init=1.0), gain_h=param("4*H", init=1.0),
    gain_c=param("H", init=1.0), shift_c=param("H", init=0.0),
):  # fmt: skip
    """LSTM with layer normalisation of both products and of the cell state that is read.

    i, f, g, o = LN(W x; gain_x) + LN(U h; gain_h) + b;  c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ tanh(g);
    h_t = σ(o) ⊙ tanh(LN(c_t; gain_c, shift_c)).  The paper's shifts of the first two are in b.

    Paper: Ba, Kiros and Hinton 2016, "Layer normalization", arXiv:1607.06450.
    """
    v = layer_norm(W @ x, b.shape, gain_x) + layer_norm(U @ h, b.shape, gain_h) + b
    i, f, g, o = v.chunk(4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(layer_norm(c, c.shape, gain_c, shift_c))
    return h, c


@cell
def janet(
    x, c, *, W=param("2*H", "D"), U=param("2*H", "H"), b=param("2*H", init=chrono_bias), beta=1.0
):  # fmt: skip
    """Just another network (JANET): an LSTM with the forget gate alone.

    s = W_f x + U_f c + b_f, c̃ = tanh(W_c x + U_c c + b_c);
    c_t = σ(s) ⊙ c_{t-1} + (1 − σ(s − β)) ⊙ c̃.  σ(s) keeps; β > 0 lets in more than
    is forgotten.

    Paper: van der Westhuizen and Lasenby 2018, "The unreasonable effectiveness of the forget
    gate", arXiv:1804.04849.
    """
    W_f, W_c = W.chunk(2)
    U_f, U_c = U.chunk(2)
    b_f, b_c = b.chunk(2)
    s = W_f @ x + U_f @ c + b_f
    c_tilde = tanh(W_c @ x + U_c @ c + b_c)
    return sigmoid(s) * c + (1 - sigmoid(s - beta)) * c_tilde
