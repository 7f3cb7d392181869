"""What a step's signature declares: its parameters, its states and its noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

Init = float | str | Callable[[Tensor], Any]
UNIFORM = "uniform"
"""The default initialisation: uniform in ±1/√H, as ``torch.nn.LSTM`` and its like have it."""


@runtime_checkable
class GatedInit(Protocol):
    """An ``init`` that fills gate by gate."""

    def fill(self, parameter: Tensor, gates: int | None) -> None:
        """Fill in place; ``gates`` stand one below the other, where that is known."""
        ...


@dataclass(frozen=True)
class ParamSpec:
    """A parameter: its shape over named sizes, and how it starts.

    ``init`` is ``"uniform"`` (±1/√H), a number, or a function that fills a tensor in place, such
    as those of ``torch.nn.init``.
    """

    name: str
    shape: tuple[str | int, ...]
    init: Init = UNIFORM


@dataclass(frozen=True)
class StateSpec:
    """A state: a vector whose length is a size expression."""

    name: str
    size: str | int = "H"


@dataclass(frozen=True)
class NoiseSpec:
    """Noise: a vector for each example, of independent draws that are 1 with probability ``p``.

    The rest are 0.  ``each`` says what it is drawn for anew: a time step, or a whole sequence.
    """

    name: str
    size: str | int
    p: float
    each: Literal["step", "sequence"] = "step"


def noise(size: str | int, p: float, each: Literal["step", "sequence"] = "step") -> Any:
    """Declare noise as the default of a keyword-only argument: ``m=noise("H", p=0.1)``.

    In training ``m`` is a vector of the length ``size`` whose elements are 1 with probability
    ``p``, else 0, drawn anew for each time step or once for each sequence.  In evaluation it is the
    number ``p``, its mean, so that a step uses it elementwise alone.
    """
    return NoiseSpec("", size, p, each)


def param(*shape: str | int, init: Init = UNIFORM) -> Any:
    """Declare a parameter as the default of a keyword-only argument: ``W=param("3*H", "D")``.

    ``shape`` is given over named sizes (``D`` input, ``H`` hidden, others by whoever builds the
    layer); no shape at all is a scalar.
    """
    return ParamSpec("", shape, init)


def state(size: str | int) -> Any:
    """Declare a state of another length than ``H``: ``h=state("P")``."""
    return StateSpec("", size)
