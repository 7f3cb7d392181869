"""Where a step's values are kept: in a loop alone, in a state, an output, or scratch memory.

A new state is written over the old one by the loop that computes it, if nothing reads the old one
later; otherwise it waits in scratch memory for the end of the step.  Scratch memory is given out
again once nothing reads what was there (first fit, over the statements during which it is needed).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from unrolled.interop.c.arrange import Loop, Statement, in_step, made_at
from unrolled.interop.c.prepare import Step
from unrolled.interop.c.views import View
from unrolled.ir import Var, n_elements

Target = Var | str
"""Where a result goes: a state, or an output by its name."""


@dataclass(frozen=True)
class Storage:
    """The memory of a step.

    Attributes:
        scratch: Where in scratch memory a value begins.
        homes: The state in whose memory a value is read later.
        direct: The results that the loop which computes a value writes too.
        staged: States that are copied to scratch memory before any is overwritten, and where to.
        copies: Results that are copied at the end.
        size: The numbers in scratch memory.
    """

    scratch: dict[Var, int]
    homes: dict[Var, Var]
    direct: dict[Var, list[Target]]
    staged: dict[Var, int]
    copies: list[tuple[Target, View]]
    size: int


@dataclass(frozen=True)
class _Read:
    at: int
    in_step: bool


def store(step: Step, statements: list[Statement]) -> Storage:
    """Where each value of the arranged step is kept."""
    graph, views = step.graph, step.views
    made, end = made_at(statements), len(statements)
    reads = _reads(step, statements)
    results: list[tuple[Target, View]] = [(o.name, views[o.var]) for o in graph.outputs]
    updates = [(s, views[v]) for s, v in zip(graph.states, graph.next_states, strict=True)]
    # An unchanged state stays where it is.
    results += [(s, v) for s, v in updates if not (v.root == s and v.whole)]
    sources = {v.root for _, v in results}

    def writes(target: Target, v: View) -> bool:
        """Whether the loop that computes a result can write it to where it goes."""
        at = made.get(v.root)
        if at is None or not v.whole or not isinstance(statements[at], Loop):
            return False
        if isinstance(target, str):
            return True
        return target not in sources and all(
            r.at < at or (r.at == at and r.in_step) for r in reads[target]
        )

    direct: dict[Var, list[Target]] = defaultdict(list)
    homes: dict[Var, Var] = {}
    copies: list[tuple[Target, View]] = []
    for target, v in results:
        if writes(target, v):
            direct[v.root].append(target)
            if isinstance(target, Var):
                homes.setdefault(v.root, target)
        else:
            copies.append((target, v))
    needed: dict[Var, tuple[int, int]] = {}
    for var, at in made.items():
        later = [r.at for r in reads[var] if not (r.at == at and r.in_step)]
        later += [end for _, v in copies if v.root == var]
        if (later or not isinstance(statements[at], Loop)) and var not in homes:
            needed[var] = (at, max(later, default=at))
    overwritten = {target for target, _ in copies if isinstance(target, Var)}
    for target, v in copies:
        if v.root in overwritten and isinstance(target, Var):
            needed[v.root] = (end, end)
    offsets, size = _first_fit(needed)
    staged = {v: offsets.pop(v) for v in list(offsets) if v not in made}
    # Outputs read the states before any of these is overwritten.
    copies.sort(key=lambda copy: isinstance(copy[0], Var))
    return Storage(offsets, homes, dict(direct), staged, copies, size)


def _reads(step: Step, statements: list[Statement]) -> dict[Var, list[_Read]]:
    found: dict[Var, list[_Read]] = defaultdict(list)
    for k, there in enumerate(statements):
        for e in there.equations if isinstance(there, Loop) else [there.equation]:
            for operand in e.inputs:
                v = step.views[operand]
                found[v.root].append(_Read(k, isinstance(there, Loop) and in_step(e, v)))
    return found


def _first_fit(needed: dict[Var, tuple[int, int]]) -> tuple[dict[Var, int], int]:
    """Where each array begins, and how much memory they take together."""
    offsets: dict[Var, int] = {}
    size = 0
    for var, (first, last) in needed.items():
        taken = sorted(
            (offset, offset + n_elements(other.shape))
            for other, offset in offsets.items()
            if needed[other][0] <= last and first <= needed[other][1]
        )
        n, at = n_elements(var.shape), 0
        for begin, stop in taken:
            if at + n <= begin:
                break
            at = max(at, stop)
        offsets[var] = at
        size = max(size, at + n)
    return offsets, size
