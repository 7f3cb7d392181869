"""The benchmarks of the products around the loop and of memory: compared, measured, recorded."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import memory, products
from benchmarks.grid import Point
from benchmarks.results import DIRECTORY
from unrolled.backends.cpu.build import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TINY = Point(6, 3, 20, 5)


def test_each_product_of_each_cell_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "BUDGET_S", 0.0)
    rows = list(products.measure([TINY]))
    assert {(r.product, r.cell) for r in rows} == {
        (p, c) for p in products.PRODUCTS for c in ("rnn", "gru", "lstm")
    }
    assert all(r.gflops > 0 and r.mkl.median > 0 for r in rows)
    text = products.summary(rows)
    assert text.count("mkl") == 3
    assert all("GFLOP/s" in products.line(r) for r in rows)


def test_a_product_that_differs_is_not_timed() -> None:
    right = torch.ones(3, 4)
    products.compare({"ours": right, "mkl": right + 1e-7}, 100)
    with pytest.raises(products.Disagreement, match=r"^mkl is 1\.0e-03 from ours"):
        products.compare({"ours": right, "mkl": right * (1 / 0.999)}, 100)


def test_products_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "BUDGET_S", 0.0)
    monkeypatch.setattr(products, "QUICK", (TINY,))
    # The process keeps its processors and threads.
    monkeypatch.setattr(products.machine, "pin", lambda threads: None)  # pyright: ignore
    products.main(["--quick", "--out", str(tmp_path / "products.json")])
    whole = json.loads((tmp_path / "products.json").read_text())
    assert len(whole["rows"]) == 9
    assert whole["rows"][0]["point"] == {"T": 6, "B": 3, "D": 20, "H": 5}
    with pytest.raises(ValueError, match="no point of the grid"):
        products.main(["--points", "T=3"])


@ON_LINUX
def test_memory_is_measured_in_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And has what must be alive at once: y and its cotangent's way back, whatever else."""
    monkeypatch.setattr(memory, "QUICK", (Point(100, 16, 128, 128),))
    monkeypatch.setattr(memory, "OTHERS", ())
    monkeypatch.setattr(memory.machine, "pin", lambda threads: None)  # pyright: ignore
    memory.main(["--quick", "--threads", "1", "--out", str(tmp_path / "memory.json")])
    rows = [memory.Row(**row) for row in json.loads((tmp_path / "memory.json").read_text())["rows"]]
    assert [row.cell for row in rows] == ["rnn", "gru", "lstm"]
    for row in rows:
        sequence = 4 * row.T * row.B * row.H
        assert row.torch_bytes is not None
        assert 2 * sequence < row.ours_bytes < 40 * sequence
        assert 2 * sequence < row.torch_bytes < 60 * sequence
        assert f"{row.ours_bytes / row.torch_bytes:.2f} of it" in memory.line(row)


def test_results_of_both_stand_beside_the_others() -> None:
    assert products.FILE.parent == memory.FILE.parent == DIRECTORY
