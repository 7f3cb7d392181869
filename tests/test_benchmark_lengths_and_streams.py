"""The benchmarks of uneven sequences and of streams: what they time computes what it should.

No test asserts a time.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.agreement import Disagreement, compare
from benchmarks.figures import fresh, lengths, lengths_calls, lengths_page, stream, stream_child
from benchmarks.figures.setting import Setting
from benchmarks.grid import Point
from benchmarks.peers.contestant import Contestant
from benchmarks.problems import MODES, Mode, make
from benchmarks.stored import decoded
from benchmarks.timing import Quartiles
from unrolled.backends.cpu.build import compiler

compiles = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
UNEVEN, LENGTHS = Point(7, 4, 3, 5), torch.tensor([2, 7, 1, 5])


def q(value: float) -> Quartiles:
    return Quartiles(value, value, value)


# Lengths


def test_lengths_are_drawn_from_one_to_all_steps() -> None:
    found = lengths.draws(Point(20, 6, 1, 1))
    assert found["all half"].tolist() == [10] * 6
    assert found["one long"].tolist() == [2, 2, 2, 20, 2, 2]
    assert found["all full"].tolist() == [20] * 6
    uniform = found["uniform"]
    assert 1 <= int(uniform.min()) < int(uniform.max()) <= 20
    for of in lengths.draws(Point(1, 1, 1, 1)).values():
        assert of.tolist() == [1]


def alone(cell: str, mode: Mode) -> dict[str, Tensor]:
    """What ``torch.nn`` computes of each example by itself, cut to its length."""
    problem = make(cell, UNEVEN)
    layer = lengths_calls.torchs(problem, mode)
    assert layer is not None
    T, B, H = UNEVEN.T, UNEVEN.B, UNEVEN.H
    y = torch.zeros(T, B, H)
    states = {state.name: torch.zeros(B, H) for state in problem.cell.states}
    gradients = [torch.zeros_like(leaf) for leaf in layer.leaves]
    initial = [state.unsqueeze(0) for state in problem.states]
    for b, n in enumerate(LENGTHS.tolist()):
        first = [s[:, b : b + 1] for s in initial]
        given = tuple(first) if len(first) > 1 else first[0]
        of_one, final = layer.module(layer.x[:n, b : b + 1], given)
        y[:n, b : b + 1] = of_one.detach()
        for name, state in zip(
            states, final if isinstance(final, tuple) else (final,), strict=True
        ):
            states[name][b] = state[0, 0].detach()
        if mode == "training":
            d_y = problem.d_y[:n, b : b + 1]
            for total, d in zip(
                gradients, torch.autograd.grad(of_one, layer.leaves, d_y), strict=True
            ):
                total += d
    names = [f"d_{name}" for name in ("x", *problem.params)] if mode == "training" else []
    return {"y": y, **states, **dict(zip(names, gradients, strict=False))}


@compiles
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_each_way_computes_what_each_example_does_alone(cell: str, mode: Mode) -> None:
    problem = make(cell, UNEVEN)
    ours, theirs = lengths_calls.ours(problem, mode), lengths_calls.torchs(problem, mode)
    assert theirs is not None
    plain = alone(cell, mode)
    compare(lengths_calls.expected(ours, LENGTHS), plain, UNEVEN)
    for contestant in (
        lengths_calls.with_lengths(ours, LENGTHS),
        lengths_calls.packed(ours, LENGTHS),
        lengths_calls.packed(theirs, LENGTHS),
    ):
        compare(contestant.tensors(contestant.call()), plain, UNEVEN)


@compiles
def test_a_cell_of_no_library_has_no_peer() -> None:
    problem = make("lstm_peephole", UNEVEN)
    assert lengths_calls.torchs(problem, "training") is None
    ours = lengths_calls.ours(problem, "training")
    contestant = lengths_calls.with_lengths(ours, LENGTHS)
    compare(
        contestant.tensors(contestant.call()), lengths_calls.expected(ours, LENGTHS), UNEVEN
    )  # fmt: skip


@compiles
@pytest.mark.parametrize("wrong", ["with_lengths", "with_resets", "packed"])
def test_what_computes_something_else_is_not_timed(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def padded(layer: lengths_calls.Layer, _: Tensor) -> Contestant:
        return lengths_calls.padded(layer)

    monkeypatch.setattr(lengths_calls, wrong, padded)
    with pytest.raises(Disagreement, match="differs by"):
        lengths._contestants("gru", "inference", UNEVEN)


@compiles
def test_lengths_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "CELLS", ("lstm", "lstm_peephole"))
    monkeypatch.setattr(lengths, "QUICK", (UNEVEN,))
    monkeypatch.setattr(lengths, "QUICK_BUDGET_S", 0.01)
    rows = list(lengths.measure(Setting(quick=True, threads=1, gflops=1.0)))
    assert [(row.cell, row.mode) for row in rows] == [
        (cell, mode) for cell in ("lstm", "lstm_peephole") for mode in MODES
    ]
    for row in rows:
        assert [of.name for of in row.drawn] == [*lengths.draws(UNEVEN)]
        assert row.rounds >= 5
        assert row.drawn[-1].share == 1
        assert all(0 < of.seconds.low <= of.seconds.high for of in row.drawn)
        own = row.cell == "lstm_peephole"
        assert (row.torch_padded is None) == own
        assert all((of.torch_packed is None) == own for of in row.drawn)


ROW = lengths.Row(
    "gru", "training", UNEVEN, 5, q(2e-5), q(2e-4), q(1.0), q(1.0), q(1.0),
    (lengths.Drawn("uniform", 0.5, q(1.4e-4), q(0.7), q(1.0), q(1.0)),),
)  # fmt: skip


def test_the_constant_and_the_margin_are_allowed_beside_the_share() -> None:
    (drawn,) = ROW.drawn
    assert ROW.allowed(drawn) == pytest.approx(0.5 + 0.1 + 0.1)
    assert ROW.beyond(drawn) == pytest.approx(0.1)


def test_a_margin_of_the_share_itself_is_told() -> None:
    def judged(ratio: float) -> tuple[str, str]:
        (drawn,) = ROW.drawn
        verdict, *_ = lengths_page.verdicts(
            [replace(ROW, drawn=(replace(drawn, ratio=q(ratio)),))]
        )  # fmt: skip
        return verdict.word, verdict.note.partition("a call; ")[2]

    assert judged(0.64) == ("reached", "1 of 1 within 1.1 × share + constant")
    assert judged(0.69) == ("reached", "0 of 1 within 1.1 × share + constant")
    assert judged(0.71) == ("missed", "0 of 1 within 1.1 × share + constant")


# Streams


@compiles
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_all_ways_to_step_are_measured_and_agree(cell: str) -> None:
    pytest.importorskip("onnxruntime")
    rows = fresh.run("benchmarks.figures.stream_child", cell, "1", "1,5", "3,8")
    found = [decoded(stream.Row, row) for row in rows]
    assert [(row.cell, row.threads, row.B, row.H) for row in found] == [
        (cell, 1, 1, 5), (cell, 1, 3, 8),
    ]  # fmt: skip
    for row in found:
        gates = {"gru": 3, "lstm": 4}[cell]
        assert row.weight_bytes == 4 * 2 * (gates * row.H * 2 * row.H + 2 * gates * row.H)
        assert row.error <= row.rounding
        assert row.limit_s == pytest.approx(row.weight_bytes / row.gb_s / 1e9)
        assert row.onnx is not None
        for of in (row.ours, row.cells, row.layer, row.onnx):
            assert 0 < of.low <= of.median <= of.high


@compiles
def test_onnx_runtime_is_left_out_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_child, "find_spec", lambda _name: None)
    monkeypatch.setattr(stream_child, "BUDGET_S", 0.01)
    with torch.no_grad():
        ways, _, _ = stream_child._compared("gru", stream_child._layer("gru", 5), 2, 5)
        assert [*ways] == ["ours", "cells", "layer"]
        (row,) = stream_child.measure("gru", 1, [(2, 5)])
    assert row.onnx is None


@compiles
def test_steps_that_compute_something_else_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    cells: Any = stream_child.cells_in_a_loop

    def forgetful(cell: str, layer: nn.RNNBase, xs: Any) -> stream_child.Way:
        return replace(cells(cell, layer, xs), step=lambda x: cells(cell, layer, xs).step(x))

    monkeypatch.setattr(stream_child, "cells_in_a_loop", forgetful)
    with pytest.raises(Disagreement, match="y differs by"), torch.no_grad():
        stream_child._compared("gru", stream_child._layer("gru", 5), 2, 5)


def test_one_number_of_threads_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    def run(_module: str, *words: str) -> list[Any]:
        calls.append(words)
        return []

    monkeypatch.setattr(fresh, "run", run)
    for threads in (1, 2):
        assert not [*stream.measure(Setting(quick=True, threads=threads, gflops=1.0))]
    assert [words[:2] for words in calls] == [
        ("gru", "1"), ("lstm", "1"), ("gru", "1"), ("gru", "2"), ("lstm", "1"), ("lstm", "2"),
    ]  # fmt: skip
    assert calls[0][2:] == ("1,32", "1,256")
