"""Composed cells by name: read as they are called in Python, and nothing else is."""

from pathlib import Path

import pytest
import torch

import unrolled as ur
from tiny_models import tiny
from unrolled import cells
from unrolled.cell import Cell
from unrolled.errors import CellError, ModelError
from unrolled.models.cell_names import without_directories
from unrolled.models.language_model import LanguageModel
from unrolled.models.layers import find_cell

OWN = """
from torch import tanh
from unrolled import cell, param

@cell
def mine(x, h, *, W=param("H", "D"), U=param("H", "H")):
    return tanh(W @ x + U @ h)
"""

# As it is written, and what it means.
COMPOSED: dict[str, Cell] = {
    "zoneout(layer_norm(lstm), c=0.1)": ur.zoneout(ur.layer_norm(cells.lstm), c=0.1),
    " residual( gru , project = True ) ": ur.residual(cells.gru, project=True),
    "layer_norm(gru, 'products', h)": ur.layer_norm(cells.gru, "products", "h"),
    "rms_norm('gru')": ur.rms_norm(cells.gru),
    'project(gru, "2*P")': ur.project(cells.gru, "2*P"),
    "project(gru, 3)": ur.project(cells.gru, 3),
    "with_activation(mgu, tanh=relu)": ur.with_activation(cells.mgu, tanh=torch.relu),
    "with_activation(mgu, tanh=softplus)": ur.with_activation(
        cells.mgu, tanh=torch.nn.functional.softplus
    ),
    "variational_dropout(gru, input=0.2, h=.3)": ur.variational_dropout(
        cells.gru, input=0.2, h=0.3
    ),
    "initialised(lstm, W_hh=Orthogonal(), b_ih=GateBias(1, of=4, value=-1), b_hh=-2.5)": (
        ur.initialised(
            cells.lstm, W_hh=ur.Orthogonal(), b_ih=ur.GateBias(1, of=4, value=-1), b_hh=-2.5
        )
    ),
    "initialised(lstm, b_ih=Chrono(longest=9, input=None))": ur.initialised(
        cells.lstm, b_ih=ur.Chrono(9, input=None)
    ),
}


def same(found: Cell, expected: Cell) -> None:
    """They are of one name, which says all arguments, and declare the same."""
    assert found.name == expected.name
    assert found.parameters == expected.parameters
    assert found.noise == expected.noise
    assert found.states == expected.states
    sizes = {"D": 6, "H": 4, "P": 2}
    assert str(found.graph(sizes)) == str(expected.graph(sizes))


@pytest.mark.parametrize("name", COMPOSED)
def test_a_name_means_what_it_does_in_python(name: str):
    same(find_cell(name), COMPOSED[name])


@pytest.mark.parametrize("name", [n for n in COMPOSED if "2*P" not in n])
def test_the_name_of_a_composed_cell_is_read_again(name: str):
    same(find_cell(COMPOSED[name].name), COMPOSED[name])


@pytest.mark.parametrize("folder", ["plain", "two words", "a-b.c"])
def test_a_cell_of_ones_own_stands_inside(tmp_path: Path, folder: str):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "own.py").write_text(OWN)
    name = f"zoneout(residual({tmp_path / folder}/own.py:mine, project=True), h=0.1)"
    found = find_cell(name)
    assert found.name == "zoneout(residual(mine, project=True), h=0.1)"
    assert without_directories(name) == "zoneout(residual(own.py:mine, project=True), h=0.1)"


def test_quotes_hold_any_path(tmp_path: Path):
    folder = tmp_path / "a (copy), of=it"
    folder.mkdir()
    (folder / "own.py").write_text(OWN)
    name = f"residual('{folder}/own.py:mine', project=True)"
    assert find_cell(name).name == "residual(mine, project=True)"
    assert without_directories(name) == "residual('own.py:mine', project=True)"


