"""``python -m benchmarks.figures.stream_child CELL THREADS B,H …``: rows of ``stream``.

A process of its own for each number of threads, which are pinned once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import unrolled as ur
from benchmarks import limits, machine
from benchmarks.agreement import compare, tolerance
from benchmarks.figures.stream import LAYERS, Row
from benchmarks.grid import Point, square
from benchmarks.timing import Quartiles, alternate, quartiles

OURS = {"gru": ur.GRU, "lstm": ur.LSTM}
THEIRS = {"gru": nn.GRU, "lstm": nn.LSTM}
THEIR_CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}

STEPS = 64
"""Timed as one, on inputs that are there already: the clock and pauses don't count."""

BUDGET_S, MOST_ROUNDS = 1.0, 15


@dataclass(frozen=True)
class Way:
    """A step that keeps its state from one to the next, and the inputs in the form it takes."""

    step: Callable[[Any], Any]
    inputs: Sequence[Any]

    def run(self) -> None:
        """All inputs, one after the other."""
        step = self.step
        for x in self.inputs:
            step(x)

    def outputs(self) -> Tensor:
        """The same, with what each step puts out, [T, B, H]."""
        return torch.stack([torch.as_tensor(self.step(x)).clone() for x in self.inputs])


def cells_in_a_loop(cell: str, layer: nn.RNNBase, xs: Sequence[Tensor]) -> Way:
    """``torch.nn``'s cells with the layer's weights, one call after the other in each step."""
    made: list[nn.RNNCellBase] = []
    states: list[Any] = []
    for number in range(LAYERS):
        of_layer = THEIR_CELLS[cell](layer.input_size, layer.hidden_size)
        of_layer.load_state_dict(
            {name: getattr(layer, f"{name}_l{number}") for name in of_layer.state_dict()}
        )
        h = xs[0].new_zeros(len(xs[0]), layer.hidden_size)
        made.append(of_layer)
        states.append((h, h) if cell == "lstm" else h)

    def lstm_step(x: Tensor) -> Tensor:
        for number, of_layer in enumerate(made):
            states[number] = of_layer(x, states[number])
            x = states[number][0]
        return x

    def gru_step(x: Tensor) -> Tensor:
        for number, of_layer in enumerate(made):
            x = states[number] = of_layer(x, states[number])
        return x

    return Way(lstm_step if cell == "lstm" else gru_step, xs)


def layer_of_one_step(layer: nn.RNNBase, xs: Sequence[Tensor]) -> Way:
    """``torch.nn``'s layer called with one step at a time."""
    state: Any = None

    def step(x: Tensor) -> Tensor:
        nonlocal state
        y, state = layer(x.unsqueeze(0), state)
        return y[0]

    return Way(step, xs)


def onnx_runtime(layer: nn.RNNBase, xs: Sequence[Tensor]) -> Way | None:
    """ONNX Runtime on the step that ``export_step`` writes; ``None`` where it is not installed."""
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    from unrolled.interop.onnx import export_step

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        export_step(layer).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [given.name for given in session.get_inputs()][1:]
    zeros = torch.zeros(LAYERS, len(xs[0]), layer.hidden_size).numpy()
    feed: dict[str, Any] = dict.fromkeys(names, zeros)

    def step(x: Any) -> Any:
        feed["x"] = x
        y, *states = session.run(None, feed)
        feed.update(zip(names, states, strict=True))
        return y

    return Way(step, [x.numpy() for x in xs])


def measure(cell: str, threads: int, sizes: Sequence[tuple[int, int]]) -> Iterator[Row]:
    """A row for each batch and hidden size; what all compute is compared before."""
    layers = [_layer(cell, H) for _, H in sizes]
    weight_bytes = [4 * sum(p.numel() for p in layer.parameters()) for layer in layers]
    rates = limits.gb_s(threads, weight_bytes)
    for (B, H), layer, n_bytes, gb_s in zip(sizes, layers, weight_bytes, rates, strict=True):
        ways, error, rounding = _compared(cell, layer, B, H)
        times = alternate([way.run for way in ways.values()], BUDGET_S, MOST_ROUNDS)
        by_name = {
            name: [t / STEPS for t in of_way] for name, of_way in zip(ways, times, strict=True)
        }
        ours, cells = by_name["ours"], by_name["cells"]
        yield Row(
            cell, threads, B, H, len(ours), error, rounding, n_bytes, gb_s,
            quartiles(ours), quartiles(cells), quartiles(by_name["layer"]),
            _if_there(by_name, "onnx"),
            quartiles([c / o for c, o in zip(cells, ours, strict=True)]),
        )  # fmt: skip


def _layer(cell: str, H: int) -> nn.RNNBase:
    torch.manual_seed(0)
    return OURS[cell](H, H, LAYERS, backend="cpu")


def _compared(cell: str, layer: Any, B: int, H: int) -> tuple[dict[str, Way], float, float]:
    """The ways that agree, and how far the stream is from the sequence call, and may be."""
    x = torch.randn(STEPS, B, H, generator=torch.Generator().manual_seed(1))
    xs = [x_t.clone() for x_t in x]
    y, final = layer(x)
    theirs = THEIRS[cell](H, H, LAYERS)
    theirs.load_state_dict(layer.state_dict())
    stream = layer.stream(B)
    ways = {
        "ours": Way(stream.step, xs),
        "cells": cells_in_a_loop(cell, theirs, xs),
        "layer": layer_of_one_step(theirs, xs),
    }
    of_onnx = onnx_runtime(layer, xs)
    if of_onnx is not None:
        ways["onnx"] = of_onnx
    # A value has been through the steps of all layers.
    through: Point = square(LAYERS * STEPS, B, H)
    outputs = {name: way.outputs() for name, way in ways.items()}
    named = zip(("h", "c"), final if isinstance(final, tuple) else (final,), strict=False)
    sequence = {"y": y, **dict(named)}
    states = dict(zip(("h", "c"), stream.state, strict=False))
    error = compare({"y": outputs["ours"], **states}, sequence, through)
    for of_way in outputs.values():
        compare({"y": y}, {"y": of_way}, through)
    return ways, error, tolerance(through)


def _if_there(times: dict[str, list[float]], name: str) -> Quartiles | None:
    return quartiles(times[name]) if name in times else None


def main() -> None:
    """Print the rows as JSON."""
    cell, threads, *words = sys.argv[1:]
    machine.pin(int(threads))
    sizes = [(int(B), int(H)) for B, H in (word.split(",") for word in words)]
    with torch.no_grad():
        rows = [asdict(row) for row in measure(cell, int(threads), sizes)]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
