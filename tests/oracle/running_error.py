"""How far rounding may take a cell's results from their exact values: a running error analysis.

A traced step is interpreted over time, then its adjoint back through time, in float64, and with
every value goes a bound on its distance from the exact one (Higham 2002, "Accuracy and Stability
of Numerical Algorithms", 2nd ed., section 3.3; the rule of each op is in ``rounding.py``).

**Within a step** the bounds are added up op by op, with absolute values.  **Across steps** that
would forget that errors may shrink again: the errors that step k commits in its states reach
step t through the product of the steps' Jacobians, J_t … J_{k+1}, so that

    |error of the states after t| <= Σ_k |J_t … J_{k+1}| (what step k commits),

to first order in u, with the Jacobians taken from torch's autograd.  The carried cotangents go
the same way with the transposed Jacobians; what a reverse step commits includes what the errors
of the forward values that it reads do to it.

**Two computations, one bound.**  What is compared evaluates the same formula in two orders: one
regroups sums, splits products over joined vectors, sums a parameter's cotangents over all steps
in one product and multiplies by what belongs to the parameter afterwards; the other does so step
by step.  A bound on the error of *one* order, which may profit from cancellation, does not cover
the other.  So each value also has a ``mass`` that no order can exceed in a partial result, and
each rounding is charged relative to the mass, each sum as often as it has terms.  The bound so
holds for every order of evaluation, hence for each of the two computations, and their results
differ by twice the bound at most.  That is the tolerance, and no other factor is in it.

A step's states end a mass: both computations write them to memory.  So do their cotangents, but a
step's own may be added to those from the next step in any order; so the number of terms goes with
these one step further.

Functions that torch evaluates in a closed form and the trace as a composition (layer_norm,
softmax, gelu, …) have the same terms in both and thus the same mass; the composition rounds each
of them more often than the closed form.  The closed derivative of log_softmax is the one that
adds a rounding of its own, by reading log Σe^x <= log n again, where the composition has the n of
its sum.

Comparisons are exact unless their operands are nearer to each other than their errors allow to
tell; such a step is reported as ambiguous, because two right computations may go different ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oracle.rounding import COMPARISONS, Rounded, exact, rounded
from unrolled.ir import Atom, Constant, Equation, Graph, Var
from unrolled.ops import TABLE
from unrolled.passes.adjoint import adjoint

UNIT_ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}


@dataclass(frozen=True)
class Bounds:
    """Bounds on the distance of a computation's results from the exact ones.

    ``y`` is [T, B, size], ``states`` are [B, size]; ``gradients``, by the name of an input, state
    or parameter, have the shape of its gradient after a dimension for the losses.  ``ambiguous``
    lists the comparisons that rounding may decide either way.
    """

    y: Tensor
    states: tuple[Tensor, ...]
    gradients: dict[str, Tensor]
    ambiguous: tuple[str, ...]


def analyse(
    graph: Graph,
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Mapping[str, Tensor],
    d_y: Tensor,
    d_states: Sequence[Tensor],
    dtype: torch.dtype = torch.float64,
) -> Bounds:
    """Bounds for a run of ``graph`` over ``x`` [T, B, D] and back, computed in ``dtype``.

    ``d_y`` [T, losses, B, size] and ``d_states`` [losses, B, size] are the cotangents of several
    losses at once; ``parameters`` has noise too, [T, B, size].  All tensors are float64, whatever
    ``dtype`` is; T and B are at least 1.
    """
    graph = graph.prune(["y"])
    back = adjoint(graph, [v.name for v in (graph.inputs[0], *graph.parameters)])
    steps, losses, batch = d_y.shape[:3]
    lengths = [int(v.shape[0]) for v in graph.states]
    u = UNIT_ROUNDOFF[dtype]

    known = {graph.inputs[0].name: exact(x), **{n: exact(p) for n, p in parameters.items()}}
    forward = _Steps(graph, known, u, (steps, batch), _definitions(graph))
    before = forward.trajectory(torch.cat(list(states), -1), range(steps))
    committed = forward.next_states(forward.run(_rounded(before, lengths))).error
    errors = _propagated(forward.jacobians(before, detached=False), committed)
    values = forward.run(_rounded(before, lengths, errors[:-1]))

    known = {v.name: _for_each_loss(values[v.name], v) for v in back.residuals}
    known[back.inputs[0].name] = exact(d_y)
    reverse = _Steps(back, known, u, (steps, losses, batch), _definitions(graph, back))
    d_before = reverse.trajectory(torch.cat(list(d_states), -1), range(steps - 1, -1, -1))
    terms = reverse.next_states(reverse.run(_rounded(d_before, lengths))).terms
    committed = reverse.next_states(reverse.run(_rounded(d_before, lengths, terms=terms))).error
    transposed = forward.jacobians(before, detached=True).mT[:, None]
    d_errors = _propagated(transposed.flip(0), committed.flip(0))
    d_values = reverse.run(_rounded(d_before, lengths, d_errors[:-1].flip(0), terms))

    (d_x, *d_parameters) = (d_values[o.var.name].error for o in back.outputs)
    gradients = {graph.inputs[0].name: d_x.expand(*d_y.shape[:3], x.shape[-1]).movedim(0, 1)}
    for v, error in zip(graph.parameters, d_parameters, strict=True):
        gradients[v.name] = error.expand(losses, *parameters[v.name].shape)
    for v, error in zip(graph.states, d_errors[-1].split(lengths, -1), strict=True):
        gradients[v.name] = error
    y = values[graph.outputs[0].var.name].error.expand(steps, batch, d_y.shape[-1])
    finals = tuple(errors[-1].split(lengths, -1))
    return Bounds(y, finals, gradients, forward.ambiguous(values) + reverse.ambiguous(d_values))


def _rounded(
    values: Tensor, lengths: Sequence[int], errors: Tensor | None = None, terms: int = 1
) -> list[Rounded]:
    """States from their joined values and errors: written to memory, so their mass is their own."""
    e = torch.zeros_like(values) if errors is None else errors
    parts = zip(values.split(list(lengths), -1), e.split(list(lengths), -1), strict=True)
    return [Rounded(value, error, value.abs(), terms) for value, error in parts]


def _for_each_loss(r: Rounded, var: Var) -> Rounded:
    """A forward value [T, B, …] beside cotangents [T, losses, B, …]."""
    return r.map(lambda t: t.unsqueeze(1)) if var.per_step else r


def _propagated(jacobians: Tensor, committed: Tensor) -> Tensor:
    """Errors before the first and after every step, from those that each step commits.

    Both are in the order in which the steps run.
    """
    size = committed.shape[-1]
    errors = [torch.zeros_like(committed[0])]
    products = jacobians.new_zeros(0, *jacobians.shape[1:])
    for k, jacobian in enumerate(jacobians):
        own = torch.eye(size, dtype=jacobian.dtype).expand_as(jacobian)
        products = torch.cat([jacobian @ products, own[None]])
        errors.append((products.abs() @ committed[: k + 1, ..., None])[..., 0].sum(0))
    return torch.stack(errors)


@dataclass(frozen=True)
class _Steps:
    """A graph over all time steps at once; ``lead`` are the dimensions before a value's own.

    ``known`` are the inputs [*lead, size], the parameters and the residuals; ``definitions`` also
    has those of the residuals.
    """

    graph: Graph
    known: Mapping[str, Rounded]
    u: float
    lead: tuple[int, ...]
    definitions: Mapping[str, Equation]

    def run(self, states: Sequence[Rounded]) -> dict[str, Rounded]:
        """All values, from the states before each step."""
        values = dict(self.known)
        for constant in self.graph.constants:
            values[constant.var.name] = exact(_tensor(constant))
        values.update((v.name, s) for v, s in zip(self.graph.states, states, strict=True))
        for equation in self.graph.equations:
            args = [_operand(a, values) for a in equation.args]
            values[equation.out.name] = rounded(equation, args, self.u)
        return values

    def next_states(self, values: Mapping[str, Rounded]) -> Rounded:
        """The states after each step, joined."""
        after = [values[v.name] for v in self.graph.next_states]
        value, error, mass = (
            self._join([getattr(a, part) for a in after]) for part in ("value", "error", "mass")
        )
        return Rounded(value, error, mass, max(a.terms for a in after))

    def _join(self, new: Sequence[Tensor], lead: tuple[int, ...] | None = None) -> Tensor:
        lead = self.lead if lead is None else lead
        pairs = zip(new, self.graph.states, strict=True)
        return torch.cat([t.expand(*lead, int(s.shape[0])) for t, s in pairs], -1)

    def trajectory(self, first: Tensor, order: range) -> Tensor:
        """The states before each step, joined, when the steps run in this order of time."""
        varying = [v.name for v in self.graph.sources if v.per_step and v.name in self.known]
        before = torch.empty(*self.lead, first.shape[-1], dtype=first.dtype)
        current = first
        for t in order:
            before[t] = current
            env = {name: r.value for name, r in self.known.items()}
            env.update((name, env[name][t]) for name in varying)
            current = self._join(self._after(current, env), self.lead[1:])
        return before

    def jacobians(self, states: Tensor, detached: bool) -> Tensor:
        """Each step's derivatives of its new states by its old ones, [*lead, joined, joined].

        Errors pass through ``detach``; cotangents don't, which is what ``detached`` says.
        """
        env = {name: r.value for name, r in self.known.items()}
        with torch.enable_grad():
            leaf = states.clone().requires_grad_()
            new = self._join(self._after(leaf, env, detached)) + 0 * leaf.sum()
            rows = [
                torch.autograd.grad(new[..., k].sum(), leaf, retain_graph=True)[0]
                for k in range(new.shape[-1])
            ]
        return torch.stack(rows, -2)

    def _after(self, states: Tensor, env: dict[str, Tensor], detached: bool = True) -> list[Tensor]:
        """The new states from the joined old ones, in plain numbers."""
        env = dict(env)
        for constant in self.graph.constants:
            env[constant.var.name] = _tensor(constant)
        lengths = [int(v.shape[0]) for v in self.graph.states]
        pairs = zip(self.graph.states, states.split(lengths, -1), strict=True)
        env.update((v.name, s) for v, s in pairs)
        for equation in self.graph.prune([]).equations:
            args = [env[a.name] if isinstance(a, Var) else _number(a) for a in equation.args]
            through = equation.op == "detach" and not detached
            value = args[0] if through else TABLE[equation.op].run(equation, *args)
            env[equation.out.name] = value
        return [env[v.name] for v in self.graph.next_states]

    def ambiguous(self, values: Mapping[str, Rounded]) -> tuple[str, ...]:
        """The comparisons whose operands are too near to each other."""
        return tuple(
            str(e)
            for e in self.graph.equations
            if (e.op in COMPARISONS or e.op == "sign") and self._is_ambiguous(e, values)
        )

    def _is_ambiguous(self, equation: Equation, values: Mapping[str, Rounded]) -> bool:
        if len(set(equation.args)) < len(equation.args):
            return False  # compared with itself
        a, b = ([_operand(x, values) for x in equation.args] + [exact(_number(0.0))])[:2]
        gap, doubt = (a.value - b.value).abs(), 2 * (a.error + b.error)
        unclear = (gap <= doubt) & (doubt > 0)
        axis = self._axis_of_own_maximum(equation)
        if axis is not None:
            # One of the elements is the maximum, whatever the rounding; the question is which.
            unclear &= (gap > 0) | ((gap == 0).sum(axis, keepdim=True) > 1)
        return bool(unclear.any())

    def _axis_of_own_maximum(self, equation: Equation) -> int | None:
        """The axis along which a value is compared with its own largest elements, if it is."""
        if equation.op != "eq" or len(equation.inputs) != 2:
            return None
        value, other = equation.inputs
        made = self._made(other)
        while made is not None and made.op == "broadcast":
            made = self._made(made.inputs[0])
        if made is None or made.op != "amax" or made.inputs[0].name != value.name:
            return None
        return made["axis"]

    def _made(self, var: Var) -> Equation | None:
        return self.definitions.get(var.name)


def _definitions(*graphs: Graph) -> dict[str, Equation]:
    return {e.out.name: e for graph in graphs for e in graph.equations}


def _operand(a: Atom, values: Mapping[str, Rounded]) -> Rounded:
    return values[a.name] if isinstance(a, Var) else exact(_number(a))


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _tensor(constant: Constant) -> Tensor:
    data = torch.tensor(constant.data, dtype=torch.float64)
    return data.reshape([int(n) for n in constant.var.shape])
