"""PyTorch's own inputs for its recurrent modules: what its tests call them with.

They stand in ``torch.testing._internal.common_modules.module_db``, whose import changes torch for
the whole process (it forbids setting backend flags and patches scripted functions).  So this file,
run as a script, writes them from a process of its own.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MODULES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")


@dataclass(frozen=True)
class Sample:
    """The arguments of a module's constructor and of its ``forward``, tensors in float64."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    inputs: tuple[Any, ...]


def samples(file: Path) -> dict[str, list[Sample]]:
    """The samples of each of ``MODULES``, with packed sequences where torch has them."""
    subprocess.run([sys.executable, __file__, str(file)], check=True)
    read: dict[str, list[Any]] = torch.load(file, weights_only=False)
    return {name: [Sample(*each) for each in found] for name, found in read.items()}


def write(file: str) -> None:
    """All samples, as plain tuples, to ``file``."""
    # Not at the top: the tests import this file, and are not to have torch changed.
    from torch.testing._internal.common_modules import module_db

    torch.manual_seed(0)
    found: dict[str, list[Any]] = {}
    for info in module_db:
        name = info.name.removeprefix("nn.")
        if name not in MODULES:
            continue
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=True, training=True,
            with_packed_sequence=True,
        )  # fmt: skip
        found[name] = [
            (i.constructor_input.args, i.constructor_input.kwargs, i.forward_input.args)
            for i in inputs
        ]
        assert not any(i.forward_input.kwargs for i in inputs)
    torch.save(found, file)


if __name__ == "__main__":
    write(sys.argv[1])
