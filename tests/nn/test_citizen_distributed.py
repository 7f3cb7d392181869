"""Data parallel training on two processes gives the gradients of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch without gloo",
)

SRC = Path(__file__).parents[2] / "src"
TESTS = Path(__file__).parents[1]

RUNS = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from citizen_samples import SAMPLES, filled, squares

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
for name in sys.argv[3:]:
    sample = SAMPLES[name]
    layer = sample.layer()
    # Rank 1 starts from other values, which DistributedDataParallel replaces by those of rank 0.
    if rank == 1:
        layer.reset_parameters()
    x, given = sample.call(layer, batch=6)
    dim = 0 if layer.batch_first else 1
    mine = slice(3 * rank, 3 * rank + 3)
    half = {
        n: v if n == "outputs" else v[mine] if n == "lengths" or dim == 0 else v[:, mine]
        for n, v in given.items()
    }
    parallel = DistributedDataParallel(layer)
    for _ in range(2):
        parallel.zero_grad()
        squares(parallel(x[mine] if dim == 0 else x[:, mine], **half)).backward()
    if rank == 0:
        found = [p.grad for p in layer.parameters()]
        alone = sample.layer()
        leaves = list(alone.parameters())
        expected = filled(torch.autograd.grad(squares(alone(x, **given)), leaves), leaves)
        # The gradients of two processes are averaged; 1e-11 is more than rounding in float64.
        for a, b in zip(found, expected, strict=True):
            assert (2 * a - b).abs().max() <= 1e-11 * max(1, b.abs().max()), name
dist.barrier()
dist.destroy_process_group()
"""


def test_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    names = ["plain", "all at once", "a cell for each layer", "checkpoint", "GRU", "LSTM"]
    path = os.pathsep.join(map(str, (SRC, TESTS)))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUNS, str(rank), str(tmp_path), *names],
            env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        errors = [p.communicate(timeout=120)[1] for p in processes]
    finally:
        for p in processes:
            p.kill()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(errors)
