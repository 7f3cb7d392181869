"""Gated recurrent units and simpler kin: one state, mixed of its old value and a candidate."""

# A step function stands as in the textbook; its arguments' roles are what @cell reads.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from torch import cat, sigmoid, tanh

from unrolled.cell import cell, param


@cell
def gru(
    x, h, *, W_ih=param("3*H", "D"), W_hh=param("3*H", "H"),
    b_ih=param("3*H"), b_hh=param("3*H"),
):  # fmt: skip
    """Gated recurrent unit with the reset after the product, as ``torch.nn.GRU`` has it.

    r, z = σ(W_i· x + b_i· + W_h· h + b_h·), n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn));
    h_t = (1 − z) ⊙ n + z ⊙ h_{t-1}.  Rows of the weights are in the order r, z, n; z keeps.

    Paper: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", arXiv:1406.1078v1.
    """
    W_ir, W_iz, W_in = W_ih.chunk(3)
    W_hr, W_hz, W_hn = W_hh.chunk(3)
    b_ir, b_iz, b_in = b_ih.chunk(3)
    b_hr, b_hz, b_hn = b_hh.chunk(3)
    r = sigmoid(W_ir @ x + b_ir + W_hr @ h + b_hr)
    z = sigmoid(W_iz @ x + b_iz + W_hz @ h + b_hz)
    n = tanh(W_in @ x + b_in + r * (W_hn @ h + b_hn))
    return (1 - z) * n + z * h


@cell
def gru_cho(x, h, *, W=param("3*H", "D"), U=param("3*H", "H"), b=param("3*H")):
    """Gated recurrent unit with the reset before the product.

    r, z = σ(W x + U h + b), h̃ = tanh(W x + U (r ⊙ h) + b);  h_t = z ⊙ h_{t-1} + (1 − z) ⊙ h̃.
    Rows of the weights are in the order r, z, h̃; z keeps.

    Paper: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", arXiv:1406.1078v3.
    """
    W_r, W_z, W_h = W.chunk(3)
    U_r, U_z, U_h = U.chunk(3)
    b_r, b_z, b_h = b.chunk(3)
    r = sigmoid(W_r @ x + U_r @ h + b_r)
    z = sigmoid(W_z @ x + U_z @ h + b_z)
    h_tilde = tanh(W_h @ x + U_h @ (r * h) + b_h)
    return z * h + (1 - z) * h_tilde


@cell
def gru_full(
    x, c, *, W_c=param("H", "H+D"), W_u=param("H", "H+D"), W_r=param("H", "H+D"),
    b_c=param("H"), b_u=param("H"), b_r=param("H"),
):  # fmt: skip
    """Gated recurrent unit with concatenated weights and the relevance gate, written with Γ.

    c̃ = tanh(W_c [Γ_r ⊙ c, x] + b_c), Γ_u, Γ_r = σ(W [c, x] + b);
    c_t = Γ_u ⊙ c̃ + (1 − Γ_u) ⊙ c_{t-1}.  Γ_u lets in; it is 1 − z of ``gru_cho``.

    Paper: Chung et al. 2014, "Empirical evaluation of gated recurrent neural networks on sequence
    modeling", arXiv:1412.3555; the form of Ng 2018, "Sequence Models" (lectures).
    """
    Gamma_u = sigmoid(W_u @ cat([c, x]) + b_u)
    Gamma_r = sigmoid(W_r @ cat([c, x]) + b_r)
    c_tilde = tanh(W_c @ cat([Gamma_r * c, x]) + b_c)
    return Gamma_u * c_tilde + (1 - Gamma_u) * c


@cell
def gru_simple(
    x, c, *, W_c=param("H", "H+D"), W_u=param("H", "H+D"), b_c=param("H"), b_u=param("H")
):  # fmt: skip
    """Simplified gated recurrent unit with the update gate alone, written with Γ.

    c̃ = tanh(W_c [c, x] + b_c), Γ_u = σ(W_u [c, x] + b_u);  c_t = Γ_u ⊙ c̃ + (1 − Γ_u) ⊙ c_{t-1}.
    Γ_u lets in.

    Paper: Ng 2018, "Sequence Models" (lectures), after Cho et al. 2014, arXiv:1406.1078.
    """
    c_tilde = tanh(W_c @ cat([c, x]) + b_c)
    Gamma_u = sigmoid(W_u @ cat([c, x]) + b_u)
    return Gamma_u * c_tilde + (1 - Gamma_u) * c


@cell
def gru_no_bias(
    x, h, *, W_z=param("H", "D"), U_z=param("H", "H"), W_r=param("H", "D"), U_r=param("H", "H"),
    W=param("H", "D"), U=param("H", "H"),
):  # fmt: skip
    """Gated recurrent unit without biases, the reset after the product.

    z = σ(W⁽ᶻ⁾ x + U⁽ᶻ⁾ h), r = σ(W⁽ʳ⁾ x + U⁽ʳ⁾ h), h' = tanh(W x + r ⊙ U h);
    h_t = z ⊙ h_{t-1} + (1 − z) ⊙ h'.  z keeps.

    Paper: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", arXiv:1406.1078v1.
    """
    z = sigmoid(W_z @ x + U_z @ h)
    r = sigmoid(W_r @ x + U_r @ h)
    h_prime = tanh(W @ x + r * (U @ h))
    return z * h + (1 - z) * h_prime


@cell
def mgu(x, h, *, W=param("2*H", "D"), U=param("2*H", "H"), b=param("2*H")):
    """Minimal gated unit: one gate both resets and updates.

    f = σ(W_f x + U_f h + b_f), h̃ = tanh(W_h x + U_h (f ⊙ h) + b_h);
    h_t = (1 − f) ⊙ h_{t-1} + f ⊙ h̃.  f lets in.

    Paper: Zhou et al. 2016, "Minimal gated unit for recurrent neural networks", arXiv:1603.09420.
    """
    W_f, W_h = W.chunk(2)
    U_f, U_h = U.chunk(2)
    b_f, b_h = b.chunk(2)
    f = sigmoid(W_f @ x + U_f @ h + b_f)
    h_tilde = tanh(W_h @ x + U_h @ (f * h) + b_h)
    return (1 - f) * h + f * h_tilde


@cell
def ugrnn(x, h, *, W=param("2*H", "D"), U=param("2*H", "H"), b=param("2*H")):
    """Update gate recurrent network: a simple recurrent network with one gate that keeps.

    g = σ(W_g x + U_g h + b_g), c = tanh(W_c x + U_c h + b_c);  h_t = g ⊙ h_{t-1} + (1 − g) ⊙ c.
    g keeps.

    Paper: Collins, Sohl-Dickstein and Sussillo 2017, "Capacity and trainability in recurrent
    neural networks", arXiv:1611.09913.
    """
    W_g, W_c = W.chunk(2)
    U_g, U_c = U.chunk(2)
    b_g, b_c = b.chunk(2)
    g = sigmoid(W_g @ x + U_g @ h + b_g)
    c = tanh(W_c @ x + U_c @ h + b_c)
    return g * h + (1 - g) * c
