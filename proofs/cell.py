"""A cell of one's own, as a user would write it, for the proofs' comparison of cells."""

from typing import Any

from torch import sigmoid, tanh

import unrolled as ur
from unrolled import param


@ur.cell
def light_gru(
    x: Any,
    h: Any,
    *,
    W: Any = param("2*H", "D"),
    U: Any = param("2*H", "H"),
    b: Any = param("2*H"),
) -> Any:
    """A gated unit with one gate and a candidate that reads the state as it is."""
    H = h.shape[-1]
    a = W @ x + U @ h + b
    z = sigmoid(a[:H])
    n = tanh(a[H:])
    return (1 - z) * n + z * h
