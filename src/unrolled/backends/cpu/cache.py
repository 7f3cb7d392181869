"""Where compiled files are kept: where only the user can write to, for these files get run."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

from unrolled.errors import UnsupportedByBackend

_LOG = logging.getLogger(__name__)
_private: dict[int, Path] = {}


def cache_directory() -> Path:
    """``$UNROLLED_CACHE``, else ``unrolled`` in the user's cache; else one for this process alone.

    Raises :class:`UnsupportedByBackend` where others could write to it.
    """
    named = os.environ.get("UNROLLED_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(named).expanduser() if named else Path(home) / "unrolled"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        return private_directory(f"{path}: {error.strerror}")
    if hasattr(os, "getuid"):
        status = path.stat()
        shared = stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
        if shared or status.st_uid not in (os.getuid(), 0):
            raise UnsupportedByBackend(
                f"the cache {path} can be written by others, who could have their code run: "
                f"chmod 700 {path}, or set UNROLLED_CACHE to a directory of your own"
            )
    if not os.access(path, os.W_OK | os.X_OK):
        return private_directory(f"{path}: no permission to write")
    return path


def private_directory(reason: str) -> Path:
    """One for this process, removed at its end; ``reason`` says why, and is logged once."""
    process = os.getpid()
    if process not in _private:
        path = Path(tempfile.mkdtemp(prefix="unrolled-"))
        _private[process] = path
        atexit.register(_remove, process, path)
        _LOG.warning(
            "compiled code is kept in no cache, only in %s until this process ends (%s); "
            "set UNROLLED_CACHE to a directory of your own",
            path, reason,
        )  # fmt: skip
    return _private[process]


def _remove(process: int, path: Path) -> None:
    # A forked child runs its parent's exit handlers too.
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)
