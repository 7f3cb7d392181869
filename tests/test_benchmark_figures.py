"""The figures beside the grid: told apart, judged, kept and shown as they were measured.

No test asserts a time.
"""

import ctypes
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import memory, memory_page, page, products, products_page
from benchmarks.figures import (
    cells,
    first_call,
    first_call_child,
    fresh,
    learning,
    lengths,
    loop,
    loop_child,
    overhead,
    parts,
    parts_child,
    sittings,
    steps,
    stream,
)
from benchmarks.figures.catalogue import FIGURES, KINDS
from benchmarks.figures.line_fit import fit
from benchmarks.figures.record import FILE, Measured, Record, load, save
from benchmarks.figures.timed_calls import Call, timed
from benchmarks.grid import Point, square
from benchmarks.limits import Limits, Reading
from benchmarks.machine import Machine
from benchmarks.peers.ours import build
from benchmarks.problems import make
from benchmarks.results import Results, Run
from benchmarks.results import save as save_results
from benchmarks.stored import ResultsError, rows, write
from benchmarks.timing import Quartiles
from benchmarks.work import flops, loop_flops
from unrolled.backends.cpu import products as of_cpu
from unrolled.backends.cpu.build import compiler
from unrolled.data.vocabulary import VocabularyConfig
from unrolled.models.config import LanguageModelConfig
from unrolled.models.language_model import LanguageModel

ROOT = Path(__file__).parent.parent
HERE = Machine("a processor", "AVX2", "L1d 48K", 1, "Linux x86_64")
LIMITS = Limits(1, 100.0, (Reading(1000, 200.0),))
RUN = Run("2026-01-02T03:04:05+00:00", "0123456789ab", 0.1, {"torch": "2.13.0"}, (LIMITS,))
TINY = Point(6, 3, 4, 5)

compiles = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")


def q(value: float) -> Quartiles:
    short = float(f"{value:.6g}")  # as files have it
    return Quartiles(short * 0.5, short, short * 2)


def by_steps(seconds: Callable[[int], float]) -> tuple[steps.Timed, ...]:
    return tuple(steps.Timed(T, q(seconds(T))) for T in (10, 30, 100, 1000, 10_000))


ROWS: dict[str, tuple[Any, ...]] = {
    "loop": (
        loop.Row("gru", square(100, 32, 256), "inference", q(0.002), q(0.004), 0.8),
        loop.Row("lstm", square(100, 32, 256), "inference", q(0.002), q(0.004), 0.7),
        loop.Row("gru", square(100, 32, 256), "backward", q(0.002), q(0.004), 0.66),
    ),
    "parts": (parts.Row("gru", TINY, "training", q(0.01), q(0.004), q(0.001), q(0.005)),),
    "cells": (
        cells.Row("lstm_layer_norm", "training", TINY, 5, q(0.3), q(0.2), q(1.5)),
        cells.Row("lstm_peephole_gers", "training", TINY, 5, q(0.3), q(0.2), q(1.5)),
    ),
    "steps": (
        steps.Row("gru", "training", 1, 256, by_steps(lambda T: 5e-5 + 1e-5 * T), 1.25),
        steps.Row("lstm", "training", 1, 256, by_steps(lambda T: 5e-5 + 2e-5 * T), None),
    ),
    "first_call": (
        first_call.Row("own", "training", 10, "empty", q(1.4), q(0.01), q(1.39)),
        first_call.Row("own", "training", 10, "filled", q(0.04), q(0.01), q(0.03)),
    ),
    "overhead": (
        overhead.Row(
            overhead.OURS[0], tuple(overhead.Timed(T, q(1e-5 + 1e-6 * T)) for T in (1, 8, 64))
        ),
        overhead.Row("torch.nn.GRUCell", (overhead.Timed(1, q(2e-5)),)),
    ),
    "lengths": (
        lengths.Row(
            "gru", "training", TINY, 5, q(1e-4), q(0.002), q(0.003), q(0.0022), q(1.125),
            (
                lengths.Drawn("uniform", 0.5, q(0.0011), q(0.57), q(0.0012), q(0.0055)),
                lengths.Drawn("one long", 0.25, q(0.0008), q(0.42), q(0.0009), q(0.0016)),
            ),
        ),
        lengths.Row(
            "lstm_peephole", "inference", TINY, 5, q(1e-4), q(0.002), None, q(0.002), q(1.0),
            (lengths.Drawn("all half", 0.5, q(0.0011), q(0.5), q(0.0012), None),),
        ),
    ),
    "stream": (
        stream.Row(
            "gru", 2, 1, 256, 15, 1e-7, 1e-5, 3_000_000, 300.0,
            q(1.5e-5), q(1.2e-4), q(9e-5), q(5e-5), q(8.0),
        ),
        stream.Row(
            "lstm", 2, 1, 256, 15, 2e-7, 1e-5, 4_000_000, 400.0,
            q(2.5e-5), q(3e-4), q(9e-5), None, q(12.0),
        ),
        stream.Row(
            "lstm", 1, 8, 32, 15, 3e-6, 1e-5, 4_000_000, 400.0,
            q(1e-3), q(3e-4), q(9e-5), None, q(0.3),
        ),
    ),
    "learning": (
        learning.Row(
            "demo", q(150_000.0), q(100_000.0), q(1.5),
            learning.Losses(10, 4.25, 4.25), learning.Losses(70, 2.0, 2.125),
        ),
    ),
}  # fmt: skip
RECORD = Record(HERE, tuple(Measured(name, RUN, of) for name, of in ROWS.items()))


