"""Instruments: what a recurrent network remembers, forgets and learns.

Each is a function of a model that gives an object with numbers, ``table()`` and ``plot()``; a
:func:`report` has all of them on one page.
"""

from unrolled.inspect.attribution import Attribution, attribution
from unrolled.inspect.diagram import cell_diagram, network_diagram
from unrolled.inspect.equations import LayerEquations, equations
from unrolled.inspect.gates import Gates, gates
from unrolled.inspect.gradient_flow import GradientFlow, gradient_flow
from unrolled.inspect.health import Health, health
from unrolled.inspect.jacobians import Jacobians, jacobians
from unrolled.inspect.lyapunov import Lyapunov, lyapunov
from unrolled.inspect.neurons import Neurons, Unit, neurons
from unrolled.inspect.report import Report, report
from unrolled.inspect.spectral import Radii, spectral_radius
from unrolled.inspect.text import TextSample
from unrolled.inspect.watch import watch

__all__ = [
    "Attribution",
    "Gates",
    "GradientFlow",
    "Health",
    "Jacobians",
    "LayerEquations",
    "Lyapunov",
    "Neurons",
    "Radii",
    "Report",
    "TextSample",
    "Unit",
    "attribution",
    "cell_diagram",
    "equations",
    "gates",
    "gradient_flow",
    "health",
    "jacobians",
    "lyapunov",
    "network_diagram",
    "neurons",
    "report",
    "spectral_radius",
    "watch",
]
