"""How often each symbol occurs in the training data: the simplest model, which a report beats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError


@dataclass(frozen=True, eq=False)
class Background:
    """Counts over the training sequences of each of L labels.

    Attributes:
        steps: How many steps there are: int64 ``[L]``.
        symbols: How many of them are each token, or have each of the keys: int64 ``[L, V]``.
        pairs: For frames, over a key's two neighbours in time, how often it is off and off, off and
            on, on and off, on and on: int64 ``[L, 2, 2]``; zeros for tokens.
    """

    steps: NDArray[np.int64]
    symbols: NDArray[np.int64]
    pairs: NDArray[np.int64]

    def to_dict(self) -> dict[str, object]:
        """The counts as plain values for JSON."""
        return {name: getattr(self, name).tolist() for name in ("steps", "symbols", "pairs")}

    @staticmethod
    def from_dict(values: Mapping[str, Any], labels: int, size: int) -> Background:
        """What ``to_dict`` gave, for so many labels and symbols.

        Raises:
            ModelError: where the values are not of that form.
        """
        shapes = {"steps": (labels,), "symbols": (labels, size), "pairs": (labels, 2, 2)}
        if set(values) != set(shapes):
            raise ModelError(f"counts have {', '.join(shapes)}, not {sorted(values)}")
        arrays: dict[str, NDArray[np.int64]] = {}
        for name, shape in shapes.items():
            array = np.array(values[name])
            if array.dtype != np.int64 or array.shape != shape or (array < 0).any():
                raise ModelError(
                    f"the counts of {name} are whole numbers from 0 up of shape {list(shape)}, not "
                    f"{array.dtype} {list(array.shape)}"
                )
            arrays[name] = array
        return Background(**arrays)
