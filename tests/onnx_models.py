"""ONNX Runtime on models, models of one recurrent node, and how far its results may be off."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

Arrays = dict[str, np.ndarray]

# What it prints of errors that tests provoke.
onnxruntime.set_default_logger_severity(4)


class Session:
    """A model in ONNX Runtime, on one thread."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            # It puts a factor into a product as a float32, also where the product is in float64.
            disabled_optimizers=["MatMulScaleFusion"],
        )
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def __call__(self, feed: Mapping[str, np.ndarray]) -> Arrays:
        results: Any = self._session.run(None, dict(feed))
        return dict(zip(self.outputs, results, strict=True))


def node_model(
    op: str, inputs: Mapping[str, np.ndarray], attributes: Mapping[str, Any], held: Sequence[str]
) -> onnx.ModelProto:
    """A model of one node; ``inputs`` by the names of the specification, ``held`` in the model."""
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    names = [n if n in inputs else "" for n in (order if op == "LSTM" else order[:6])]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    kind = helper.np_dtype_to_tensor_dtype(inputs["X"].dtype)

    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            name, TensorProto.INT32 if name == "sequence_lens" else kind, inputs[name].shape
        )

    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, name="the node", **attributes)],
        "one",
        [info(name) for name in inputs if name not in held],
        [helper.make_tensor_value_info(n, kind, [None] * (4 if n == "Y" else 3)) for n in outputs],
        [onnx.numpy_helper.from_array(inputs[name], name) for name in held if name in inputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def rounding(dtype: Any, steps: int, terms: int, magnitude: float, layers: int = 1) -> float:
    """How far two ways of computing a recurrent layer may differ, both in ``dtype``.

    On its way to a result a value passes each layer and step at most once. Each time it enters
    sums of ``terms`` inputs, states and biases, then at most twenty elementwise operations, since
    a runtime may compute a function by a polynomial of its own. Each of these roundings is at most
    ε/2 of the magnitude of the values in the sum, the two ways err independently, and the weights,
    in ±1/√H, are too small to make earlier errors grow: layers · steps · (terms + 20) · ε ·
    magnitude in all (Higham 2002, chapter 3, to first order).
    """
    bound = layers * steps * (terms + 20) * float(np.finfo(dtype).eps) * max(1.0, magnitude)
    assert bound < 1e-3, "the samples are too large to tell a wrong formula from rounding"
    return bound


def assert_close(ours: Mapping[str, Any], theirs: Mapping[str, Any], bound: float) -> None:
    """The same names, shapes and types, and values within ``bound`` of each other."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        a, b = np.asarray(array), np.asarray(theirs[name])
        assert a.shape == b.shape, name
        assert a.dtype == b.dtype, name
        difference = float(np.abs(a - b).max())
        assert difference <= bound, f"{name}: off by {difference:.1e}, allowed is {bound:.1e}"
