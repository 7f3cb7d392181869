"""The recurrence as operators of torch's, for whoever has to see it as one.

``torch.compile`` and ``torch.export`` would take the loop apart, or stop at a kernel that torch
does not know.  For them there are three operators with fake implementations, which say the shapes
of the results for any number of steps and examples:

``unrolled::recurrence``            what a user calls, with its derivative
``unrolled::recurrence_forward``    the same, and what the backward pass reads
``unrolled::recurrence_backward``   the backward pass

The step travels with each call as text, its Graph in JSON: a compiled or exported program carries
its equations, and runs in a process that has never seen the cell's source.  ``wrt``, the names of
what gradients are taken of, is an argument of the latter two only: an exported program keeps
nothing for a backward pass until somebody trains it.

They are defined on ``torch.library.Library``, an order of magnitude cheaper a call than
``custom_op``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.backends.protocol import Gradients, Run, Values
from unrolled.backends.reference import ReferenceKernel
from unrolled.compiled import Compiled, compile_plan
from unrolled.differentiable import Call, Recurrence, torch_transforms, wanted
from unrolled.ir import Graph, Var, concrete
from unrolled.lower import Plan, lower
from unrolled.operator_checks import check, check_count, check_tensor
from unrolled.saved import Saved, initial, saved
from unrolled.serialize import graph_from_dict, graph_to_dict
from unrolled.steps import EVEN, Steps

LIBRARY = torch.library.Library("unrolled", "DEF")
_ARGUMENTS = "str backend, Tensor x, Tensor[] states, Tensor[] parameters"
SCHEMAS = {
    "recurrence": f"(str step, {_ARGUMENTS}) -> (Tensor, Tensor[])",
    "recurrence_forward": f"(str step, str[] wrt, {_ARGUMENTS}) -> (Tensor, Tensor[], Tensor[])",
    "recurrence_backward": (
        "(str step, str[] wrt, str backend, Tensor[] read, Tensor d_y, Tensor[] d_states) "
        "-> Tensor[]"
    ),
}
"""Results: ``y`` and the final states; what is kept; the cotangents of the states, then of ``wrt``
in the order of the step's inputs and parameters."""


def torch_looks_on() -> bool:
    """Whether calls are being recorded rather than run: compiled, exported, or on fake tensors."""
    if torch.compiler.is_compiling():
        return True
    return torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore[reportPrivateUsage]


def step_text(graph: Graph) -> str:
    """A step as the operators take it."""
    return json.dumps(graph_to_dict(graph), separators=(",", ":"))


@lru_cache(maxsize=1024)
def graph_of(step: str) -> Graph:
    """The mirror of :func:`step_text`."""
    return graph_from_dict(json.loads(step))


@lru_cache(maxsize=1024)
def _plan(step: str, wrt: tuple[str, ...]) -> Plan:
    return lower(graph_of(step), ("y",), wrt)


@lru_cache(maxsize=1024)
def _saved(step: str, wrt: tuple[str, ...]) -> Saved:
    return saved(_plan(step, wrt))


@lru_cache(maxsize=1024)
def _compiled(step: str, wrt: tuple[str, ...], backend: str, device: str) -> Compiled:
    return compile_plan(_plan(step, wrt), backend, device)


# --- what runs


