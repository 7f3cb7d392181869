"""Functions from cells to cells, which nest: ``residual(layer_norm(lstm))``.

compose     how a cell runs inside of another, and how such cells are named and pickled
residual    the input added to the output
project     the output projected to another size
normalise   layer and root-mean-square normalisation
activation  other activations
initial     how parameters start
zoneout     states that keep their old values at random
dropout     variational dropout: one mask for a whole sequence
"""

from unrolled.combinators.activation import with_activation
from unrolled.combinators.compose import around, combinator, fresh, parameter, run
from unrolled.combinators.dropout import variational_dropout
from unrolled.combinators.initial import Chrono, GateBias, Orthogonal, initialised
from unrolled.combinators.normalise import layer_norm, rms_norm
from unrolled.combinators.project import project
from unrolled.combinators.residual import residual
from unrolled.combinators.zoneout import zoneout

__all__ = [
    "Chrono",
    "GateBias",
    "Orthogonal",
    "around",
    "combinator",
    "fresh",
    "initialised",
    "layer_norm",
    "parameter",
    "project",
    "residual",
    "rms_norm",
    "run",
    "variational_dropout",
    "with_activation",
    "zoneout",
]
