"""Cells drawn over all functions: exported, they equal the plain loop within rounding."""

from typing import Any

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import unrolled as ur
from onnx_models import Session
from oracle.agreement import bounds, plain, problem
from oracle.random_cells import DrawnCell, drawn_cells
from unrolled.interop.onnx import export
from unrolled.interop.onnx.spelling import SPELLING

EXAMPLES = 40
# Drawn steps don't mean these; ONNX Runtime computes erf in float32 alone.
LEFT_OUT = {"place", "put", "erf"}
SLACK = 12
"""An op is at most 6 ONNX nodes, and a runtime's functions are within 2 ulp, not 1."""


def test_drawn_cells_equal_the_plain_loop() -> None:
    seen: set[str] = set()
    sharp = 0

    @settings(max_examples=EXAMPLES)
    @given(drawn_cells(), st.sampled_from((1, 3, 7)), st.sampled_from((1, 3)), st.integers(0, 99))
    def check(drawn: DrawnCell, steps: int, batch: int, seed: int) -> None:
        nonlocal sharp
        cell, given_sizes = drawn.cell, dict(drawn.sizes)
        sizes = cell.resolve_sizes(given_sizes["D"], given_sizes["H"], P=given_sizes["P"])
        ops = {e.op for e in cell.graph(sizes, torch.float64).equations}
        # A layer without parameters has no dtype but the default.
        assume(cell.parameters and "erf" not in ops)
        p = problem(cell, sizes, steps, batch, seed)
        expected = plain(p)
        bound = bounds(p, expected)
        assume(not bound.ambiguous)
        others = {k: v for k, v in sizes.items() if k in cell.size_names() and k not in "DH"}
        layer = ur.Recurrent(cell, sizes["D"], sizes["H"], sizes=others, dtype=torch.float64)
        layer.load_state_dict({f"{name}_l0": value for name, value in p.parameters.items()})
        session = Session(export(layer, initial_states=True))
        feed = {"x": p.x.numpy()}
        feed |= {n: s[None].numpy() for n, s in zip(session.inputs[1:], p.states, strict=True)}
        y, *states = session(feed).values()
        pairs = [(y, expected.y, bound.y)]
        pairs += zip((s[0] for s in states), expected.states, bound.states, strict=True)
        for ours, theirs, e in pairs:
            assert ours.shape == tuple(theirs.shape)
            assert (np.abs(ours - theirs.numpy()) <= (1 + SLACK) * e.numpy()).all()
        seen.update(ops)
        sharp += max(float(e.max()) for _, _, e in pairs) < 1e-8

    check()
    # Each op by itself is in test_spelling.py; here they stand together.
    assert len(seen) >= 0.8 * len(SPELLING.keys() - LEFT_OUT)
    assert sharp >= 0.9 * EXAMPLES, "the bounds of too many examples are loose"


@ur.cell
def scaled(x: torch.Tensor, h: torch.Tensor, *, W: torch.Tensor = ur.param("H", "D")) -> Any:
    """A factor that is no float32 before a product."""
    return torch.tanh(W @ (x / 5) + 0.5 * h)


def test_a_factor_before_a_product_keeps_its_digits() -> None:
    torch.manual_seed(0)
    layer = ur.Recurrent(scaled, 3, 4, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    expected, _ = layer(x)
    found = Session(export(layer))({"x": x.numpy()})["y"]
    # Five steps of some ten roundings of numbers below 1; a factor of float32 is off by 1e-8.
    assert np.abs(found - expected.detach().numpy()).max() < 50 * np.finfo(np.float64).eps
