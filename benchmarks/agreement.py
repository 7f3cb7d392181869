"""Outputs and gradients are compared before anything is timed: a wrong kernel has no time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.grid import Point
from benchmarks.peers.contestant import Tensors


class Disagreement(Exception):
    """Two contestants computed different things; the message says what and by how much."""


def tolerance(point: Point, dtype: torch.dtype = torch.float32) -> float:
    """How far two float32 runs may be apart, relative to the largest element.

    A value has been through at most T products of D + H terms, whose roundings add up like a
    random walk; 4 of its standard deviations.  A gate in the wrong place is off by 1e-2.
    """
    return 4 * torch.finfo(dtype).eps * math.sqrt(point.T * (point.D + point.H))


def compare(ours: Tensors, theirs: Tensors, point: Point) -> float:
    """The largest difference over all tensors, relative to each one's largest element.

    Raises :class:`Disagreement` where a tensor is missing, of another shape, not finite, or
    further off than :func:`tolerance`.
    """
    if ours.keys() != theirs.keys():
        raise Disagreement(f"ours gives {', '.join(ours)}; the peer {', '.join(theirs)}")
    allowed = tolerance(point)
    errors = {name: _error(name, ours[name], theirs[name]) for name in ours}
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= allowed:
        raise Disagreement(f"{worst} differs by {errors[worst]:.1e}, allowed are {allowed:.1e}")
    return errors[worst]


def _error(name: str, ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        raise Disagreement(f"{name}: ours is {list(ours.shape)}, the peer's {list(theirs.shape)}")
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        raise Disagreement(f"{name} has elements that are not finite")
    difference = float((ours - theirs).abs().max())
    return difference / float(theirs.abs().max()) if difference else 0.0
