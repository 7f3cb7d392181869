"""Equations in LaTeX: lines, names, columns, states; parentheses where they are needed."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import cat, exp, sigmoid, sqrt, tanh

from function_table import ALL, labelled
from one_step import graph_of
from unrolled import cell, param
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.latex import latex
from unrolled.ops import TABLE

SIZES = {"D": 3, "H": 4}


def lines(of: Cell) -> list[str]:
    text = latex(of.graph(SIZES))
    first, *body, last = text.splitlines()
    assert (first, last) == (r"\begin{aligned}", r"\end{aligned}")
    return [line.strip().removesuffix(r" \\") for line in body]


def of_expression(f: Callable[..., Any]) -> str:
    """The right side for the new state ``f(x, h, W, U, b)``; all of length 4."""

    def step(x, h, *, W=param("H", "H"), U=param("H", "H"), b=param("H")):
        return f(x, h, W, U, b), {"unused": W.sum() + U.sum() + b.sum() + x.sum()}

    made = cell(step)
    return latex(made.graph({"D": 4, "H": 4})).splitlines()[1].strip().removesuffix(r" \\")


EXPRESSIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "a sum from the left": (lambda x, h, W, U, b: x + h + b, r"x_{t} + h_{t-1} + b"),
    "a sum from the right": (lambda x, h, W, U, b: x + (h + b), r"x_{t} + h_{t-1} + b"),
    "a difference": (lambda x, h, W, U, b: x - h - b, r"x_{t} - h_{t-1} - b"),
    "a difference of a sum": (
        lambda x, h, W, U, b: x - (h + b),
        r"x_{t} - \left(h_{t-1} + b\right)",
    ),
    "a difference of a difference": (
        lambda x, h, W, U, b: x - (h - b),
        r"x_{t} - \left(h_{t-1} - b\right)",
    ),
    "a product of a sum": (
        lambda x, h, W, U, b: (x + h) * (b - 1),
        r"\left(x_{t} + h_{t-1}\right) \odot \left(b - 1\right)",
    ),
    "a sum of products": (
        lambda x, h, W, U, b: x * h + b * x,
        r"x_{t} \odot h_{t-1} + b \odot x_{t}",
    ),
    "a negative": (lambda x, h, W, U, b: -h + x, r"-h_{t-1} + x_{t}"),
    "a negative on the right": (
        lambda x, h, W, U, b: x + -h,
        r"x_{t} + \left(-h_{t-1}\right)",
    ),
    "a negative subtracted": (
        lambda x, h, W, U, b: x - -h,
        r"x_{t} - \left(-h_{t-1}\right)",
    ),
    "a negative sum": (lambda x, h, W, U, b: -(h + x), r"-\left(h_{t-1} + x_{t}\right)"),
    "a negative product": (lambda x, h, W, U, b: -(h * x), r"-h_{t-1} \odot x_{t}"),
    "a number on the left": (lambda x, h, W, U, b: 2 * h, r"2 \, h_{t-1}"),
    "a number on the right": (lambda x, h, W, U, b: h * 0.5, r"0.5 \, h_{t-1}"),
    "a negative number": (lambda x, h, W, U, b: h * -0.5, r"(-0.5) \, h_{t-1}"),
    "a number added": (lambda x, h, W, U, b: h + -1, r"h_{t-1} + \left(-1\right)"),
    "a large number": (lambda x, h, W, U, b: h * 2.5e20, r"2.5 \cdot 10^{20} \, h_{t-1}"),
    "a small number": (lambda x, h, W, U, b: h + 1e-5, r"h_{t-1} + 10^{-5}"),
    "infinity": (
        lambda x, h, W, U, b: torch.maximum(h, torch.where(x > -math.inf, b, math.inf)),
        r"\max(h_{t-1}, \begin{cases} b & x_{t} > -\infty \\ \infty & \text{else} \end{cases})",
    ),
    "a product": (lambda x, h, W, U, b: W @ h, r"W h_{t-1}"),
    "a product of a sum of matrices": (
        lambda x, h, W, U, b: (W + U) @ h,
        r"\left(W + U\right) h_{t-1}",
    ),
    "a product with a sum": (lambda x, h, W, U, b: W @ (h + b), r"W \left(h_{t-1} + b\right)"),
    "a product with a product": (
        lambda x, h, W, U, b: W @ (h * b),
        r"W \left(h_{t-1} \odot b\right)",
    ),
    "products in a row": (lambda x, h, W, U, b: W @ (U @ h), r"W \left(U h_{t-1}\right)"),
    "a product by elements with a product": (
        lambda x, h, W, U, b: b * (W @ h),
        r"b \odot W h_{t-1}",
    ),
    "a transpose": (lambda x, h, W, U, b: W.T @ h, r"W^\top h_{t-1}"),
    "a transposed sum": (
        lambda x, h, W, U, b: (W + U).T @ h,
        r"\left(W + U\right)^\top h_{t-1}",
    ),
    "a power": (lambda x, h, W, U, b: h**2, r"h_{t-1}^{2}"),
    "a power of a sum": (
        lambda x, h, W, U, b: (h + x) ** -0.5,
        r"\left(h_{t-1} + x_{t}\right)^{-0.5}",
    ),
    "a power of a negative": (lambda x, h, W, U, b: (-h) ** 3, r"\left(-h_{t-1}\right)^{3}"),
    "a power of a product": (
        lambda x, h, W, U, b: (W @ h) ** 2,
        r"\left(W h_{t-1}\right)^{2}",
    ),
    "a power of a power": (lambda x, h, W, U, b: (h**2) ** 3, r"{h_{t-1}^{2}}^{3}"),
    "a power of an exponential": (lambda x, h, W, U, b: exp(h) ** 2, r"{e^{h_{t-1}}}^{2}"),
    "a fraction": (
        lambda x, h, W, U, b: (h + x) / (1 + b),
        r"\frac{h_{t-1} + x_{t}}{1 + b}",
    ),
    "functions": (
        lambda x, h, W, U, b: tanh(h + x) * sigmoid(-b) - sqrt(exp(x - 1)),
        r"\tanh(h_{t-1} + x_{t}) \odot \sigma(-b) - \sqrt{e^{x_{t} - 1}}",
    ),
    "an absolute value": (
        lambda x, h, W, U, b: h / (1 + abs(h)),
        r"\frac{h_{t-1}}{1 + \lvert h_{t-1} \rvert}",
    ),
    "a choice": (
        lambda x, h, W, U, b: torch.where((h > 0) & ~(x < b), h, -h),
        r"\begin{cases} h_{t-1} & \left(h_{t-1} > 0\right) \land \lnot \left(x_{t} < b\right) \\ "
        r"-h_{t-1} & \text{else} \end{cases}",
    ),
    "a sum over entries in a product": (
        lambda x, h, W, U, b: (x + b).sum() * h,
        r"\left(\textstyle\sum \left(x_{t} + b\right)\right) \odot h_{t-1}",
    ),
    "a sum over a product's entries": (
        lambda x, h, W, U, b: h + (x * b).sum(),
        r"h_{t-1} + \textstyle\sum x_{t} \odot b",
    ),
    "a slice": (
        lambda x, h, W, U, b: cat([h[1:3], x[::2]]),
        r"[h_{t-1}[1:3], x_{t}[0:H:2]]",
    ),
    "an entry": (lambda x, h, W, U, b: h[2] + x, r"h_{t-1}[2] + x_{t}"),
    "columns of a matrix": (
        lambda x, h, W, U, b: W[:, :2] @ h[2:],
        r"W[:, 0:2] h_{t-1}[2:H]",
    ),
    "entries by a list": (lambda x, h, W, U, b: h[[3, 1, 0, 0]], r"h_{t-1}[3, 1, 0, 0]"),
    "many entries by a list": (
        lambda x, h, W, U, b: h[[3, 1, 0, 0, 2, 1]][:4],
        r"h_{t-1}[3, 1, \ldots, 1][0:4]",
    ),
    "rows by a list": (lambda x, h, W, U, b: W[[0, 0, 1, 3]] @ h, r"W[(0, 0, 1, 3), :] h_{t-1}"),
    "what only rearranges": (
        lambda x, h, W, U, b: h.reshape(2, 2).flatten() + x.detach(),
        r"h_{t-1} + x_{t}",
    ),
}


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_expression(title: str) -> None:
    f, wanted = EXPRESSIONS[title]
    assert of_expression(f) == rf"h_{{t}} &= {wanted}".replace("x_{t}[0:H:2]", "x_{t}[0:D:2]")


@cell
def gates(x, h, c, *, W=param("3*H", "D"), U=param("3*H", "H"), b=param("3*H")):
    U_i, U_f, U_g = U.chunk(3)
    i, f, g = (W @ x + b).chunk(3)
    c = sigmoid(f + U_f @ h) * c + sigmoid(i + U_i @ h) * tanh(g + U_g @ h)
    return tanh(c), c, {"memory": c, "opened": i}


def test_lines_columns_and_states() -> None:
    assert lines(gates) == [
        r"\begin{bmatrix} U_{i} \\ U_{f} \\ U_{g} \end{bmatrix} &= U",
        r"\begin{bmatrix} i_{t} \\ f_{t} \\ g_{t} \end{bmatrix} &= W x_{t} + b",
        r"c_{t} &= \sigma(f_{t} + U_{f} h_{t-1}) \odot c_{t-1} + \sigma(i_{t} + U_{i} h_{t-1}) "
        r"\odot \tanh(g_{t} + U_{g} h_{t-1})",
        r"h_{t} &= \tanh(c_{t})",
        r"\mathrm{memory}_{t} &= c_{t}",
        r"\mathrm{opened}_{t} &= i_{t}",
    ]


def test_parts_that_leave_a_gap_are_no_column() -> None:
    @cell
    def step(x, h, *, W=param("3*H", "D")):
        v = W @ x
        a, b = v[: h.shape[0]], v[2 * h.shape[0] :]
        return a * h + b

    assert lines(step) == [
        r"v_{t} &= W x_{t}",
        r"a_{t} &= v_{t}[0:H]",
        r"b_{t} &= v_{t}[2 \, H:3 \, H]",
        r"h_{t} &= a_{t} \odot h_{t-1} + b_{t}",
    ]


def test_a_variable_that_is_assigned_again_is_told_apart() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        a = W @ x
        a = a + h
        h = tanh(h)
        h = h * a
        return h

    assert lines(step) == [
        r"a_{t} &= W x_{t}",
        r"a_{1, t} &= a_{t} + h_{t-1}",
        r"h_{1, t} &= \tanh(h_{t-1})",
        r"h_{t} &= h_{1, t} \odot a_{1, t}",
    ]


def test_names_become_symbols() -> None:
    @cell
    def step(
        x_t, h_prime, *, W_xh=param("H", "D"), alpha=param("H"), beta_1=param("H"),
        c_tilde_bar=param("H"), omega_rho=param("H"), gain=param("H"), π=param("H"),
    ):  # fmt: skip
        Gamma_u = sigmoid(W_xh @ x_t)
        return Gamma_u * h_prime * alpha + beta_1 + c_tilde_bar + omega_rho + gain + π

    assert lines(step) == [
        r"\Gamma_{u, t} &= \sigma(W_{xh} x_{t})",
        r"h'_{t} &= \Gamma_{u, t} \odot h'_{t-1} \odot \alpha + \beta_{1} + \bar{\tilde{c}} + "
        r"\omega_{\rho} + \mathrm{gain} + π",
    ]


def test_a_power_of_a_prime() -> None:
    @cell
    def step(x, h_prime, *, W=param("H", "D")):
        return h_prime**2 + W @ x

    assert lines(step) == [r"h'_{t} &= {h'_{t-1}}^{2} + W x_{t}"]


def test_an_unnamed_value_that_is_read_twice_gets_a_line() -> None:
    @cell
    def step(x, h, *, W=param("H", "D")):
        return F.silu(W @ x + h)

    assert lines(step) == [
        r"v_{2, t} &= W x_{t} + h_{t-1}",
        r"h_{t} &= v_{2, t} \odot \sigma(v_{2, t})",
    ]


def test_states_that_only_move() -> None:
    @cell
    def step(x, a, b, c, d, *, W=param("H", "D")):
        a = W @ x + a
        return a, a, b, d, {"x": x}

    assert lines(step) == [
        r"a_{t} &= W x_{t} + a_{t-1}",
        r"b_{t} &= a_{t}",
        r"c_{t} &= b_{t-1}",
        r"d_{t} &= d_{t-1}",
    ]


def test_an_output_that_is_no_state() -> None:
    @cell
    def step(x, h, *, W=param("H", "D"), V=param("H", "H")):
        h = tanh(W @ x + h)
        return V @ h, (h,), {"negative": -h}

    assert lines(step) == [
        r"h_{t} &= \tanh(W x_{t} + h_{t-1})",
        r"y_{t} &= V h_{t}",
        r"\mathrm{negative}_{t} &= -h_{t}",
    ]


# --- what must hold of any ------------------------------------------------------------------------

PAIRS = {"{": "}", "(": ")", "[": "]"}


def assert_well_formed(text: str) -> None:
    """Braces nest, what is opened on the left is closed, no sub- or superscript is double."""
    for opening, closing in (
        (r"\\left", r"\\right"),
        (r"\\begin\{(\w+)\}", r"\\end\{(\w+)\}"),
        (r"\\lvert", r"\\rvert"),
    ):
        assert len(re.findall(opening + r"(?![a-z])", text)) == len(
            re.findall(closing + r"(?![a-z])", text)
        )
    waiting: list[str] = []
    for sign in text:
        if sign in PAIRS:
            waiting.append(PAIRS[sign])
        elif sign in PAIRS.values():
            assert waiting, text
            assert waiting.pop() == sign, text
    assert not waiting
    assert not re.search(r"_\{[^{}]*\}_", text), "a double subscript"
    assert not re.search(r"\^(\{[^{}]*\}|\\top)\^", text), "a double superscript"
    assert not re.search(r"'(_\{[^{}]*\})?\^", text), "a double superscript"
    for line in text.splitlines()[1:-1]:
        assert line.count("&=") == 1


@pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
def test_textbook_cells_are_well_formed(textbook: Cell) -> None:
    text = textbook.latex()
    assert_well_formed(text)
    for name in textbook.parameters:
        stem = re.escape(name.split("_")[0])
        assert re.search(rf"(?<![a-zA-Z]){stem}", text), name


@pytest.mark.parametrize("label", {k: f for table in ALL for k, f in labelled(table).items()})
def test_every_function_is_well_formed(label: str) -> None:
    functions = {k: f for table in ALL for k, f in labelled(table).items()}
    assert_well_formed(latex(graph_of(functions[label], 6, 6)))


def test_every_op_has_a_template_that_can_be_filled() -> None:
    for row in TABLE.values():
        precedence, template = row.latex
        assert 0 <= precedence <= 3
        shown = template.format("a", "b", "c", all="a, b", positions="0:H", exponent="2")
        assert_well_formed(rf"\begin{{aligned}}\nx &= {shown}\n\end{{aligned}}")
        for k in range(row.arity or 0):
            assert "abc"[k] in shown
