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
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from unrolled.backends.cpu.cache import cache_directory, private_directory
from unrolled.errors import UnsupportedByBackend

FLAGS = (
    "-O3", "-std=gnu11", "-fPIC", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast", "-w",
)  # fmt: skip
NATIVE = (("-march=native",), ("-mcpu=native",), ())
"""How to ask for all that this processor has: the first that the compiler takes."""
LINK = ("-shared", *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()))
"""Without OpenMP: its symbols are to be found in what torch has loaded."""
HEADERS = Path(__file__).parent / "templates"


class CompilerError(UnsupportedByBackend):
    """The C compiler failed; the message has its own words and the source's path."""


@lru_cache(maxsize=1)
def compiler() -> tuple[str, ...] | None:
    """The C compiler to call: ``$CC``, else gcc, clang or ziglang's; ``None`` where none is."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        return tuple(named) if shutil.which(named[0]) else None
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
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        wanted = ("flags", "Features", "model name", "CPU part")
        processor = "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    else:
        processor = platform.processor()
    return "\n".join([*_version(_compiler()), platform.machine(), processor, *FLAGS])


def _version(command: tuple[str, ...]) -> tuple[str, ...]:
    """The compiler's file, its size and its date: to ask it for its version takes milliseconds.

    Of a command of several words, one of which may be the compiler, the version.
    """
    program = shutil.which(command[0])
    if program is None or len(command) > 1:
        return (*command, _called([*command, "--version"]).stdout)
    file = Path(program).resolve()
    status = file.stat()
    return (*command, str(file), str(status.st_size), str(status.st_mtime_ns))


def load(source: str, defines: Mapping[str, str]) -> ctypes.CDLL:
    """The library that ``source`` compiles to, from the cache where it is there.

    Raises :class:`CompilerError` where the compiler refuses it, or what it made can't be loaded.
    """
    headers = "".join(p.read_text(encoding="utf-8") for p in sorted(HEADERS.glob("*.h")))
    options = tuple(f"-D{name}={value}" for name, value in sorted(defines.items()))
    everything = "\0".join([_machine(), headers, *options, source])
    key = hashlib.sha256(everything.encode()).hexdigest()[:32]
    directory = cache_directory()
    if not _sound(directory, key):
        try:
            _compile(source, options, directory, key)
        except OSError as error:  # full, over quota, or gone
            directory = private_directory(f"{directory}: {error.strerror}")
            _compile(source, options, directory, key)
    library = directory / f"{key}.so"
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise CompilerError(
            f"what {shlex.join(_compiler())} made can't be loaded: {error}; if programs may not be "
            f"run from {directory}, set UNROLLED_CACHE to a directory from which they may"
        ) from None


def _sound(directory: Path, key: str) -> bool:
    """Whether the library is there, as it was written."""
    try:
        digest = hashlib.sha256((directory / f"{key}.so").read_bytes()).hexdigest()
        return (directory / f"{key}.sha256").read_bytes() == digest.encode()
    except OSError:
        return False


def _compile(source: str, options: tuple[str, ...], directory: Path, key: str) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as work:
        path, made, built = (Path(work) / name for name in ("loop.c", "loop.o", "loop.so"))
        path.write_text(source, encoding="utf-8")
        compiled = [*FLAGS, *options, "-I", str(HEADERS), "-c", str(path), "-o", str(made)]
        linked = [*LINK, str(made), "-o", str(built), "-lm"]
        done = _native(compiled)
        if not done.returncode:
            done = _called([*_compiler(), *linked])
        if done.returncode:
            kept = directory / f"{key}.c"
            os.replace(path, kept)
            said = f"{shlex.join(done.args)}\n{done.stderr.strip()[:4000]}"
            raise CompilerError(
                f"the C compiler failed with status {done.returncode} on {kept}:\n"
                f"{said.replace(str(path), str(kept))}\nbackend='reference' needs no compiler"
            )
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        sealed = Path(work) / "seal"
        sealed.write_text(digest, encoding="ascii")
        # The seal last: a library without its seal is built again, never half believed.
        os.replace(built, directory / f"{key}.so")
        os.replace(sealed, directory / f"{key}.sha256")


def _compiler() -> tuple[str, ...]:
    command = compiler()
    assert command is not None, "asked for by supports()"
    return command


def _native(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The call that asks for all of this processor in the way that the compiler takes."""
    *others, plain = NATIVE
    for native in others:
        done = _called([*_compiler(), *native, *arguments])
        if not done.returncode:
            return done
    return _called([*_compiler(), *plain, *arguments])


def _called(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise CompilerError(f"the C compiler {command[0]} can't be run: {error}") from None
