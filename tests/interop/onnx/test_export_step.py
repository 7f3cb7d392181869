"""The model of one step, called once for each step, gives what the layer gives."""

from typing import Any

import numpy as np
import pytest
import torch

import unrolled as ur
from onnx_models import Session, assert_close, rounding
from unrolled import cells
from unrolled.interop.onnx import export_step

D, H, OTHERS = 3, 5, {"P": 2, "O": 4}
T, B = 6, 3


@pytest.mark.parametrize("name", cells.CELLS)
def test_step_after_step(name: str) -> None:
    cell = cells.CELLS[name]
    torch.manual_seed(0)
    others = {k: v for k, v in OTHERS.items() if k in cell.size_names()}
    layers = 1 if "O" in others else 2
    module = ur.Recurrent(
        cell, D, H, layers, sizes=others, backend="reference", dtype=torch.float64
    )
    session = Session(export_step(module))
    states = [s.name for s in cell.states]
    assert session.inputs == ["x", *(f"{n}_0" for n in states)]
    assert session.outputs == ["y", *(f"{n}_n" for n in states)]
    x = torch.randn(T, B, D, dtype=torch.float64)
    lengths = cell.state_sizes(module.layer_sizes[0])
    first = [torch.randn(layers, B, n, dtype=torch.float64) for n in lengths]
    y, last = module(x, first)

    current = {f"{n}_0": s.numpy() for n, s in zip(states, first, strict=True)}
    outputs: list[np.ndarray] = []
    for x_t in x:
        found = session({"x": x_t.numpy(), **current})
        outputs.append(found["y"])
        current = {f"{n}_0": found[f"{n}_n"] for n in states}
    theirs = {"y": np.stack(outputs), **current}
    ours: dict[str, Any] = {"y": y.detach().numpy()}
    ours |= {f"{n}_0": s.detach().numpy() for n, s in zip(states, last, strict=True)}
    largest = max(float(np.abs(a).max()) for a in (*ours.values(), *(s.numpy() for s in first)))
    assert_close(theirs, ours, rounding(np.float64, T, D + H + 2, largest, layers))


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_step_has_no_time(batch_first: bool) -> None:
    model = export_step(ur.LSTM(D, H, 2, batch_first=batch_first))
    dims = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert dims == {
        "x": ["B", D], "h_0": [2, "B", H], "c_0": [2, "B", H],
        "y": ["B", H], "h_n": [2, "B", H], "c_n": [2, "B", H],
    }  # fmt: skip


def test_a_bidirectional_layer_has_no_single_step() -> None:
    with pytest.raises(ValueError) as caught:
        export_step(ur.GRU(D, H, bidirectional=True))
    assert str(caught.value) == (
        "a bidirectional layer reads its input from the end too, so there is no single step to "
        "export; use export, which takes whole sequences"
    )
