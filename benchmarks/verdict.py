"""What was asked for, what was measured, and whether that is enough."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """One line of the table of targets; ``reached`` is None where no figure was asked for."""

    what: str
    asked: str
    measured: str
    reached: bool | None
    note: str = ""

    @property
    def word(self) -> str:
        """``reached``, ``missed`` or ``—``."""
        return "—" if self.reached is None else "reached" if self.reached else "missed"
