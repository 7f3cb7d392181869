"""A run's tensors by name, out of the live objects and back: all that decides the next update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unrolled.errors import TrainingError

State = tuple[Tensor, ...]


def take(
    model: nn.Module, optimizer: Optimizer, state: State | None, generators: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Copies, on the CPU, of parameters, buffers, optimizer state, carried state and generators.

    Args:
        model: Its parameters and buffers.
        optimizer: Its state.
        state: That of all rows.
        generators: The state of torch's generator in each process.
    """
    tensors = {f"model.{name}": tensor for name, tensor in _model_tensors(model)}
    for index, slots in optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
    tensors |= {f"state.{index}": tensor for index, tensor in enumerate(state or ())}
    tensors |= {f"generator.cpu.{rank}": held for rank, held in enumerate(generators)}
    if torch.cuda.is_available():
        tensors |= {f"generator.cuda.{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }


def put_back(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer, rank: int
) -> State | None:
    """Sets ``model``, ``optimizer`` and the generators to a snapshot; gives all rows' state.

    A process that was not there when the snapshot was taken keeps its generator as it is.

    Raises:
        TrainingError: where the snapshot is of another model.
    """
    _load_model(_under(tensors, "model."), model)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        slots.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    if f"generator.cpu.{rank}" in tensors:
        torch.set_rng_state(tensors[f"generator.cpu.{rank}"])
    generators = _under(tensors, "generator.cuda.")
    if torch.cuda.is_available() and len(generators) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generators[str(i)] for i in range(len(generators))])
    device = next(model.parameters()).device
    state = _under(tensors, "state.")
    return tuple(state[str(i)].to(device) for i in range(len(state))) or None


def _load_model(saved: dict[str, Tensor], model: nn.Module) -> None:
    ours = dict(_model_tensors(model))
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.items()}
    saved_shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    if shapes != saved_shapes:
        differing = sorted(dict(shapes.items() ^ saved_shapes.items()))
        raise TrainingError(
            f"the checkpoint is of another model: {differing[0]} has shape "
            f"{saved_shapes.get(differing[0])} there and {shapes.get(differing[0])} here. Resume "
            "with the settings the run was started with, or start again with --overwrite"
        )
    with torch.no_grad():
        for name, tensor in ours.items():
            tensor.copy_(saved[name])


def _model_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A tensor that the model has under two names comes once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
