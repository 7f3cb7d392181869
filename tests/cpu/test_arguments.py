"""Tensors that are unusual in ways that C, which sees memory alone, would not notice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, tanh

from unrolled import cell, param, recurrence
from unrolled.cells import gru


@cell
def plain(x: Tensor, h: Tensor, *, W=param("H", "D"), U=param("H", "H")):
    return tanh(W @ x + U @ h)


@cell
def passes_x_on(x: Tensor, h: Tensor, *, U=param("H", "H")):
    return x, (tanh(U @ h),)


@cell
def gives_its_parameter(x: Tensor, h: Tensor, *, U=param("H", "H"), p=param("3")):
    return p, (tanh(U @ h),)


@cell
def gives_a_product(x: Tensor, h: Tensor, *, U=param("H", "H"), V=param("5", "H")):
    h = tanh(U @ h + x.sum())
    return V @ h, (h,)


@cell
def to_the_infinite_power(x: Tensor, h: Tensor, *, U=param("H", "H")):
    return x.abs() ** float("inf") + tanh(U @ h)


def test_a_default_device_is_not_the_kernels() -> None:
    x, h = torch.randn(3, 2, 4), torch.zeros(2, 5)
    params = {"W": torch.randn(5, 4, requires_grad=True), "U": torch.randn(5, 5)}

    # A cell of its own, which is compiled under that device.
    @cell
    def rolls(x: Tensor, h: Tensor, *, W=param("H", "D"), U=param("H", "H")):
        return tanh(W @ x + torch.roll(U @ h, 1, -1))

    def call() -> tuple[Tensor, Tensor]:
        y, _ = recurrence(rolls, x, (h,), params, "cpu")
        (d_W,) = torch.autograd.grad(y, params["W"], torch.ones_like(y))
        return y, d_W

    try:
        torch.set_default_device("meta")
        found = call()
    finally:
        torch.set_default_device(None)
    assert all(map(torch.equal, found, call()))


def test_negative_views_keep_their_sign() -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 1, dtype=torch.complex64, generator=source).conj().imag
    U = torch.randn(5, 5, dtype=torch.complex64, generator=source).conj().imag
    params = {"W": torch.ones(5, 1), "U": U}
    h = torch.randn(2, 5, dtype=torch.complex64, generator=source).conj().imag
    assert all(t.is_neg() for t in (x, U, h))
    y, _ = recurrence(plain, x, (h,), params, "cpu")
    resolved = {name: value.resolve_neg() for name, value in params.items()}
    expected, _ = recurrence(plain, x.resolve_neg(), (h.resolve_neg(),), resolved, "cpu")
    assert torch.equal(y, expected)


def test_an_output_is_never_the_callers_own_memory() -> None:
    x, h, U = torch.randn(1, 1, 3), torch.zeros(1, 4), torch.randn(4, 4)
    y, _ = recurrence(passes_x_on, x, (h,), {"U": U}, "cpu")
    before = x.clone()
    y.add_(1)
    assert torch.equal(x, before)
    p = torch.randn(3)
    y, _ = recurrence(gives_its_parameter, x, (h,), {"U": U, "p": p}, "cpu")
    before = p.clone()
    y.add_(1)
    assert torch.equal(p, before)


@pytest.mark.parametrize("value", [0.5, 1.0, 2.0])
def test_an_infinite_power(value: float) -> None:
    x, h, U = torch.full((1, 1, 4), value), torch.zeros(1, 4), torch.zeros(4, 4)
    y, _ = recurrence(to_the_infinite_power, x, (h,), {"U": U}, "cpu")
    assert torch.equal(y, x ** float("inf"))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_output_that_is_a_product_is_contiguous(requires_grad: bool) -> None:
    """Products write rows in whole vectors; a user may call ``view`` on what comes of them."""
    x = torch.randn(6, 2, 3, requires_grad=requires_grad)
    params = {"U": torch.randn(4, 4), "V": torch.randn(5, 4)}
    y, _ = recurrence(gives_a_product, x, (torch.zeros(2, 4),), params, "cpu")
    assert y.view(-1).shape == (6 * 2 * 5,)
    y, _ = recurrence(gives_a_product, x[:1, :1], (torch.zeros(1, 4),), params, "cpu")
    y += 1


def test_gradients_are_the_users_to_write_to() -> None:
    h, x = torch.zeros(2, 5), torch.randn(3, 2, 10)
    sizes = gru.resolve_sizes(10, 5)
    params = {
        n: torch.randn(shape).requires_grad_() for n, shape in gru.parameter_shapes(sizes).items()
    }
    y, _ = recurrence(gru, x, (h,), params, "cpu")
    for gradient in torch.autograd.grad(y.sum(), list(params.values())):
        gradient += 1
        assert gradient.view(-1).numel() == gradient.numel()