def _forward(
    step: str, wrt: Sequence[str], backend: str, x: Tensor, states: Sequence[Tensor],
    parameters: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
    names = check(graph_of(step), x, states, parameters)
    kernel = _compiled(step, tuple(wrt), backend, x.device.type).kernel
    run = kernel.forward(x, states, dict(zip(names, parameters, strict=True)), keep=bool(wrt))
    kept = [run.residuals[v.name] for v in _saved(step, tuple(wrt)).kept]
    y, *results = own([run.outputs["y"], *run.states, *kept], (x, *states, *parameters))
    return y, results[: len(states)], results[len(states) :]


def _recurrence(
    step: str, backend: str, x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    y, final, _ = _forward(step, (), backend, x, states, parameters)
    return y, final


def _backward(
    step: str, wrt: Sequence[str], backend: str, read: Sequence[Tensor], d_y: Tensor,
    d_states: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    given = _check_backward(step, tuple(wrt), read, d_y, d_states)
    kernel = _compiled(step, tuple(wrt), backend, d_y.device.type).kernel
    residuals = _saved(step, tuple(wrt)).residuals(given, d_y)
    found = kernel.backward(residuals, {"y": d_y}, d_states)
    values = [found.outputs[v.name] for v in _sources(step, wrt)]
    return own([*found.states, *values], (*read, d_y, *d_states))


def own(tensors: Iterable[Tensor], others: Iterable[Tensor]) -> list[Tensor]:
    """The tensors, contiguous and each alone in its memory, as an operator must return them."""
    taken = {t.untyped_storage().data_ptr() for t in others}
    results: list[Tensor] = []
    for tensor in tensors:
        alone = tensor
        if alone.stride() != _strides(alone.shape) or alone.untyped_storage().data_ptr() in taken:
            alone = alone.clone(memory_format=torch.contiguous_format)
        taken.add(alone.untyped_storage().data_ptr())
        results.append(_from_its_start(alone))
    return results


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of new memory, which a tensor of no elements may well differ in."""
    strides = [1]
    for size in shape[:0:-1]:
        strides.append(strides[-1] * max(1, size))
    return tuple(strides[::-1])


def _from_its_start(tensor: Tensor) -> Tensor:
    """The tensor with storage offset 0, which is what torch foresees."""
    if tensor.storage_offset() == 0:
        return tensor
    if tensor.device.type != "cpu":
        return tensor.clone()
    start = tensor.storage_offset() * tensor.element_size()
    storage = tensor.untyped_storage()[start : start + tensor.nbytes]
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(
        storage, 0, tensor.shape, tensor.stride()
    )


# --- what the results look like


def _fake_forward(
    step: str, wrt: Sequence[str], backend: str, x: Tensor, states: Sequence[Tensor],
    parameters: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
    graph = graph_of(step)
    check(graph, x, states, parameters)
    y = x.new_empty(*x.shape[:2], *concrete(graph.outputs[0].var.shape))
    final = [x.new_empty(x.shape[1], *concrete(v.shape)) for v in graph.states]
    return y, final, [_like(v, x) for v in _saved(step, tuple(wrt)).kept]


def _fake_recurrence(
    step: str, backend: str, x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    y, final, _ = _fake_forward(step, (), backend, x, states, parameters)
    return y, final


def _fake_backward(
    step: str, wrt: Sequence[str], backend: str, read: Sequence[Tensor], d_y: Tensor,
    d_states: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    _check_backward(step, tuple(wrt), read, d_y, d_states)
    states = [d_y.new_empty(d_y.shape[1], *concrete(v.shape)) for v in graph_of(step).states]
    return [*states, *(_like(v, d_y) for v in _sources(step, wrt))]


def _like(var: Var, sequence: Tensor) -> Tensor:
    """An empty tensor for a variable of a step, over the time and batch of a sequence."""
    lead = sequence.shape[:2] if var.per_step else ()
    dtype = torch.bool if var.dtype == "bool" else sequence.dtype
    return sequence.new_empty(*lead, *concrete(var.shape), dtype=dtype)


def _sources(step: str, wrt: Sequence[str]) -> list[Var]:
    """The input and parameters that gradients are taken of, in order."""
    graph = graph_of(step)
    return [v for v in (*graph.inputs, *graph.parameters) if v.name in wrt]


# --- what is refused


def _check_backward(
    step: str, wrt: tuple[str, ...], read: Sequence[Tensor], d_y: Tensor, d_states: Sequence[Tensor]
) -> Values:
    """What is read, by name, after every argument has been found to fit the step."""
    graph, names = _plan(step, wrt).forward.graph, _saved(step, wrt).read
    if d_y.ndim != 3:
        raise ValueError(f"d_y must be [T, B, size], got {list(d_y.shape)}")
    check_count("tensors to read", read, names)
    check_count("cotangents of states", d_states, [v.name for v in graph.states])
    lead, batch = d_y.shape[:2], d_y.shape[1]
    check_tensor("d_y", d_y, (*lead, *concrete(graph.outputs[0].var.shape)), d_y)
    for var, d in zip(graph.states, d_states, strict=True):
        check_tensor(f"d_{var.name}", d, (batch, *concrete(var.shape)), d_y)
    first = {initial(v.name): (batch, *concrete(v.shape)) for v in graph.states}
    variables = {v.name: v for v in (*graph.sources, *(e.out for e in graph.equations))}
    for name, value in zip(names, read, strict=True):
        var = variables.get(name)
        if var is None:
            check_tensor(name, value, first[name], d_y)
        else:
            shape = (*(lead if var.per_step else ()), *concrete(var.shape))
            check_tensor(name, value, shape, d_y, var.dtype == "bool")
    return dict(zip(names, read, strict=True))


# --- the derivative


class _Operators:
    """The two inner operators in a kernel's form, for the autograd function."""

    differentiable = False

    def __init__(self, step: str, wrt: tuple[str, ...], backend: str) -> None:
        self._step, self._wrt, self._backend = step, wrt, backend

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        keep: bool,
        steps: Steps = EVEN,
        fresh: Sequence[Tensor] = (),
    ) -> Run:
        """Run over ``x`` [T, B, D]; the residuals are what the backward operator reads."""
        wrt = self._wrt if keep else ()
        y, final, kept = torch.ops.unrolled.recurrence_forward(
            self._step, wrt, self._backend, x, states, [*parameters.values()]
        )
        graph, to_save = _plan(self._step, wrt).forward.graph, _saved(self._step, wrt)
        values = {graph.outputs[0].var.name: y, graph.inputs[0].name: x, **parameters}
        values |= {initial(v.name): s for v, s in zip(graph.states, states, strict=True)}
        values |= {v.name: value for v, value in zip(to_save.kept, kept, strict=True)}
        return Run({"y": y}, tuple(final), {name: values[name] for name in to_save.read})

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """Run the backward operator."""
        found = torch.ops.unrolled.recurrence_backward(
            self._step, self._wrt, self._backend, [*residuals.values()], d_outputs["y"],
            list(d_states),
        )  # fmt: skip
        sources = (v.name for v in _sources(self._step, self._wrt))
        n = len(d_states)
        return Gradients(dict(zip(sources, found[n:], strict=True)), tuple(found[:n]))


def _derivative(
    step: str, backend: str, x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[Tensor, Sequence[Tensor]]:
    graph = graph_of(step)
    names = tuple(v.name for v in graph.given)
    check_count("parameters", parameters, names)
    wrt = wanted(graph.inputs[0].name, graph.states, names, x, states, parameters)
    if torch_transforms():
        run = ReferenceKernel(_plan(step, ())).forward(
            x, states, dict(zip(names, parameters, strict=True)), keep=False
        )
        return run.outputs["y"], run.states
    if not wrt:
        # As torch.library's own derivatives go on to what runs.
        with torch._C._AutoDispatchBelowAutograd():  # pyright: ignore[reportPrivateUsage]
            return torch.ops.unrolled.recurrence(step, backend, x, states, parameters)
    plan = _compiled(step, wrt, backend, x.device.type).plan
    call = Call(_Operators(step, wrt, backend), plan, ("y",), names)
    y, *final = cast(
        tuple[Tensor, ...],
        Recurrence.apply(call, len(states), 0, x, *states, *parameters),
    )
    return y, final


def _define() -> None:
    implementations: dict[str, tuple[Any, Any]] = {
        "recurrence": (_recurrence, _fake_recurrence),
        "recurrence_forward": (_forward, _fake_forward),
        "recurrence_backward": (_backward, _fake_backward),
    }
    for name, (run, fake) in implementations.items():
        LIBRARY.define(name + SCHEMAS[name], tags=(torch.Tag.pt2_compliant_tag,))
        LIBRARY.impl(name, run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"unrolled::{name}", fake, lib=LIBRARY)
    LIBRARY.impl("recurrence", _derivative, "Autograd")
    LIBRARY.impl("recurrence", _derivative, "FuncTorchBatchedDecomposition")


_define()
