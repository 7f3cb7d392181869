"""Several processes that train one model together, as ``torchrun`` starts them; or one alone.

Each takes its rows of every batch, so that together they make the updates that one process would
make of the whole batch, whatever their number.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import distributed

from unrolled.errors import TrainingError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's rows of ``n``: the shares follow each other and differ by one at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each number summed over the processes."""
        if self.size == 1:
            return list(values)
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        return cast("list[float]", total.tolist())

    def from_first(self, value: T) -> T:
        """What the first process gives, in all of them."""
        if self.size == 1:
            return value
        held: list[T] = [value]
        distributed.broadcast_object_list(held, 0)
        return held[0]

    def gathered(self, value: T) -> list[T]:
        """What each process gives, in their order, in all of them."""
        if self.size == 1:
            return [value]
        held: list[T | None] = [None] * self.size
        distributed.all_gather_object(held, value)
        return cast("list[T]", held)


ALONE = Processes()


def started_as() -> Processes:
    """What ``torchrun`` says in this process's environment.

    Raises:
        TrainingError: where it says what can't be.
    """
    said = {name: os.environ.get(name, default) for name, default in _SAID.items()}
    if not all(value.isdigit() for value in said.values()):
        raise TrainingError(f"RANK and WORLD_SIZE are whole numbers, not {said}: use torchrun")
    found = Processes(int(said["RANK"]), int(said["WORLD_SIZE"]))
    if not 0 <= found.rank < found.size:
        raise TrainingError(f"RANK is below WORLD_SIZE, not {said}: use torchrun")
    return found


_SAID = {"RANK": "0", "WORLD_SIZE": "1"}


@contextmanager
def joined(processes: Processes, device: torch.device) -> Generator[None, None, None]:
    """The processes connected to each other while the block runs: by gloo, on GPUs by nccl."""
    if processes.size == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        # Whoever is done first waits: connections must not be cut that another still reads from.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
