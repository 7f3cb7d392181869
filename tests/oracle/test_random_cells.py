"""Cells drawn over all functions and ops: compiled, they equal the plain loop."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from functools import lru_cache

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from oracle.agreement import Problem, assert_agree, bounds, compiled, differences, plain, problem
from oracle.forms import FORMS, Form
from oracle.random_cells import DrawnCell, drawn_cells, written
from oracle.wrong_rules import RULES, rules_used, slightly_wrong
from unrolled import cell, param
from unrolled.ir import Graph
from unrolled.ops import TABLE
from unrolled.passes.adjoint import adjoint
from unrolled.proxy import FUNCTIONS

EXAMPLES = 200
STEPS = (1, 3, 5, 7) * 5 + (50,)
BATCHES = (1, 3, 5)

ONLY_IN_ADJOINTS = {"place", "put", "total", "total_outer"}
"""Ops that no function of a step means; derivatives do."""

UNSPELT = {"hardsigmoid", "alias", "log_sigmoid", "linalg_vector_norm"}
"""Functions that no form has by this name: torch's own derivative of hardsigmoid takes 1/6 in
single precision, so it has a test of its own; torch.alias is not public; the others are what
torch calls logsigmoid and linalg.vector_norm inside."""


def _problem(drawn: DrawnCell, steps: int, batch: int, seed: int) -> Problem:
    cell = drawn.cell
    given = dict(drawn.sizes)
    sizes = cell.resolve_sizes(given["D"], given["H"], P=given["P"])
    return problem(cell, sizes, steps, batch, seed)


def _alone(form: Form, seed: int) -> DrawnCell:
    """A cell with this form alone."""
    drawn = written(random.Random(seed).choice, [form])
    assert "v0" in drawn.source, "the result was too large"
    return drawn


def _ops(graph: Graph) -> set[str]:
    return {e.op for e in graph.equations}


class Seen:
    """What the drawn examples reached."""

    def __init__(self) -> None:
        self.ops: set[str] = set()
        self.in_adjoints: set[str] = set()
        self.checked = self.sharp = 0

    def add(self, p: Problem, sharp: bool) -> None:
        graph = p.cell.graph(p.sizes, torch.float64)
        self.ops |= _ops(graph)
        self.in_adjoints |= _ops(adjoint(graph, p.leaves))
        self.checked += 1
        self.sharp += sharp


def test_drawn_cells_equal_the_plain_loop() -> None:
    seen = Seen()

    @settings(max_examples=EXAMPLES)
    @given(drawn_cells(), st.sampled_from(STEPS), st.sampled_from(BATCHES), st.integers(0, 99))
    def check(drawn: DrawnCell, steps: int, batch: int, seed: int) -> None:
        p = _problem(drawn, steps, batch, seed)
        expected = plain(p)
        bound = bounds(p, expected)
        assume(not bound.ambiguous)
        assert_agree(compiled(p), expected, bound)
        largest = max(float(e.max()) for _, _, e in differences(expected, expected, bound))
        seen.add(p, largest < 1e-8)

    check()
    assert seen.checked >= EXAMPLES
    assert seen.sharp >= 0.9 * seen.checked, "the bounds of too many examples are loose"
    assert seen.ops == TABLE.keys() - ONLY_IN_ADJOINTS
    assert seen.in_adjoints >= ONLY_IN_ADJOINTS


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.text)
def test_each_form_by_itself(form: Form) -> None:
    """The first of some cells with this form alone that rounding leaves no doubt about."""
    for seed in range(20):
        drawn = _alone(form, seed)
        p = _problem(drawn, 3, 2, seed)
        expected = plain(p)
        bound = bounds(p, expected)
        if not bound.ambiguous:
            assert_agree(compiled(p), expected, bound)
            return
    pytest.fail("every cell with this form is ambiguous")


def test_every_function_is_in_a_form() -> None:
    words = set(re.findall(r"\w+", " ".join(form.text for form in FORMS)))
    operators = {name for name in FUNCTIONS if name.startswith("__")}
    assert FUNCTIONS.keys() - words - operators - UNSPELT == set()


@lru_cache
def _cells_by_rule() -> dict[str, list[DrawnCell]]:
    """Cells of one form, by the derivative rules that their compiled reverse step is made of."""
    found: dict[str, list[DrawnCell]] = defaultdict(list)
    for seed, form in enumerate(FORMS):
        drawn = _alone(form, seed)
        for rule in rules_used(drawn.cell.graph(dict(drawn.sizes), torch.float64)):
            found[rule].append(drawn)
    return found


@pytest.mark.parametrize("op", sorted(RULES.keys() - ONLY_IN_ADJOINTS))
def test_any_rule_wrong_by_a_millionth_is_caught(op: str) -> None:
    """By most of the cells that use it; in some, what the rule hands on is 0 or never read."""
    caught = 0
    tried = _cells_by_rule()[op][:5]
    for drawn in tried:
        p = _problem(drawn, 3, 2, 0)
        expected = plain(p)
        with slightly_wrong(op):
            found, bound = compiled(p), bounds(p, expected)
        caught += any((d.abs() > 2 * e).any() for _, d, e in differences(found, expected, bound))
    assert 2 * caught > len(tried)


def hardsigmoid(x, h, *, U=param("H", "H")):  # type: ignore[no-untyped-def]
    return F.hardsigmoid(3 * (U @ h) + x)


def cut_off_line(x, h, *, U=param("H", "H")):  # type: ignore[no-untyped-def]
    return F.hardtanh(3 * (U @ h) + x, -3.0, 3.0) / 6 + 0.5


def test_hardsigmoid() -> None:
    """Against its formula: torch's own derivative is 1/6 in single precision."""
    sizes = {"D": 5, "H": 5}
    p, q = (problem(cell(step), sizes, 7, 3) for step in (hardsigmoid, cut_off_line))
    expected = plain(q)
    assert_agree(compiled(p), expected, bounds(q, expected))
