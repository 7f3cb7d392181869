"""The matrix products with the vectors of other processors than this one: AVX-512, AVX2, SSE."""

from __future__ import annotations

import platform

import pytest
import torch

from unrolled.backends.cpu import build
from unrolled.backends.cpu.products import Products

WIDTHS = {"native": (), "AVX2": ("-mno-avx512f",), "SSE": ("-mno-avx512f", "-mno-avx")}
ROUNDOFF = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


@pytest.fixture(params=WIDTHS)
def _width(  # pyright: ignore[reportUnusedFunction]
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler told to leave out the wider vectors."""
    if request.param != "native" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the flags are an x86 compiler's")
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, *WIDTHS[request.param]))
    build._machine.cache_clear()
    monkeypatch.setattr(build, "_machine", build._machine.__wrapped__)


@pytest.mark.usefixtures("_width")
@pytest.mark.parametrize("dtype", ROUNDOFF)
def test_products_of_every_width(dtype: torch.dtype) -> None:
    products = Products(dtype)
    source = torch.Generator().manual_seed(0)
    for m in range(1, 110):
        n_rows, k = 1 + m % 19, 1 + m % 7
        a = torch.randn(n_rows, k, generator=source, dtype=torch.float64).to(dtype)
        b = torch.randn(m, k, generator=source, dtype=torch.float64).to(dtype)
        for matrix in (b, b.t().contiguous().t()):
            exact, size = a.double() @ b.double().t(), a.double().abs() @ b.double().abs().t()
            # k products, each added to the sum before: k roundings each at most (Higham, ch. 3).
            bound = 1.01 * k * ROUNDOFF[dtype] * size
            assert ((products.rows(a, matrix).double() - exact).abs() <= bound).all(), m
        exact, size = a.double().t() @ a.double(), a.double().abs().t() @ a.double().abs()
        bound = 1.01 * n_rows * ROUNDOFF[dtype] * size
        assert ((products.total_outer(a, a).double() - exact).abs() <= bound).all(), m
