"""How many threads a kernel runs on: as many as torch was told, but one in a forked process.

Once its parent has started threads, GNU's OpenMP would wait there for those that fork has left
behind.
"""

from __future__ import annotations

import os

import torch

_lost = False


def n_threads() -> int:
    """``torch.get_num_threads()``, or 1 where the threads of this process are its parent's."""
    return 1 if _lost else torch.get_num_threads()


def _forked() -> None:
    global _lost
    _lost = torch.get_num_threads() > 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
