"""Generated code and the products run under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.backends.cpu.build import compiler

TESTS = Path(__file__).parent.parent
CELLS = (
    "lstm", "gru_full", "lstm_layer_norm", "many_outputs", "starts_of_values", "joined_with_itself",
    "fast_weights", "conditional",
)  # fmt: skip


def sanitized(cache: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """The program of ``sanitized_cells`` with both sanitizers preloaded."""
    command = compiler()
    assert command is not None
    libraries: list[str] = []
    for name in ("libasan.so", "libubsan.so"):
        found = subprocess.run(
            [*command, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not os.path.isabs(found):
            pytest.skip(f"{' '.join(command)} has no {name} to preload")
        libraries.append(os.path.realpath(found))
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(libraries),
        # The interpreter's own leaks are none of ours.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UNROLLED_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)]),
        "OMP_NUM_THREADS": "2",
    }
    return subprocess.run(
        [sys.executable, str(TESTS / "sanitized_cells.py"), *names],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def test_generated_code_stays_within_its_memory_and_the_language(tmp_path: Path) -> None:
    done = sanitized(tmp_path, *CELLS)
    assert done.returncode == 0, done.stdout + done.stderr[:4000]
    assert done.stdout.split() == list(CELLS)


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("overflow", "heap-buffer-overflow"),
        ("undefined", "shift exponent 32 is too large"),
        ("beside", "use-after-poison"),
    ],
)
def test_the_sanitizers_see_what_is_wrong(tmp_path: Path, fault: str, report: str) -> None:
    done = sanitized(tmp_path, fault)
    assert done.returncode != 0
    assert report in done.stderr
