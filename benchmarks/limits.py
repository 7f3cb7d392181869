"""The machine's limits, measured by a small C program: FMA peak and the caches' bandwidths."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unrolled.backends.cpu.build import compiler

SOURCE = Path(__file__).with_name("limits.c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-pthread")


class NoLimits(Exception):
    """The program that measures the limits could not be compiled or run."""


@dataclass(frozen=True)
class Reading:
    """All threads together read ``gb_s`` GB/s, each ``bytes`` of its own again and again."""

    bytes: int
    gb_s: float


@dataclass(frozen=True)
class Limits:
    """Of ``threads`` threads: float32 GFLOP/s in multiply-adds, and reading by the size read."""

    threads: int
    gflops: float
    readings: tuple[Reading, ...]

    def gb_s(self, n_bytes: float) -> float:
        """GB/s at which ``n_bytes`` are read, spread over the threads; of the next larger size."""
        share = n_bytes / self.threads
        fitting = [r for r in self.readings if r.bytes >= share]
        return (fitting[0] if fitting else self.readings[-1]).gb_s


def measure(*threads: int) -> tuple[Limits, ...]:
    """The limits for each number of threads; a few seconds.

    Raises :class:`NoLimits` where there is no compiler, or it fails.
    """
    with _program() as program:
        return tuple(parse(_call([program, str(n)])) for n in threads)


def gb_s(threads: int, sizes: Sequence[int]) -> tuple[float, ...]:
    """GB/s at which so many bytes are read again and again, spread over the threads, by size.

    Raises :class:`NoLimits` as :func:`measure` does, and for more than 64 MiB a thread.
    """
    parts = [str(-(-n_bytes // threads)) for n_bytes in sizes]
    with _program() as program:
        printed = _call([program, str(threads), *parts])
    return tuple(float(row.split()[3]) for row in printed.splitlines())


@contextmanager
def _program() -> Generator[str, None, None]:
    command = compiler()
    if command is None:
        raise NoLimits("no C compiler was found: set CC, or install gcc or clang")
    with tempfile.TemporaryDirectory() as directory:
        program = str(Path(directory) / "limits")
        _call([*command, *FLAGS, str(SOURCE), "-o", program])
        yield program


def parse(printed: str) -> Limits:
    """What the program prints, as limits."""
    rows = [line.split() for line in printed.splitlines()]
    ((_, threads, gflops),) = (row for row in rows if row[0] == "fma")
    readings = (Reading(int(row[2]), float(row[3])) for row in rows if row[0] == "read")
    return Limits(int(threads), float(gflops), tuple(sorted(readings, key=lambda r: r.bytes)))


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoLimits(
            f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()}"
        )
    return done.stdout
