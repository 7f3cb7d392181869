"""Reports: figures on data, each with its confidence interval and its baseline's figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One figure of a model on data.

    Attributes:
        name: What is measured, such as "accuracy".
        value: The model's.
        low: The lower end of the 95 % confidence interval.
        high: Its upper end.
        baseline: What the simplest method reaches on the same data, or None where there is none.
        baseline_name: That method, such as "majority class".
        better: Whether a better model has a lower or a higher one.
        unit: What stands behind the number, such as "%" (the number is then a share, shown times
            100) or "nats".
    """

    name: str
    value: float
    low: float
    high: float
    baseline: float | None
    baseline_name: str
    better: Literal["lower", "higher"]
    unit: str = ""


@dataclass(frozen=True)
class Report:
    """What a model reaches on data.

    Attributes:
        on: The data, such as "2,005 held-out examples".
        figures: The figures, the most important first.
        tables: Further tables as text by name, such as a report by class.
        details: What plots are drawn from, such as a confusion matrix, as JSON can hold it.
    """

    on: str
    figures: tuple[Figure, ...]
    tables: dict[str, str]
    details: dict[str, Any]

    def saying(self, facts: Iterable[str]) -> Report:
        """The same with further lines, such as how many rows were skipped; of none, as it is."""
        lines = "\n".join(facts)
        return replace(self, tables={**self.tables, "left out": lines}) if lines else self

    def on_validation(self) -> Report:
        """The same, saying that its data chose the model, which so looks better than it is."""
        return replace(self, on=f"{self.on}, which also chose the step that is kept")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return asdict(self)
