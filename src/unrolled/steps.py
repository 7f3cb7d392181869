"""``Steps``: in which order time is walked, who takes part in a step, and where states start anew.

Sequences of several lengths are *packed*: sorted by length, the longest first, the rows of one step
after those of the other, as in torch's ``PackedSequence``.  The examples of a step are then the
first so many, and everything outside the loop over time sees rows and no padding at all: its work,
and the memory of what is kept, go with the sum of the lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Steps:
    """How a recurrence goes through its sequences.

    ``batch_sizes`` are how many examples take part in each step; they never grow.  With them,
    values over time are packed: [1, N, size] for N = their sum.  Without, every example takes part
    in every step, and values over time are [T, B, size].  ``opposite`` is from the last step to the
    first.  ``resets``, [T, B] or [1, N] of bool, says before which step, in the order of the walk,
    a state is replaced by one that is given for this.

    Where they have no numbers yet, ``lengths`` [B] take the place of ``batch_sizes`` and values are
    padded: within ``vmap``, and in a program that torch records, where resets are then as the user
    gave them.
    """

    opposite: bool = False
    batch_sizes: tuple[int, ...] | None = None
    resets: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def even(self) -> bool:
        """Whether all steps are alike."""
        return self.batch_sizes is None and self.resets is None and self.lengths is None

    def sizes(self, lead: Sequence[int]) -> tuple[int, ...]:
        """The number of examples in each step of values [*lead, size]."""
        return (lead[1],) * lead[0] if self.batch_sizes is None else self.batch_sizes

    def first_rows(self, lead: Sequence[int]) -> list[int]:
        """Which row each step starts at, and the number of all rows."""
        return [0, *accumulate(self.sizes(lead))]

    def order(self, lead: Sequence[int], backwards: bool) -> range:
        """The numbers of the steps as they are taken; ``backwards`` is against the walk."""
        n = len(self.sizes(lead))
        return range(n - 1, -1, -1) if backwards != self.opposite else range(n)


EVEN = Steps()
"""Every example in every step, from the first to the last."""

OPPOSITE = Steps(opposite=True)
"""The same from the last to the first."""
