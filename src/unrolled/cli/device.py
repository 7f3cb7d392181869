"""Where a command computes."""

from __future__ import annotations

import os

import torch

from unrolled.errors import UserError


def find_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is a CUDA device where there is one, else the CPU.

    Raises:
        UserError: where there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"there is no device {name!r} here: try --device cpu") from error
    return device


def compute_deterministically(device: torch.device) -> None:
    """Has CUDA give the same bits each time; the CPU does anyhow. To be called before its use."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
