"""The node tests that the onnx package ships for RNN, GRU and LSTM pass on what is loaded.

Most of their weights are constant, so they can't see a wrong order of gates; ``test_load.py`` has
random ones.
"""

import importlib
from typing import Any

import numpy as np
import onnx.backend.test.case.node as shipped
import pytest
import torch

from unrolled.interop.onnx import load

# Only these modules: the public loader imports the cases of all operators, which takes seconds and
# warns.
for _name in ("rnn", "gru", "lstm"):
    importlib.import_module(f"{shipped.__name__}.{_name}")
CASES: list[Any] = [
    case
    for case in shipped._NodeTestCases
    if case.model.graph.node[0].op_type in ("RNN", "GRU", "LSTM")
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Any) -> None:
    names = [value.name for value in case.model.graph.input]
    (node,) = case.model.graph.node
    assert case.data_sets
    for inputs, outputs in case.data_sets:
        given = dict(zip(names, inputs, strict=True))
        weights = {k: given.pop(k) for k in ("W", "R", "B", "P") if k in given}
        x = torch.from_numpy(given.pop("X"))
        module = load(case.model, weights=weights, backend="reference")
        found = module(x, **{k: torch.from_numpy(v) for k, v in given.items()})
        by_name = dict(zip(node.output, found, strict=False))
        for value, expected in zip(case.model.graph.output, outputs, strict=True):
            ours = by_name[value.name].detach().numpy()
            assert ours.shape == expected.shape
            np.testing.assert_allclose(ours, expected, case.rtol, case.atol)


def test_every_kind_of_case_was_found() -> None:
    names = " ".join(case.name for case in CASES)
    for op in ("rnn", "gru", "lstm"):
        assert sum(op in case.name for case in CASES) >= 6
    for kind in ("defaults", "initial_bias", "seq_length", "batchwise", "peepholes", "reverse"):
        assert kind in names
