"""``attribution``: which earlier tokens a language model's prediction rests on.

Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017):
the inputs are led from a baseline to what they are, on a straight line, and each is given its part
of the change of the prediction, ∫ ∂F/∂x_t dx_t.  The parts add up to the whole change, but for the
error of the quadrature, which is reported.  Gradient × input (Shrikumar et
al. 2016) is the first-order part at the end of the line: one pass, and it need not add up.
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
    def error(self) -> float:
        """By how much the parts' sum misses the change from the baseline (completeness)."""
        return float(self.values.sum()) - (self.output - self.baseline)

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
    window: int = 100,
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
            are, and stay.
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
    first = max(0, position - window)
    fed = sample.fed.to(model.device)
    begin = len(sample.before)
    with evaluating(model), torch.no_grad():
        state = model(fed[: begin + first])[1] if begin + first else None
        x = model.vectors(fed[begin + first : begin + position])
        start = torch.zeros_like(x) if baseline is None else _vector(model, baseline).expand_as(x)
        logits = model.from_vectors(x, state)[0][-1, 0]
        token = int(logits.argmax()) if target is None else _token(model, target, "target")
        line = _Line(model, x, start, state, token, points or MOST_POINTS, progress)
        zero, output = line.whole(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        if method == "gradient_times_input":
            values, n = line.parts(torch.ones(1, dtype=torch.float64))[0], 1
        elif points is None:
            tolerance = ENOUGH * max(abs(output - zero), 1.0)
            values, n = adaptive(line.parts, line.whole, tolerance, MOST_POINTS)
        else:
            values, n = gauss_legendre(line.parts, points), points
    if progress:
        progress("attribution", 1.0)
    if not values.isfinite().all():
        raise ValueError("the gradient of the prediction is not finite")
    return Attribution(
        method, position, model.vocabulary.tokens[token], first,
        sample.pieces[first:position], values, output, zero, n,
    )  # fmt: skip


@dataclass(eq=False)
class _Line:
    """The prediction on the way from a baseline ``[T, 1, D]`` to the vectors themselves."""

    model: LanguageModel
    x: Tensor
    start: Tensor
    state: State | None
    token: int
    most: int
    progress: Progress | None
    seen: int = 0

    def parts(self, places: Tensor) -> Tensor:
        """What each vector adds to the derivative at places ``[n]`` of the line, ``[n, T]``."""
        found: list[Tensor] = []
        for some in self._chunks(places):
            if self.progress:
                self.progress("attribution", min(1.0, self.seen / self.most))
            self.seen += len(some)
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


def _check(sample: TextSample, position: int, method: str, points: int | None, window: int) -> None:
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if not 1 <= position <= len(sample):
        raise ValueError(
            f"position must be from 1 to {len(sample)}, the text's tokens, got {position}"
        )
    for name, n in (("points", points), ("window", window)):
        if n is not None and n < 1:
            raise ValueError(f"{name} must be at least 1, got {n}")
