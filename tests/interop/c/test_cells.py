"""Exported cells, compiled and called step by step, equal what Python makes of the same weights.

Textbook and drawn cells run over a sequence from their own states, within the bound of the oracle's
running error analysis; tricky cells write all their outputs and are held to the bound that the
shipped test program has, at each step.
"""

from __future__ import annotations

import ctypes
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from c_programs import Exported, library
from oracle.agreement import Problem, bounds, plain, problem
from oracle.forms import FORMS
from oracle.random_cells import written
from oracle.rounding import ROUNDINGS
from oracle.textbook import VARIANTS
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled import Recurrent
from unrolled.cell import Cell
from unrolled.interop.c.network import Network, read
from unrolled.interop.c.program import Program, build
from unrolled.interop.c.samples import sample
from unrolled.interop.c.source import header, source

STEPS = 7
DRAWN = 36


def _chosen(chance: random.Random, options: Sequence[Any]) -> Any:
    return chance.choice(list(options))


@lru_cache
def drawn() -> dict[str, Problem]:
    """Problems of cells drawn over all forms, but those that ask for another precision."""
    found: dict[str, Problem] = {}
    for seed in count():
        chance = random.Random(seed)
        made = written(partial(_chosen, chance), chance.choices(FORMS, k=12))
        if re.search("double|float64", made.source):
            continue
        given = dict(made.sizes)
        sizes = made.cell.resolve_sizes(given["D"], given["H"], P=given["P"])
        found[f"drawn_{seed}"] = single(problem(made.cell, sizes, STEPS, 1, seed))
        if len(found) == DRAWN:
            break
    return found


def single(p: Problem) -> Problem:
    """The problem's tensors in numbers that float32 has too."""
    to = lambda t: t.float().double()
    parameters = {n: to(t) for n, t in p.parameters.items()}
    return replace(p, x=to(p.x), states=tuple(map(to, p.states)), parameters=parameters)


def layer_of(p: Problem) -> Recurrent:
    """A layer of the cell with the problem's parameters."""
    others = {s: n for s, n in p.sizes.items() if s in p.cell.size_names() and s not in "DH"}
    layer = Recurrent(p.cell, int(p.sizes["D"]), int(p.sizes["H"]), sizes=others)
    layer.load_state_dict({f"{n}_l0": t.float() for n, t in p.parameters.items()})
    return layer


def textbook_problem(cell: Cell) -> Problem:
    sizes = cell.resolve_sizes(3, 5, P=2, O=4)
    return single(problem(cell, sizes, STEPS, 1, seed=2))


def tricky_layer(cell: Cell) -> Recurrent:
    torch.manual_seed(4)
    others = {s: n for s, n in OTHER_SIZES.items() if s in cell.size_names()}
    return Recurrent(cell, INPUT_SIZE, HIDDEN_SIZE, sizes=others)


def networks() -> dict[str, tuple[Network, tuple[str, ...]]]:
    """Everything that is compiled together, by its name in C."""
    found: dict[str, tuple[Network, tuple[str, ...]]] = {}
    for name, cell in VARIANTS.items():
        found[c_name("textbook", name)] = read(layer_of(textbook_problem(cell)), None, None), ()
    for name, p in drawn().items():
        found[name] = read(layer_of(p), None, None), ()
    for name, cell in TRICKY.items():
        network = read(tricky_layer(cell), None, None)
        further = tuple(o.name for o in network.layers[0].graph.outputs[1:])
        found[c_name("tricky", name)] = network, further
    return found


def c_name(kind: str, name: str) -> str:
    return f"{kind}_{re.sub(r'[^a-z0-9]+', '_', name)}"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, dict[str, Program]]:
    folder = tmp_path_factory.mktemp("c")
    programs: dict[str, Program] = {}
    sources: list[Path] = []
    for name, (network, further) in networks().items():
        programs[name] = build(network, name, further)
        (folder / f"{name}.h").write_text(header(programs[name], False))
        sources.append(folder / f"{name}.c")
        sources[-1].write_text(source(programs[name], False))
    return library(sources, folder / "all.so"), programs


Compiled = tuple[ctypes.CDLL, dict[str, Program]]


def run(compiled: Compiled, name: str, p: Problem) -> tuple[Tensor, Tensor]:
    """All outputs and the final states, in the problem's states and inputs."""
    loaded, programs = compiled
    exported = Exported(loaded, programs[name])
    exported.states = torch.cat([s[0] for s in p.states]).float()
    y = torch.stack([exported.step(x.float())[0] for x in p.x[:, 0]])
    return y.double(), exported.states.double()


def assert_within(compiled: Compiled, name: str, p: Problem) -> bool:
    """Whether float32 can tell the cell's comparisons apart; then results are in their bounds."""
    expected = plain(p)
    bound = bounds(p, expected, torch.float32)
    y, states = run(compiled, name, p)
    if bound.ambiguous:
        return False
    slack = 1 + 2.0**-28
    tiny = torch.finfo(torch.float32).tiny
    assert ((y - expected.y[:, 0]).abs() <= slack * bound.y[:, 0] + tiny).all()
    final = torch.cat([s[0] for s in expected.states])
    most = torch.cat([s[0] for s in bound.states])
    assert ((states - final).abs() <= slack * most + tiny).all()
    return True


@pytest.fixture(autouse=True)
def _libm_within_4_ulp(monkeypatch: pytest.MonkeyPatch) -> None:
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)
    monkeypatch.setitem(ROUNDINGS, "sigmoid", 12)


@pytest.mark.parametrize("name", VARIANTS)
def test_textbook_cells_over_a_sequence(name: str, compiled: Compiled) -> None:
    p = textbook_problem(VARIANTS[name])
    assert assert_within(compiled, c_name("textbook", name), p)


def test_drawn_cells_over_a_sequence(compiled: Compiled) -> None:
    told = sum(assert_within(compiled, name, p) for name, p in drawn().items())
    assert told >= DRAWN // 2, f"{told} of {DRAWN} without a comparison that rounding decides"


@pytest.mark.parametrize("name", TRICKY)
def test_tricky_cells_and_all_their_outputs(name: str, compiled: Compiled) -> None:
    loaded, programs = compiled
    program = programs[c_name("tricky", name)]
    exported, samples = Exported(loaded, program), sample(program)
    for x, r in zip(samples.x, samples.results, strict=True):
        found = torch.cat([*exported.step(x), exported.states]).double()
        assert torch.isfinite(r.bound).all()
        assert ((found - r.expected).abs() <= r.bound).all(), (found - r.expected).abs() / r.bound
        exported.states = r.expected[len(r.expected) - len(exported.states) :].float()
