"""From the final states of recurrent layers to the initial states of others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unrolled.models.layers import Layers, state_shapes
from unrolled.nn import Recurrent

State = tuple[Tensor, ...]


class Bridge(nn.Module):
    """Initial states: ``tanh(W s + b)`` of all final states s, besides the layers' own.

    As ``s_0`` in appendix A.2.2 of Bahdanau, Cho and Bengio, "Neural machine translation by jointly
    learning to align and translate", 2015. The layers' own initial states, zeros or learned, are
    added.

    Args:
        given: The layers whose final states are read.
        wanted: The layers whose initial states are made, one after the other.
    """

    def __init__(self, given: Layers, wanted: Sequence[Layers]) -> None:
        super().__init__()
        self.shapes = [shape for layers in wanted for shape in state_shapes(layers, 1)]
        features = sum(rows * size for rows, _, size in state_shapes(given, 1))
        self.linear = nn.Linear(features, sum(rows * size for rows, _, size in self.shapes))

    def forward(self, final: State) -> State:
        """From states ``[layers * directions, B, size]`` to states of that form."""
        flat = torch.cat([s.transpose(0, 1).flatten(1) for s in final], 1)
        sizes = [rows * size for rows, _, size in self.shapes]
        made = self.linear(flat).tanh().split(sizes, 1)
        return tuple(
            m.unflatten(1, (rows, size)).transpose(0, 1)
            for m, (rows, _, size) in zip(made, self.shapes, strict=True)
        )


def own_initial(layers: Layers, batch_size: int) -> State:
    """The states that layers begin with by themselves: zeros, or learned."""
    if isinstance(layers, Recurrent):
        return layers.initial_state(batch_size)
    like = next(layers.parameters())
    return tuple(like.new_zeros(shape) for shape in state_shapes(layers, batch_size))


def as_tuple(state: Tensor | State) -> State:
    """A layer's final states, as a tuple also where it is one tensor."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


def as_given(state: State) -> Tensor | State:
    """States as a layer takes them: one alone as a tensor."""
    return state[0] if len(state) == 1 else state
