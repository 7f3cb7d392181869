"""How many threads a kernel runs on: as many as torch was told, but one in a forked process.

Once its parent has started threads, GNU's OpenMP would wait there for those that fork has left
behind.
"""

from __future__ import annotations

import os

import torch

_started = False
_lost = False


def n_threads() -> int:
    """``torch.get_num_threads()``, or 1 where the threads of this process are its parent's."""
    global _started
    if _lost:
        return 1
    number = torch.get_num_threads()
    _started = _started or number > 1
    return number


def _forked() -> None:
    global _lost
    _lost = _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
