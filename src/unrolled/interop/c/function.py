"""One step of one layer as a C function, under the names and beside the lines of its source."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.backends.cpu.text import aligned, note
from unrolled.interop.c.arrange import arrange
from unrolled.interop.c.body import Body
from unrolled.interop.c.prepare import Step
from unrolled.interop.c.scope import Scope
from unrolled.interop.c.storage import Storage, store
from unrolled.interop.c.text import rows
from unrolled.ir import Var, n_elements


@dataclass(frozen=True)
class Function:
    """A function's text and what it is called with.

    Its arguments are the arrays ``fixed``, the input, the states, a pointer for each of
    ``outputs``, and scratch memory for ``scratch`` numbers where that is any.
    """

    name: str
    text: str
    fixed: tuple[Var, ...]
    outputs: tuple[str, ...]
    scratch: int
    helpers: frozenset[str]


def function(name: str, step: Step) -> Function:
    """The C function ``name`` of a step."""
    graph = step.graph
    statements = arrange(step)
    storage = store(step, statements)
    scope = Scope(name, step, storage)
    body = Body(step, storage, scope)
    parts = [body.statement(there) for there in statements]
    end = body.end()
    if end:
        parts.append(["// What the step leaves.", *end])
    used = set(scope.used)
    head = [*_arrays(storage, scope), *body.tables]
    given = (*step.fixed, *graph.inputs, *graph.states)
    empty = [scope.outputs[o.name] for o in graph.outputs if not n_elements(o.var.shape)]
    idle = [*(scope.value(v) for v in given if v not in used), *empty]
    head += [f"(void){pointer};" for pointer in idle]
    lines = "\n\n".join("\n".join(part) for part in (head, *parts) if part)
    head = scope.constants(lines)
    inner = "\n".join([*head, *([""] if head and not lines.startswith("float") else []), lines])
    taken = ", ".join(f"{v.name}{scope.lengths(v.shape)}" for v in (*graph.inputs, *graph.states))
    made = ", ".join(f"{o.name}{scope.lengths(o.var.shape)}" for o in graph.outputs)
    arguments = [f"const float *{scope.value(v)}" for v in (*step.fixed, *graph.inputs)]
    arguments += [f"float *{scope.value(v)}" for v in graph.states]
    arguments += [f"float *{pointer}" for pointer in scope.outputs.values()]
    arguments += ["float *scratch"] * (storage.size > 0)
    *signature, last = rows(arguments)
    text = "\n".join(
        [
            note(f"A step of {graph.name}: {taken} to {made}."),
            f"static void {name}(",
            *signature,
            last.removesuffix(",") + ") {",
            *("    " + line if line else line for line in inner.split("\n")),
            "}",
            "",
        ]
    )
    names = tuple(o.name for o in graph.outputs)
    return Function(name, text, step.fixed, names, storage.size, frozenset(body.helpers))


def _arrays(storage: Storage, scope: Scope) -> list[str]:
    """Declarations of the parts of scratch memory."""
    named = [(scope.value(v), v, offset) for v, offset in storage.scratch.items()]
    named += [(scope.before(v), v, offset) for v, offset in storage.staged.items()]
    return aligned(
        (f"float *const {name} = scratch{f' + {offset}' if offset else ''};",
         scope.lengths(v.shape))
        for name, v, offset in named if n_elements(v.shape)
    )  # fmt: skip
