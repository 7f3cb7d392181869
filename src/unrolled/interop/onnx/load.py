"""``load``: from an ONNX model to a module, for its one recurrent node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from unrolled.interop.onnx.attributes import INPUTS, attributes
from unrolled.interop.onnx.node import RecurrentNode

Source = onnx.ModelProto | onnx.NodeProto | bytes | str | Path

OLDEST_OPSET = 7
"""Since then an RNN, GRU or LSTM node means what it means now; ``layout`` came with 14."""

WEIGHTS, REQUIRED = ("W", "R", "B", "P"), ("W", "R")


def load(
    source: Source,
    node: str | None = None,
    weights: Mapping[str, Tensor | np.ndarray] | None = None,
    backend: str = "auto",
) -> RecurrentNode:
    """Make a module of an ONNX RNN, GRU or LSTM node.

    Args:
        source: a model, its bytes, a path to it, or a node alone.
        node: the name of the node, or of one of its outputs, to take out of a model of several
            nodes. By default the model must consist of one recurrent node and constants, so that
            the module computes what the model does.
        weights: values for those of the node's inputs W, R, B and P that the model does not hold
            as initializers, by their names in the model. Lengths and initial states may be fixed
            in the same way.
        backend: ``"auto"`` or a backend's name, as for ``unrolled.recurrence``.

    Returns a :class:`RecurrentNode`, whose call takes and gives what the node does.

    Raises ``ValueError`` for a model with other nodes where none is named, for one without the
    node, for weights that aren't known, and for whatever the node has that its specification does
    not allow.
    """
    if isinstance(source, onnx.NodeProto):
        chosen, held = _of_kind(source), dict[str, onnx.TensorProto]()
    else:
        model = _model(source)
        chosen = _chosen(model.graph.node, node)
        held = _constants(model.graph)
    names = {
        role: name
        for role, name in zip(INPUTS[chosen.op_type], chosen.input, strict=False)
        if name and role != "X"
    }
    given = weights or {}
    for name in given:
        if name not in names.values():
            raise ValueError(
                f"weights: {_title(chosen)} has no input {name!r}; it reads "
                f"{', '.join(names.values())}"
            )
    known = {
        role: _tensor(given[name] if name in given else numpy_helper.to_array(held[name]))
        for role, name in names.items()
        if name in given or name in held
    }
    for role in WEIGHTS:
        if role not in known and (role in REQUIRED or role in names):
            name = names.get(role, role)
            raise ValueError(
                f"{_title(chosen)}: its {role}, {name!r}, is no initializer of the model; give it: "
                f"load(…, weights={{{name!r}: …}})"
            )
    own = {role: known[role] for role in WEIGHTS if role in known}
    states = {role: value for role, value in known.items() if role not in WEIGHTS}
    return RecurrentNode(attributes(chosen), own, states, backend)


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    # A copy: what a model holds can't be written to.
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def _model(source: onnx.ModelProto | bytes | str | Path) -> onnx.ModelProto:
    if isinstance(source, bytes):
        source = onnx.load_model_from_string(source)
    elif isinstance(source, (str, Path)):
        source = onnx.load_model(str(source))
    elif not isinstance(source, onnx.ModelProto):
        raise TypeError(
            f"expected an ONNX model, its bytes, a path or a node, got {type(source).__name__}"
        )
    opset = max((o.version for o in source.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise ValueError(
            f"the model is of opset {opset}, expected {OLDEST_OPSET} or newer; "
            "onnx.version_converter.convert_version raises it"
        )
    return source


def _chosen(nodes: Iterable[onnx.NodeProto], name: str | None) -> onnx.NodeProto:
    working = [n for n in nodes if n.op_type != "Constant"]
    if name is not None:
        for node in working:
            if name == node.name or name in node.output:
                return _of_kind(node)
        raise ValueError(f"the model has no node or output {name!r}; it has {_listing(working)}")
    if len(working) == 1:
        return _of_kind(working[0])
    raise ValueError(
        f"the model has {len(working)} nodes ({_listing(working)}), and one RNN, GRU or LSTM node "
        "can be loaded, no graph around it; name it: load(…, node='…')"
    )


def _of_kind(node: onnx.NodeProto) -> onnx.NodeProto:
    if node.op_type not in INPUTS or node.domain not in ("", "ai.onnx"):
        raise ValueError(f"{_title(node)}: expected one of {', '.join(INPUTS)}")
    return node


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """What the graph holds: its initializers, and the tensors of its Constant nodes."""
    found = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def _listing(nodes: Iterable[onnx.NodeProto]) -> str:
    return ", ".join(_title(node) for node in nodes)


def _title(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"
