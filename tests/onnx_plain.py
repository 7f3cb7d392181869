"""ONNX's RNN, GRU and LSTM nodes in plain NumPy: one example, one step after the other.

After the text of the specification, without a thought for speed; it is what import is compared
with where ONNX Runtime does not go (float64, ``layout=1``).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Function = Callable[[np.ndarray], np.ndarray]

FUNCTIONS: dict[str, Callable[[float, float], Function]] = {
    "Relu": lambda a, b: lambda v: np.maximum(v, 0),
    "Tanh": lambda a, b: np.tanh,
    "Sigmoid": lambda a, b: lambda v: 1 / (1 + np.exp(-v)),
    "Affine": lambda a, b: lambda v: a * v + b,
    "LeakyRelu": lambda a, b: lambda v: np.where(v >= 0, v, a * v),
    "ThresholdedRelu": lambda a, b: lambda v: np.where(v >= a, v, 0),
    "ScaledTanh": lambda a, b: lambda v: a * np.tanh(b * v),
    "HardSigmoid": lambda a, b: lambda v: np.minimum(np.maximum(a * v + b, 0), 1),
    "Elu": lambda a, b: lambda v: np.where(v >= 0, v, a * (np.exp(v) - 1)),
    "Softsign": lambda a, b: lambda v: v / (1 + np.abs(v)),
    "Softplus": lambda a, b: lambda v: np.log(1 + np.exp(v)),
}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def node(
    op: str,
    inputs: Arrays,
    attributes: Mapping[str, Any],
    functions: list[list[Function]] | None = None,
) -> dict[str, np.ndarray]:
    """The node's results; ``functions`` for each direction, where ``activations`` has alphas."""
    batch_first = attributes.get("layout", 0) == 1
    x = inputs["X"].swapaxes(0, 1) if batch_first else inputs["X"]
    T, B, _ = x.shape
    directions, _, H = inputs["R"].shape
    first = [inputs.get(name) for name in ("initial_h", "initial_c")[: 2 if op == "LSTM" else 1]]
    first = [s if s is None or not batch_first else s.swapaxes(0, 1) for s in first]
    lengths = inputs.get("sequence_lens", np.full(B, T))
    y = np.zeros((T, directions, B, H), x.dtype)
    last = [np.zeros((directions, B, H), x.dtype) for _ in first]
    names = attributes.get("activations", DEFAULTS[op] * directions)
    n = len(names) // directions
    for d in range(directions):
        weights = {k: inputs[k][d] for k in ("W", "R", "B", "P") if k in inputs}
        f = (
            [FUNCTIONS[name](0.0, 0.0) for name in names[n * d : n * (d + 1)]]
            if functions is None
            else functions[d]
        )
        backwards = attributes.get("direction") == "reverse" or d == 1
        for b in range(B):
            state = [np.zeros(H, x.dtype) if s is None else s[d, b] for s in first]
            steps = range(lengths[b])
            for t in reversed(steps) if backwards else steps:
                state = STEPS[op](x[t, b], state, weights, f, attributes)
                y[t, d, b] = state[0]
            for result, value in zip(last, state, strict=True):
                result[d, b] = value
    if batch_first:
        y, last = y.transpose(2, 0, 1, 3), [s.swapaxes(0, 1) for s in last]
    return dict(zip(("Y", "Y_h", "Y_c"), (y, *last), strict=False))


def _clipped(f: Function, attributes: Mapping[str, Any]) -> Function:
    clip = attributes.get("clip")
    return f if clip is None else lambda v: f(np.minimum(np.maximum(v, -clip), clip))


def _affine(gate: int, gates: int, weights: Arrays, x: np.ndarray, h: np.ndarray) -> Any:
    """One gate's W x + W_b and R h + R_b."""
    H = h.shape[0]
    rows = slice(gate * H, (gate + 1) * H)
    b = weights.get("B", np.zeros(2 * gates * H))
    w_b, r_b = b[: gates * H][rows], b[gates * H :][rows]
    return weights["W"][rows] @ x + w_b, weights["R"][rows] @ h + r_b


def _sum(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return pair[0] + pair[1]


def _rnn(x: Any, state: Any, weights: Arrays, f: Any, attributes: Mapping[str, Any]) -> Any:
    wx, rh = _affine(0, 1, weights, x, state[0])
    return [_clipped(f[0], attributes)(wx + rh)]


def _gru(x: Any, state: Any, weights: Arrays, f: Any, attributes: Mapping[str, Any]) -> Any:
    (h,) = state
    gate, g = (_clipped(a, attributes) for a in f)
    z = gate(_sum(_affine(0, 3, weights, x, h)))
    r = gate(_sum(_affine(1, 3, weights, x, h)))
    wx, rh = _affine(2, 3, weights, x, h)
    if attributes.get("linear_before_reset"):
        new = g(wx + r * rh)
    else:
        new = g(_sum(_affine(2, 3, weights, x, r * h)))
    return [(1 - z) * new + z * h]


def _lstm(x: Any, state: Any, weights: Arrays, f: Any, attributes: Mapping[str, Any]) -> Any:
    h, c = state
    gate, g = (_clipped(a, attributes) for a in f[:2])
    H = h.shape[0]
    p_i, p_o, p_f = np.split(weights.get("P", np.zeros(3 * H)), 3)
    i = gate(_sum(_affine(0, 4, weights, x, h)) + p_i * c)
    keep = gate(_sum(_affine(2, 4, weights, x, h)) + p_f * c)
    if attributes.get("input_forget"):
        keep = 1 - i
    new = keep * c + i * g(_sum(_affine(3, 4, weights, x, h)))
    o = gate(_sum(_affine(1, 4, weights, x, h)) + p_o * new)
    return [o * f[2](new), new]


STEPS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
