"""Rules between a step and torch: what a function's call becomes while they are in force.

A cell made of another one may change a function that the other calls, such as its activations.
While such a step runs, on real tensors as well as traced, each of its calls goes through the rules,
the innermost first.  What a rule itself calls is seen by the rules around it alone, and what
torch's functions call among themselves by none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

Arguments = tuple[Any, ...]
Rule = Callable[[str, Callable[..., Any], Arguments, dict[str, Any]], Any]
"""Of a function's name, the function, its arguments and named arguments: the call's result."""

_RULES: ContextVar[tuple[Rule, ...]] = ContextVar("rules", default=())


@contextmanager
def in_force(rule: Rule) -> Generator[None, None, None]:
    """Within this, all calls go through ``rule``, and then through the rules around it."""
    token = _RULES.set((*_RULES.get(), rule))
    try:
        with _OnTensors(rule):
            yield
    finally:
        _RULES.reset(token)


def apply(name: str, function: Callable[..., Any], args: Arguments, kwargs: dict[str, Any]) -> Any:
    """A call on traced values under all rules that are in force."""
    name = plain(name)
    *outer, rule = _RULES.get() or (None,)
    if rule is None:
        return function(*args, **kwargs)

    def beyond(*args: Any, **kwargs: Any) -> Any:
        return apply(name, function, args, kwargs)

    token = _RULES.set(tuple(outer))
    try:
        return rule(name, beyond, args, kwargs)
    finally:
        _RULES.reset(token)


def plain(name: str) -> str:
    """A function's name as rules know it: ``expit`` of ``torch.special`` as well."""
    return name.removeprefix("special_")


class _OnTensors(TorchFunctionMode):
    """A rule on real tensors; traced values come to :func:`apply` by themselves."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._rule = rule

    def __torch_function__(
        self, func: Any, types: Any, args: Arguments = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        traced = any(not issubclass(kind, Tensor) for kind in types)
        # Not in force is what a rule, or the meaning of a function on traced values, calls itself.
        if traced or self._rule not in _RULES.get():
            return func(*args, **given)
        return self._rule(plain(getattr(func, "__name__", "")), func, args, given)
