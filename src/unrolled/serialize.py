"""Graphs as JSON: a saved model carries its cell's equations as data, never as code."""

from __future__ import annotations

from reprlib import repr as short
from typing import Any, cast, get_args

from unrolled.errors import Location, ModelError
from unrolled.ir import FORMAT, Atom, Constant, Dtype, Equation, Graph, Output, Role, Var
from unrolled.ops import TABLE
from unrolled.sizes import Size, as_size, symbols
from unrolled.verify import verify_step

_LARGEST = 2**40
_LONGEST_SYMBOL = 100
"""A symbol is a size expression, and parsing one takes time and memory with its length."""


def graph_to_dict(graph: Graph) -> dict[str, Any]:
    """The graph as JSON-ready data."""
    variables = {
        v.name: _var_to_data(v) for v in (*graph.sources, *(e.out for e in graph.equations))
    }
    return {
        "format": FORMAT,
        "name": graph.name,
        "variables": variables,
        "inputs": [v.name for v in graph.inputs],
        "states": [v.name for v in graph.states],
        "parameters": [v.name for v in graph.parameters],
        "constants": {c.var.name: list(c.data) for c in graph.constants},
        "residuals": [v.name for v in graph.residuals],
        "equations": [_equation_to_data(e) for e in graph.equations],
        "next_states": [v.name for v in graph.next_states],
        "outputs": {o.name: o.var.name for o in graph.outputs},
    }


def graph_from_dict(data: Any) -> Graph:
    """The step that :func:`graph_to_dict` wrote; :class:`ModelError` where the data is none.

    Everything is checked against the op table, so nothing that was tampered with gets to run.
    """
    try:
        return _graph_from_data(data)
    except ModelError:
        raise
    except (
        KeyError, TypeError, ValueError, AttributeError, IndexError, SyntaxError, ArithmeticError,
        RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise ModelError(
            f"the saved equations are damaged ({type(error).__name__}: {error}): "
            "restore the file from where the model was saved"
        ) from error


def _graph_from_data(data: Any) -> Graph:
    if data["format"] != FORMAT:
        raise ModelError(
            f"equations of format {short(data['format'])}, this Unrolled reads format {FORMAT}: "
            "install the version of Unrolled that wrote them"
        )
    variables = {_name(n): _var_from_data(n, v) for n, v in data["variables"].items()}

    def listed(key: str) -> tuple[Var, ...]:
        return tuple(variables[n] for n in _list(data[key]))

    graph = Graph(
        _text(data["name"]),
        listed("inputs"),
        listed("states"),
        listed("parameters"),
        tuple(
            Constant(variables[n], tuple(map(_number, _list(v))))
            for n, v in data["constants"].items()
        ),
        listed("residuals"),
        tuple(_equation_from_data(e, variables) for e in _list(data["equations"])),
        listed("next_states"),
        tuple(Output(_name(n), variables[v]) for n, v in data["outputs"].items()),
    )
    return verify_step(graph)


def _var_to_data(var: Var) -> dict[str, Any]:
    return {
        "shape": [_size_to_data(s) for s in var.shape],
        "role": var.role,
        "per_step": var.per_step,
        "dtype": var.dtype,
    }


def _var_from_data(name: str, data: Any) -> Var:
    shape = tuple(_size_from_data(s) for s in _list(data["shape"]))
    role, per_step, dtype = data["role"], data["per_step"], data["dtype"]
    if role not in get_args(Role) or dtype not in get_args(Dtype) or not isinstance(per_step, bool):
        raise ValueError(f"{name} is no variable: {short(data)}")
    return Var(name, shape, role, per_step, dtype)


def _size_to_data(size: int) -> Any:
    if isinstance(size, Size) and size.terms:
        return [int(size), dict(size.terms), size.constant]
    return int(size)


def _size_from_data(data: Any) -> Size:
    if not isinstance(data, list):
        return as_size(_integer(data))
    value, terms, constant = data
    for symbol in terms:
        if len(_text(symbol)) > _LONGEST_SYMBOL or not symbols(symbol):
            raise ValueError(f"{short(symbol)} is no size")
    return Size(_integer(value), {s: _integer(c) for s, c in terms.items()}, _integer(constant))


def _equation_to_data(equation: Equation) -> dict[str, Any]:
    data: dict[str, Any] = {
        "out": equation.out.name,
        "op": equation.op,
        "args": [a.name if isinstance(a, Var) else [a] for a in equation.args],
    }
    if equation.attributes:
        data["attributes"] = {n: _attribute_to_data(v) for n, v in equation.attributes}
    if equation.location is not None:
        file = equation.location.file.replace("\\", "/").rsplit("/", 1)[-1]
        data["location"] = [file, equation.location.line]
    return data


def _equation_from_data(data: Any, variables: dict[str, Var]) -> Equation:
    if data["op"] not in TABLE:
        raise ValueError(f"{short(data['op'])} is no op")
    args: tuple[Atom, ...] = tuple(
        _number(*a) if isinstance(a, list) else variables[a] for a in _list(data["args"])
    )
    attributes = tuple(
        (_name(n), _attribute_from_data(v)) for n, v in data.get("attributes", {}).items()
    )
    location = None
    if "location" in data:
        file, line = data["location"]
        location = Location(_text(file), _integer(line))
    return Equation(variables[data["out"]], data["op"], args, attributes, location)


def _attribute_to_data(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_attribute_to_data(v) for v in value]}
    if isinstance(value, Size):
        return {"size": _size_to_data(value)}
    return value


def _attribute_from_data(data: Any) -> Any:
    match data:
        case {"tuple": values}:
            return tuple(_attribute_from_data(v) for v in _list(values))
        case {"size": value}:
            return _size_from_data(value)
        case int() | float() if not isinstance(data, bool):
            return data
        case _:
            raise ValueError(f"{short(data)} is no attribute")


def _name(value: Any) -> str:
    if not _text(value).isidentifier():
        raise ValueError(f"{short(value)} is no name")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{short(value)} is no text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{short(value)} is no list")
    return cast("list[Any]", value)


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _LARGEST:
        raise ValueError(f"{short(value)} is no whole number of a sensible size")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{short(value)} is no number")
    return float(value)
