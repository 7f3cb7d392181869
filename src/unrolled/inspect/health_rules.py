"""What a run's figures call for: a table of rules, each a measurement and the words for it.

A rule measures something and gives the numbers that its text shows, or None where all is well.  The
limits are rules of thumb, named here; the ratio of updates to weights near 1e-3 is Karpathy's
(CS231n, "Babysitting the learning process").
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unrolled.inspect.course import PARTS, Course, Line, Part, is_finite
from unrolled.inspect.units import Units

USUAL_RATIO = 1e-3
HIGHEST_RATIO, LOWEST_RATIO = 3e-2, 1e-4
OFTEN = 0.5
"""The share of the updates from which clipping is the rule."""
JUMP = 10.0
"""A gradient norm so many times its median is a jump."""
SMALLEST_NORM = 1e-6
FALLING = 0.03
"""The share of all that the loss fell, which the last fifth still brought."""
OVERFIT = 0.1
"""The share of all that the validation loss fell, by which it rose again."""
FEWEST = 5
"""The lines of metrics below which nothing is said of how a run went."""
_USUAL_LINES = 20
MANY = 0.05
"""The share of a layer's units from which those that do nothing are said."""

Facts = Mapping[str, float | str]
Measure = Callable[[Course, Sequence[Units]], Facts | None]


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong.

    Attributes:
        name: Of what is wrong.
        measure: Gives the numbers that the text shows, or None.
        text: What was measured and what to try, with places for the numbers.
        lines: The finite lines of metrics that it takes.
    """

    name: str
    measure: Measure
    text: str
    lines: int = FEWEST


@dataclass(frozen=True)
class Advice:
    """What a rule found.

    Attributes:
        name: The rule's.
        text: What was measured and what to try.
    """

    name: str
    text: str

    def __str__(self) -> str:
        return self.text


def advise(course: Course, found: Sequence[Units]) -> tuple[Advice, ...]:
    """What all rules say of a run."""
    lines = len(course.finite())
    said = ((rule, rule.measure(course, found)) for rule in RULES if lines >= rule.lines)
    return tuple(
        Advice(rule.name, rule.text.format_map(facts)) for rule, facts in said if facts is not None
    )


def _not_finite(course: Course, _: Sequence[Units]) -> Facts | None:
    bad = next((line for line in course.lines if not is_finite(line)), None)
    if bad is None:
        return None
    what = "gradient norm" if math.isfinite(bad.loss) else "loss"
    value = bad.loss if what == "loss" else bad.gradient_norm
    at = f" with a learning rate of {bad.learning_rate:.2g}" if bad.learning_rate else ""
    return {"what": what, "value": f"{value}", "step": bad.step, "at": at}


def _too_few_lines(course: Course, found: Sequence[Units]) -> Facts | None:
    lines = course.finite()
    if len(lines) >= FEWEST or _not_finite(course, found):
        return None
    steps = lines[-1].step
    count = f"{len(lines)} line{'' if len(lines) == 1 else 's'}"
    every = max(1, steps // _USUAL_LINES)
    return {"count": count, "steps": steps, "fewest": FEWEST, "every": every}


def _beyond(a: Part, b: Part, errors: float = 2.0) -> bool:
    """Whether ``a`` is above ``b`` by more than so many standard errors of the difference."""
    return a.mean - b.mean > errors * math.hypot(a.error, b.error)


def _diverged(course: Course, _: Sequence[Units]) -> Facts | None:
    parts = course.parts()
    if not parts:
        return None
    best, last = min(parts, key=lambda p: p.mean), parts[-1]
    span = max(p.mean for p in parts) - best.mean
    # The lowest of five is below the others by chance already.
    if not (_beyond(last, best, errors=4.0) and last.mean - best.mean > span / 4):
        return None
    fifth = 1 + parts.index(best)
    return {"best": best.mean, "fifth": fifth, "last": last.mean, "rate": _highest_rate(course)}


def _not_learning(course: Course, found: Sequence[Units]) -> Facts | None:
    parts = course.parts()
    if not parts or _beyond(parts[0], parts[-1]) or _diverged(course, found):
        return None
    facts = {"first": parts[0].mean, "last": parts[-1].mean, "rate": _highest_rate(course)}
    return {**facts, "steps": course.finite()[-1].step}


def _still_falling(course: Course, found: Sequence[Units]) -> Facts | None:
    parts = course.parts()
    if not parts or not _beyond(parts[-2], parts[-1]) or _overfit(course, found):
        return None
    fell, all_ = parts[-2].mean - parts[-1].mean, parts[0].mean - parts[-1].mean
    if fell < FALLING * all_:
        return None
    return {"fell": fell, "share": 100 * fell / all_, "steps": course.finite()[-1].step}


def _overfit(course: Course, _: Sequence[Units]) -> Facts | None:
    losses = course.validation
    if len(losses) < 3:
        return None
    at, best = min(losses, key=lambda pair: pair[1])
    first, (step, last) = losses[0][1], losses[-1]
    # Of validations that only ever rose, against what the training loss fell meanwhile.
    lines = [line.loss for line in course.finite()]
    fell = max(first - best, lines[0] - min(lines))
    training = [line.loss for line in course.finite() if line.step >= at]
    falls = len(training) > 1 and training[-1] < training[0]
    if not (falls and at < step and last - best > OVERFIT * fell):
        return None
    return {"best": best, "at": at, "last": last, "step": step, "training": training[-1]}


def _ratio(course: Course) -> float | None:
    ratios = [line.update_ratio for line in course.at_full_rate() if line.update_ratio is not None]
    return statistics.median(ratios) if ratios else None


def _rate_facts(course: Course, ratio: float) -> Facts:
    rate = _highest_rate(course)
    better = rate * USUAL_RATIO / ratio if ratio else math.inf
    return {"ratio": ratio, "rate": rate, "better": better}


def _rate_high(course: Course, _: Sequence[Units]) -> Facts | None:
    ratio = _ratio(course)
    return _rate_facts(course, ratio) if ratio is not None and ratio > HIGHEST_RATIO else None


def _rate_low(course: Course, _: Sequence[Units]) -> Facts | None:
    ratio = _ratio(course)
    # 0 is of updates that were left out, which no learning rate mends.
    return _rate_facts(course, ratio) if ratio and ratio < LOWEST_RATIO else None


def _clips_often(course: Course, _: Sequence[Units]) -> Facts | None:
    late = _later_half(course)
    shares = [line.clipped for line in late if line.clipped is not None]
    norms = [line.gradient_norm for line in late if line.gradient_norm is not None]
    if not shares or not norms or statistics.fmean(shares) <= OFTEN:
        return None
    after = [x.clipped_gradient_norm for x in late if x.clipped_gradient_norm is not None]
    left = f" and {statistics.fmean(after):.3g} after" if after else ""
    limit = "" if course.clip is None else f" at {course.clip:g}"
    share, norm = 100 * statistics.fmean(shares), statistics.fmean(norms)
    return {"share": share, "norm": norm, "left": left, "limit": limit}


def _jumps(course: Course, _: Sequence[Units]) -> Facts | None:
    lines = [line for line in course.finite() if line.gradient_norm is not None]
    if len(lines) < PARTS or any(line.clipped for line in lines):
        return None
    middle = statistics.median(_norm(line) for line in lines)
    # The first lines are large in many a run that goes well.
    top = max(lines[len(lines) // PARTS :], key=_norm)
    if middle == 0 or _norm(top) <= JUMP * middle:
        return None
    ratio = _norm(top) / middle
    return {"top": _norm(top), "step": top.step, "ratio": ratio, "clip": 2 * middle}


def _no_gradient(course: Course, _: Sequence[Units]) -> Facts | None:
    norms = [line.gradient_norm for line in _later_half(course) if line.gradient_norm is not None]
    if not norms or statistics.median(norms) >= SMALLEST_NORM:
        return None
    return {"norm": statistics.median(norms)}


def _at_their_ends(
    function: str, count: Callable[[Units], int]
) -> Callable[[Course, Sequence[Units]], Facts | None]:
    """The activations of which more units than ``MANY`` are at an end."""

    def measure(_: Course, found: Sequence[Units]) -> Facts | None:
        those = [u for u in found if u.function == function and count(u) > MANY * u.units]
        said = [f"{count(u)} of {u.units} in {u.value} of {u.layer}" for u in those]
        return {"where": ", ".join(said)} if said else None

    return measure


def _norm(line: Line) -> float:
    return line.gradient_norm or 0.0


def _later_half(course: Course) -> Sequence[Line]:
    lines = course.finite()
    return lines[len(lines) // 2 :]


def _highest_rate(course: Course) -> float:
    return max((line.learning_rate or 0.0 for line in course.lines), default=0.0)


TOO_FEW_LINES = "too few lines"
RULES = (
    Rule(
        "not finite", _not_finite,
        "The {what} was {value} at step {step:,}{at}: lower the learning rate, lengthen the "
        "warmup, or clip at a smaller norm.",
        lines=0,
    ),
    Rule(
        TOO_FEW_LINES, _too_few_lines,
        "The run has {count} of metrics in {steps:,} steps, and below {fewest} there are too few "
        "to say how it went: log more often (--log-every {every}), or train longer.",
        lines=0,
    ),
    Rule(
        "diverged", _diverged,
        "The training loss rose to {last:.3g} in the last fifth of the lines, from {best:.3g} in "
        "fifth {fifth}: the learning rate (at most {rate:.2g}) is too high; try a third of it, or "
        "a schedule that falls.",
    ),
    Rule(
        "not learning", _not_learning,
        "The training loss did not fall in {steps:,} steps ({first:.3g} in the first fifth of the "
        "lines, {last:.3g} in the last): with a learning rate of {rate:.2g} nothing is learned; "
        "try ten times as much and a tenth, and look at the gradient flow.",
    ),
    Rule(
        "still falling", _still_falling,
        "The training loss still fell by {fell:.2g} in the last fifth of the lines, {share:.0f} % "
        "of all that it fell: train longer than {steps:,} steps.",
    ),
    Rule(
        "overfitting", _overfit,
        "The validation loss was best at step {at:,} ({best:.4g}) and rose to {last:.4g} by step "
        "{step:,}, while the training loss went on to {training:.4g}: more data, more dropout or "
        "weight decay, a smaller model, or an earlier end (--patience).",
    ),
    Rule(
        "learning rate high", _rate_high,
        "An update changes the weights by {ratio:.2g} of their size (median), where 0.001 is "
        "usual: the learning rate of {rate:.2g} is high; try {better:.1g}.",
    ),
    Rule(
        "learning rate low", _rate_low,
        "An update changes the weights by {ratio:.2g} of their size (median), where 0.001 is "
        "usual: the learning rate of {rate:.2g} is low; try {better:.1g}.",
    ),
    Rule(
        "clips often", _clips_often,
        "In the second half {share:.0f} % of the updates were clipped{limit}: the gradient norm is "
        "{norm:.3g} before it on average{left}. Clipping is for the exception: raise --clip above "
        "{norm:.2g}, or lower the learning rate if the loss is unsteady.",
    ),
    Rule(
        "jumps", _jumps,
        "The gradient norm jumped to {top:.3g} by step {step:,}, {ratio:.0f} times its median, and "
        "nothing was clipped: try --clip {clip:.1g}.",
    ),
    Rule(
        "no gradient", _no_gradient,
        "The gradient norm is {norm:.2g} (median of the second half): hardly anything reaches the "
        "parameters. Look for units that do nothing, and at the gradient flow.",
    ),
    Rule(
        "saturated tanh", _at_their_ends("tanh", lambda u: u.either),
        "Units of tanh are beyond ±0.99 nearly always and pass hardly any gradient: {where}. "
        "Smaller starting weights, a lower learning rate, or layer normalisation.",
        lines=0,
    ),
    Rule(
        "dead relu", _at_their_ends("relu", lambda u: u.low),
        "Units of relu are 0 nearly always and learn nothing: {where}. A lower learning rate, "
        "larger starting biases, or a recurrent matrix that starts as the identity.",
        lines=0,
    ),
    Rule(
        "shut gates", _at_their_ends("sigmoid", lambda u: u.low),
        "Gates are shut (below 0.01) nearly always: {where}. What they let in or keep is lost; try "
        "a higher starting bias of the gate, or a lower learning rate.",
        lines=0,
    ),
    Rule(
        "open gates", _at_their_ends("sigmoid", lambda u: u.high),
        "Gates are open (above 0.99) nearly always: {where}. Where such a gate keeps a state, "
        "that state never forgets, which may be meant; else a lower starting bias of the gate.",
        lines=0,
    ),
)  # fmt: skip
