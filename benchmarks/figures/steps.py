"""A step's time over the number of steps, a call's overhead told apart, and a very long call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from benchmarks.figures.line_fit import Fit, fit
from benchmarks.figures.setting import Setting
from benchmarks.grid import square
from benchmarks.markdown import table
from benchmarks.peers import OURS
from benchmarks.problems import MODES, Mode, make
from benchmarks.timing import Quartiles, alternate, quartiles
from benchmarks.verdict import Verdict

CELLS = ("gru", "lstm")
ASKED = (10, 100, 1000, 10_000)
BETWEEN = (30, 300, 3000)
"""Measured as well: two unknowns fitted to four figures would hide what deviates."""

SIZES = ((16, 128), (1, 256))
"""Batch size and hidden size."""

LONG, LONG_SIZE = 100_000, (1, 256)
FLAT = 0.1
BUDGET_S, MOST_ROUNDS = 2.0, 15


@dataclass(frozen=True)
class Timed:
    """Seconds of a call of ``T`` steps."""

    T: int
    seconds: Quartiles


@dataclass(frozen=True)
class Row:
    """One cell at one size, over T; ``long_s`` is one call of ``LONG`` steps, where there was."""

    cell: str
    mode: Mode
    B: int
    H: int
    times: tuple[Timed, ...]
    long_s: float | None

    @property
    def fitted(self) -> Fit:
        """The overhead of a call and the time of a step."""
        return fit({of.T: of.seconds.median for of in self.times})

    @property
    def flatness(self) -> dict[int, float]:
        """By T, a step's time beside the fitted one, overhead taken off."""
        line = self.fitted
        return {of.T: line.flatness(of.T, of.seconds.median) for of in self.times}

    @property
    def off(self) -> float:
        """The largest deviation from flat at the numbers of steps that were asked for."""
        return max(abs(value - 1) for T, value in self.flatness.items() if T in ASKED)


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each cell, mode and size."""
    all_steps = sorted((*ASKED, *BETWEEN))
    steps = [T for T in all_steps if T <= 1000] if setting.quick else all_steps
    for cell in CELLS:
        for B, H in SIZES:
            for mode in MODES:
                calls = [OURS(make(cell, square(T, B, H)), mode).call for T in steps]
                for call in calls:
                    call()  # the first compiles
                times = alternate(calls, BUDGET_S, MOST_ROUNDS)
                timed = tuple(Timed(T, quartiles(t)) for T, t in zip(steps, times, strict=True))
                del calls
                long = not setting.quick and (B, H) == LONG_SIZE
                yield Row(cell, mode, B, H, timed, _long(cell, mode) if long else None)


def _long(cell: str, mode: Mode) -> float:
    """Seconds of a call of ``LONG`` steps, all of whose results are finite."""
    contestant = OURS(make(cell, square(LONG, *LONG_SIZE)), mode)
    start = perf_counter()
    outcome = contestant.call()
    seconds = perf_counter() - start
    for name, tensor in contestant.tensors(outcome).items():
        if not tensor.isfinite().all():
            raise ArithmeticError(f"{cell}, {mode}, {LONG} steps: {name} is not finite")
    return seconds


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    at = ", ".join(f"T={T} {value:.2f}" for T, value in row.flatness.items())
    return (
        f"{row.cell:5} {row.mode:9} B={row.B} H={row.H}: {row.fitted.fixed * 1e6:.1f} µs a "
        f"call, {row.fitted.step * 1e6:.3f} µs a step; beside that, {at}"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The row that is least flat, and the long call."""
    if not rows:
        return []
    worst = max(rows, key=lambda row: row.off)
    good = sum(row.off <= FLAT for row in rows)
    longest = max(of.T for row in rows for of in row.times)
    # A quick run goes not as far as was asked.
    whole = longest == max(ASKED)
    found = [
        Verdict(
            f"time a step flat, T={min(ASKED)} to {longest:,}",
            f"within {FLAT:.0%}",
            f"{worst.off:.0%} off at most",
            worst.off <= FLAT if whole else None,
            f"{good} of {len(rows)} flat; worst: {worst.cell}, {worst.mode}, "
            f"B={worst.B} H={worst.H}",
        )
    ]
    ran = [row.long_s for row in rows if row.long_s is not None]
    if ran:
        note = f"B={LONG_SIZE[0]} H={LONG_SIZE[1]}"
        found.append(Verdict(f"T={LONG:,}", "runs", f"{max(ran):.1f} s at most", True, note))
    return found


def section(rows: Sequence[Row]) -> str:
    """The rows as a table: µs a step by T, overhead included, and then taken off."""
    steps = sorted({of.T for row in rows for of in row.times})
    header = ("cell", "mode", "B", "H", "overhead, µs", "µs a step")
    header += (*(f"T={T:,}" for T in steps), f"T={LONG:,}, s")
    body: list[tuple[str, ...]] = []
    for row in rows:
        flat = row.flatness
        body.append(
            (
                f"`{row.cell}`", row.mode, str(row.B), str(row.H),
                f"{row.fitted.fixed * 1e6:.1f}", f"**{row.fitted.step * 1e6:.3f}**",
                *(
                    f"{of.seconds.median / of.T * 1e6:.3f} ({flat[of.T]:.0%})"
                    for of in row.times
                ),
                "" if row.long_s is None else f"{row.long_s:.1f}",
            )
        )  # fmt: skip
    return table(header, body)
