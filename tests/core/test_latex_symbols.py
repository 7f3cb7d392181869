"""Equations in LaTeX: each value has a symbol of its own, in the library's cells and composed."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import re
from collections.abc import Callable

import torch.nn.functional as F
from torch import cat, tanh

import unrolled as ur
from unrolled import cell, param
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.latex import latex

AROUND: dict[str, Callable[[Cell], Cell]] = {
    "zoneout": lambda of: ur.zoneout(of, **{s.name: 0.1 for s in of.states}),
    "variational_dropout": lambda of: ur.variational_dropout(of, input=0.5, output=0.5),
    "layer_norm": lambda of: ur.layer_norm(of, "products", *(s.name for s in of.states), "output"),
    "rms_norm": ur.rms_norm,
    "residual": lambda of: ur.residual(of, project=True),
    "project": lambda of: ur.project(of, "Q"),
    "with_activation": lambda of: ur.with_activation(of, tanh=F.silu) if calls_tanh(of) else of,
}


def calls_tanh(of: Cell) -> bool:
    return any(e.op == "tanh" for e in of.graph(of.example_sizes()).equations)


def ambiguous(text: str) -> list[str]:
    """The symbols that stand on the left of more than one line, or of one after their use."""
    defined: list[str] = []
    rights: list[str] = []
    found: list[str] = []
    for line in text.splitlines()[1:-1]:
        left, _, right = line.strip().removesuffix(r" \\").partition(" &= ")
        column = re.fullmatch(r"\\begin\{bmatrix\} (.*) \\end\{bmatrix\}", left)
        for symbol in column[1].split(r" \\ ") if column else [left]:
            whole = rf"(?<![\w{{\\]){re.escape(symbol)}"
            if symbol in defined or any(re.search(whole, r) for r in rights):
                found.append(symbol)
            defined.append(symbol)
        rights.append(right)
    return found


def test_an_ambiguity_is_found() -> None:
    assert ambiguous("\n".join(("{", r"  y_{t} &= x_{t} \\", "  y_{t} &= y_{t} + x_{t}", "}"))) == [
        "y_{t}"
    ]
    assert ambiguous("\n".join(("{", r"  h_{t} &= y_{t} \\", "  y_{t} &= x_{t}", "}"))) == ["y_{t}"]


# A state alone, a memory and a projection, an output that is no state.
WITHIN_TWO = ("mgu", "lstm_projected", "elman_output")


def compositions() -> list[Cell]:
    """Each cell of the library, within each combinator; some within each pair of them."""
    made: list[Cell] = []
    for name, textbook in CELLS.items():
        once = [around(textbook) for around in AROUND.values()]
        # Outermost alone: it is for layers whose input and output are equally long.
        made += [textbook, *once, ur.residual(textbook)]
        if name in WITHIN_TWO:
            twice = [around(of) for of in once for around in AROUND.values()]
            made += [*twice, *map(ur.residual, once)]
    return made


def test_every_value_has_a_symbol_of_its_own() -> None:
    sizes = {"D": 4, "H": 4, "P": 4, "O": 4, "Q": 4}
    wrong: dict[str, list[str]] = {}
    for made in compositions():
        text = latex(made.graph(sizes))
        if found := ambiguous(text):
            wrong[made.name] = found
    assert wrong == {}


def test_an_output_keeps_its_name_and_a_value_on_the_way_makes_room() -> None:
    made = ur.zoneout(ur.residual(CELLS["mgu"]), h=0.1)
    assert latex(made.graph({"D": 4, "H": 4})).splitlines()[6:] == [
        r"  y_{1, t} &= \left(1 - f_{t}\right) \odot h_{t-1} + f_{t} \odot \tilde{h}_{t} \\",
        r"  y_{t} &= y_{1, t} + x_{t} \\",
        r"  h_{t} &= \mathrm{zoneout}_{h, t} \odot h_{t-1} + "
        r"\left(1 - \mathrm{zoneout}_{h, t}\right) \odot y_{1, t}",
        r"\end{aligned}",
    ]


def test_names_that_are_spelled_alike_are_told_apart() -> None:
    @cell
    def step(x, h, *, W=param("H", "D"), h_t=param("H")):
        h_prev = W @ x
        v_1 = tanh(h_prev * h_t)
        return h + v_1, {"h_1": h_prev}

    assert step.latex().splitlines()[1:-1] == [
        r"  h_{2, t} &= W x_{t} \\",
        r"  v_{1, t} &= \tanh(h_{2, t} \odot h_{t, 1}) \\",
        r"  h_{t} &= h_{t-1} + v_{1, t} \\",
        r"  h_{1, t} &= h_{2, t}",
    ]


def test_what_is_put_out_whole_is_no_column() -> None:
    @cell
    def step(x, h, *, W=param("2*H", "D")):
        a, b = (W @ x).chunk(2)
        return a * h + b, {"gates": cat([a, b])}

    assert ambiguous(step.latex()) == []
