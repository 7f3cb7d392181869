"""Parts add up to the change, and are those of a plain sum over the line."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from model_rounding import assert_near
from tiny_models import TEXT, tiny
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.inspect.attribution import MOST_POINTS, attribution
from unrolled.inspect.quadrature import adaptive, gauss_legendre
from unrolled.inspect.style import save
from unrolled.models.language_model import LanguageModel


def model_of(embedding: int = 5, scale: float = 3.0, **options: Any) -> LanguageModel:
    """With weights so large that the prediction is far from linear."""
    model = tiny(embedding_size=embedding, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


@pytest.mark.parametrize("embedding", [5, 0], ids=["embedded", "one-hot"])
@pytest.mark.parametrize("baseline", [None, "o"])
def test_the_error_falls_with_the_points(embedding: int, baseline: str | None) -> None:
    model = model_of(embedding)
    errors = [
        abs(attribution(model, TEXT, 11, points=n, baseline=baseline).error)
        for n in (2, 8, 32, 128)
    ]
    assert errors[2] < 1e-3 * errors[0]
    # Until rounding is left: 128 points of some hundred operations on values below 100.
    assert errors[3] < 128 * 1e4 * torch.finfo(torch.float64).eps


@pytest.mark.parametrize("embedding", [5, 0], ids=["embedded", "one-hot"])
def test_by_default_the_parts_add_up(embedding: int) -> None:
    found = attribution(model_of(embedding, 6.0), TEXT * 3, 30)
    assert abs(found.error) <= 0.01 * max(1.0, abs(found.output - found.baseline))
    assert found.points <= MOST_POINTS
    assert abs(found.error) < abs(
        attribution(model_of(embedding, 6.0), TEXT * 3, 30, points=2).error
    )


def test_of_a_chaotic_model_fewer_tokens_get_a_part() -> None:
    model, text = model_of(scale=10.0), TEXT * 9
    wide = attribution(model, text, 100, window=100)
    assert not wide.adds_up
    assert (len(wide.pieces), wide.points) == (100, MOST_POINTS)
    told: list[float] = []
    found = attribution(model, text, 100, progress=lambda _, share: told.append(share))
    assert found.adds_up
    assert len(found.pieces) in (50, 25, 12, 6)
    assert found.pieces == tuple(text[100 - len(found.pieces) : 100])
    assert (found.target, found.output) == (wide.target, pytest.approx(wide.output))
    assert told == sorted(told)
    assert told[-1] == 1


def log_p(model: LanguageModel, x: Tensor, before: Tensor, token: int) -> Tensor:
    model.requires_grad_(False)
    state = model(before)[1]
    return model.from_vectors(x, state)[0][-1, 0].log_softmax(-1)[token]


def test_parts_are_those_of_a_plain_sum_and_what_stands_before_the_window_stays() -> None:
    model = model_of()
    found = attribution(model, TEXT, 9, "w", points=5, window=4, baseline="l")
    ids = model.encode(TEXT)
    before = torch.cat([torch.tensor([model.vocabulary.eos]), ids[:5]]).unsqueeze(1)
    token = model.vocabulary.tokens.index("w")
    x = model.vectors(ids[5:9].unsqueeze(1)).detach()
    start = model.vectors(model.encode("l" * 4).unsqueeze(1)).detach()

    @torch.enable_grad()
    def parts() -> Tensor:
        total = torch.zeros(4, dtype=torch.float64)
        for place, weight in zip(*np.polynomial.legendre.leggauss(5), strict=True):
            at = (start + (place + 1) / 2 * (x - start)).requires_grad_()
            (slope,) = torch.autograd.grad(log_p(model, at, before, token), at)
            total += weight / 2 * (slope * (x - start)).sum((1, 2))
        return total

    want, there, back = parts(), 2 * 10, 2 * 2 * 10  # two layers, ten steps
    assert_near(found.values, want, model, parts, back)
    for got, vectors in ((found.output, x), (found.baseline, start)):
        own = partial(log_p, model, vectors, before, token)
        assert_near(torch.tensor(got, dtype=torch.float64), own(), model, own, there)
    assert (found.first, found.pieces, found.target) == (5, tuple(" wor"), "w")
    assert [row["position"] for row in found.table()] == (6 + want.abs().argsort().flip(0)).tolist()


def test_gradient_times_input_is_one_gradient() -> None:
    model = model_of()
    found = attribution(model, TEXT, 12, method="gradient_times_input")
    ids = model.encode(TEXT)
    before = torch.tensor([[model.vocabulary.eos]])
    x = model.vectors(ids.unsqueeze(1)).detach().requires_grad_()
    token = int(model(torch.cat([before[:, 0], ids]).unsqueeze(1))[0][-1, 0].argmax())
    (slope,) = torch.autograd.grad(log_p(model, x, before, token), x)
    torch.testing.assert_close(found.values, (slope * x).sum((1, 2)).detach())
    assert (found.points, found.target) == (1, model.vocabulary.tokens[token])


def test_a_model_of_words_and_unknown_words_are_shown_as_in_the_text(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build(["to be or not to be\n"], "word")
    found = attribution(tiny(vocabulary=vocabulary), "to be\tor <b> be $", 6)
    assert "".join(found.pieces).startswith("to be")
    figure = found.plot()
    assert imread(save(figure, tmp_path / "attribution.png")).shape[1] == 800


def test_places_count_from_one_in_table_and_picture() -> None:
    found = attribution(tiny(), TEXT * 6, 62, window=60)
    cells = found.plot().axes[0]
    assert [t.get_text() for t in cells.get_yticklabels()] == ["3", "53"]
    assert cells.get_title().startswith(f"{found.target} at position 63: ")
    read = {row["position"]: row["token"] for row in found.table()}
    assert read == {n: (TEXT * 6)[n - 1] for n in range(3, 63)}


def test_a_peak_is_found_where_more_points_alone_would_miss_it() -> None:
    width, centre = 1e-3, 0.3337

    def whole(t: Tensor) -> Tensor:
        return torch.atan((t - centre) / width)

    def parts(t: Tensor) -> Tensor:
        slope = width / (width**2 + (t - centre) ** 2)
        return torch.stack([2 * slope, -slope], 1)

    change = float(whole(torch.ones(1)) - whole(torch.zeros(1)))
    found, used = adaptive(parts, whole, 0.01, 512)
    assert float(found.sum()) == pytest.approx(change, abs=0.01)
    assert float(found[0]) == pytest.approx(2 * change, abs=0.02)
    assert used <= 512
    assert abs(float(gauss_legendre(parts, used).sum()) - change) > 0.05
    few, used = adaptive(parts, whole, 0.0, 100)
    assert used <= 100
    assert few.shape == (2,)


def test_a_polynomial_is_integrated_exactly() -> None:
    found = gauss_legendre(lambda t: torch.stack([t**7, 8 * t**3], 1), 4)
    torch.testing.assert_close(found, torch.tensor([1 / 8, 2.0]).double(), atol=1e-14, rtol=0)


def test_bad_input_gets_one_line() -> None:
    model = tiny()
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((TEXT, 13), {}, "position must be from 1 to 12, the text's tokens, got 13"),
        ((TEXT, 0), {}, "position must be from 1 to 12, the text's tokens, got 0"),
        ((TEXT, 5, "Z"), {}, "target 'Z' is not in the model's vocabulary of 11"),
        ((TEXT, 5), {"baseline": "Z"}, "baseline 'Z' is not in the model's vocabulary of 11"),
        ((TEXT, 5), {"points": 0}, "points must be at least 1, got 0"),
        ((TEXT, 5), {"window": 0}, "window must be at least 1, got 0"),
        (
            (TEXT, 5, None, "guess"), {},
            "method must be one of integrated_gradients, gradient_times_input, got 'guess'",
        ),
        (("", 1), {}, "the text is empty: there is nothing to look at"),
    ]  # fmt: skip
    for args, options, message in cases:
        with pytest.raises((ValueError, DataError)) as caught:
            attribution(model, *args, **options)
        assert str(caught.value) == message


def test_progress_ends_at_one_and_the_mode_stays() -> None:
    told: list[float] = []
    model = tiny().train()
    found = attribution(model, TEXT, 12, progress=lambda _, share: told.append(share))
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert model.training
    figure = found.plot()
    (cells, _) = figure.axes
    assert [t.get_text() for t in cells.texts] == list("hello␣world↵")


@pytest.mark.parametrize("embedding", [5, 0], ids=["embedded", "one-hot"])
def test_a_model_goes_on_from_the_vectors_of_its_tokens(embedding: int) -> None:
    model = tiny(embedding_size=embedding)
    tokens = model.encode(TEXT).view(6, 2)
    _, state = model(tokens)
    whole, after = model(tokens, state)
    got, then = model.from_vectors(model.vectors(tokens), state)
    assert torch.equal(got, whole)
    assert all(torch.equal(a, b) for a, b in zip(then, after, strict=True))
    with pytest.raises(TypeError, match="expected int64 token ids"):
        model.vectors(tokens.float())
