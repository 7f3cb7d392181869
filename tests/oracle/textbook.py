"""The textbook cells, with each of their options, for tests over all of them."""

from __future__ import annotations

import pytest

from unrolled.cell import Cell
from unrolled.cells import CELLS

VARIANTS: dict[str, Cell] = {
    **CELLS,
    "rnn, relu": CELLS["rnn"].bind(nonlinearity="relu"),
    "rnn, sigmoid": CELLS["rnn"].bind(nonlinearity="sigmoid"),
    "elman_concat, relu": CELLS["elman_concat"].bind(nonlinearity="relu"),
    "elman_output, softmax": CELLS["elman_output"].bind(output="softmax"),
    "elman_concat_output, sigmoid": CELLS["elman_concat_output"].bind(output="sigmoid"),
    "lstm, no biases": CELLS["lstm"].bind(b_ih=0.0, b_hh=0.0),
    "gru, one bias": CELLS["gru"].bind(b_hh=0.0),
    "lstm_peephole, held at 1": CELLS["lstm_peephole"].bind(p_u=1.0, p_f=1.0, p_o=1.0),
    "leaky_rnn, half a step": CELLS["leaky_rnn"].bind(dt=0.5),
    "janet, beta 0": CELLS["janet"].bind(beta=0.0),
}

ALL = pytest.mark.parametrize("cell", VARIANTS.values(), ids=VARIANTS)
