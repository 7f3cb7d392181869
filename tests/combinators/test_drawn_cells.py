"""Cells drawn at random, composed: rules on traced values and on tensors come to the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch

import unrolled as ur
from combinators.test_noise import bounds, drawn
from oracle import agreement
from oracle.agreement import assert_agree, run
from oracle.forms import FORMS
from oracle.random_cells import written
from unrolled import naive
from unrolled.cell import Cell

COMPOSE: dict[str, tuple[Callable[[Cell], Cell], int]] = {
    "zoneout": (lambda c: ur.zoneout(c, **{c.states[0].name: 0.5}), 30),
    "variational dropout": (lambda c: ur.variational_dropout(c, **{c.states[0].name: 0.5}), 5),
    "layer norm": (lambda c: ur.layer_norm(c), 15),
    "rms norm": (lambda c: ur.rms_norm(c, "products", c.states[-1].name, "output"), 15),
}
"""What is made of a cell, and of how many in 40 at least; not all have a product."""


@pytest.mark.parametrize("kind", COMPOSE)
def test_equal_the_plain_loop(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compose, least = COMPOSE[kind]
    count = Counter[str]()
    for seed in range(40):
        chance = random.Random(seed)
        of = written(chance.choice, [chance.choice(FORMS) for _ in range(4)])
        sizes = dict(of.sizes)
        # A drawn cell is written for its own sizes alone.
        monkeypatch.setattr(Cell, "example_sizes", lambda _, given=sizes: given)
        try:
            made = compose(of.cell)
            made.graph(sizes, torch.float64)
        except ur.CellError as error:
            count[error.problem] += 1
            continue
        p, noise = agreement.problem(made, sizes, 3, 2, seed), drawn(made, sizes, 3, 2)
        expected = run(partial(naive.recurrence, noise=noise), p)
        bound = bounds(p, expected, noise)
        if not bound.ambiguous:
            found = run(partial(ur.recurrence, noise=noise, backend="reference"), p)
            assert_agree(found, expected, bound)
            count["compared"] += 1
    assert count.pop("compared") >= least
    for refused in count:
        assert "no product" in refused or "does not run" in refused
