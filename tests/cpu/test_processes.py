"""The CPU backend in forked processes, in threads, and when it is interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from torch import Tensor

import unrolled
from kernel_runs import SHARING, Call, Share, results, shared
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.cells import CELLS
from unrolled.lower import Plan, lower

SRC = Path(__file__).parents[2] / "src"
SIZE = 16

START = """
import os, signal, sys, threading, time
import torch, unrolled
from unrolled.cells import CELLS
torch.set_num_threads(2)
cell = CELLS["gru"]
shapes = cell.parameter_shapes(cell.resolve_sizes(16, 16))
params = {n: torch.full([int(k) for k in s], 0.1) for n, s in shapes.items()}
def run(x):
    y, _ = unrolled.recurrence(cell, x, (torch.zeros(x.shape[1], 16),), params, "cpu")
    return y
"""


def python(code: str) -> str:
    """What a new process prints that runs ``START`` and the code; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_the_workers_of_a_data_loader() -> None:
    """Forked from a process whose threads have run a kernel."""
    printed = python(
        """
        from torch.utils.data import DataLoader, Dataset

        class Runs(Dataset):
            def __len__(self):
                return 8
            def __getitem__(self, k):
                x = torch.full((5, 32, 16), float(k)).requires_grad_()
                y = run(x)
                (d,) = torch.autograd.grad(y.sum(), x)
                return y.detach(), d

        here = [Runs()[k] for k in range(8)]
        loader = DataLoader(
            Runs(), batch_size=None, num_workers=2, multiprocessing_context="fork"
        )
        for (y, d), (y_here, d_here) in zip(loader, here):
            torch.testing.assert_close(y, y_here)
            torch.testing.assert_close(d, d_here)
            print("equal")
        """
    )
    assert printed.split() == ["equal"] * 8


def test_in_a_process_forked_from_one_with_threads() -> None:
    """One that nobody told to run on one thread, and its own child; the parent goes on."""
    printed = python(
        """
        x = torch.ones(5, 32, 16)
        before = run(x).tolist()

        def forked(work):
            child = os.fork()
            if child == 0:
                work()
                os._exit(0)
            for _ in range(600):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    assert status == 0
                    return
                time.sleep(0.1)
            os.kill(child, signal.SIGKILL)
            raise SystemExit("the child hangs")

        def compare():
            assert torch.get_num_threads() == 2
            torch.testing.assert_close(run(x), torch.tensor(before))

        forked(compare)
        forked(lambda: (compare(), forked(compare)))
        compare()
        print("equal")
        """
    )
    assert printed.split() == ["equal"]


def test_an_interrupted_kernel_ends_and_the_next_call_is_right() -> None:
    printed = python(
        """
        x = torch.randn(20, 8, 16)
        before = run(x)
        long = torch.randn(60_000, 8, 16)
        started = time.perf_counter()
        run(long)
        lasts = time.perf_counter() - started

        def interrupt():
            time.sleep(lasts / 3)
            os.kill(os.getpid(), signal.SIGINT)

        for _ in range(5):
            threading.Thread(target=interrupt).start()
            try:
                for _ in range(100):
                    run(long)
            except KeyboardInterrupt:
                print("interrupted")
            assert torch.equal(run(x), before)
        """
    )
    assert printed.split() == ["interrupted"] * 5


def _plan(name: str) -> Plan:
    cell = CELLS[name]
    graph = cell.graph(cell.resolve_sizes(SIZE, SIZE), torch.float64)
    return lower(graph, ("y",), [v.name for v in (*graph.inputs, *graph.parameters)])


def _call(name: str, seed: int, steps: int = 6, batch: int = 9) -> Call:
    source = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*map(int, shape), generator=source, dtype=torch.float64) / 4

    cell = CELLS[name]
    shapes = cell.parameter_shapes(cell.resolve_sizes(SIZE, SIZE))
    states = tuple(numbers(batch, SIZE) for _ in cell.states)
    parameters = {n: numbers(*s) for n, s in shapes.items()}
    d_y = numbers(steps, batch, SIZE)
    return Call(numbers(steps, batch, SIZE), states, parameters, {"y": d_y}, states)


def test_in_threads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads, all of which find nothing compiled, and then share one kernel."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    calls = [_call("gru_full", seed) for seed in range(4)]
    alone = CpuKernel(_plan("gru_full"))
    expected = [results(alone, call) for call in calls]
    kernel, together = CpuKernel(_plan("gru_full")), Barrier(4)

    def work(k: int) -> list[dict[str, Tensor]]:
        together.wait()
        return [results(kernel, calls[k]) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(work, range(4)), expected, strict=True):
            for each in found:
                for name, value in each.items():
                    torch.testing.assert_close(value, right[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sharing", SHARING, ids=lambda s: f"{s[0].__name__}-{s[1]}")
def test_the_same_call_gives_the_same_bits(sharing: tuple[Share, int]) -> None:
    call, kernel = _call("lstm_layer_norm", 0, batch=13), CpuKernel(_plan("lstm_layer_norm"))
    with shared(*sharing):
        first = results(kernel, call)
        for _ in range(5):
            again = results(kernel, call)
            assert all(torch.equal(again[name], value) for name, value in first.items())


@pytest.mark.parametrize("share", dict.fromkeys(s for s, _ in SHARING if s.__name__ != "rows"))
def test_the_number_of_threads_shows_in_sums_over_examples_alone(share: Share) -> None:
    """Where blocks of examples are the same, only the gradients of vectors differ, by rounding.

    Each thread adds up its own examples' part of them; all else has one order of summation.
    """
    cell = CELLS["lstm_layer_norm"]
    vectors = {f"gradient of {n}" for n, s in cell.parameters.items() if len(s.shape) == 1}
    assert vectors
    call, kernel = _call("lstm_layer_norm", 0, batch=13), CpuKernel(_plan("lstm_layer_norm"))
    found: list[dict[str, Tensor]] = []
    for threads in (1, 2, 3):
        with shared(share, threads):
            found.append(results(kernel, call))
    for other in found[1:]:
        for name, value in found[0].items():
            if name in vectors:
                torch.testing.assert_close(other[name], value, rtol=1e-12, atol=1e-12)
            else:
                assert torch.equal(other[name], value), name


def test_an_example_does_not_feel_its_neighbours_values() -> None:
    """Its results have the same bits whatever stands in the other rows of the batch."""
    cell, given = CELLS["gru"], _call("gru", 0).parameters
    x, h = torch.randn(5, 13, SIZE).double(), torch.randn(13, SIZE).double()
    y, _ = unrolled.recurrence(cell, x, (h,), given, "cpu")
    for kept in range(13):
        others = torch.randn_like(x)
        others[:, kept] = x[:, kept]
        states = torch.randn_like(h)
        states[kept] = h[kept]
        again, _ = unrolled.recurrence(cell, others, (states,), given, "cpu")
        assert torch.equal(again[:, kept], y[:, kept])
