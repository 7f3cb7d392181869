"""The matrix products of the CPU backend, on tensors: ``templates/gemm.c`` from Python."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.backends.cpu.build import HEADERS, load
from unrolled.backends.cpu.threads import n_threads

PRECISION = {torch.float32: "UR_FLOAT", torch.float64: "UR_DOUBLE"}
HUGE = 2 << 20
"""The size of a huge page in bytes."""

_LONG = ctypes.c_long
_MADVISE = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None


class Products:
    """The products in one precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        source = (HEADERS / "gemm.c").read_text(encoding="utf-8")
        self._library = load(source, {PRECISION[dtype]: "1"})
        self.product = ctypes.cast(self._library.ur_product, ctypes.c_void_p)
        self.count_panels = ctypes.cast(self._library.ur_panels, ctypes.c_void_p)
        for name in ("ur_padded", "ur_packed_size", "ur_panels", "ur_total_outer_workspace"):
            getattr(self._library, name).restype = _LONG
        self.lanes: int = self.padded(1)

    def padded(self, m: int) -> int:
        """How long a result row of length ``m`` is, in whole vectors."""
        return int(self._library.ur_padded(_LONG(m)))

    def pack(self, matrix: Tensor) -> Tensor:
        """A matrix [m, k], of any strides, as the panels that the products read."""
        m, k = matrix.shape
        size = self._library.ur_packed_size(_LONG(k), _LONG(m))
        packed = _aligned(size, matrix.dtype)
        self._library.ur_pack(
            _LONG(k), _LONG(m), _pointer(matrix), _LONG(matrix.stride(0)), _LONG(matrix.stride(1)),
            _pointer(packed), n_threads(),
        )  # fmt: skip
        return packed

    def rows(self, x: Tensor, matrix: Tensor) -> Tensor:
        """``x`` [..., k] times ``matrix`` [m, k] transposed: [..., m], in rows of whole vectors."""
        m, k = matrix.shape
        lead = x.shape[:-1]
        flat = contiguous_rows(x.reshape(-1, k))
        n = flat.shape[0]
        width = self.padded(m)
        out = empty((n, width), x.dtype)
        if n:
            packed = self.pack(matrix)
            self._library.ur_product_all(
                _LONG(n), _LONG(k), _LONG(m), _pointer(flat), _LONG(flat.stride(0)),
                _pointer(packed),
                _pointer(out), _LONG(width), n_threads(),
            )  # fmt: skip
        return out[:, :m].unflatten(0, lead) if width != m else out.reshape(*lead, m)

    def total_outer(self, a: Tensor, b: Tensor) -> Tensor:
        """Σ over all leading dimensions of a bᵀ: ``a`` [..., m], ``b`` [..., n] give [m, n]."""
        a, b = (contiguous_rows(v.reshape(-1, v.shape[-1])) for v in (a, b))
        m, n, steps = a.shape[1], b.shape[1], a.shape[0]
        if not steps:
            return a.new_zeros(m, n)
        threads = n_threads()
        width = self.padded(n)
        out = empty((m, width), a.dtype)
        size = self._library.ur_total_outer_workspace(threads)
        workspace = _aligned(size, a.dtype)
        self._library.ur_total_outer(
            _LONG(steps), _LONG(m), _LONG(n), _pointer(a), _LONG(a.stride(0)), _pointer(b),
            _LONG(b.stride(0)), _pointer(out), _LONG(width), _pointer(workspace), threads,
        )  # fmt: skip
        return out[:, :n]


@lru_cache(maxsize=2)
def products(dtype: torch.dtype) -> Products:
    """The products in a precision, built and loaded once."""
    return Products(dtype)


def contiguous_rows(x: Tensor) -> Tensor:
    """``x`` [n, k] with its rows' elements side by side; rows may be apart."""
    return x if x.shape[1] == 1 or x.stride(1) == 1 else x.contiguous()


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Uninitialised memory, in huge pages where it is large: touching small ones takes long."""
    tensor = torch.empty(*shape, dtype=dtype)
    n_bytes = tensor.numel() * tensor.element_size()
    if n_bytes >= 4 * HUGE and _MADVISE is not None:
        start = -(-tensor.data_ptr() // HUGE) * HUGE
        length = (tensor.data_ptr() + n_bytes - start) // HUGE * HUGE
        _MADVISE(ctypes.c_void_p(start), ctypes.c_size_t(length), 14)  # MADV_HUGEPAGE
    return tensor


def _aligned(size: int, dtype: torch.dtype) -> Tensor:
    """Uninitialised memory that starts on a cache line."""
    itemsize = torch.finfo(dtype).bits // 8
    memory = torch.empty(size + 64 // itemsize, dtype=dtype)
    skip = (-memory.data_ptr() % 64) // itemsize
    return memory[skip : skip + size]


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
