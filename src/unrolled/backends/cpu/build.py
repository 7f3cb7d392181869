"""Building: C source to a loaded library, compiled once for each source, compiler and processor.

A library in the cache is named by the hash of all that it depends on, with its own hash beside
it, so that a damaged file is seen and built again.  Files are written under another name and
renamed, so any number of processes may build the same one at once.  OpenMP's symbols are left
open and resolve to the library that torch has loaded: one pool of threads, torch's own.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from unrolled.errors import UnsupportedByBackend

FLAGS = (
    "-O3", "-march=native", "-std=gnu11", "-fPIC", "-fopenmp-simd", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=fast", "-w",
)  # fmt: skip
HEADERS = Path(__file__).parent / "templates"


class CompilerError(UnsupportedByBackend):
    """The C compiler failed; the message has its own words and the source's path."""


@lru_cache(maxsize=1)
def compiler() -> tuple[str, ...] | None:
    """The C compiler to call: ``$CC``, else gcc, clang or ziglang's; ``None`` where none is."""
    named = os.environ.get("CC")
    if named:
        words = tuple(named.split())
        return words if shutil.which(words[0]) else None
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name):
            return (name,)
    try:
        import ziglang  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return None
    return (sys.executable, "-m", "ziglang", "cc")


@lru_cache(maxsize=1)
def _machine() -> str:
    """What a compiled file depends on besides its source: the compiler and the processor."""
    command = compiler()
    assert command is not None, "asked for by supports()"
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    processor = platform.processor() + platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        kept = {
            line
            for line in lines
            if line.startswith(("flags", "Features", "model name", "CPU part"))
        }
        processor += "\n".join(sorted(kept))
    return "\n".join([*command, version.stdout, processor, *FLAGS])


def cache_directory() -> Path:
    """``$UNROLLED_CACHE``, else ``unrolled`` in the user's cache; else a private one.

    Raises :class:`UnsupportedByBackend` where others could write to it: its files get executed.
    """
    base = os.environ.get("UNROLLED_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) if base else Path(home) / "unrolled"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return _private()
    if hasattr(os, "getuid"):
        status = path.stat()
        shared = stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
        if shared or status.st_uid not in (os.getuid(), 0):
            raise UnsupportedByBackend(
                f"the cache {path} can be written by others, who could have their code run: "
                f"chmod 700 {path}, or set UNROLLED_CACHE to a directory of your own"
            )
    return path if os.access(path, os.W_OK) else _private()


@lru_cache(maxsize=1)
def _private() -> Path:
    return Path(tempfile.mkdtemp(prefix="unrolled-"))


def load(source: str, defines: Mapping[str, str]) -> ctypes.CDLL:
    """The library that ``source`` compiles to, from the cache where it is there.

    Raises :class:`CompilerError` where the compiler refuses it.
    """
    headers = "".join(p.read_text(encoding="utf-8") for p in sorted(HEADERS.glob("*.h")))
    options = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    key = hashlib.sha256("\0".join([_machine(), headers, *options, source]).encode()).hexdigest()[
        :32
    ]
    directory = cache_directory()
    library, seal = directory / f"{key}.so", directory / f"{key}.sha256"
    if not _sound(library, seal):
        _compile(source, options, directory, key)
    return ctypes.CDLL(str(library))


def _sound(library: Path, seal: Path) -> bool:
    try:
        return seal.read_text(encoding="ascii") == hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False


def _compile(source: str, options: list[str], directory: Path, key: str) -> None:
    command = compiler()
    assert command is not None, "asked for by supports()"
    with tempfile.TemporaryDirectory(dir=directory) as work:
        path, built = Path(work) / "loop.c", Path(work) / "loop.so"
        path.write_text(source, encoding="utf-8")
        _call(
            [*command, *FLAGS, *options, "-I", str(HEADERS), "-c", str(path), "-o", f"{path}.o"],
            source,
            directory,
            key,
        )
        # Linked without OpenMP: its symbols are to be found in what torch has loaded.
        _call([*command, "-shared", f"{path}.o", "-o", str(built), "-lm"], source, directory, key)
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        sealed = Path(work) / "seal"
        sealed.write_text(digest, encoding="ascii")
        # The seal last: a library without its seal is built again, never half believed.
        os.replace(built, directory / f"{key}.so")
        os.replace(sealed, directory / f"{key}.sha256")


def _call(command: list[str], source: str, directory: Path, key: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        kept = directory / f"{key}.c"
        kept.write_text(source, encoding="utf-8")
        raise CompilerError(
            f"the C compiler failed with status {done.returncode} on {kept}:\n"
            f"{' '.join(command)}\n{done.stderr.strip()[:4000]}"
        )
