"""A step function's signature: its input, states, parameters, noise and static options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from unrolled import sizes
from unrolled.errors import CellError
from unrolled.locations import signature_location, users_location
from unrolled.specs import NoiseSpec, ParamSpec, StateSpec


@dataclass(frozen=True)
class Declaration:
    """What a signature declares, in its order."""

    input: str
    states: tuple[StateSpec, ...]
    parameters: dict[str, ParamSpec]
    noise: dict[str, NoiseSpec]
    options: dict[str, Any]


def declaration(function: Callable[..., Any]) -> Declaration:
    """Read a step function's signature; raises :class:`CellError` where it is not a cell's."""
    if not inspect.isfunction(function):
        what = "class" if isinstance(function, type) else type(function).__name__
        raise CellError(
            f"@cell stands on a {what}, expected a function",
            "write the step so: def step(x, h, *, W=param('H', 'D')): …",
            users_location(),
        )

    def fail(problem: str, hint: str, argument: str | None = None) -> NoReturn:
        where = signature_location(function, argument)
        raise CellError(f"cell {function.__name__}: {problem}", hint, where)

    states: list[StateSpec] = []
    parameters: dict[str, ParamSpec] = {}
    noise: dict[str, NoiseSpec] = {}
    options: dict[str, Any] = {}
    input_name = ""
    for name, argument in inspect.signature(function).parameters.items():
        default = argument.default
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            fail(
                f"{argument} can't be read as input, state or parameter",
                "name each: def step(x, h, *, W=param('H', 'D'))",
                name,
            )
        elif argument.kind is argument.KEYWORD_ONLY:
            if default is argument.empty:
                fail(
                    f"parameter {name} has no shape",
                    f"give it one over named sizes, as in {name}=param('H', 'D'); "
                    "a static option has a default value",
                    name,
                )
            elif isinstance(default, StateSpec):
                fail(f"state {name} stands after the *", "states stand before it, in order", name)
            elif isinstance(default, ParamSpec):
                parameters[name] = replace(default, name=name)
            elif isinstance(default, NoiseSpec):
                if not 0 <= default.p <= 1 or default.each not in ("step", "sequence"):
                    fail(
                        f"{name} is noise with p={default.p!r}, each={default.each!r}",
                        "p is a probability in 0 … 1, each is 'step' or 'sequence'",
                        name,
                    )
                noise[name] = replace(default, name=name)
            else:
                options[name] = default
        elif not input_name:
            if default is not argument.empty:
                fail(
                    f"the input {name} has a default",
                    "the first argument is the input, of length D: def step(x, h, …)",
                    name,
                )
            input_name = name
        elif default is argument.empty:
            states.append(StateSpec(name))
        elif isinstance(default, StateSpec):
            states.append(replace(default, name=name))
        else:
            kinds = {ParamSpec: "a parameter", NoiseSpec: "noise"}
            what = kinds.get(type(default)) or repr(default)
            fail(
                f"state {name} has {what} as its default",
                "parameters and options stand after the *; "
                f"a state of another length than H is {name}=state('P')",
                name,
            )
    if not states:
        fail(
            f"it takes {len([n for n in [input_name] if n])} positional argument(s), "
            "expected the input and at least one state",
            "def step(x, h, *, …): parameters stand after the *",
        )
    declared = Declaration(input_name, tuple(states), parameters, noise, options)
    for name, expression in _expressions(declared):
        try:
            sizes.symbols(expression)
        except (ValueError, SyntaxError):
            fail(
                f"{expression!r} is no size", "use names, integers and + - * //, as in '3*H'", name
            )
    return declared


def _expressions(declared: Declaration) -> Iterator[tuple[str, str | int]]:
    for spec in (*declared.states, *declared.noise.values()):
        yield spec.name, spec.size
    for spec in declared.parameters.values():
        for expression in spec.shape:
            yield spec.name, expression
