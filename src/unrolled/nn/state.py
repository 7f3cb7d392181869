"""``State``: the states of a recurrent layer, as a tuple of tensors that can be treated as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


class State(tuple[Tensor, ...]):
    """One tensor [layers * directions, B, size] for each state of the cell, in the cell's order.

    It is the tuple that ``torch.nn.LSTM`` gives, unpacks as one, goes back into a layer as one, and
    is saved by ``torch.save``.  Each method gives a new state of the tensors that it names.
    """

    __slots__ = ()

    def _each(self, change: Callable[[Tensor], Tensor]) -> State:
        return State(change(s) for s in self)

    def detach(self) -> State:
        """Without the history that gradients would flow through.

        Between two windows of a stream this truncates backpropagation through time.
        """
        return self._each(Tensor.detach)

    def clone(self) -> State:
        """With memory of its own."""
        return self._each(Tensor.clone)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """On another device or in another dtype."""
        return self._each(lambda s: s.to(device=device, dtype=dtype))

    def select(self, examples: Tensor | Iterable[int]) -> State:
        """The states of these examples, in this order.

        ``examples`` are their numbers, [n], or a mask [B] of bool; a number may stand several
        times, as in beam search.
        ``IndexError`` where there is no such example.
        """
        first = self[0] if self else torch.empty(0)
        index = torch.as_tensor(
            examples if isinstance(examples, Tensor) else list(examples), device=first.device
        )
        index = index.nonzero().flatten() if index.dtype is torch.bool else index.long()
        if first.dim() < 3:
            raise IndexError("the state of a single sequence has no examples to choose from")
        n = first.shape[1]
        if not torch.compiler.is_compiling() and not ((index >= 0) & (index < n)).all():
            raise IndexError(f"examples are {index.tolist()}: expected numbers from 0 to {n - 1}")
        return self._each(lambda s: s.index_select(1, index))

    def __repr__(self) -> str:
        return f"State({', '.join(str(list(s.shape)) for s in self)})"


def as_state(states: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The states as a ``State``; in a program that torch records, as a plain tuple."""
    return tuple(states) if torch.compiler.is_compiling() else State(states)


pytree.register_pytree_node(
    State,
    lambda state: (list(state), None),
    lambda tensors, _: State(tensors),
    serialized_type_name="unrolled.State",
)
torch.serialization.add_safe_globals([State])
