"""An ONNX graph in the making: nodes in order, constants once, names unique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Dims = Sequence[int | str]


class Writer:
    """Collects nodes; the body of a ``Scan`` is a writer that shares ``outer``'s constants.

    ``dtype`` is that of all real numbers in the graph.
    """

    def __init__(self, dtype: np.dtype[Any], outer: Writer | None = None) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = outer._initializers if outer else []
        self._small: dict[tuple[Any, ...], str] = outer._small if outer else {}
        self._taken: set[str] = outer._taken if outer else set()

    def name(self, stem: str) -> str:
        """``stem`` if it is free, else with a number."""
        name, n = stem, 0
        while name in self._taken:
            n += 1
            name = f"{stem}_{n}"
        self._taken.add(name)
        return name

    def node(
        self, op: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None,
        out: str = "",
    ) -> str:  # fmt: skip
        """Append a node of one output, called ``out`` or like it, and return its name."""
        (name,) = self.nodes_of(op, inputs, [out or op.lower()], attributes)
        return name

    def nodes_of(
        self,
        op: str,
        inputs: Sequence[str],
        outs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> tuple[str, ...]:
        """Append a node of several outputs and return their names."""
        names = tuple(self.name(out) for out in outs)
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **(attributes or {})))
        return names

    def result(self, value: str, name: str) -> None:
        """Give ``value`` the reserved ``name`` of a result of the graph."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/out"))

    def reserve(self, *names: str) -> None:
        """Keep names for the graph's inputs and results."""
        self._taken.update(names)

    def constant(self, array: np.ndarray, stem: str = "const") -> str:
        """An initializer; small ones that are equal become one."""
        array = np.ascontiguousarray(array) if array.ndim else array
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 16 else None
        if key is not None and key in self._small:
            return self._small[key]
        name = self.name(stem)
        self._initializers.append(numpy_helper.from_array(array, name))
        if key is not None:
            self._small[key] = name
        return name

    def integers(self, *values: int) -> str:
        """A vector of int64, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A scalar of the graph's dtype."""
        return self.constant(np.array(value, self.dtype))

    def info(self, name: str, dims: Dims | None, dtype: type | None = None) -> onnx.ValueInfoProto:
        """The type of an input or result; real numbers unless ``dtype`` says otherwise."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype) if dtype else self.dtype)
        return helper.make_tensor_value_info(name, kind, dims)

    def graph(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        own: bool,
    ) -> onnx.GraphProto:
        """The finished graph; with ``own`` it holds the constants that it and its bodies read."""
        read = _read(self.nodes) if own else set[str]()
        held = [tensor for tensor in self._initializers if tensor.name in read]
        return helper.make_graph(self.nodes, name, inputs, outputs, held)


def _read(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """What nodes and the bodies in them read, by name."""
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= _read(attribute.g.node) | {value.name for value in attribute.g.output}
    return names
