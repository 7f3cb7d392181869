"""``attribution``: which earlier tokens a language model's prediction rests on.

Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017):
the inputs are led from a baseline to what they are, on a straight line, and each is given its part
of the change of the prediction, ∫ ∂F/∂x_t dx_t.  The parts add up to the whole change, but for the
error of the quadrature, which is reported.  Gradient × input (Shrikumar et
al. 2016) is the first-order part at the end of the line: one pass, and it need not add up.

Between a baseline and a text a recurrent network can be chaotic: over a hundred steps of inputs
that are neither, the prediction may jump thousands of times along the line, and no quadrature adds
up.  How jagged the line is grows with each step that is led along it, so then fewer tokens are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from unrolled.inspect.given import Progress
from unrolled.inspect.quadrature import adaptive, gauss_legendre
from unrolled.inspect.text import TextSample
from unrolled.inspect.watch import recurrent_layers
from unrolled.models.language_model import LanguageModel, State
from unrolled.models.modes import evaluating

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["integrated_gradients", "gradient_times_input"]

WINDOW = 100
"""So many tokens get a part, or half as many, and so on, where more do not add up."""
MOST_POINTS = 512
ENOUGH = 0.01
"""The error, as a share of the change (or of one nat, where that is more), that is good enough."""
_AT_ONCE = 4096
"""Tokens in a pass, over all points of the line."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each earlier token contributes to the log-probability of one token.

    Attributes:
        method: By which method.
        position: How many tokens are read before the one that is predicted.
        target: That token, as the vocabulary has it.
        first: How many of them stand before the first that is given a part.
        pieces: The tokens from there to the one before ``position``, as the text has them.
        values: Their parts, float64 ``[N]``, in nats: above 0 they make the target likelier.
        output: The target's log-probability after these tokens.
        baseline: The same after as many baselines.
        points: The points on the line from the one to the other.
    """

    method: Method
    position: int
    target: str
    first: int
    pieces: tuple[str, ...]
    values: Tensor
    output: float
    baseline: float
    points: int

    @property
    def change(self) -> float:
        """Of the log-probability, from the baseline to the text."""
        return self.output - self.baseline

    @property
    def error(self) -> float:
        """By how much the parts' sum misses the change (completeness)."""
        return float(self.values.sum()) - self.change

    @property
    def adds_up(self) -> bool:
        """Whether the error is 1 % of the change at most, or of one nat, where that is more."""
        return abs(self.error) <= _tolerance(self.change)

    def table(self) -> list[dict[str, Any]]:
        """A row a token, the largest part first; positions count from 1."""
        order = self.values.abs().argsort(descending=True, stable=True).tolist()
        return [
            {
                "position": self.first + k + 1,
                "token": self.pieces[k],
                "contribution": float(self.values[k]),
            }
            for k in order
        ]

    def plot(self) -> Figure:
        """The text, each token coloured by its part; positions count from 1.

        Raises:
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures.attribution import attribution

        return attribution(self)


def attribution(
    model: LanguageModel,
    text: str,
    position: int,
    target: str | None = None,
    method: Method = "integrated_gradients",
    *,
    points: int | None = None,
    baseline: str | None = None,
    window: int | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """Measures what a prediction rests on.

    Args:
        model: A language model; it runs in evaluation mode, in its own dtype.
        text: The text that it reads.
        position: After which token, from 1, the next is predicted; the number of tokens for the one
            after the text.
        target: The token whose log-probability is explained, as the vocabulary has it; by default
            the likeliest.
        method: How.
        points: Of Gauss and Legendre's rule; by default as many as it takes for an error of 1 % of
            the change, at most 512, where the prediction changes most. Gradient × input takes one.
        baseline: What stands for no input: a token, or by default the vector of zeros.
        window: So many tokens before ``position`` get a part; those before them are read as they
            are, and stay. By default 100; of integrated gradients half as many, and so on, as long
            as the parts don't add up.
        progress: See :data:`unrolled.inspect.given.Progress`.

    Raises:
        TypeError: where the model is no language model.
        DataError: where the text is empty or unknown to the model.
        ModelError: where parameters are not finite.
        ValueError: where ``position`` is not in the text, a token not in the vocabulary, a number
            below 1, or the log-probability or a gradient not finite.
    """
    sample = TextSample.of(model, text)
    recurrent_layers(model)
    _check(sample, position, method, points, window)
    width = min(position, window or WINDOW)
    shrinks = window is None and points is None and method == "integrated_gradients"
    # Each further window has half of the one before.
    effort = _Effort(width * (points or MOST_POINTS) * (2 if shrinks else 1), progress)
    with evaluating(model), torch.no_grad():
        token = (
            _likeliest(model, sample, position)
            if target is None
            else _token(model, target, "target")
        )
        while True:
            line = _line(model, sample, position, width, token, baseline, effort)
            found = _along(line, sample, position, method, points)
            if found.adds_up or width == 1 or not shrinks:
                break
            width //= 2
    effort.done()
    if not found.values.isfinite().all():
        raise ValueError("the gradient of the prediction is not finite")
    return found


def _likeliest(model: LanguageModel, sample: TextSample, position: int) -> int:
    fed = sample.fed[: len(sample.before) + position].to(model.device)
    return int(model(fed)[0][-1, 0].argmax())


def _along(
    line: _Line, sample: TextSample, position: int, method: Method, points: int | None
) -> Attribution:
    zero, output = line.whole(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    if method == "gradient_times_input":
        values, n = line.parts(torch.ones(1, dtype=torch.float64))[0], 1
    elif points is None:
        values, n = adaptive(line.parts, line.whole, _tolerance(output - zero), MOST_POINTS)
    else:
        values, n = gauss_legendre(line.parts, points), points
    first = position - len(line.x)
    return Attribution(
        method, position, line.model.vocabulary.tokens[line.token], first,
        sample.pieces[first:position], values, output, zero, n,
    )  # fmt: skip


def _tolerance(change: float) -> float:
    return ENOUGH * max(abs(change), 1.0)


@dataclass(eq=False)
class _Effort:
    """How far a measurement is: ``most`` tokens are gone through at most, over all points."""

    most: int
    progress: Progress | None
    spent: int = 0

    def spend(self, tokens: int) -> None:
        """Tells what was spent before these."""
        if self.progress:
            self.progress("attribution", min(1.0, self.spent / self.most))
        self.spent += tokens

    def done(self) -> None:
        if self.progress:
            self.progress("attribution", 1.0)


@dataclass(eq=False)
class _Line:
    """The prediction on the way from a baseline ``[T, 1, D]`` to the vectors themselves."""

    model: LanguageModel
    x: Tensor
    start: Tensor
    state: State | None
    token: int
    effort: _Effort

    def parts(self, places: Tensor) -> Tensor:
        """What each vector adds to the derivative at places ``[n]`` of the line, ``[n, T]``."""
        found: list[Tensor] = []
        for some in self._chunks(places):
            self.effort.spend(len(some) * len(self.x))
            with torch.enable_grad():
                x = self._at(some).requires_grad_()
                (slope,) = torch.autograd.grad(self._value(x).sum(), x)
            found.append((slope.double() * (self.x - self.start).double()).sum(-1).T.cpu())
        return torch.cat(found)

    def whole(self, places: Tensor) -> Tensor:
        """The log-probability at places ``[n]``."""
        return torch.cat([self._value(self._at(some)).cpu() for some in self._chunks(places)])

    def _chunks(self, places: Tensor) -> tuple[Tensor, ...]:
        return places.split(max(1, _AT_ONCE // len(self.x)))

    def _at(self, places: Tensor) -> Tensor:
        return self.start + places.to(self.x).view(1, -1, 1) * (self.x - self.start)

    def _value(self, x: Tensor) -> Tensor:
        logits = self.model.from_vectors(x, _repeated(self.state, x.shape[1]))[0][-1]
        return logits.double().log_softmax(-1)[:, self.token]


def _line(
    model: LanguageModel, sample: TextSample, position: int, width: int, token: int,
    baseline: str | None, effort: _Effort,
) -> _Line:  # fmt: skip
    """From the baseline to the last ``width`` tokens, behind those that are read as they are."""
    fed = sample.fed.to(model.device)
    end = len(sample.before) + position
    state = model(fed[: end - width])[1] if end > width else None
    x = model.vectors(fed[end - width : end])
    start = torch.zeros_like(x) if baseline is None else _vector(model, baseline).expand_as(x)
    return _Line(model, x, start, state, token, effort)


def _repeated(state: State | None, n: int) -> State | None:
    return None if state is None else tuple(s.repeat(1, n, 1) for s in state)


def _vector(model: LanguageModel, token: str) -> Tensor:
    index = _token(model, token, "baseline")
    return model.vectors(torch.tensor([[index]], device=model.device))


def _token(model: LanguageModel, token: str, what: str) -> int:
    tokens = model.vocabulary.tokens
    if token not in tokens:
        raise ValueError(f"{what} {token!r} is not in the model's vocabulary of {len(tokens)}")
    return tokens.index(token)


def _check(
    sample: TextSample, position: int, method: str, points: int | None, window: int | None
) -> None:
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if not 1 <= position <= len(sample):
        raise ValueError(
            f"position must be from 1 to {len(sample)}, the text's tokens, got {position}"
        )
    for name, n in (("points", points), ("window", window)):
        if n is not None and n < 1:
            raise ValueError(f"{name} must be at least 1, got {n}")
