"""A measurement in a process of its own: a module is run, and prints its rows as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


class ChildFailed(Exception):
    """The process ended with an error; the message has what it said."""


def run(module: str, *words: str, environment: Mapping[str, str] | None = None) -> Any:
    """What ``python -m module words…`` prints as its last line, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildFailed(
            f"python -m {module} {' '.join(words)} ended with status {done.returncode}:\n"
            f"{done.stderr.strip()}"
        )
    return json.loads(done.stdout.splitlines()[-1])
