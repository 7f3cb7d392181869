"""The real data beside the checkout, which tests skip without: see CONTRIBUTING.md."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    """A file or folder of the real data; skips the test where it is missing."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"there is no {path}")
    return path