# Telling apart


def test_a_line_is_found_and_what_is_off_it() -> None:
    line = fit({1: 12.0, 10: 30.0, 1000: 2010.0})
    assert line.fixed == pytest.approx(10.0)
    assert line.step == pytest.approx(2.0)
    assert line.flatness(100, 210.0) == pytest.approx(1.0)
    assert line.flatness(100, 230.0) == pytest.approx(1.1)
    assert line.off(100, 105.0) == pytest.approx(1.0)


def test_few_steps_count_as_much_as_many() -> None:
    # Of absolute errors, the smallest squares would pass by the first value at twice its size.
    line = fit({1: 1.0, 2: 2.0, 1000: 1100.0})
    assert line.off(1, 1.0) < 0.05


def test_only_the_products_with_h_are_the_loops() -> None:
    point = Point(T=2, B=3, D=5, H=7)
    assert loop_flops("lstm", point) == 2 * 6 * 28 * 7
    assert loop_flops("lstm", point) == flops("lstm", replace(point, D=0), "inference")


def test_calls_of_libraries_loaded_inside_are_timed_and_others_are_not() -> None:
    before = ctypes.CDLL(None)
    with timed() as calls:
        inside = ctypes.CDLL(None)
        inside.labs.restype = ctypes.c_long
        assert inside.labs(ctypes.c_long(-7)) == 7
        assert before.abs(-3) == 3
    assert [call.function for call in calls] == ["labs"]
    assert calls[0].seconds > 0
    assert ctypes.cast(inside.labs, ctypes.c_void_p).value
    assert type(ctypes.CDLL(None)) is type(before)


def test_a_calls_loops_are_told_from_its_products() -> None:
    calls = [Call("ur_product_all", 1.0), Call("ur_run", 2.0), Call("ur_run", 8.0)]
    assert loop_child.split("training", calls, 20.0) == loop_child.Round((2.0, 8.0), 20.0)
    with pytest.raises(loop_child.NoLoop, match=r"inference called ur_run 2 times, expected 1"):
        loop_child.split("inference", calls, 20.0)


