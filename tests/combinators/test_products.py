"""Products in all forms that torch has for them: normalised, masked, refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled as ur
from cell_samples import inputs, parameters, random, rounding, step
from unrolled import cells, naive, param
from unrolled.cell import Cell

GIVEN = random(16, 5, seed=3)


def close(a: Tensor, b: Tensor, params: dict[str, Tensor]) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=rounding(params, GIVEN))


def problem(error: pytest.ExceptionInfo[ur.CellError]) -> tuple[str, str]:
    assert error.value.location is not None
    return error.value.problem, error.value.hint


@ur.cell
def plain_products(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
                   b: Any = param("H")) -> Any:  # fmt: skip
    return torch.tanh(W @ x + b + U @ h)


@ur.cell
def by_function(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
                b: Any = param("H")) -> Any:  # fmt: skip
    return torch.tanh(torch.addmv(b, W, x) + torch.mv(U, h))


@ur.cell
def by_keyword(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
               b: Any = param("H")) -> Any:  # fmt: skip
    a = torch.nn.functional.linear(x, weight=W, bias=b)
    return torch.tanh(a + torch.nn.functional.linear(input=h, weight=U))


@ur.cell
def by_columns(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
               b: Any = param("H")) -> Any:  # fmt: skip
    row = torch.mm(x.unsqueeze(0), W.T).squeeze(0)
    return torch.tanh(row + b + (U @ h.unsqueeze(-1)).squeeze(-1))


@ur.cell
def by_inner(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
             b: Any = param("H")) -> Any:  # fmt: skip
    return torch.tanh(torch.inner(x, W) + torch.addmv(b, U, h, beta=1, alpha=1))


FORMS = pytest.mark.parametrize("form", [by_function, by_keyword, by_columns, by_inner])


@FORMS
@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_a_product_is_normalised_in_whatever_form(form: Cell, kind: str) -> None:
    function = getattr(ur, kind)
    made, plain = function(form), function(plain_products)
    assert sorted(made.parameters) == sorted(plain.parameters)
    params, x = parameters(plain), inputs()
    expected = step(plain, params, [GIVEN])[1]
    # A vector is divided by its root mean square, of the order of 1/10 and more here.
    bound = 100 * rounding(params, GIVEN)
    assert (step(made, params, [GIVEN])[1] - expected).abs().max() <= bound
    traced, _ = ur.recurrence(made, x, (GIVEN,), params)
    assert (traced[0] - expected).abs().max() <= bound


@FORMS
def test_dropout_masks_what_a_product_reads_in_whatever_form(form: Cell) -> None:
    made, plain = (ur.variational_dropout(c, h=0.5) for c in (form, plain_products))
    params, x = parameters(form), inputs(3)
    torch.manual_seed(0)
    m = torch.bernoulli(torch.full((1, 16, 5), 0.5, dtype=torch.float64)).expand(3, 16, 5)
    given: dict[str, Any] = {"noise": {"dropout_h": m}}
    expected, _ = ur.recurrence(plain, x, (GIVEN,), params, **given)
    unmasked, _ = ur.recurrence(form, x, (GIVEN,), params)
    assert not torch.allclose(expected, unmasked)
    for run_it in (ur.recurrence, naive.recurrence):
        y, _ = run_it(made, x, (GIVEN,), params, **given)
        # The steps' slopes are below 1 in the norm that `rounding` measures.
        assert (y - expected).abs().max() <= 3 * rounding(params, 2 * GIVEN)


def test_dropout_leaves_alone_what_is_added_to_a_product() -> None:
    @ur.cell
    def adds(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H")) -> Any:
        return torch.addmv(h, W, x) * torch.sigmoid(torch.mv(U, torch.addmv(h, W, x)))

    made = ur.variational_dropout(adds, h=0.5)
    params, x = parameters(adds), inputs()
    m = torch.zeros(1, 16, 5, dtype=torch.float64)
    y, _ = ur.recurrence(made, x, (GIVEN,), params, noise={"dropout_h": m})
    a = x[0] @ params["W"].T
    close(y[0], (a + GIVEN) * torch.sigmoid(a @ params["U"].T), params)


def test_a_product_of_two_matrices() -> None:
    @ur.cell
    def pairs(x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H")) -> Any:
        return W @ x + (U @ torch.stack([h, h], 1)).sum(1)

    with pytest.raises(ur.CellError) as caught:
        ur.layer_norm(pairs)
    text, hint = problem(caught)
    assert text.startswith("layer_norm(pairs): U[H, H] and ")
    assert text.endswith("[H, 2] are two matrices, whose product has many vectors to be normalised")
    assert hint == "multiply by each vector apart, or name states to be normalised"
    assert caught.value.location is not None
    assert caught.value.location.file == __file__

    @ur.cell
    def low_rank(x: Any, h: Any, *, W: Any = param("H", "D"), A: Any = param("H", 2),
                 C: Any = param(2, "H")) -> Any:  # fmt: skip
        return W @ x + (A @ C) @ h

    made = ur.layer_norm(low_rank)
    assert [*made.parameters][3:] == ["gain_W", "gain_product"]
    ur.Recurrent(made, 3, 5)(torch.randn(2, 1, 3))


def test_products_that_are_single_numbers() -> None:
    with pytest.raises(ur.CellError) as caught:
        ur.Recurrent(ur.layer_norm(cells.lstm), 5, 1)
    assert problem(caught) == (
        "layer_norm(lstm): the product of W_ih has the length H = 1 at these sizes, and one number "
        "normalised says nothing",
        "take larger sizes; or name states to be normalised",
    )

    @ur.cell
    def gated(x: Any, h: Any, *, W: Any = param("H", "D"), g: Any = param(1, "H")) -> Any:
        return torch.sigmoid(g @ h) * (W @ x)

    made = ur.layer_norm(gated)
    assert [*made.parameters] == ["W", "g", "gain_W"]
    ur.Recurrent(made, 3, 5)
