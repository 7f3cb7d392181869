"""What tests of the command line share: a small text and run, outcomes, a directory's content."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TEXT = (
    "the quick brown fox jumps over the lazy dog. pack my box with five dozen liquor jugs!\n" * 40
)
SMALL = [
    *["--hidden-size", "12", "--embedding-size", "8", "--batch-size", "4", "--window", "16"],
    *["--epochs", "1", "--warmup", "5", "--samples", "0", "--device", "cpu"],
    *["--evaluate-every", "10", "--log-every", "5", "--checkpoint-every", "10"],
]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a directory, but the locks, and what is in it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }
