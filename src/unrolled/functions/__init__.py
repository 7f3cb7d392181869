"""What torch's functions mean in equations: a few primitives, and everything else composed of them.

Handlers have torch's own argument names, so that what PyTorch accepts is accepted here.  Importing
this package fills the registry of :mod:`unrolled.proxy`.
"""

from unrolled.functions import (
    activations,
    arithmetic,
    normalisation,
    operands,
    products,
    reductions,
    shapes,
    slicing,
)

__all__ = [
    "activations",
    "arithmetic",
    "normalisation",
    "operands",
    "products",
    "reductions",
    "shapes",
    "slicing",
]
