"""What a call of one step costs beyond the arithmetic, which is what one more step takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import unrolled as ur
from benchmarks.figures.line_fit import fit
from benchmarks.figures.setting import Setting
from benchmarks.grid import square
from benchmarks.markdown import table
from benchmarks.problems import make
from benchmarks.timing import Quartiles, alternate, quartiles
from benchmarks.verdict import Verdict

H = 32
STEPS = (1, 2, 4, 8, 16, 32, 64)
AT_ONCE = 200
"""So many calls are timed as one: the clock and the pause before them don't count."""

MOST_S = 15e-6
BUDGET_S, QUICK_BUDGET_S, MOST_ROUNDS = 6.0, 0.5, 15
OURS = ("unrolled.recurrence", "unrolled.GRU(backend='cpu')")
"""What the target holds for: calls that run on our kernels at any number of steps."""


@dataclass(frozen=True)
class Timed:
    """Seconds of a call of ``T`` steps."""

    T: int
    seconds: Quartiles


@dataclass(frozen=True)
class Row:
    """One way to call a GRU under ``no_grad``, B=1, H=D=32; by T, or at T=1 alone."""

    call: str
    times: tuple[Timed, ...]

    @property
    def one_s(self) -> float:
        """Seconds of a call of one step."""
        return next(of.seconds.median for of in self.times if of.T == 1)

    @property
    def step_s(self) -> float | None:
        """Seconds of one more step; None where one step alone was measured."""
        if len(self.times) == 1:
            return None
        return fit({of.T: of.seconds.median for of in self.times}).step

    @property
    def beyond_s(self) -> float | None:
        """What a call of one step takes beyond the arithmetic."""
        return None if self.step_s is None else self.one_s - self.step_s


def _ways(T: int) -> dict[str, Callable[[], Any]]:
    """The calls with ``T`` steps; those that can't be told apart over T are there at 1 alone."""
    problem = make("gru", square(T, 1, H))
    x, params = problem.leaves("inference")
    h = problem.states[0].unsqueeze(0)
    layers = {OURS[1]: ur.GRU(H, H, backend="cpu"), "torch.nn.GRU": torch.nn.GRU(H, H)}
    ways: dict[str, Callable[[], Any]] = {
        OURS[0]: lambda: ur.recurrence(problem.cell, x, problem.states, params, backend="cpu"),
        **{name: lambda layer=layer: layer(x, h) for name, layer in layers.items()},
    }
    if T == 1:
        # For a short sequence it takes torch's kernel.
        automatic, cell = ur.GRU(H, H), torch.nn.GRUCell(H, H)
        ways["unrolled.GRU()"] = lambda: automatic(x, h)
        ways["torch.nn.GRUCell"] = lambda: cell(x[0], h[0])
    return ways


def _repeated(call: Callable[[], Any]) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(AT_ONCE):
            call()

    return repeated


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each way."""
    steps = STEPS[:: len(STEPS) - 1] if setting.quick else STEPS
    names: list[tuple[str, int]] = []
    calls: list[Callable[[], None]] = []
    for n_steps in steps:
        for name, call in _ways(n_steps).items():
            names.append((name, n_steps))
            calls.append(_repeated(call))
    with torch.no_grad():
        for call in calls:
            call()
        times = alternate(calls, QUICK_BUDGET_S if setting.quick else BUDGET_S, MOST_ROUNDS)
    by_name: dict[str, list[Timed]] = {}
    for (name, n_steps), of_call in zip(names, times, strict=True):
        timed = Timed(n_steps, quartiles([t / AT_ONCE for t in of_call]))
        by_name.setdefault(name, []).append(timed)
    for name, by_steps in by_name.items():
        yield Row(name, tuple(by_steps))


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    told = "" if row.beyond_s is None else f", {row.beyond_s * 1e6:.1f} beyond the arithmetic"
    return f"{row.call:28} {row.one_s * 1e6:7.1f} µs{told}"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Ours against the target."""
    return [
        Verdict(
            f"`{row.call}`, one step, beyond the arithmetic",
            f"< {MOST_S * 1e6:.0f} µs",
            f"{row.beyond_s * 1e6:.1f} µs",
            row.beyond_s < MOST_S,
            f"T=1 B=1 H={H}, no_grad",
        )
        for row in rows
        if row.call in OURS and row.beyond_s is not None
    ]


def section(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    return table(
        ("call", "T=1, µs", "one more step, µs", "beyond the arithmetic, µs"),
        (
            (
                f"`{row.call}`",
                f"{row.one_s * 1e6:.1f}",
                "" if row.step_s is None else f"{row.step_s * 1e6:.2f}",
                "" if row.beyond_s is None else f"**{row.beyond_s * 1e6:.1f}**",
            )
            for row in rows
        ),
    )
