"""The forms in which a step function may return its results."""

from __future__ import annotations

from typing import Any


def unpack(returned: Any, n_states: int) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What a step returned, as output, new states and further outputs.

    The forms are ``h``, ``(h, c)`` and ``(y, (h, c))``, each with an optional dict at the end.
    ``ValueError`` that says how many states came where it is not ``n_states``.
    """
    extras: dict[str, Any] = {}
    if isinstance(returned, tuple) and len(returned) > 1 and isinstance(returned[-1], dict):
        *rest, extras = returned
        returned = rest[0] if len(rest) == 1 else tuple(rest)
    if not isinstance(returned, (tuple, list)):
        y, states = returned, (returned,)
    elif len(returned) == 2 and isinstance(returned[1], (tuple, list)):
        y, states = returned[0], tuple(returned[1])
    else:
        y, states = (returned[0] if returned else None), tuple(returned)
    if len(states) != n_states:
        raise ValueError(f"the step returned {len(states)} new state(s), expected {n_states}")
    return y, states, extras
