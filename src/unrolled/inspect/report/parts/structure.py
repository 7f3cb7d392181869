"""The parts that show what the model is: its equations, drawn and written."""

from __future__ import annotations

from unrolled.inspect.diagram import cell_diagram, network_diagram
from unrolled.inspect.equations import LayerEquations, equations
from unrolled.inspect.report.parts.asked import Asked, Found, joined
from unrolled.inspect.report.section import Drawing, Section, Table, percent

STEPS = 3


def equations_part(asked: Asked) -> Found:
    """The equations of each cell, the parameters, and what a step costs."""
    layers = equations(asked.model)
    count = sum(layer.count for layer in layers)
    inside = sum(layer.cost.loop.multiply_adds * layer.directions for layer in layers)
    whole = sum(layer.cost.step.multiply_adds * layer.directions for layer in layers)
    kinds = joined([f"{layer.name} ({layer.cell})" for layer in layers])
    return Found(
        Section(
            "equations",
            "Equations",
            f"{count:,} parameters in {kinds}. A time step takes {whole:,} multiply-adds, of "
            f"which {inside:,} ({percent(inside / max(whole, 1))}) have to wait for the step "
            "before.",
            drawings=tuple(
                Drawing("", same[0].mathml, _of(same), "mathml") for same in _alike(layers)
            ),
            tables=(
                Table.of("Parameters", [row for layer in layers for row in layer.table()]),
                Table.of(
                    "Operations of one time step of one sequence",
                    [row for layer in layers for row in layer.cost_table()],
                ),
            ),
            notes=(
                "The equations are those that are compiled and run. What no state reaches is "
                "computed for all time steps at once, before the loop over time or after it.",
            ),
        )
    )


def diagrams_part(asked: Asked) -> Found:
    """Each cell as a diagram, and the network unrolled through time."""
    layers = equations(asked.model)
    kinds = _alike(layers)
    network = Drawing(
        "network", network_diagram(asked.model, STEPS), f"{STEPS} time steps of the network."
    )
    cells = tuple(
        Drawing(
            f"cell-{number}" if len(kinds) > 1 else "cell", cell_diagram(same[0].graph), _of(same)
        )
        for number, same in enumerate(kinds, 1)
    )
    states = joined(list(dict.fromkeys(v.name for layer in layers for v in layer.graph.states)))
    return Found(
        Section(
            "diagrams",
            "The network, unrolled",
            f"{len(layers)} recurrent layer{'s' * (len(layers) > 1)} of "
            f"{joined(list(dict.fromkeys(layer.cell for layer in layers)))}; from step to step "
            f"each hands on {states}.",
            drawings=(network, *cells),
            notes=(
                "Both are drawn from the equations that run. Parameters are the same at every time "
                "step.",
            ),
        )
    )


def _alike(layers: tuple[LayerEquations, ...]) -> list[list[LayerEquations]]:
    """The layers by their equations, which are shown once."""
    found: dict[str, list[LayerEquations]] = {}
    for layer in layers:
        found.setdefault(layer.mathml, []).append(layer)
    return list(found.values())


def _of(layers: list[LayerEquations]) -> str:
    names = joined([layer.name for layer in layers])
    return f"One time step of {layers[0].cell}, as in {names}."
