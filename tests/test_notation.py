"""What docs/notation.md says of the gates' signs, asked of the cells themselves."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cell_samples import BATCH, D, H, Params, parameters, states, step
from unrolled.cell import Cell
from unrolled.cells import CELLS

PAGE = Path(__file__).parent.parent / "docs" / "notation.md"
UNGATED = {
    name for name in CELLS if name.startswith(("rnn", "elman")) or name in {"leaky_rnn", "indrnn"}
}
SATURATED = 1000.0

# Where each gate's own bias stands (its weight in the cell without): parameter, part, parts.
PLACES: dict[str, dict[str, tuple[str, int, int]]] = {
    "lstm": {"i": ("b_ih", 0, 4), "f": ("b_ih", 1, 4)},
    "lstm_projected": {"i": ("b_ih", 0, 4), "f": ("b_ih", 1, 4)},
    "lstm_one_bias": {"i": ("b", 0, 4), "f": ("b", 1, 4)},
    "lstm_concat": {"Gamma_u": ("b_u", 0, 1), "Gamma_f": ("b_f", 0, 1)},
    "lstm_peephole": {"Gamma_u": ("b_u", 0, 1), "Gamma_f": ("b_f", 0, 1)},
    "lstm_peephole_gers": {"i": ("b", 0, 4), "f": ("b", 1, 4)},
    "lstm_coupled": {"f": ("b", 0, 3)},
    "lstm_layer_norm": {"i": ("b", 0, 4), "f": ("b", 1, 4)},
    "janet": {"s": ("b", 0, 2)},
    "gru": {"z": ("b_ih", 1, 3)},
    "gru_cho": {"z": ("b", 1, 3)},
    "gru_full": {"Gamma_u": ("b_u", 0, 1)},
    "gru_simple": {"Gamma_u": ("b_u", 0, 1)},
    "gru_no_bias": {"z": ("W_z", 0, 1)},
    "mgu": {"f": ("b", 0, 2)},
    "ugrnn": {"g": ("b", 0, 2)},
    "mingru": {"z": ("b", 0, 2)},
    "minlstm": {"f": ("b", 0, 3), "i": ("b", 1, 3)},
    "sru": {"f": ("b", 0, 2)},
}
AT_ONE = {"keeps": 1, "lets in": -1}
ROW = re.compile(rf"^\| `(\w+)` \| `(\w+)` \| ({'|'.join(AT_ONE)}) \|", re.MULTILINE)


def documented() -> dict[str, dict[str, int]]:
    """For each cell of the page's table and each of its gates, the sign that keeps the state."""
    signs: dict[str, dict[str, int]] = defaultdict(dict)
    for cell, gate, effect in ROW.findall(PAGE.read_text(encoding="utf-8")):
        signs[cell][gate] = AT_ONE[effect]
    return dict(signs)


def test_every_gated_cell_is_in_the_table() -> None:
    table = documented()
    assert set(table) == set(CELLS) - UNGATED
    assert {name: set(gates) for name, gates in table.items()} == {
        name: set(gates) for name, gates in PLACES.items()
    }


def driven(params: Params, place: tuple[str, int, int], sign: int) -> Params:
    name, part, parts = place
    weight = params[name].clone()
    weight.chunk(parts)[part].fill_(sign * SATURATED)
    return params | {name: weight}


def carried(cell: Cell, params: Params, given: tuple[Tensor, ...]) -> Tensor:
    """The new value of the state that the gates keep or write: a cell's last."""
    # Inputs of 1: a gate that has no bias is driven by its weight.
    return step(cell, params, given, torch.ones(1, BATCH, D, dtype=torch.float64))[-1]


@pytest.mark.parametrize("name", PLACES)
def test_the_gates_do_what_the_table_says(name: str) -> None:
    cell = CELLS[name]
    signs = documented()[name]
    kept = written = parameters(cell)
    for gate, place in PLACES[name].items():
        kept = driven(kept, place, signs[gate])
        written = driven(written, place, -signs[gate])
    given = states(cell)
    assert torch.equal(carried(cell, kept, given), given[-1])

    # Written anew, the state depends on the old one through the recurrent weights alone.
    for parameter, weight in written.items():
        if weight.ndim == 2 and weight.shape[1] == H + D:
            written = written | {parameter: weight.index_fill(1, torch.arange(H), 0.0)}
        elif parameter.startswith("U") or parameter == "W_hh":
            written = written | {parameter: torch.zeros_like(weight)}
    one, other = carried(cell, written, given), carried(cell, written, states(cell, seed=1))
    assert torch.equal(one, other)
