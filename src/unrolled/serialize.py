"""Graphs as JSON: a saved model carries its cell's equations as data, never as code."""

from __future__ import annotations

from typing import Any

from unrolled.errors import Location, ModelError
from unrolled.ir import FORMAT, Atom, Constant, Equation, Graph, Output, Var
from unrolled.ops import TABLE
from unrolled.sizes import Size, as_size
from unrolled.verify import verify


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
    """The graph that :func:`graph_to_dict` wrote; :class:`ModelError` where the data is no graph.

    Everything is checked against the op table, so nothing that was tampered with gets to run.
    """
    try:
        if data["format"] != FORMAT:
            raise ModelError(f"equations of format {data['format']}, expected {FORMAT}")
        variables = {str(n): _var_from_data(str(n), v) for n, v in data["variables"].items()}

        def listed(key: str) -> tuple[Var, ...]:
            return tuple(variables[n] for n in data[key])

        graph = Graph(
            str(data["name"]),
            listed("inputs"),
            listed("states"),
            listed("parameters"),
            tuple(
                Constant(variables[n], tuple(map(float, v))) for n, v in data["constants"].items()
            ),
            listed("residuals"),
            tuple(_equation_from_data(e, variables) for e in data["equations"]),
            listed("next_states"),
            tuple(Output(str(n), variables[v]) for n, v in data["outputs"].items()),
        )
        verify(graph)
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(
            f"the saved equations are damaged ({type(error).__name__}: {error}): "
            "restore the file from where the model was saved"
        ) from error
    return graph


def _var_to_data(var: Var) -> dict[str, Any]:
    return {
        "shape": [_size_to_data(s) for s in var.shape],
        "role": var.role,
        "per_step": var.per_step,
        "dtype": var.dtype,
    }


def _var_from_data(name: str, data: Any) -> Var:
    shape = tuple(_size_from_data(s) for s in data["shape"])
    return Var(name, shape, data["role"], bool(data["per_step"]), data["dtype"])


def _size_to_data(size: int) -> Any:
    if isinstance(size, Size) and size.terms:
        return [int(size), dict(size.terms), size.constant]
    return int(size)


def _size_from_data(data: Any) -> Size:
    if isinstance(data, int):
        return as_size(data)
    value, terms, constant = data
    return Size(int(value), {str(s): int(c) for s, c in terms.items()}, int(constant))


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
        raise ValueError(f"{data['op']!r} is no op")
    args: tuple[Atom, ...] = tuple(
        float(a[0]) if isinstance(a, list) else variables[a] for a in data["args"]
    )
    attributes = tuple(
        (str(n), _attribute_from_data(v)) for n, v in data.get("attributes", {}).items()
    )
    location = (
        Location(str(data["location"][0]), int(data["location"][1])) if "location" in data else None
    )
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
            return tuple(_attribute_from_data(v) for v in values)
        case {"size": value}:
            return _size_from_data(value)
        case int() | float():
            return data
        case _:
            raise ValueError(f"{data!r} is no attribute")