@compiles
def test_each_loop_of_a_cell_is_measured() -> None:
    words = ("rnn", "1", "100.0", "6,3,4,5", "5,3,4,5")
    measured = fresh.run("benchmarks.figures.loop_child", *words)
    found = [(row["point"]["T"], row["part"]) for row in measured]
    assert found == [(T, part) for T in (6, 5) for part in ("inference", "forward", "backward")]
    for row in measured:
        assert 0 < row["seconds"]["median"] < row["call"]["high"]
        point = Point(**row["point"])
        peak_s = loop_flops("rnn", point) / 100e9
        assert row["of_peak"] == pytest.approx(peak_s / row["seconds"]["median"])


@compiles
def test_the_parts_of_a_call_are_within_it() -> None:
    measured = fresh.run("benchmarks.figures.parts_child", "gru", "1", "40,16,64,64")
    assert [row["mode"] for row in measured] == ["inference", "training"]
    for row in measured:
        inside = row["loop"]["low"] + row["around"]["low"]
        assert 0 < inside < row["call"]["high"]
        assert row["no_product"]["median"] > 0


def test_parts_are_told_by_their_functions() -> None:
    calls = [Call("ur_do", 1.0), Call("ur_run", 2.0), Call("ur_run", 8.0), Call("ur_do", 0.5)]
    assert parts_child.told_apart(calls, 20.0) == parts_child.Round(20.0, 10.0, 1.5)
    with pytest.raises(ValueError, match=r"found \['ur_else'\]"):
        parts_child.told_apart([*calls, Call("ur_else", 1.0)], 20.0)


@compiles
def test_a_loop_is_without_its_product_inside_and_nothing_else() -> None:
    of_loops = of_cpu.products(torch.float32)
    layout = ctypes.c_void_p * 3
    before = list(layout.from_address(of_loops.table))
    contestant = build(make("rnn", TINY), "inference")
    y = contestant.tensors(contestant.call())["y"].clone()
    with parts_child.no_product():
        inside = list(layout.from_address(of_loops.table))
        contestant.call()
    assert inside[:2] == before[:2]
    assert inside[2] not in (*before, None)
    assert list(layout.from_address(of_loops.table)) == before
    assert torch.equal(contestant.tensors(contestant.call())["y"], y)


def test_a_child_that_fails_is_shown() -> None:
    with pytest.raises(fresh.ChildFailed, match=r"first_call_child gru .*(?s:.*)mode 'x': exp"):
        fresh.run("benchmarks.figures.first_call_child", "gru", "x", "10", "1")


@compiles
def test_the_cell_of_nobodys_library_is_another() -> None:
    first, later = first_call_child.seconds("own", "training", square(3, 2, 5))
    assert first > 0
    assert later > 0


# Learning


def test_stock_layers_take_the_place_of_ours_with_their_values() -> None:
    vocabulary = VocabularyConfig().build(iter(["hello world"]))
    config = LanguageModelConfig(cell="gru", embedding_size=4, hidden_size=8, num_layers=2)
    model = LanguageModel(config, vocabulary)
    tokens = torch.randint(len(vocabulary), (12, 3))
    before, _ = model(tokens)
    sittings.put_stock_layers(model)
    assert type(model.recurrent) is nn.GRU
    after, _ = model(tokens)
    torch.testing.assert_close(after, before)


def test_layers_that_torch_has_not_are_refused() -> None:
    vocabulary = VocabularyConfig().build(iter(["hello world"]))
    config = LanguageModelConfig(cell="gru_cho", embedding_size=4, hidden_size=8)
    with pytest.raises(TypeError, match=r"torch\.nn has no layer for"):
        sittings.put_stock_layers(LanguageModel(config, vocabulary))


