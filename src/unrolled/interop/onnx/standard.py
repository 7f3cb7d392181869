"""Cells whose equations are those of ONNX's own RNN, GRU and LSTM nodes, and their weights there.

ONNX's gates come in the order i, o, f, c and z, r, h, peepholes in the order i, o, f; its z keeps.
Where a cell's gate g lets in what ONNX's lets out, 1 − σ(v) = σ(−v): its weights change their sign.
A coupled LSTM is written with both of its gates and not with ``input_forget``, whose meaning the
specification leaves to the runtime (onnx's own reference ignores it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled import cells
from unrolled.cell import Cell

Params = Mapping[str, Tensor]
ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}
"""Those of a cell's ``nonlinearity`` that every runtime must have."""


@dataclass(frozen=True)
class Weights:
    """One direction: W [G*H, D], R [G*H, H], B [2*G*H] and for peepholes P [3*H]."""

    W: Tensor
    R: Tensor
    B: Tensor
    P: Tensor | None = None


@dataclass(frozen=True)
class Standard:
    """An operator, and how a cell's parameters become its weights."""

    op: str
    weights: Callable[[Params], Weights]
    linear_before_reset: bool = False


def _gates(order: tuple[int, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor's blocks of rows in another order."""
    return tuple(
        torch.cat([blocks[i] for i in order])
        for blocks in (tensor.chunk(len(order)) for tensor in tensors)
    )


def _one_bias(W: Tensor, R: Tensor, b: Tensor, P: Tensor | None = None) -> Weights:
    return Weights(W, R, torch.cat([b, torch.zeros_like(b)]), P)


def _torchs(order: tuple[int, ...]) -> Callable[[Params], Weights]:
    """Torch's parameters: two weights and two biases, each with all gates."""

    def weights(p: Params) -> Weights:
        W, R, b_ih, b_hh = _gates(order, p["W_ih"], p["W_hh"], p["b_ih"], p["b_hh"])
        return Weights(W, R, torch.cat([b_ih, b_hh]))

    return weights


def _stacked(order: tuple[int, ...]) -> Callable[[Params], Weights]:
    """W, U and one bias, each with all gates."""
    return lambda p: _one_bias(*_gates(order, p["W"], p["U"], p["b"]))


def _joined(*gates: tuple[str, int]) -> Callable[[Params], Weights]:
    """A weight for [state, input] and a bias for each gate, with a sign."""

    def weights(p: Params) -> Weights:
        both = torch.cat([sign * p[f"W_{gate}"] for gate, sign in gates])
        b = torch.cat([sign * p[f"b_{gate}"] for gate, sign in gates])
        H = b.shape[0] // len(gates)
        return _one_bias(both[:, H:], both[:, :H], b)

    return weights


def _coupled(p: Params) -> Weights:
    """f, g, o become i = 1 − f, o, f, c."""

    def gates(tensor: Tensor) -> Tensor:
        f, g, o = tensor.chunk(3)
        return torch.cat([-f, o, f, g])

    return _one_bias(*map(gates, (p["W"], p["U"], p["b"])))


def _mgu(p: Params) -> Weights:
    """f, h become z = 1 − f, r = f, h."""

    def gates(tensor: Tensor) -> Tensor:
        f, h = tensor.chunk(2)
        return torch.cat([-f, f, h])

    return _one_bias(*map(gates, (p["W"], p["U"], p["b"])))


def _gers(p: Params) -> Weights:
    W, R, b = _gates((0, 3, 1, 2), p["W"], p["U"], p["b"])
    (P,) = _gates((0, 2, 1), p["p"])
    return _one_bias(W, R, b, P)


def _no_bias(p: Params) -> Weights:
    W, R = (torch.cat([p[f"{k}_z"], p[f"{k}_r"], p[k]]) for k in ("W", "U"))
    return _one_bias(W, R, W.new_zeros(W.shape[0]))


TABLE: dict[object, Standard] = {
    cell.function: standard
    for cell, standard in (
        (cells.rnn, Standard("RNN", _torchs((0,)))),
        (cells.elman, Standard("RNN", lambda p: _one_bias(p["W_xh"], p["W_hh"], p["b_h"]))),
        (
            cells.elman_rows,
            Standard("RNN", lambda p: _one_bias(p["W_xh"].T, p["W_hh"].T, p["b_h"])),
        ),
        (cells.elman_concat, Standard("RNN", _joined(("a", 1)))),
        (cells.gru, Standard("GRU", _torchs((1, 0, 2)), linear_before_reset=True)),
        (cells.gru_cho, Standard("GRU", _stacked((1, 0, 2)))),
        (cells.gru_full, Standard("GRU", _joined(("u", -1), ("r", 1), ("c", 1)))),
        (cells.gru_no_bias, Standard("GRU", _no_bias, linear_before_reset=True)),
        (cells.mgu, Standard("GRU", _mgu)),
        (cells.lstm, Standard("LSTM", _torchs((0, 3, 1, 2)))),
        (cells.lstm_one_bias, Standard("LSTM", _stacked((0, 3, 1, 2)))),
        (cells.lstm_concat, Standard("LSTM", _joined(("u", 1), ("o", 1), ("f", 1), ("c", 1)))),
        (cells.lstm_peephole_gers, Standard("LSTM", _gers)),
        (cells.lstm_coupled, Standard("LSTM", _coupled)),
    )
}
"""By the step function: a cell keeps it when options are set or parameters are held."""

REASONS: dict[object, str] = {
    cells.lstm_projected.function: "ONNX's LSTM has no projection",
    cells.lstm_peephole.function: "the output gate of ONNX's LSTM sees the cell state after the "
    "step, this cell's the one before it",
    cells.gru_simple.function: "ONNX's GRU has a reset gate, which no weights hold at 1",
    cells.ugrnn.function: "ONNX's GRU has a reset gate, which no weights hold at 1",
    cells.indrnn.function: "ONNX's RNN multiplies the state by a matrix, this cell by a vector",
    cells.elman_output.function: "ONNX's RNN puts out its state, this cell an output of its own",
    cells.elman_concat_output.function: "ONNX's RNN puts out its state, this cell an output of its "
    "own",
}
"""Why a cell that looks like one of ONNX's is none."""


def standard(cell: Cell) -> Standard | str:
    """How ``cell`` is written as a node of its own, or why it can't be."""
    found = TABLE.get(cell.function)
    if found is None:
        return REASONS.get(cell.function, "ONNX has no node with these equations")
    nonlinearity = cell.options.get("nonlinearity", "tanh")
    if nonlinearity not in ACTIVATIONS:
        return f"{nonlinearity} is no activation that every runtime has"
    return found


def attributes(
    cell: Cell, found: Standard, hidden_size: int, bidirectional: bool
) -> dict[str, object]:
    """The node's attributes."""
    chosen: dict[str, object] = {"hidden_size": hidden_size}
    if bidirectional:
        chosen["direction"] = "bidirectional"
    if found.op == "GRU":
        chosen["linear_before_reset"] = int(found.linear_before_reset)
    if "nonlinearity" in cell.options:
        name = ACTIVATIONS[cell.options["nonlinearity"]]
        chosen["activations"] = [name] * (2 if bidirectional else 1)
    return chosen
