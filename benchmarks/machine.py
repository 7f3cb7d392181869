"""What the figures hold for: processor, threads, versions; and the threads of all pinned alike."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from unrolled.backends.cpu.build import compiler

ROOT = Path(__file__).parent.parent
PACKAGES = ("torch", "jax", "jaxlib", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Machine:
    """Where figures may be compared: results of two machines don't go into one file."""

    processor: str
    isa: str
    caches: str
    threads: int
    system: str


def pin(threads: int) -> None:
    """Let this process use ``threads`` processors, and torch and XLA that many threads.

    To be called before jax is imported.  ``ValueError`` where there are fewer processors.
    """
    if hasattr(os, "sched_setaffinity"):
        free = sorted(os.sched_getaffinity(0))
        if threads > len(free):
            raise ValueError(f"{threads} threads: this process may use {len(free)} processors")
        os.sched_setaffinity(0, free[:threads])
    torch.set_num_threads(threads)
    # XLA makes its pool of threads as large as this says.
    os.environ["NPROC"] = str(threads)
    multithreaded = str(threads > 1).lower()
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={multithreaded}"
    os.environ["JAX_PLATFORMS"] = "cpu"


@contextmanager
def empty_caches() -> Generator[None, None, None]:
    """Inside, compiled kernels go to a new directory: each first call compiles."""
    with tempfile.TemporaryDirectory() as directory:
        own = {"UNROLLED_CACHE": "unrolled", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update({name: f"{directory}/{folder}" for name, folder in own.items()})
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def machine() -> Machine:
    """This machine, with the threads that :func:`pin` has set."""
    return Machine(
        _processor(),
        torch.backends.cpu.get_cpu_capability(),
        _caches(),
        torch.get_num_threads(),
        f"{platform.system()} {platform.machine()}",
    )


def versions() -> dict[str, str]:
    """Python, the C compiler and the packages, those that are installed."""
    found = {"python": platform.python_version()}
    command = compiler()
    if command is not None:
        found["compiler"] = _output(*command, "--version").partition("\n")[0]
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The checkout's commit, with ``+`` where the package's source differs from it."""
    name = _output("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD").strip()
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--", "src").strip()
    return name + ("+" if changed else "")


def load() -> float:
    """How many processes have been running in the last minute, this one among them."""
    return os.getloadavg()[0]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    facts: dict[str, str] = {}
    for line in info.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    name = facts.get("model name", facts.get("CPU part", platform.machine()))
    model = [facts[k] for k in ("cpu family", "model") if k in facts]
    return f"{name} (family {model[0]}, model {model[1]})" if len(model) == 2 else name


def _caches() -> str:
    """The first processor's caches, ``L1d 48K, L2 1024K, …``; empty where nothing says."""
    found: list[str] = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found)
