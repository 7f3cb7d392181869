"""The text that is generated: readable, in the user's names, and nobody's but ours."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled import cell, param
from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.cpu.spelling import SPELLING
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.errors import Location
from unrolled.ir import Graph
from unrolled.lower import lower
from unrolled.ops import TABLE

EVIL = '*/ } \n#include "/etc/passwd"\\\n int main() { //'


def graph_of(cell: Cell) -> Graph:
    return cell.graph(cell.resolve_sizes(INPUT_SIZE, HIDDEN_SIZE, **OTHER_SIZES), torch.float32)


def source_of(graph: Graph, backwards: bool = False) -> str:
    wrt = [v.name for v in graph.parameters] if backwards else []
    return CpuKernel(lower(graph, ("y",), wrt)).source(torch.float32, backwards)


def test_every_elementwise_op_is_spelt() -> None:
    assert SPELLING.keys() == {name for name, row in TABLE.items() if row.elementwise}


def test_the_users_names_and_lines_are_in_the_source() -> None:
    text = source_of(graph_of(TRICKY["normalised"]))
    assert "const real centred = v" in text
    assert "// tricky_cells.py:" in text


def test_names_that_c_has_for_itself() -> None:
    """C's words, macros and libm's functions get a mark; it compiles."""
    text = source_of(graph_of(TRICKY["names"]))
    declared = set(re.findall(r"const real (\w+) =", text))
    assert {"double_", "sqrt_", "erf_", "fabsf_", "sum0", "split", "exp", "r_r"} <= declared
    assert not {"double", "sqrt", "erf", "fabsf"} & declared
    assert source_of(graph_of(TRICKY["names"]), backwards=True)


@cell
def greek(x, h, *, Ω=param("H", "D"), β=param("H")):  # type: ignore[no-untyped-def]
    """Letters that C has not."""
    σ = torch.sigmoid(Ω @ x + β)
    σ2 = σ * σ
    return torch.tanh(σ2 + h)


def test_names_in_other_alphabets() -> None:
    text = source_of(graph_of(greek), backwards=True)
    code = "\n".join(line.split("//")[0] for line in text.splitlines()).split("#include", 1)[1]
    assert code.isascii()


def test_no_text_of_a_loaded_graph_ends_a_comment() -> None:
    """Saved equations may come from anyone: their names and locations are text, never code."""
    graph = graph_of(CELLS["gru"])
    equations = tuple(replace(e, location=Location(EVIL, 3)) for e in graph.equations)
    evil = replace(graph, name=EVIL, equations=equations)
    wrt = [v.name for v in graph.parameters]
    kernel, clean = CpuKernel(lower(evil, ("y",), wrt)), CpuKernel(lower(graph, ("y",), wrt))
    for backwards in (False, True):
        text = kernel.source(torch.float32, backwards)
        assert '#include "/etc' not in text
        without, expected = (
            [line.split("//")[0].rstrip() for line in t.splitlines()[1:]]
            for t in (text, clean.source(torch.float32, backwards))
        )
        assert without == expected


@pytest.mark.parametrize("dtype", ["UR_FLOAT", "UR_DOUBLE"])
def test_the_source_is_all_that_is_needed(dtype: str) -> None:
    """It compiles without torch's headers, for the directory of the templates alone."""
    library = load(source_of(graph_of(TRICKY["swapped"])), {dtype: "1"})
    assert library.ur_run