@compiles
def test_both_learn_the_same_in_sittings(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a text to be learnt by heart. " * 200, encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(
        "cell: gru\nhidden_size: 8\nembedding_size: 4\nbatch_size: 4\nwindow: 16\ndropout: 0.1\n"
        "epochs: 1000\n",
        encoding="utf-8",
    )
    of = sittings.task(config, [str(text)], tmp_path)
    learners = [
        sittings.Learner(of, layers, tmp_path / layers)
        for layers in ("ours", "torch.nn")
    ]  # fmt: skip
    while not all(20 in learner.losses() for learner in learners):
        for learner in learners:
            assert learner.sit(0.05) > 0
    ours, theirs = (learner.losses() for learner in learners)
    assert [ours[step] for step in (10, 20)] == pytest.approx([theirs[10], theirs[20]], rel=1e-4)


def test_a_text_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SHARED", (ROOT / "nowhere",))
    assert learning.corpus("tinyshakespeare") is None
    assert learning.corpus("demo") == []


# Judging


def judged(figure: str) -> dict[str, tuple[str, str, str]]:
    return {v.what: (v.asked, v.measured, v.word) for v in FIGURES[figure].verdicts(ROWS[figure])}


def test_verdicts() -> None:
    assert judged("loop") == {
        "the loop alone, inference": ("≥ 75% of the peak", "70% to 80%", "missed"),
        "the loop alone, backward": ("≥ 65% of the peak", "66% to 66%", "reached"),
    }
    assert judged("cells") == {
        "`lstm_layer_norm` beside our `lstm`, training": ("≤ 1.6", "1.50", "reached"),
        "`lstm_peephole_gers` beside our `lstm`, training": ("≤ 1.3", "1.50", "missed"),
    }
    assert judged("steps") == {
        "time a step flat, T=10 to 10,000": ("within 10%", "0% off at most", "reached"),
        "T=100,000": ("runs", "1.2 s at most", "reached"),
    }
    assert judged("first_call") == {
        "first call, the cache empty": ("< 1,500 ms", "1,390 ms at most", "reached"),
        "first call, the cache filled": ("< 20 ms", "30 ms at most", "missed"),
    }
    assert judged("overhead") == {
        "`unrolled.recurrence`, one step, beyond the arithmetic": ("< 15 µs", "10.0 µs", "reached")
    }
    by_torch, packed = "`torch.nn` with a `PackedSequence`", "to report"
    of_padded, asked = (
        "time as a part of the padded call's",
        "≤ share of the steps + 10% + constant",
    )
    some_resets = "`resets=` before 10% of the steps"
    # Beside its share, 0.05 for the constant: 0.57 - 0.5 and 0.42 - 0.25 of the padded call's time.
    assert judged("lengths") == {
        f"`lengths=`, {of_padded}, inference": (asked, "share -5% + constant at most", "reached"),
        f"{some_resets}, inference": (packed, "1.00 of the time without", "—"),
        f"`lengths=`, {of_padded}, training": (asked, "share +12% + constant at most", "missed"),
        f"`lengths=` beside {by_torch}, training": (packed, "3.16 times as fast", "—"),
        f"{some_resets}, training": (packed, "1.12 of the time without", "—"),
    }
    assert judged("stream") == {
        "a step of `layer.stream`, B=1 H=256, two layers, 2 threads": (
            "≤ 2 × reading the weights", "2.50 × at most", "missed",
        ),
        "the same beside `torch.nn`'s cells in a loop, 2 threads": (
            "≥ 10 times as fast", "8.00 times at least", "missed",
        ),
        "`layer.stream` beside the sequence call": (
            "float32's rounding", "3.0e-06 off at most", "reached",
        ),
    }  # fmt: skip
    (_, beside_cells, _) = stream.verdicts(ROWS["stream"][:1])
    assert beside_cells.note == "gru 8.00, at the limit 12.00"
    assert judged("learning") == {
        "training demo, beside `torch.nn`": ("to report", "1.50 times as many characters/s", "—")
    }


def test_a_step_that_gets_slower_is_not_flat() -> None:
    timed = by_steps(lambda T: T * (1e-5 if T < 10_000 else 1.5e-5))
    (verdict, *_) = steps.verdicts([replace(ROWS["steps"][0], times=timed)])
    assert verdict.word == "missed"


