"""Cells by name: the drop-ins, the textbook's, and a user's own file."""

from pathlib import Path

import pytest

from tiny_models import tiny
from unrolled.cells import CELLS
from unrolled.errors import CellError, ModelError
from unrolled.models.layers import find_cell
from unrolled.nn import GRU, LSTM, RNN, Recurrent

OWN = """
from torch import tanh
from unrolled import cell, param

@cell
def mine(x, h, *, W=param("H", "D"), U=param("H", "H")):
    return tanh(W @ x + U @ h)

not_a_cell = 1
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_cells.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(("name", "layer"), [("rnn", RNN), ("gru", GRU), ("lstm", LSTM)])
def test_the_stock_names_are_the_drop_ins(name: str, layer: type):
    assert isinstance(tiny(name).recurrent, layer)


@pytest.mark.parametrize("name", sorted(CELLS.keys() - {"rnn", "gru", "lstm"}))
def test_every_textbook_cell_by_its_name(name: str):
    assert find_cell(name) is CELLS[name]


def test_a_cell_of_ones_own_by_its_file(own: Path):
    layers = tiny(f"{own}:mine").recurrent
    assert isinstance(layers, Recurrent)
    assert set(dict(layers.named_parameters())) == {"W_l0", "U_l0", "W_l1", "U_l1"}


def test_a_name_that_is_close_is_suggested():
    with pytest.raises(ModelError, match=r"no cell 'lstm_peephol': did you mean lstm_peephole"):
        find_cell("lstm_peephol")


def test_a_name_that_is_not_close_gets_the_list():
    with pytest.raises(ModelError, match=r"no cell 'xyz': there are .*gru.* file\.py:function"):
        find_cell("xyz")


def test_a_file_without_the_cell(own: Path, tmp_path: Path):
    with pytest.raises(ModelError, match=r"my_cells\.py has no cell 'not_a_cell': it has mine;"):
        find_cell(f"{own}:not_a_cell")
    with pytest.raises(ModelError, match="has no cell 'other'"):
        find_cell(f"{own}:other")
    with pytest.raises(ModelError, match=r"there is no file .*nowhere\.py to take the cell 'f'"):
        find_cell(f"{tmp_path}/nowhere.py:f")
    (tmp_path / "text.txt").write_text(OWN)
    with pytest.raises(ModelError, match="is no Python file"):
        find_cell(f"{tmp_path}/text.txt:mine")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("x = ", "SyntaxError"), ("import nowhere_at_all", "No module named 'nowhere_at_all'")],
)
def test_a_file_that_cannot_be_run(tmp_path: Path, text: str, problem: str):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ModelError, match=rf"bad\.py can't be run: .*{problem}"):
        find_cell(f"{tmp_path}/bad.py:f")


def test_a_step_function_that_is_no_cell_keeps_its_own_error(tmp_path: Path):
    (tmp_path / "bad.py").write_text(
        "from unrolled import cell\n\n@cell\ndef f(x):\n    return x\n"
    )
    with pytest.raises(CellError, match="cell f: it takes 1 positional argument"):
        find_cell(f"{tmp_path}/bad.py:f")
