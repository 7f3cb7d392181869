"""One call of a kernel in both directions, and the ways to share the CPU backend's work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unrolled.backends.cpu import loop
from unrolled.backends.cpu.sharing import Shares, Work
from unrolled.backends.protocol import Runner


@dataclass(frozen=True)
class Call:
    """What a kernel is called with: x [T, B, D], states [B, size], and the outputs' cotangents."""

    x: Tensor
    states: tuple[Tensor, ...]
    parameters: Mapping[str, Tensor]
    d_outputs: Mapping[str, Tensor]
    d_states: tuple[Tensor, ...]

    def part(self, steps: int, batch: int) -> Call:
        """The first steps of the first examples."""
        return replace(
            self,
            x=self.x[:steps, :batch],
            states=tuple(s[:batch] for s in self.states),
            d_outputs={n: d[:steps, :batch] for n, d in self.d_outputs.items()},
            d_states=tuple(d[:batch] for d in self.d_states),
        )

    def to(self, dtype: torch.dtype) -> Call:
        """In another precision."""
        return Call(
            self.x.to(dtype),
            tuple(s.to(dtype) for s in self.states),
            {n: p.to(dtype) for n, p in self.parameters.items()},
            {n: d.to(dtype) for n, d in self.d_outputs.items()},
            tuple(d.to(dtype) for d in self.d_states),
        )


def results(kernel: Runner, call: Call) -> dict[str, Tensor]:
    """Everything that a kernel gives for a call, forward and backward, by name."""
    run = kernel.forward(call.x, call.states, call.parameters, keep=True)
    found = kernel.backward(run.residuals, call.d_outputs, call.d_states)
    named = {f"output {n}": t for n, t in run.outputs.items()}
    named.update((f"state {k}", t) for k, t in enumerate(run.states))
    named.update((f"gradient of {n}", t) for n, t in found.outputs.items())
    named.update((f"gradient of state {k}", t) for k, t in enumerate(found.states))
    return named


Share = Callable[[int, int, Work, int], Shares]


def rows(n_steps: int, n_examples: int, work: Work, threads: int) -> Shares:
    """Blocks of examples, an even part for each thread."""
    block = -(-n_examples // threads)
    return Shares(False, block, min(threads, -(-n_examples // block)))


def blocks_of_three(n_steps: int, n_examples: int, work: Work, threads: int) -> Shares:
    """Many small blocks, more than there are threads."""
    return Shares(False, min(3, n_examples), min(threads, -(-n_examples // 3)))


def columns(n_steps: int, n_examples: int, work: Work, threads: int) -> Shares:
    """Products shared by columns."""
    return Shares(True, n_examples, threads)


SHARING: tuple[tuple[Share, int], ...] = (
    (rows, 1), (rows, 2), (blocks_of_three, 3), (columns, 1), (columns, 2), (columns, 3),
)  # fmt: skip
"""How work is shared, and among how many threads."""


@contextmanager
def shared(share: Share, threads: int) -> Generator[None, None, None]:
    """The CPU backend with its work shared this way, whatever its cost model says."""
    chosen, before = loop.share, torch.get_num_threads()
    asked: list[Shares] = []

    def noted(n_steps: int, n_examples: int, work: Work, threads: int) -> Shares:
        asked.append(share(n_steps, n_examples, work, threads))
        return asked[-1]

    loop.share = noted
    torch.set_num_threads(threads)
    try:
        yield
        assert asked, "no loop asked how to share its work"
    finally:
        loop.share = chosen
        torch.set_num_threads(before)
