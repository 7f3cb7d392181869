"""``python -m benchmarks.linear``: both tables, and that each method is what is timed."""

import pytest
import torch

from benchmarks import linear
from unrolled.backends import reference, scanned
from unrolled.backends.cpu.build import compiler


@pytest.mark.skipif(compiler() is None, reason="no C compiler here")
def test_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(linear, "STEPS", (2, 9))
    monkeypatch.setattr(linear, "WIDTHS", ((1, 3),))
    monkeypatch.setattr(linear, "LONG", (5,))
    monkeypatch.setattr(linear, "ROUNDS", 1)
    linear.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line[:4] == "   1"]
    assert [row[:3] for row in rows] == [["1", "3", "2"], ["1", "3", "9"], ["1", "256", "5"]]
    assert all(float(figure) >= 0 for row in rows for figure in row[3:])
    assert all(float(figure) > 0 for row in rows[:2] for figure in row[3:])


@pytest.mark.parametrize("scan", [True, False])
def test_a_method_is_set_and_taken_back(scan: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def noted(a: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(len(a))
        return torch.zeros_like(a)

    monkeypatch.setattr(scanned, "scan", noted)
    chosen = reference.scans
    inference, _ = linear._calls(20, 1, 3)  # pyright: ignore[reportPrivateUsage]
    with linear.always(scan):
        inference()
    assert seen == [20] * scan
    assert reference.scans is chosen
