"""Numbers as sentences have them: three significant digits, a minus sign that is one."""

from __future__ import annotations


def numeral(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, such as −0.0123, 12,500 or 1.5e−07."""
    shown = f"{value:.{digits}g}"
    if 1e3 <= abs(float(shown)) < 1e15:
        shown = f"{float(shown):,.0f}"
    return typeset(shown)


def typeset(shown: str) -> str:
    """A number that Python formatted, with the signs of typography."""
    return shown.replace("inf", "∞").replace("-", "−")
