"""The textbook cells, each written as its paper or the lecture notes write it, a module a family.

``rnn``, ``lstm``, ``lstm_projected`` and ``gru`` have PyTorch's parameters: names, shapes, order of
gates and of declaration.  The others keep the names of the notation that they come from.
"""

from __future__ import annotations

from unrolled.cell import Cell
from unrolled.cells.grus import gru, gru_cho, gru_full, gru_no_bias, gru_simple, mgu, ugrnn
from unrolled.cells.linear import mingru, minlstm, sru
from unrolled.cells.lstms import (
    janet,
    lstm,
    lstm_concat,
    lstm_coupled,
    lstm_layer_norm,
    lstm_one_bias,
    lstm_peephole,
    lstm_peephole_gers,
    lstm_projected,
)
from unrolled.cells.simple import (
    elman,
    elman_concat,
    elman_concat_output,
    elman_output,
    elman_rows,
    indrnn,
    leaky_rnn,
    rnn,
)

CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        rnn,
        elman,
        elman_rows,
        elman_concat,
        elman_output,
        elman_concat_output,
        leaky_rnn,
        indrnn,
        lstm,
        lstm_projected,
        lstm_one_bias,
        lstm_concat,
        lstm_peephole,
        lstm_peephole_gers,
        lstm_coupled,
        lstm_layer_norm,
        janet,
        gru,
        gru_cho,
        gru_full,
        gru_simple,
        gru_no_bias,
        mgu,
        ugrnn,
        mingru,
        minlstm,
        sru,
    )
}
"""Every cell by its name, in the order of the documentation."""

__all__ = [
    "CELLS",
    "elman",
    "elman_concat",
    "elman_concat_output",
    "elman_output",
    "elman_rows",
    "gru",
    "gru_cho",
    "gru_full",
    "gru_no_bias",
    "gru_simple",
    "indrnn",
    "janet",
    "leaky_rnn",
    "lstm",
    "lstm_concat",
    "lstm_coupled",
    "lstm_layer_norm",
    "lstm_one_bias",
    "lstm_peephole",
    "lstm_peephole_gers",
    "lstm_projected",
    "mgu",
    "mingru",
    "minlstm",
    "rnn",
    "sru",
    "ugrnn",
]
