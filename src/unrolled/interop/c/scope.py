"""What a step's values and sizes are called in its C function."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from unrolled.interop.c.names import RESERVED, Names, identifier
from unrolled.interop.c.prepare import Step
from unrolled.interop.c.spelling import HELPERS
from unrolled.interop.c.storage import Storage, Target
from unrolled.interop.c.text import added, size, times
from unrolled.ir import Shape, Var
from unrolled.sizes import Size

INDICES = ("k", "j", *(f"k{axis}" for axis in range(3, 20)))
"""The loops' variables, from the outermost in: not i and n, which are gates."""


class Scope:
    """The names of one function, each given at its first use.

    Attributes:
        sizes: The named sizes, which the function declares where it uses them.
        outputs: The outputs' pointers.
        used: The arrays that were read or written.
    """

    def __init__(self, name: str, step: Step, storage: Storage) -> None:
        self.sizes = _sizes(step)
        self._storage = storage
        self._names = Names([*HELPERS, *INDICES, *self.sizes, "scratch", name])
        given = (*step.fixed, *step.graph.inputs, *step.graph.states)
        self._called = {v: self._names.new(v.name) for v in given}
        self.outputs = {o.name: self._names.new(o.name) for o in step.graph.outputs}
        self._before = {v: self._names.new(f"{v.name}_before") for v in storage.staged}
        self.used: set[Var] = set()

    def value(self, var: Var) -> str:
        """A value, or the array that has it, by its own name."""
        if var not in self._called:
            self._called[var] = self._names.new(var.name)
        self.used.add(var)
        return self._called[var]

    def table(self, var: Var) -> str:
        """A table of positions for a value."""
        return self._names.new(f"{var.name}_at")

    def memory(self, root: Var) -> str:
        """The array in which an array's elements are found once its loop is over."""
        return self.value(self._storage.homes.get(root, root))

    def before(self, state: Var) -> str:
        """The copy of a state before the step."""
        return self._before[state]

    def target(self, target: Target) -> str:
        """Where a result goes."""
        return self.outputs[target] if isinstance(target, str) else self.value(target)

    def size(self, n: int) -> str:
        """A length, over the sizes' names where it can be said so."""
        return size(n, self.sizes)

    def lengths(self, shape: Shape) -> str:
        """A shape for a comment."""
        return f"[{', '.join(map(self.size, shape))}]"

    def index(self, offset: int, strides: Sequence[int]) -> str:
        """An element's place in an array, over the loops' variables."""
        terms = [times(i, self.size(s)) for i, s in zip(INDICES, strides, strict=False)]
        return added([self.size(offset), *terms])

    def at(self, name: str, index: str) -> str:
        """A pointer to an element."""
        return name if index == "0" else f"{name} + {index}"

    def constants(self, body: str) -> list[str]:
        """The declaration of the sizes that a function's body says."""
        words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"//.*", "", body)))
        used = [f"{s} = {n}" for s, n in self.sizes.items() if s in words]
        return [f"const size_t {', '.join(used)};"] if used else []


def _sizes(step: Step) -> dict[str, int]:
    """The named sizes that are the length of some axis, by names that C can have."""
    found: dict[str, int] = {}
    for var in _variables(step):
        for n in var.shape:
            if isinstance(n, Size) and n.constant == 0 and len(n.terms) == 1:
                ((name, factor),) = n.terms
                if factor == 1 and name == identifier(name) and name not in RESERVED:
                    found.setdefault(name, int(n))
    return {name: n for name, n in found.items() if name not in INDICES}


def _variables(step: Step) -> Iterator[Var]:
    yield from step.graph.sources
    for e in step.graph.equations:
        yield e.out