def test_a_quick_run_does_not_say_that_all_is_flat() -> None:
    timed = ROWS["steps"][0].times[:3]
    (verdict, *_) = steps.verdicts([replace(ROWS["steps"][0], times=timed)])
    assert verdict.word == "—"


def test_verdicts_of_nothing() -> None:
    for figure in FIGURES.values():
        assert figure.verdicts(()) == []
    assert memory_page.verdicts(()) == []


def test_memory_is_judged_beside_torch_and_over_T() -> None:
    peaks = [memory.Row("gru", T, 32, 256, 1000 + 10 * T, 1000 + 9 * T) for T in (10, 20, 40)]
    beside, linear = memory_page.verdicts(peaks)
    assert (beside.measured, beside.word) == ("1.03 of it at most", "missed")
    assert (linear.measured, linear.word) == ("0% off a line at most", "reached")
    step = [replace(row, ours_bytes=row.ours_bytes + 2000 * (row.T > 10)) for row in peaks]
    assert memory_page.verdicts(step)[1].word == "missed"
    alone = [replace(peaks[0], torch_bytes=None)]
    assert memory_page.verdicts(alone) == []
    assert memory_page.section(alone).splitlines()[-1].endswith("|  |  |")


# Keeping and showing


def test_every_figure_is_in_the_example() -> None:
    assert ROWS.keys() == FIGURES.keys() == KINDS.keys()


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    save(RECORD, path)
    assert load(path, KINDS) == RECORD
    assert RECORD.rows("nothing") == ()
    again = Measured("loop", RUN, ROWS["loop"][:1])
    assert RECORD.having(again).rows("loop") == ROWS["loop"][:1]
    assert len(RECORD.having(again).measured) == len(ROWS)


def test_a_foreign_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    save(RECORD, path)
    path.write_text(path.read_text(encoding="utf-8").replace("of_peak", "peak"), encoding="utf-8")
    with pytest.raises(ResultsError, match="isn't what a run has written: expected call, cell"):
        load(path, KINDS)


def test_rows_are_printed_as_they_come() -> None:
    for name, figure in FIGURES.items():
        for row in ROWS[name]:
            assert len(figure.line(row)) > 20


def test_the_page_has_every_figure(tmp_path: Path) -> None:
    save_results(Results(HERE, (RUN,)), tmp_path / "full.json")
    save(RECORD, tmp_path / FILE.name)
    peaks = [memory.Row("gru", 10, 1, 5, 3_000_000, 4_000_000)]
    write(tmp_path / memory.FILE.name, memory.SCHEMA, {"rows": [asdict(row) for row in peaks]})
    made = [products.Row("input", "gru", TINY, 5, q(0.01), 50.0, q(2.0), None)]
    write(tmp_path / products.FILE.name, products.SCHEMA, {"rows": [asdict(r) for r in made]})
    written = page.page(page.read(tmp_path / "full.json"))
    for figure in FIGURES.values():
        assert f"\n## {figure.title}\n" in written
        for of in figure.verdicts(ROWS[figure.name]):
            assert f"| {of.what} | {of.asked} | **{of.measured}** | {of.word} |" in written
    assert "| `gru` | 10 | 1 | 5 | 3 | 4 | **0.75** |" in written
    assert (
        "loop, parts, cells, steps, first_call, overhead, lengths, stream, learning: commit "
        "0123456789ab" in written
    )
    assert "| input | MKL (`torch.mm`) | 1 | **2.00** | 2.00 at gru, T=6 " in written
    # Of the tables of targets: each peer's is there, unmeasured.
    assert not re.search(r"^\| (First calls|Peak memory) \|", written, re.MULTILINE)
    widths: list[set[int]] = [set()]
    for text in written.splitlines():
        widths[-1:] = [widths[-1] | {text.count("|")}] if text[:1] == "|" else [widths[-1], set()]
    assert all(len(of_table) <= 1 for of_table in widths)


