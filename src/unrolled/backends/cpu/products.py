"""The matrix products of the CPU backend, on tensors: ``templates/gemm.c`` from Python."""

from __future__ import annotations

import ctypes
from array import array
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.backends.cpu.build import HEADERS, load
from unrolled.backends.cpu.pool import POOL
from unrolled.backends.cpu.threads import n_threads

PRECISION = {torch.float32: "UR_FLOAT", torch.float64: "UR_DOUBLE"}

CACHE_LINE = 64
"""Bytes; packed matrices and scratch memory start on one."""
ALIGNMENT = 16
"""How many numbers more than needed leave room for that, in any precision."""

_LONG = ctypes.c_long
_FUNCTIONS = {
    "ur_padded": (1, _LONG),
    "ur_packed_size": (2, _LONG),
    "ur_product_all": (12, None),
    "ur_total_outer": (11, None),
    "ur_total_outer_workspace": (1, _LONG),
    "ur_do": (3, None),
}
"""By name: how many arguments, numbers and addresses alike, and the result."""


class Products:
    """The products in one precision.

    ``invariant`` are those whose results for a row have the same bits whatever rows are beside it.
    """

    def __init__(self, dtype: torch.dtype, invariant: bool = False) -> None:
        source = (HEADERS / "gemm.c").read_text(encoding="utf-8")
        defines = {PRECISION[dtype]: "1"} | ({"UR_INVARIANT": "1"} if invariant else {})
        library = load(source, defines)
        for name, (n_arguments, result) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = [_LONG] * n_arguments, result
        self._library = library
        self.table = ctypes.addressof(ctypes.c_char.in_dll(library, "ur_products"))
        self.lanes: int = library.ur_padded(1)

    def padded(self, m: int) -> int:
        """How long a result row of length ``m`` is, in whole vectors."""
        return -(-m // self.lanes) * self.lanes

    def packed_size(self, m: int, k: int) -> int:
        """How many numbers a packed matrix [m, k] has."""
        return int(self._library.ur_packed_size(k, m))

    def outer_workspace(self, threads: int) -> int:
        """How many numbers of workspace the sum of outer products takes."""
        return int(self._library.ur_total_outer_workspace(threads))

    def do(self, n_jobs: int, jobs: array[int], threads: int) -> None:
        """Run jobs, each of which is twelve numbers: ``job_t`` of ``templates/gemm.c``."""
        self._library.ur_do(n_jobs, jobs.buffer_info()[0], threads)

    def rows(self, x: Tensor, matrix: Tensor) -> Tensor:
        """``x`` [..., k] times ``matrix`` [m, k] transposed: [..., m], in rows of whole vectors."""
        m, k = matrix.shape
        flat = x if x.is_contiguous() else contiguous_rows(x.reshape(-1, k))
        apart = k if flat is x else flat.stride(0)
        width = self.padded(m)
        out = POOL.empty((*x.shape[:-1], width), x.dtype)
        if n := x.numel() // k:
            packed = POOL.empty((self.packed_size(m, k) + ALIGNMENT,), x.dtype)
            self._library.ur_product_all(
                n, flat.data_ptr(), apart, k, m, matrix.data_ptr(), *matrix.stride(),
                aligned(packed), out.data_ptr(), width, n_threads(),
            )  # fmt: skip
        return out[..., :m] if width != m else out

    def total_outer(self, a: Tensor, b: Tensor) -> Tensor:
        """Σ over all leading dimensions of a bᵀ: ``a`` [..., m], ``b`` [..., n] give [m, n]."""
        a, b = (contiguous_rows(v.reshape(-1, v.shape[-1])) for v in (a, b))
        m, n, steps = a.shape[1], b.shape[1], a.shape[0]
        if not steps:
            return a.new_zeros(m, n)
        threads = n_threads()
        width = self.padded(n)
        out = POOL.empty((m, width), a.dtype)
        workspace = POOL.empty((self.outer_workspace(threads) + ALIGNMENT,), a.dtype)
        self._library.ur_total_outer(
            steps, m, n, a.data_ptr(), a.stride(0), b.data_ptr(), b.stride(0), out.data_ptr(),
            width, aligned(workspace), threads,
        )  # fmt: skip
        return out[:, :n]


@lru_cache(maxsize=4)
def products(dtype: torch.dtype, invariant: bool = False) -> Products:
    """The products in a precision, built and loaded once."""
    return Products(dtype, invariant)


def contiguous_rows(x: Tensor) -> Tensor:
    """``x`` [n, k] with its rows' elements side by side; rows may be apart."""
    return x if x.shape[1] == 1 or x.stride(1) == 1 else x.contiguous()


def aligned(memory: Tensor) -> int:
    """The address of its first cache line."""
    return -(-memory.data_ptr() // CACHE_LINE) * CACHE_LINE
