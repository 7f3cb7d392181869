"""``health``: how a training run went, and what to try.

The figures come from the run's ``metrics.jsonl``; what units do comes from the model itself, where
it is given with some data.  What is said is a table of rules in ``unrolled.inspect.health_rules``.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from unrolled.inspect.course import Course, Line, course_of, read_course
from unrolled.inspect.health_rules import TOO_FEW_LINES, Advice, advise
from unrolled.inspect.units import Units, units

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Verdict = Literal["Healthy", "Worth a look", "Too few lines to say"]


@dataclass(frozen=True)
class Health:
    """How a run went.

    Attributes:
        course: Its figures.
        units: What the activations of the recurrent layers do; none where no model was given.
        advice: What to try, most urgent first; none where all is well.
    """

    course: Course
    units: tuple[Units, ...]
    advice: tuple[Advice, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether there is something to try, or too little was logged to tell."""
        if any(advice.name == TOO_FEW_LINES for advice in self.advice):
            return "Too few lines to say"
        return "Worth a look" if self.advice else "Healthy"

    def table(self) -> list[dict[str, str]]:
        """Rows of ``what``, ``first``, ``middle`` (the median) and ``last``."""
        lines = self.course.finite()
        rows = [
            _row("training loss", [line.loss for line in lines], "{:.4g}"),
            _row("validation loss", [loss for _, loss in self.course.validation], "{:.4g}"),
            *(
                _row(what, [v for line in lines if (v := getattr(line, name)) is not None], form)
                for name, what, form in _COLUMNS
            ),
        ]
        return [row for row in rows if row is not None] + [_unit_row(u) for u in self.units]

    def plot(self) -> Figure:
        """Loss, gradient norm, clipping and update ratio over the steps, and units at their ends.

        Raises:
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures.health import picture

        return picture(self)


_COLUMNS = (
    ("learning_rate", "learning rate", "{:.3g}"),
    ("gradient_norm", "gradient norm before clipping", "{:.3g}"),
    ("clipped_gradient_norm", "gradient norm after clipping", "{:.3g}"),
    ("clipped", "share of updates clipped", "{:.1%}"),
    ("update_ratio", "update-to-weight ratio", "{:.2g}"),
)


def health(
    run: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    model: nn.Module | None = None,
    x: Tensor | None = None,
) -> Health:
    """How a training run went, and what to try.

    Args:
        run: The run's directory, or the lines of its metrics.
        model: A model of it, for what its units do; any module with recurrent layers of ours.
        x: What ``model(x)`` takes: some of the run's data.

    Raises:
        DataError: where there is no run, its files are damaged, or it has no line yet.
        ModelError: where the model has no recurrent layers, or a parameter that is no finite
            number.
        TypeError: where one of ``model`` and ``x`` is given without the other.
    """
    if (model is None) != (x is None):
        raise TypeError("health(run, model, x): what units do takes both a model and its input")
    course = read_course(run) if isinstance(run, (str, os.PathLike)) else course_of(run)
    found = () if model is None or x is None else units(model, x)
    return Health(course, found, advise(course, found))


def _row(what: str, values: Sequence[float], form: str) -> dict[str, str] | None:
    if not values:
        return None
    shown = (values[0], statistics.median(values), values[-1])
    first, middle, last = (form.format(value) for value in shown)
    return {"what": what, "first": first, "middle": middle, "last": last}


def _unit_row(u: Units) -> dict[str, str]:
    ends = {
        "tanh": f"{u.either} of {u.units} beyond ±0.99",
        "relu": f"{u.low} of {u.units} always 0",
        "sigmoid": f"{u.low} of {u.units} shut, {u.high} open",
    }
    return {"what": f"{u.value} of {u.layer}", "first": "", "middle": "", "last": ends[u.function]}


__all__ = ["Advice", "Course", "Health", "Line", "Units", "health"]
