"""Exported C, compiled as a user would: as a library that tests call, or as its test program."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.backends.cpu.build import compiler
from unrolled.interop.c.program import Program

STRICT = (
    "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow",
    "-Wdouble-promotion", "-Wstrict-prototypes", "-Wundef", "-Wwrite-strings",
)  # fmt: skip


def compile_c(sources: Iterable[Path], to: Path, *options: str) -> Path:
    """The sources compiled under every warning, each of which is an error."""
    command = compiler()
    if command is None:
        pytest.skip("there is no C compiler")
    done = subprocess.run(
        [*command, *STRICT, *options, *map(str, sources), "-lm", "-o", str(to)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:6000]
    return to


def library(sources: Iterable[Path], to: Path, *options: str) -> ctypes.CDLL:
    """The sources as a loaded library."""
    return ctypes.CDLL(str(compile_c(sources, to, "-shared", "-fPIC", "-O1", *options)))


def run_test(files: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
    """The test program among exported files, compiled and run beside them."""
    folder = files[0].parent
    program = compile_c([f for f in files if f.suffix == ".c"], folder / "the_test", *options)
    return subprocess.run(
        [str(program)], capture_output=True, text=True, check=False, cwd=folder, timeout=60
    )


class Exported:
    """An exported network in a library, with a state of its own."""

    def __init__(self, loaded: ctypes.CDLL, program: Program) -> None:
        self.program = program
        self._step = getattr(loaded, f"{program.name}_step")
        self._reset = getattr(loaded, f"{program.name}_reset")
        self._lengths = [int(np.prod(o.var.shape, dtype=int)) for o in program.outputs]
        self._carried = sum(f.size for f in program.fields)
        # Guarded by a margin that must stay as it is.
        self._memory = np.full(self._carried + program.scratch + 64, 7.0, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        self._reset(self._memory.ctypes.data_as(ctypes.c_void_p))

    @property
    def states(self) -> Tensor:
        """All states in a row, layer by layer."""
        return torch.from_numpy(self._memory[: self._carried].copy())

    @states.setter
    def states(self, values: Tensor) -> None:
        self._memory[: self._carried] = values.numpy()

    def step(self, x: Tensor) -> list[Tensor]:
        """One step from a vector, or from a token as a tensor without dimensions."""
        outputs = [np.full(n + 1, 7.0, dtype=np.float32) for n in self._lengths]
        pointers = [o.ctypes.data_as(ctypes.c_void_p) for o in outputs]
        vector = np.ascontiguousarray(x.numpy())
        given = (
            ctypes.c_size_t(int(x))
            if self.program.network.tokens
            else vector.ctypes.data_as(ctypes.c_void_p)
        )
        status = self._step(self._memory.ctypes.data_as(ctypes.c_void_p), given, *pointers)
        assert status == 0 or not self.program.network.tokens
        assert all(o[-1] == 7.0 for o in outputs)
        assert (self._memory[-64:] == 7.0).all()
        return [torch.from_numpy(o[:-1]) for o in outputs]
