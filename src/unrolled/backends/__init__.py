"""Backends: what turns a Plan into a Kernel.

A backend has a ``name``, ``supports(plan, device)``, which gives the reason where it can't serve a
plan, ``compile(plan)`` and ``explain(plan)``.  ``select`` is the only place that chooses among
them.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Protocol

from unrolled.backends import cpu, reference
from unrolled.backends.protocol import Kernel
from unrolled.errors import UnsupportedByBackend
from unrolled.lower import Plan


class Backend(Protocol):
    """Makes kernels from plans."""

    name: str

    def supports(self, plan: Plan, device: str) -> str | None:
        """Why this plan can't be served on this type of device, or ``None``."""
        ...

    def compile(self, plan: Plan) -> Kernel:
        """The kernel of a plan that it supports."""
        ...

    def explain(self, plan: Plan) -> str:
        """How it runs a plan that it supports, beyond what the plan says, in lines for people."""
        ...


BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (cpu.Cpu(), cpu.Cpu(invariant=True), reference.Reference())
}
"""By name, the preferred first."""


def select(plan: Plan, name: str = "auto", device: str = "cpu") -> Backend:
    """The backend of that name, or the first that serves the plan on this type of device.

    :class:`UnsupportedByBackend` with the reason where a named one can't; ``ValueError`` for a
    name that is none.
    """
    if name == "auto":
        return _first(plan, device)
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: expected auto or one of {', '.join(BACKENDS)}")
    reason = BACKENDS[name].supports(plan, device)
    if reason is not None:
        raise UnsupportedByBackend(f"backend {name!r} can't run this plan: {reason}")
    return BACKENDS[name]


def _first(plan: Plan, device: str) -> Backend:
    for backend in BACKENDS.values():
        reason = backend.supports(plan, device)
        if reason is None:
            return backend
        if backend.name == device:
            _say(f"backend {backend.name!r} can't run here, which is slower: {reason}")
    raise AssertionError("the reference backend runs any plan")


@lru_cache
def _say(sentence: str) -> None:
    """Once in a process, where a device's own backend has to be passed over."""
    logging.getLogger(__name__).warning(sentence)
