"""Streams: a step at a time gives what a sequence gives, on memory of its own."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled as ur
from layer_samples import assert_near
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled import cells
from unrolled.cells import CELLS

T, D, H = 6, 5, 7
SIZES = {"lstm_projected": {"P": 4}, "elman_output": {"O": 3}, "elman_concat_output": {"O": 3}}


def steps(stream: ur.Stream, x: Tensor) -> Tensor:
    return torch.stack([stream.step(x_t).clone() for x_t in x])


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_equals_the_sequence(name: str, backend: str) -> None:
    layer = ur.Recurrent(
        CELLS[name], D, H, sizes=SIZES.get(name), backend=backend, dtype=torch.float64
    )
    for batch in (1, 3):
        x = torch.randn(T, batch, D, dtype=torch.float64)
        y, state = layer(x)
        stream = layer.stream(batch)
        assert_near([steps(stream, x), *stream.state], [y, *state], 1, T, batch)


@pytest.mark.parametrize("name", TRICKY)
def test_tricky_cells_equal_the_sequence(name: str) -> None:
    sizes = {k: v for k, v in OTHER_SIZES.items() if k in TRICKY[name].size_names()}
    layer = ur.Recurrent(
        TRICKY[name], INPUT_SIZE, HIDDEN_SIZE, sizes=sizes, backend="cpu", dtype=torch.float64
    )
    x = torch.randn(T, 2, INPUT_SIZE, dtype=torch.float64)
    y, _ = layer(x)
    initial = [s.double() for s in layer.initial_state(2)]
    found = steps(layer.stream(2, initial), x)
    torch.testing.assert_close(found, y.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sizes", [(5, 7, 1), (64, 200, 1), (33, 65, 12)])
def test_drop_ins_in_float32(kind: str, threads: int, sizes: tuple[int, int, int]) -> None:
    """Two layers, with and without columns shared by threads."""
    inputs, hidden, batch = sizes
    module = getattr(ur, kind)(inputs, hidden, 2)
    x = torch.randn(T, batch, inputs)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = steps(module.stream(batch), x)
    finally:
        torch.set_num_threads(before)
    expected = getattr(torch.nn, kind)(inputs, hidden, 2)
    expected.load_state_dict(module.state_dict())
    # The sizes are larger than those that the bound counts with, the sums so many times as long.
    longer = -(-max(inputs, hidden) // 5)
    assert_near([found], [expected(x)[0]], 2 * longer, T, batch)


def test_a_step_takes_no_memory() -> None:
    stream = ur.GRU(8, 16, 2).stream()
    x = torch.randn(1, 8)
    first = stream.step(x)
    for _ in range(10):
        assert stream.step(x) is first
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        for _ in range(1000):
            stream.step(x)
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    grown = sum(s.size_diff for s in after.compare_to(before, "filename") if "unrolled" in str(s))
    assert grown < 1000
    with torch.profiler.profile(profile_memory=True) as profile:
        stream.step(x)
    assert not [e for e in profile.events() or () if e.cpu_memory_usage > 0]


def test_it_begins_is_reset_and_goes_on_where_it_is_told() -> None:
    layer = ur.Recurrent(cells.lstm, D, H, 2, learn_initial=True)
    with torch.no_grad():
        layer.get_parameter("initial_h").normal_()
    x = torch.randn(T, 3, D)
    stream = layer.stream(3)
    first = steps(stream, x)
    torch.testing.assert_close(first, layer(x)[0].detach())
    stream.reset()
    assert torch.equal(steps(stream, x), first)
    stream.reset([1])
    y = stream.step(x[0]).clone()
    torch.testing.assert_close(y[1], first[0, 1])
    assert not torch.equal(y[0], first[0, 0])
    stream.reset(torch.tensor([True, False, True]))
    torch.testing.assert_close(stream.step(x[0])[0], first[0, 0])
    _, state = layer(x)
    stream.load(state)
    torch.testing.assert_close(stream.step(x[0]), layer(x[:1], state)[0][0].detach())
    carried = layer.stream(3, state)
    torch.testing.assert_close(carried.step(x[0]), layer(x[:1], state)[0][0].detach())


def test_it_takes_weights_anew_when_they_have_changed() -> None:
    layer = ur.GRU(D, H)
    stream = layer.stream()
    x = torch.randn(1, 1, D)
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    torch.testing.assert_close(stream.step(x[0]), layer(x)[0][0].detach())
    stream.reset()
    for p in layer.parameters():
        p.data.mul_(3)
    stream.refresh()
    torch.testing.assert_close(stream.step(x[0]), layer(x)[0][0].detach())


def test_inputs_that_are_not_contiguous() -> None:
    layer = ur.GRU(D, H)
    x = torch.randn(D, 3)
    expected = layer.stream(3).step(x.T.contiguous()).clone()
    assert torch.equal(layer.stream(3).step(x.T), expected)


def refused(error: type[Exception], call: Any) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_what_is_refused() -> None:
    stream = ur.GRU(D, H).stream(2)
    assert refused(ValueError, lambda: stream.step(torch.zeros(D))) == (
        "x must be [B, D] = [2, 5], got [5]"
    )
    assert refused(TypeError, lambda: stream.step(torch.zeros(2, D).double())) == (
        "x is torch.float64, the stream torch.float32: convert with .to()"
    )
    assert refused(ValueError, lambda: stream.step(torch.zeros(2, D, device="meta"))) == (
        "x is on meta, the stream on cpu"
    )
    assert refused(ValueError, lambda: ur.GRU(D, H, bidirectional=True).stream()) == (
        "GRU is bidirectional, and a stream has no end to run backwards from: "
        "use bidirectional=False, or call the layer on whole windows"
    )
    assert refused(ValueError, lambda: stream.load((torch.zeros(1, 3, H),))) == (
        "state: expected [1, 2, 7], got [1, 3, 7]"
    )
    assert refused(ValueError, lambda: ur.GRU(D, H).stream(0)) == (
        "batch_size must be greater than zero, got 0"
    )
