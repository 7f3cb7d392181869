"""Zoneout: in training, elements of a state keep their old value at random.

Paper: Krueger et al. 2017, "Zoneout: regularizing RNNs by randomly preserving hidden activations",
arXiv:1606.01305.
"""

from __future__ import annotations

from typing import Any

from unrolled.cell import Cell
from unrolled.combinators.compose import (
    around,
    check_named,
    check_probability,
    check_states,
    combinator,
    fresh,
    run,
)
from unrolled.errors import CellError
from unrolled.specs import NoiseSpec


@combinator
def zoneout(cell: Cell, *unnamed: float, **states: float) -> Cell:
    """The cell whose states that are named are zoned out: ``zoneout(lstm, h=0.05, c=0.5)``.

    Each element of such a state keeps its value of the step before with this probability, drawn
    anew at each step: s = m ⊙ s_{t-1} + (1 − m) ⊙ s_t, where m is the noise ``zoneout_s``. In
    evaluation m is its mean. The output is zoned out with the state that it is.

    Raises :class:`CellError` for a name that is no state, and a number that has no name or is
    no probability.
    """
    check_named(cell, "zoneout", unnamed)
    check_states(cell, states, "zoneout")
    if not states:
        raise CellError(
            f"zoneout({cell.name}) names no state",
            f"zoneout(cell, {cell.states[0].name}=0.1)",
            cell.location,
        )
    sizes = {s.name: s.size for s in cell.states}
    noise: dict[str, NoiseSpec] = {}
    for name, p in states.items():
        rate = check_probability(cell, "zoneout", name, p)
        noise[name] = NoiseSpec(fresh(cell, f"zoneout_{name}"), sizes[name], rate)
    positions = [k for k, s in enumerate(cell.states) if s.name in noise]

    def step(x: Any, *given: Any, **arguments: Any) -> Any:
        masks = {name: arguments.pop(spec.name) for name, spec in noise.items()}
        done = run(cell, x, given, arguments)
        before = {cell.states[k].name: given[k] for k in positions}
        return done.with_states(
            {s: _mixed(m, before[s], done.states[s]) for s, m in masks.items()}
        ).returned()

    return around(cell, step, noise=noise.values())


def _mixed(m: Any, old: Any, new: Any) -> Any:
    return m * old + (1 - m) * new
