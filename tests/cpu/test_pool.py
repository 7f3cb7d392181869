"""Large buffers: given out again once nobody has them, never while somebody does."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from copy import deepcopy

import pytest
import torch

from unrolled.backends.cpu.pool import LEAST, Pool

SIZE = LEAST // 4
"""Of float32 numbers, the fewest that are pooled."""


@pytest.fixture(name="pool")
def _pool() -> Pool:
    return Pool()


def address(pool: Pool, *shape: int) -> int:
    """Where a buffer was that is gone again."""
    return pool.empty(shape, torch.float32).data_ptr()


def test_a_buffer_is_given_out_again_only_when_it_is_gone(pool: Pool) -> None:
    first = pool.empty((2, SIZE), torch.float32)
    where = first.data_ptr()
    view = first[1]
    del first
    second = pool.empty((2, SIZE), torch.float32).fill_(2)
    assert second.data_ptr() != where
    view.fill_(3)
    assert bool((second == 2).all())
    del view
    assert pool.empty((SIZE, 2), torch.float32).data_ptr() == where


def test_its_tensors_are_as_torchs_own(pool: Pool) -> None:
    made = pool.empty((3, SIZE), torch.float64)
    assert made.shape == (3, SIZE)
    assert made.dtype == torch.float64
    assert made.is_contiguous()
    assert not made._is_view()
    assert made.untyped_storage().nbytes() == 3 * SIZE * 8
    assert made.data_ptr() % 64 == 0
    made.normal_()
    assert torch.equal(deepcopy(made), made)
    assert torch.equal(pickle.loads(pickle.dumps(made)), made)
    assert torch.equal(torch.from_numpy(made.numpy()), made)


def test_a_workspace_takes_a_larger_block_and_others_do_not(pool: Pool) -> None:
    others = pool.empty((20 * SIZE,), torch.float32)
    where = address(pool, 3 * SIZE)
    assert pool.workspace(2 * SIZE, torch.float32).data_ptr() == where
    kept = pool.empty((2 * SIZE,), torch.float32)
    assert kept.data_ptr() != where
    assert pool.workspace(2 * SIZE, torch.float32).data_ptr() == where
    assert others.data_ptr() != kept.data_ptr()


def test_small_ones_are_torchs_own(pool: Pool) -> None:
    pool.empty((SIZE - 1,), torch.float32)
    assert pool.most_in_use == 0


def test_at_most_a_quarter_more_is_held_than_was_in_use_at_once(pool: Pool) -> None:
    for shape in [(1, SIZE), (9, SIZE), (3, SIZE), (20, SIZE), (5, SIZE), (1, SIZE)]:
        kept = [pool.empty(shape, torch.float32) for _ in range(2)]
        free = sum(b.size for b in pool.free)
        assert pool.in_use + free <= 1.25 * pool.most_in_use
        del kept
    assert 0.9 * 2 * 20 * SIZE * 4 < pool.most_in_use <= 2 * 20 * SIZE * 4


def test_what_one_long_sequence_needed_is_let_go_in_time(pool: Pool) -> None:
    pool.empty((100, SIZE), torch.float32)
    for _ in range(2000):
        pool.empty((1, SIZE), torch.float32)
    assert pool.in_use + sum(b.size for b in pool.free) < 5 * SIZE * 4


def test_a_block_is_at_most_a_quarter_larger_than_what_it_serves(pool: Pool) -> None:
    pool.most_in_use = 100 * SIZE * 4  # so that both blocks are kept
    large = address(pool, 8, SIZE)
    assert address(pool, 6, SIZE) != large
    assert address(pool, 7, SIZE) == large


def test_threads_never_share_a_buffer(pool: Pool) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for round_ in range(200):
            mine = pool.empty((1 + round_ % 3, SIZE), torch.float32)
            mine[:, ::4096] = number
            gc.collect(0)
            if not bool((mine[:, ::4096] == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_to_memory_of_its_own(pool: Pool) -> None:
    mine = pool.empty((2, SIZE), torch.float32).fill_(1)
    child = os.fork()
    if child == 0:
        mine.fill_(2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert bool((mine == 1).all())