def test_other_machines_are_told_apart_on_the_page(tmp_path: Path) -> None:
    save_results(Results(HERE, (RUN,)), tmp_path / "full.json")
    there = tmp_path / "there"
    there.mkdir()
    save_results(Results(replace(HERE, processor="another"), (RUN,)), there / "full.json")
    save(replace(RECORD, machine=replace(HERE, processor="another")), there / FILE.name)
    elsewhere = page.others(tmp_path / "full.json")
    assert [of.results.machine.processor for of in elsewhere] == ["another"]
    here, _, of_there = page.page(page.read(tmp_path / "full.json"), elsewhere).partition(
        "\n## On another machine: another\n"
    )
    assert "| the loop alone, inference |" not in here
    assert "| the loop alone, inference |" in of_there
    # Its headings stand below the machine's.
    assert not re.search(r"^##? ", of_there, re.MULTILINE)


def test_figures_of_another_machine_are_not_shown(tmp_path: Path) -> None:
    save_results(Results(replace(HERE, threads=2), (RUN,)), tmp_path / "full.json")
    save(RECORD, tmp_path / FILE.name)
    with pytest.raises(ResultsError, match="are of two machines, or numbers of threads"):
        page.read(tmp_path / "full.json")


def test_products_beside_each_library_that_was_there() -> None:
    made = [
        products.Row("input", "gru", TINY, 5, q(0.01), 50.0, q(2.0), None),
        products.Row("input", "rnn", TINY, 5, q(0.01), 70.0, q(8.0), q(0.5)),
    ]
    _, _, mkl, onednn = products_page.section(made).splitlines()
    assert "| 2 | **4.00** | 2.00 at gru, T=6 B=3 D=4 H=5 | 8.00 | 50 to 70 |" in mkl
    assert "| 1 | **0.50** | 0.50 at rnn, T=6 B=3 D=4 H=5 | 0.50 | 70 to 70 |" in onednn


def test_rows_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    assert rows(path, memory.SCHEMA, memory.Row) == ()
    write(path, memory.SCHEMA, {"rows": [{"cell": "gru"}]})
    with pytest.raises(ResultsError, match="isn't what a run has written: expected B, H, T, cell"):
        rows(path, memory.SCHEMA, memory.Row)


def test_what_may_be_missing_is_read_either_way(tmp_path: Path) -> None:
    path = tmp_path / "products.json"
    made = tuple(
        products.Row("input", "gru", TINY, 5, q(0.01), 50.0, q(2.0), onednn)
        for onednn in (None, q(3.0))
    )
    write(path, products.SCHEMA, {"rows": [asdict(row) for row in made]})
    assert rows(path, products.SCHEMA, products.Row) == made


# Whole runs


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.figures", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@compiles
def test_the_command_measures_one_figure_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    ran = command("--quick", "--only", "overhead", "--threads", "1", "--out", str(path))
    assert ran.returncode == 0, ran.stderr
    (measured,) = load(path, KINDS).measured
    assert measured.figure == "overhead"
    assert [row.call for row in measured.rows][:3] == [*overhead.OURS, "torch.nn.GRU"]
    for row in measured.rows:
        assert FIGURES["overhead"].line(row) in ran.stdout
    save(Record(replace(HERE, threads=1)), path)
    other = command("--quick", "--only", "overhead", "--threads", "1", "--out", str(path))
    assert other.returncode == 1
    assert "choose another --out, or remove the file" in other.stderr


@compiles
def test_a_long_call_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LONG", 7)
    monkeypatch.setattr(steps, "LONG_SIZE", (2, 5))
    assert steps._long("gru", "training") > 0
    monkeypatch.setattr(steps, "OURS", lambda problem, mode: replace(
        build(problem, mode), tensors=lambda outcome: {"y": torch.tensor([torch.nan])}
    ))  # fmt: skip
    with pytest.raises(ArithmeticError, match="gru, training, 7 steps: y is not finite"):
        steps._long("gru", "training")
