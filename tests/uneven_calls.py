"""A call of uneven sequences as many even ones: each stretch between an example's borders alone.

No state and no cotangent crosses a border, so the results of the stretches, each of which is an
even sequence of one example from the first step to the last, are those of the whole; and so are the
bounds on their rounding errors, but for the sums over stretches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernel_bounds import bounds
from kernel_runs import Call, results
from unrolled.backends.protocol import Runner
from unrolled.ir import Graph
from unrolled.walk import walk


@dataclass(frozen=True)
class Uneven:
    """A padded call, and how it is walked; ``fresh`` are the states that resets put in."""

    call: Call
    lengths: Tensor | None
    resets: Tensor | None
    fresh: tuple[Tensor, ...]
    reverse: bool

    def to(self, dtype: torch.dtype) -> Uneven:
        """In another precision."""
        fresh = tuple(s.to(dtype) for s in self.fresh)
        return replace(self, call=self.call.to(dtype), fresh=fresh)


@dataclass(frozen=True)
class Stretch:
    """Steps of one example, in the order of the walk; the first may be after a reset."""

    example: int
    steps: tuple[int, ...]
    fresh: bool
    last: bool


def stretches(u: Uneven) -> Iterator[Stretch]:
    """All of them; none of an example of no steps."""
    n_steps, batch = u.call.x.shape[:2]
    for b in range(batch):
        length = n_steps if u.lengths is None else int(u.lengths[b])
        cuts: list[list[int]] = []
        fresh: list[bool] = []
        for t in reversed(range(length)) if u.reverse else range(length):
            border = t + 1 if u.reverse else t
            reset = u.resets is not None and border < length and bool(u.resets[border, b])
            if reset or not cuts:
                cuts.append([])
                fresh.append(reset)
            cuts[-1].append(t)
        for k, (steps, new) in enumerate(zip(cuts, fresh, strict=True)):
            yield Stretch(b, tuple(steps), new, k == len(cuts) - 1)


def in_stretches(u: Uneven, kernel: Runner, graph: Graph) -> dict[str, tuple[Tensor, Tensor]]:
    """All results of a call by name, each with its bound, from its stretches on ``kernel``.

    A sum over all N rows has N terms, that of a stretch of n rows n; its bound counts at least n
    roundings of what it sums.  So N / n of it covers the roundings of the whole sum.
    """
    call = u.call
    found = dict.fromkeys(_names(u), (torch.empty(0), torch.empty(0)))
    for name, like in _names(u).items():
        found[name] = torch.zeros_like(like), torch.zeros_like(like)
    alone = list(stretches(u))
    rows = sum(len(s.steps) for s in alone)
    states = set(range(call.x.shape[1])) - {s.example for s in alone}
    for k, (state, d) in enumerate(zip(call.states, call.d_states, strict=True)):
        for b in states:
            found[f"state {k}"][0][b] = state[b]
            found[f"gradient of state {k}"][0][b] = d[b]
    for s in alone:
        part = _part(u, s)
        its, bound = results(kernel, part), bounds(graph, part)
        for name, value in its.items():
            if name.startswith("output") or name == f"gradient of {graph.inputs[0].name}":
                for to, of in zip(found[name], (value, bound[name]), strict=True):
                    to[list(s.steps), s.example] = of[:, 0]
            elif name.startswith("state"):
                for to, of in zip(found[name], (value, bound[name]), strict=True):
                    to[s.example] = of[0] if s.last else to[s.example]
            elif name.startswith("gradient of state"):
                target = name.replace("state", "fresh") if s.fresh else name
                for to, of in zip(found[target], (value, bound[name]), strict=True):
                    to[s.example] += of[0]
            else:
                found[name][0].add_(value)
                found[name][1].add_((1 + rows / len(s.steps)) * bound[name])
    return found


def packed_results(kernel: Runner, u: Uneven) -> dict[str, Tensor]:
    """The same results, by one run of ``kernel`` in each direction, as uneven sequences are run."""
    call = u.call
    how, steps = walk(call.x, u.lengths, u.resets, reverse=u.reverse)

    def rows(value: Tensor) -> Tensor:
        return value if how is None else how.pack(value)

    def back(value: Tensor) -> Tensor:
        return value if how is None else how.unpack(value)

    def ordered(states: Sequence[Tensor]) -> list[Tensor]:
        return [s if how is None else how.sort(s) for s in states]

    def unordered(states: Sequence[Tensor]) -> list[Tensor]:
        return [s if how is None else how.unsort(s) for s in states]

    fresh = ordered(u.fresh) if u.resets is not None else []
    run = kernel.forward(rows(call.x), ordered(call.states), call.parameters, True, steps, fresh)
    d_outputs = {name: rows(d) for name, d in call.d_outputs.items()}
    found = kernel.backward(run.residuals, d_outputs, ordered(call.d_states), steps)
    named = {f"output {name}": back(y) for name, y in run.outputs.items()}
    named.update((f"state {k}", s) for k, s in enumerate(unordered(run.states)))
    named.update((f"gradient of {n}", d) for n, d in found.outputs.items())
    over_time = f"gradient of {next(n for n in found.outputs if n not in call.parameters)}"
    named[over_time] = back(named[over_time])
    named.update((f"gradient of state {k}", d) for k, d in enumerate(unordered(found.states)))
    named.update((f"gradient of fresh {k}", d) for k, d in enumerate(unordered(found.fresh)))
    return named


def _part(u: Uneven, s: Stretch) -> Call:
    call, steps, one = u.call, list(s.steps), slice(s.example, s.example + 1)
    return Call(
        call.x[steps][:, one],
        tuple(h[one] for h in (u.fresh if s.fresh else call.states)),
        call.parameters,
        {name: d[steps][:, one] for name, d in call.d_outputs.items()},
        tuple(d[one] if s.last else torch.zeros_like(d[one]) for d in call.d_states),
    )


def _names(u: Uneven) -> dict[str, Tensor]:
    """A tensor like each result, by name."""
    call = u.call
    named = {f"output {n}": d for n, d in call.d_outputs.items()}
    named.update((f"state {k}", s) for k, s in enumerate(call.states))
    named["gradient of x"] = call.x
    named.update((f"gradient of {n}", p) for n, p in call.parameters.items())
    named.update((f"gradient of state {k}", s) for k, s in enumerate(call.states))
    if u.resets is not None:
        named.update((f"gradient of fresh {k}", s) for k, s in enumerate(call.states))
    return named
