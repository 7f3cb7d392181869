"""Files stay small: one that outgrows the bound has more than one responsibility."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = 350


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "src").rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT / "src").as_posix(),
)
def test_size(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: split it by responsibility"
