"""``unrolled cells``: equations as text, of ours, of composed cells and of a user's own."""

from pathlib import Path

import pytest

from command_line import Command
from unrolled.cells import CELLS
from unrolled.cli import equations as text
from unrolled.models.layers import find_cell
from unrolled.ops import TABLE

PEEPHOLE = """\
lstm_peephole: LSTM, concatenated weights, whose gates all look at the cell state before this step
  c̃[t]   = tanh(W_c [a[t-1], x[t]] + b_c)
  Γ_u[t] = σ(W_u [a[t-1], x[t]] + p_u ⊙ c[t-1] + b_u)
  Γ_f[t] = σ(W_f [a[t-1], x[t]] + p_f ⊙ c[t-1] + b_f)
  Γ_o[t] = σ(W_o [a[t-1], x[t]] + p_o ⊙ c[t-1] + b_o)
  c[t]   = Γ_u[t] ⊙ c̃[t] + Γ_f[t] ⊙ c[t-1]
  a[t]   = Γ_o[t] ⊙ tanh(c[t])
"""
ZONED = """\
zoneout(gru_cho, h=0.1)
  [W_r; W_z; W_h] = W
  [U_r; U_z; U_h] = U
  [b_r; b_z; b_h] = b
  r[t]            = σ(W_r x[t] + U_r h[t-1] + b_r)
  z[t]            = σ(W_z x[t] + U_z h[t-1] + b_z)
  h̃[t]            = tanh(W_h x[t] + U_h (r[t] ⊙ h[t-1]) + b_h)
  h[t]            = zoneout_h[t] ⊙ h[t-1] + (1 - zoneout_h[t]) ⊙ (z[t] ⊙ h[t-1] + (1 - z[t]) ⊙ h̃[t])
"""
OWN = """
import torch
from unrolled import cell, param

@cell
def mine(x, h, *, W=param("H", "D"), log_tau=param("H")):
    keep = torch.exp(-1 / torch.exp(log_tau))
    gate = torch.where(x[0] > 0, keep, 0.25 * keep**2)
    return gate * h + torch.sqrt(torch.abs(W @ x))
"""


def test_a_cell_by_its_name(unrolled: Command):
    done = unrolled("cells", "lstm_peephole")
    assert (done.status, done.err) == (0, "")
    assert done.out == PEEPHOLE


def test_several_and_composed_ones(unrolled: Command):
    done = unrolled("cells", "lstm_peephole", "zoneout(gru_cho, h=0.1)")
    assert done.out == f"{PEEPHOLE}\n{ZONED}"


def test_a_cell_of_ones_own(unrolled: Command, tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN)
    done = unrolled("cells", f"{tmp_path}/own.py:mine")
    assert (
        done.out
        == """\
mine
  keep    = e^(-1 / e^log_τ)
  gate[t] = (keep if x[t][0] > 0 else 0.25 keep^2)
  h[t]    = gate[t] ⊙ h[t-1] + sqrt(|W x[t]|)
"""
    )


def test_without_a_name_all_are_shown(unrolled: Command):
    parts = unrolled("cells").out.rstrip("\n").split("\n\n")
    assert [part.partition(":")[0] for part in parts] == list(CELLS)


def test_a_residual_cell_has_an_input_as_long_as_its_output(unrolled: Command):
    assert (
        unrolled("cells", "residual(elman)").out
        == """\
residual(elman)
  h[t] = tanh(W_xh x[t] + W_hh h[t-1] + b_h)
  y[t] = h[t] + x[t]
"""
    )


def test_latex(unrolled: Command):
    done = unrolled("cells", "gru", "--latex")
    assert "\\begin{aligned}" in done.out
    assert "h_{t} &= \\left(1 - z_{t}\\right) \\odot n_{t} + z_{t} \\odot h_{t-1}" in done.out


def test_an_unknown_cell_is_refused(unrolled: Command):
    done = unrolled("cells", "lstm_peephol")
    assert done.status == 2
    assert done.err.startswith("unrolled: error: there is no cell 'lstm_peephol': did you mean")


@pytest.mark.parametrize("name", [*CELLS, "layer_norm(lstm, c)", "with_activation(gru, tanh=selu)"])
def test_nothing_of_latex_is_left(name: str):
    shown = text.equations(find_cell(name))
    assert not set(shown) & set("\\{}&")
    assert shown.count("(") == shown.count(")")
    assert shown.count("[") == shown.count("]")


@pytest.mark.parametrize("op", TABLE)
def test_every_operation_can_be_shown(op: str):
    """Whatever the op table typesets is known here."""
    shown = {"all": "a, b", "positions": ":, 0:H", "exponent": "2"}
    latex = TABLE[op].latex[1].format("x_{t}", "W_{hh}", "b", **shown)
    plain = text._plain(latex)
    assert not set(plain) & set("\\{}&")
    assert "begin" not in plain
    assert "x[t]" in plain or op in ("where", "cat")


@pytest.mark.parametrize(
    ("latex", "plain"),
    [
        (r"\frac{a + b}{c_{t}}", "((a + b) / c[t])"),
        (r"\frac{1}{\sqrt{x_{t}}}", "(1 / sqrt(x[t]))"),
        (r"W_{hh}^\top h_{t-1}", "W_hh^T h[t-1]"),
        (r"{h_{t}^{2}}^{3}", "h[t]^2^3"),
        (r"\Gamma_{u, t}", "Γ_u[t]"),
        (r"\mathrm{gain}_{x}", "gain_x"),
        (r"10^{-5}", "10^-5"),
        (r"2 \cdot 10^{-5} \, \tilde{c}_{t}", "2 · 10^-5 c̃[t]"),
    ],
)
def test_notation(latex: str, plain: str):
    assert text._plain(latex) == plain
