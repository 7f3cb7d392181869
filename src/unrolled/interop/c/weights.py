"""The numbers of a network: one array for each that its functions read, none of them twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unrolled.backends.cpu.text import place
from unrolled.interop.c.names import Names
from unrolled.interop.c.network import Layer
from unrolled.interop.c.prepare import Step, exact
from unrolled.ir import Var


@dataclass(frozen=True)
class Array:
    """An array of the C file; ``offset`` is its place among all numbers."""

    name: str
    note: str
    values: npt.NDArray[np.float32]
    offset: int


class Weights:
    """All arrays of a network in order.

    Attributes:
        arrays: The arrays.
        size: How many numbers they have together.
    """

    def __init__(self, names: Names) -> None:
        self.arrays: list[Array] = []
        self.size = 0
        self._names = names
        self._known: dict[int, tuple[Tensor, Array]] = {}

    def add(self, wanted: str, note: str, values: Tensor) -> Array:
        """The array of these values, which is there already where it is the same tensor."""
        if id(values) in self._known:
            return self._known[id(values)][1]
        numbers = values.detach().to("cpu").double().numpy()
        with np.errstate(over="ignore"):
            single = np.atleast_1d(np.asarray(numbers, dtype=np.float32))
        if single.size == 0:
            single = np.zeros(1, dtype=np.float32)  # C has no array without an element
        array = Array(self._names.new(wanted), note, single, self.size)
        self.arrays.append(array)
        self.size += single.size
        self._known[id(values)] = (values, array)
        return array


def fixed_arrays(
    weights: Weights, layer: Layer, step: Step
) -> tuple[list[Array], dict[Var, Tensor]]:
    """The arrays that a layer's function reads, and the exact values of what is fixed in it."""
    values = exact(step, layer.parameters)
    made = step.graph.definitions()
    arrays: list[Array] = []
    for v in step.fixed:
        shown = f"{v} of {layer.label}"
        if v in made:
            e = made[v]
            shown = f"{replace(e, location=None)} of {layer.label}   {place(e)}".rstrip()
        own = layer.parameters.get(v.name, values[v]) if v not in made else values[v]
        arrays.append(weights.add(f"{v.name}_{layer.label}", shown, own))
    return arrays, values
