"""Large buffers, which are kept when they are let go and given out again.

The system hands out fresh memory page by page, each cleared at its first touch: for a sequence's
buffers that takes about as long as computing what is written there.  So a buffer of ``LEAST`` bytes
or more comes from blocks of our own.  A block returns when the last tensor on it is gone, and the
smallest free one that fits, at most a quarter larger than needed, is the next to be used; a call's
workspace, soon given back, may be much larger, so that forward and backward pass share one.  All
blocks together are at most a quarter more than were in use at once, a maximum that is forgotten
little by little; the longest unused are let go.  So between two steps of training this holds what a
step needs, and some steps after a long sequence no longer what that needed.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch import Tensor

LEAST = 1 << 16
"""Bytes; below, the C library keeps memory itself."""

FORGOTTEN = 256
"""The part of the maximum that each buffer lets be forgotten."""

_SPARE = 4 << 20
"""Bytes by which any workspace's block may be larger than needed."""

_HUGE = 2 << 20
"""The size of a huge page in bytes: one fault and one entry of the TLB instead of 512."""


class _Block:
    """Anonymous memory of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        huge = size >= 2 * _HUGE and hasattr(mmap, "MADV_HUGEPAGE")
        unit = _HUGE if huge else mmap.PAGESIZE
        # Private: a forked child must not write to its parent's.
        self._map = mmap.mmap(-1, size + unit, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.address = -(-start // unit) * unit
        if huge:
            self._map.madvise(mmap.MADV_HUGEPAGE)


@dataclass
class Pool:
    """Blocks in use and free ones, the longest unused first."""

    free: list[_Block] = field(default_factory=list[_Block])
    in_use: int = 0
    most_in_use: int = 0
    _lent: dict[int, tuple[weakref.ref[Any], _Block]] = field(
        default_factory=dict[int, tuple[weakref.ref[Any], _Block]]
    )
    _returned: deque[weakref.ref[Any]] = field(default_factory=deque[weakref.ref[Any]])
    _lock: Lock = field(default_factory=Lock)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor; its memory is pooled where it is large."""
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST:
            return torch.empty(shape, dtype=dtype, device="cpu")
        return self._tensor(shape, dtype, size, size + size // 4)

    def workspace(self, n: int, dtype: torch.dtype) -> Tensor:
        """``n`` uninitialised numbers for the time of a call."""
        size = n * dtype.itemsize
        if size < LEAST:
            return torch.empty(n, dtype=dtype, device="cpu")
        return self._tensor((n,), dtype, size, size + max(size, _SPARE))

    def _tensor(self, shape: Sequence[int], dtype: torch.dtype, size: int, most: int) -> Tensor:
        block = self._take(size, most)
        buffer = (ctypes.c_char * size).from_address(block.address)
        # Buffers may go at any time, in any thread, even while the lock is held: an append is safe,
        # and being no Python code it loses no KeyboardInterrupt.
        reference = weakref.ref(buffer, self._returned.append)
        self._lent[id(reference)] = reference, block
        storage = torch.frombuffer(buffer, dtype=dtype).untyped_storage()
        # A tensor of its own: autograd forbids writing to an output that is a view.
        return torch.empty(0, dtype=dtype, device="cpu").set_(
            storage, 0, tuple(shape), _strides(shape)
        )

    def renew_lock(self) -> None:
        """Have a lock that nobody holds."""
        self._lock = Lock()

    def _take(self, size: int, most: int) -> _Block:
        """A block of ``size`` bytes, and not more than ``most`` if it is one that is free."""
        with self._lock:
            self._collect()
            fitting = [b for b in self.free if size <= b.size <= most]
            if fitting:
                # Of equal ones the last that was used, which is in the caches yet.
                block = min(reversed(fitting), key=lambda b: b.size)
                self.free.remove(block)
            else:
                block = _Block(-(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
            self.in_use += block.size
            self.most_in_use = max(self.most_in_use - self.most_in_use // FORGOTTEN, self.in_use)
            self._shrink()
            return block

    def _collect(self) -> None:
        while self._returned:
            _, block = self._lent.pop(id(self._returned.popleft()))
            self.in_use -= block.size
            self.free.append(block)

    def _shrink(self) -> None:
        """Let go of free blocks while blocks are more than a quarter above what was in use."""
        held = self.in_use + sum(b.size for b in self.free)
        while self.free and held > self.most_in_use + self.most_in_use // 4:
            held -= self.free.pop(0).size


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a contiguous tensor."""
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))


POOL = Pool()
"""The one pool of a process."""

# Another thread of the parent may hold it at that moment, which the child has not.
if hasattr(os, "register_at_fork"):  # where there is fork at all
    os.register_at_fork(after_in_child=POOL.renew_lock)