def test_plain_names_lose_their_directories_too():
    assert without_directories("some/where/own.py:mine") == "own.py:mine"
    assert without_directories("lstm") == "lstm"


REFUSED = {
    "zoneout(lstm, c=0.1))": (
        "the cell 'zoneout(lstm, c=0.1))' can't be read: expected calls one within the other, as "
        "in zoneout(layer_norm(lstm), c=0.1)"
    ),
    "(" * 5000 + ")": (
        f"the cell {'(' * 5000 + ')'!r} can't be read: expected calls one within the other, as in "
        "zoneout(layer_norm(lstm), c=0.1)"
    ),
    "zoneuot(lstm, c=0.1)": (
        "in the cell 'zoneuot(lstm, c=0.1)', there is no function zoneuot: did you mean zoneout?"
    ),
    "print(lstm)": (
        "in the cell 'print(lstm)', there is no function print: there are initialised, "
        "layer_norm, project, residual, rms_norm, variational_dropout, with_activation, zoneout"
    ),
    "zoneout()": (
        "in the cell 'zoneout()', zoneout() has no cell: it stands first, zoneout(lstm, …)"
    ),
    "zoneout(3, c=0.1)": (
        "in the cell 'zoneout(3, c=0.1)', 3 is no cell: it is a name such as lstm, "
        "file.py:function, or a call of initialised, layer_norm, project, residual, rms_norm, "
        "variational_dropout, with_activation, zoneout"
    ),
    "os.system('ls')": (
        "in the cell \"os.system('ls')\", os.system('ls') is no cell: it is a name such as lstm, "
        "file.py:function, or a call of initialised, layer_norm, project, residual, rms_norm, "
        "variational_dropout, with_activation, zoneout"
    ),
    "zoneout(lstm, c=open('x'))": (
        "in the cell \"zoneout(lstm, c=open('x'))\", there is no function open: there are Chrono, "
        "GateBias, Orthogonal"
    ),
    "zoneout(lstm, c=1/3)": (
        "in the cell 'zoneout(lstm, c=1/3)', 1 / 3 is no argument: it is a number, a text, True, "
        "False or None"
    ),
    "zoneout(lstm, c=[0.1])": (
        "in the cell 'zoneout(lstm, c=[0.1])', [0.1] is no argument: it is a number, a text, True, "
        "False or None"
    ),
    "zoneout(lstm, **{'c': 1})": (
        "in the cell \"zoneout(lstm, **{'c': 1})\", **{'c': 1} is no argument: write it out"
    ),
    "residual(gru, True)": (
        "in the cell 'residual(gru, True)', residual can't be called so: residual() takes 1 "
        "positional argument but 2 were given"
    ),
    "with_activation(gru, tanh=load)": (
        "in the cell 'with_activation(gru, tanh=load)', load is no function of torch's that a cell "
        "can use, such as relu"
    ),
    "zoneout(gruu, h=0.1)": (
        "there is no cell 'gruu': did you mean gru or gru_full or mingru? A cell of your own is "
        "file.py:function"
    ),
    "zoneout(no.py:f, h=0.1)": "there is no file no.py to take the cell 'f' from",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_name_is_refused(name: str):
    with pytest.raises(ModelError) as caught:
        find_cell(name)
    assert str(caught.value) == REFUSED[name]


def test_a_combinator_refuses_in_its_own_words():
    with pytest.raises(CellError, match="zoneout: cell gru has no state c"):
        find_cell("zoneout(gru, c=0.1)")


def test_a_saved_model_is_loaded_from_its_equations(tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN)
    name = f"zoneout(residual({tmp_path}/own.py:mine, project=True), h=0.3)"
    model = tiny(name)
    tokens = torch.tensor([[0, 1], [2, 3], [4, 1]])
    expected, _ = model(tokens)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "own.py").unlink()
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert loaded.config.cell == "zoneout(residual(own.py:mine, project=True), h=0.3)"
    assert torch.equal(loaded(tokens)[0], expected)
