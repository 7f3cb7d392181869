"""Exponents are those of closed forms and of the Jacobians' determinants."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

import unrolled
from linear_rnns import H, scaled_orthogonal, sequence, with_matrix
from tiny_models import TEXT, tiny
from unrolled.cells import CELLS
from unrolled.inspect.given import one_sequence
from unrolled.inspect.jacobians import jacobian
from unrolled.inspect.lyapunov import LayerExponents, lyapunov
from unrolled.inspect.step import Step
from unrolled.inspect.style import save

EPS = torch.finfo(torch.float64).eps


@pytest.mark.parametrize("rho", [0.5, 0.9, 1.0, 1.1])
def test_a_scaled_orthogonal_matrix_has_the_logarithm_of_rho(rho: float) -> None:
    found = lyapunov(scaled_orthogonal(rho), (sequence(60),)).layers[0]
    want = torch.full((H,), math.log(rho), dtype=torch.float64)
    torch.testing.assert_close(found.exponents, want, atol=1e-6, rtol=0)
    # Each step's logarithms are the same but for rounding of five numbers below 1.2.
    assert float(found.errors.max()) < 10 * H * EPS
    assert (found.size, found.warm_up, found.steps, found.length) == (H, 6, 54, 60)


def test_a_triangular_matrix_has_the_logarithms_of_its_diagonal() -> None:
    matrix = torch.tensor([[0.5, 3.0, -1.0], [0.0, 1.2, 2.0], [0.0, 0.0, -0.9]]).double()
    found = lyapunov(with_matrix(matrix), (sequence(400),), k=2).layers[0]
    want = torch.tensor([1.2, 0.9]).double().log()
    # What is left of the beginning after 40 steps, over 360.
    torch.testing.assert_close(found.exponents, want, atol=(0.9 / 1.2) ** 40, rtol=0)


@pytest.mark.parametrize("name", ["gru", "lstm", "lstm_concat"])
def test_all_exponents_add_up_to_the_mean_logarithm_of_the_determinants(name: str) -> None:
    torch.manual_seed(0)
    layer = unrolled.Recurrent(CELLS[name], 3, 4, dtype=torch.float64)
    x = sequence(50)
    found = lyapunov(layer, (x,)).layers[0]
    step = Step.of(*one_sequence(layer, (x,))[0])
    steps = [jacobian(step, t) for t in range(45)]
    logs = [float(j.det().abs().log()) for j in steps]
    assert len(found.exponents) == step.size
    # A determinant is off by n ε of the condition, relative to itself, in either way.
    bound = 10 * step.size * EPS * sum(float(torch.linalg.cond(j)) for j in steps) / 45
    assert bound < 1e-9
    assert float(found.exponents.sum()) == pytest.approx(sum(logs) / 45, abs=bound)


@unrolled.cell
def scaled(x: Tensor, h: Tensor, *, W: Any = unrolled.param("H", "D")) -> Tensor:
    """Each state is multiplied by a number of its own at each step."""
    return torch.exp(W @ x) * (h + 1)


def test_the_error_is_that_of_a_mean_of_independent_numbers() -> None:
    torch.manual_seed(0)
    layer = unrolled.Recurrent(scaled, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.get_parameter("W_l0").fill_(0.5)
    x = sequence(2000, 1, 1) - 1
    found = lyapunov(layer, (x,)).layers[0]
    logs = 0.5 * x[: found.steps]
    # An exponential, a product and a logarithm of numbers below e^4 a step.
    assert float(found.exponents[0]) == pytest.approx(float(logs.mean()), abs=3 * 4 * EPS)
    # Ten blocks tell their deviation to 1/sqrt(18); four times that is hardly ever passed.
    want = float(logs.std()) / math.sqrt(found.steps)
    assert float(found.errors[0]) == pytest.approx(want, rel=4 / math.sqrt(18))


def test_large_layers_get_some_exponents_and_as_many_steps_as_are_affordable() -> None:
    layer = unrolled.RNN(256, 512)
    found = lyapunov(layer, (torch.zeros(20, 1, 256),)).layers[0]
    assert (len(found.exponents), found.size, found.steps) == (16, 512, 18)
    wide = unrolled.RNN(1024, 4096)
    few = lyapunov(wide, (torch.zeros(40, 1, 1024),), k=16).layers[0]
    assert (few.steps + few.warm_up, few.length) == (20, 40)


def exponents(top: float, error: float) -> LayerExponents:
    return LayerExponents("l", torch.tensor([top]), torch.tensor([error]), 1, 0, 9, 9)


def test_the_reason_says_what_was_measured() -> None:
    assert exponents(-0.1, 0.01).reason == (
        "the largest exponent is −0.1 ± 0.01 a step: differences fall to 1/e in 10 steps"
    )
    assert exponents(0.25, 0.01).reason == (
        "the largest exponent is 0.25 ± 0.01 a step: differences grow by 28.4 % a step, chaos"
    )
    assert exponents(0.01, 0.01).reason == (
        "the largest exponent is 0.01 ± 0.01 a step, zero within its error: differences are kept"
    )
    assert exponents(-0.123456, 1.26e-6).reason == (
        "the largest exponent is −0.123 ± 1.3e−06 a step: differences fall to 1/e in 8.1 steps"
    )
    assert exponents(-math.inf, 0).reason == "after one step nothing is left of a difference"


def test_a_step_that_forgets_all_has_no_exponent() -> None:
    found = lyapunov(with_matrix(torch.zeros(2, 2)), (sequence(20),)).layers[0]
    assert found.exponents.tolist() == [-math.inf] * 2
    assert found.errors.tolist() == [0.0] * 2
    assert found.reason == "after one step nothing is left of a difference"


def test_bad_input_gets_one_line() -> None:
    layer, x = scaled_orthogonal(1.0), (sequence(30),)
    cases: list[tuple[Any, dict[str, int], str]] = [
        (x, {"k": 6}, "recurrent l0 has 5 states, so no 6 exponents"),
        (x, {"k": 0}, "k must be at least 1, got 0"),
        (x, {"steps": 31}, "recurrent l0: the sequence has 30 steps, not 31"),
        (x, {"steps": 19}, "steps must be at least 20, got 19"),
        ((sequence(19),), {}, "recurrent l0: the sequence has 19 steps, not 20"),
        ((sequence(30) * torch.inf,), {}, "recurrent l0: its input is not finite from step 0 on"),
    ]
    for given, options, message in cases:
        with pytest.raises(ValueError) as caught:
            lyapunov(layer, given, k=options.get("k"), steps=options.get("steps"))
        assert str(caught.value) == message


def test_the_picture_has_a_line_a_layer(tmp_path: Path) -> None:
    told: list[float] = []
    found = lyapunov(tiny(), TEXT * 3, k=3, progress=lambda _, share: told.append(share))
    assert told[-1] == 1.0
    assert told == sorted(told)
    figure = found.plot()
    assert imread(save(figure, tmp_path / "lyapunov.png")).shape[1] == 800
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [  # pyright: ignore
        "recurrent l0 (3 of 12)", "recurrent l1 (3 of 12)"
    ]  # fmt: skip
    assert axes.get_ylabel() == "Lyapunov exponent (1/step)"
    assert [row["exponents"] for row in found.table()] == ["3 of 12"] * 2
