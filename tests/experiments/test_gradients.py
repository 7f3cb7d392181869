"""Vanishing and exploding gradients: the numbers are those of plain loops, words follow numbers."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tiny_experiments import TINY
from unrolled.cells import CELLS
from unrolled.experiments import exploding, vanishing
from unrolled.experiments.exploding import Course
from unrolled.experiments.networks import irnn, lstm, rnn, scaled_rnn, seeded, updates
from unrolled.experiments.vanishing import Flow
from unrolled.nn import Recurrent


def flow(name: str, factor: float, steps: int = 100, **other: float) -> Flow:
    """A gradient that each step multiplies by ``factor``."""
    left = tuple(factor**k for k in range(steps))
    below = [k for k, share in enumerate(left) if share < 0.01]
    facts = {"derivative": None, "kept": None, **other}
    return Flow(name, left, left, left, below[0] if below else None, **facts)


def verdicts(factors: dict[str, float]) -> list[str]:
    flows = tuple(
        flow(name, factors.get(name, 0.5), derivative=0.9 if "tanh" in name else 0.2, kept=0.5)
        for name in vanishing.NETWORKS
    )
    return [f.verdict for f in vanishing.findings(vanishing.Result(TINY["vanishing"], flows))]


def test_shares_are_those_of_a_plain_loop() -> None:
    budget = replace(TINY["vanishing"], networks=1)
    result = vanishing.run(budget, 3)
    for name, make in vanishing.NETWORKS.items():
        with seeded(3):
            layer = Recurrent(make(), budget.inputs, budget.hidden, dtype=torch.float64)
            x = torch.randn(budget.steps, budget.batch, budget.inputs, dtype=torch.float64)
            direction = torch.randn(budget.batch, budget.hidden, dtype=torch.float64)
        parameters = {n: getattr(layer, f"{n}_l0").detach() for n in layer.cell.parameters}
        shares: list[torch.Tensor] = []
        for k in range(budget.batch):
            # That these require a gradient makes autograd follow all states.
            states = tuple(s[0, 0].detach().requires_grad_() for s in layer.initial_state(1))
            seen: list[tuple[torch.Tensor, ...]] = []
            for at in x[:, k]:
                made = layer.cell(at, *states, **parameters)
                new = (made,) if isinstance(made, torch.Tensor) else made
                states = tuple(new)
                seen.append(states)
            loss = states[0] @ direction[k]
            flat = [s for step in seen for s in step]
            found = torch.autograd.grad(loss, flat, materialize_grads=True, allow_unused=True)
            n = len(states)
            norms = [torch.cat(found[t * n : t * n + n]).norm() for t in range(budget.steps)]
            shares.append(torch.stack(norms).flip(0) / norms[-1])
        median = torch.stack(shares, 1).quantile(0.5, dim=1)
        # Some 12 steps of 50 operations, each with a relative error of 2^-53.
        torch.testing.assert_close(
            torch.tensor(result.flow(name).median, dtype=torch.float64), median, rtol=1e-11, atol=0
        )


def test_the_horizon_and_the_factor() -> None:
    assert flow("a", 0.5).horizon == 7
    assert flow("a", 0.5).factor == pytest.approx(0.5)
    assert flow("a", 0.99).horizon is None
    assert flow("a", 0.99).factor == pytest.approx(0.99)


def test_vanishing_says_what_the_numbers_say() -> None:
    gates = ["LSTM forget bias 0", "LSTM forget bias 1", "GRU"]
    assert verdicts({"RNN sigmoid": 0.1, "IRNN": 0.99}) == [
        "holds", "holds", *["does not hold"] * 3, "does not hold", "does not hold",
    ]  # fmt: skip
    better = {"RNN sigmoid": 0.7, **dict.fromkeys(gates, 0.8), "LSTM forget bias 1": 0.99}
    assert verdicts(better) == [
        "holds", "holds in part", "holds in part", "holds", "holds in part", "holds", "not shown",
    ]  # fmt: skip
    assert verdicts({"RNN tanh": 0.99})[0] == "does not hold"


def test_what_is_said_of_gradients_is_said_of_them_before_training() -> None:
    found = vanishing.findings(vanishing.run(TINY["vanishing"], 0))
    for finding in found:
        words = f"{finding.claim} {finding.measured}"
        assert "before training" in words.lower() or "weights at the start" in words
        assert "solve" not in finding.claim or "before training" in finding.claim
    assert found[-1].measured.endswith(
        "That is the gradient before training; whether such a start learns to bridge more is what "
        "unrolled experiment memory measures."
    )


def test_the_networks_start_as_they_are_called() -> None:
    identity = Recurrent(irnn(), 3, 5)
    assert torch.equal(identity.get_parameter("W_hh_l0"), torch.eye(5))
    assert identity.get_parameter("b_ih_l0").abs().sum() == 0
    scaled = Recurrent(scaled_rnn("tanh", 1.5), 3, 5).get_parameter("W_hh_l0")
    # Orthogonal by a QR of 5 columns in float32, then a product of 5 terms.
    off = 2.25 * 10 * 5 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(scaled @ scaled.T, 2.25 * torch.eye(5), atol=off, rtol=0)
    opened = Recurrent(lstm(1.0), 3, 5)
    assert torch.equal(opened.get_parameter("b_ih_l0")[5:10], torch.ones(5))
    assert opened.get_parameter("b_hh_l0").abs().sum() == 0
    plain = Recurrent(rnn("sigmoid"), 3, 5)(torch.zeros(1, 1, 3))[0]
    assert (plain > 0).all()
    assert CELLS["rnn"].name in rnn("relu").name


def test_both_trainings_start_alike_and_only_one_is_clipped() -> None:
    result = exploding.run(TINY["exploding"], 0)
    for nonlinearity in exploding.NONLINEARITIES:
        for gain in result.budget.gains:
            pairs = zip(
                result.of(nonlinearity, gain, clipped=False),
                result.of(nonlinearity, gain, clipped=True),
                strict=True,
            )
            for without, with_ in pairs:
                assert without.losses[0] == with_.losses[0]
                assert without.norms[0] == with_.norms[0]
    broke = [c for c in result.courses if not math.isfinite(c.final)]
    assert all(len(c.losses) <= result.budget.steps for c in broke)


def test_updates_end_before_what_is_not_finite_and_clip() -> None:
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    factors = iter([1.0, 2.0, math.inf, 1.0])

    def loss() -> torch.Tensor:
        return (w * next(factors) * torch.tensor([0.6, 0.8])).sum()

    made = list(updates([w], torch.optim.SGD([w], 0.1), loss, 4, clip=1.0))
    assert [u.step for u in made] == [1, 2, 3]
    assert made[0].loss == pytest.approx(5.0)
    assert [u.norm for u in made[:2]] == pytest.approx([1.0, 2.0])
    assert made[2].loss == math.inf
    # Two steps of 0.1 along a gradient of norm 1, in float32.
    assert w.tolist() == pytest.approx([3 - 0.12, 4 - 0.16], rel=1e-5)


def courses(without: float, with_: float, norms: tuple[float, ...]) -> exploding.Result:
    budget = replace(TINY["exploding"], gains=(0.9, 1.0, 2.0), starts=1)
    made = [
        Course(n, g, on, 0, (1.0, with_ if on else without), (norms[k], 20 * norms[k]))
        for n in exploding.NONLINEARITIES
        for k, g in enumerate(budget.gains)
        for on in (False, True)
    ]
    return exploding.Result(budget, tuple(made))


def test_exploding_says_what_the_numbers_say() -> None:
    def said(result: exploding.Result) -> list[str]:
        return [f.verdict for f in exploding.findings(result)]

    assert said(courses(0.9, 0.1, (1, 1, 100))) == [
        "holds", "holds", "does not hold", "does not hold", "does not hold", "holds", "holds",
    ]  # fmt: skip
    assert said(courses(0.1, 0.9, (1, 1, 3))) == [
        "holds in part", "holds in part", *["does not hold"] * 5,
    ]  # fmt: skip
    assert said(courses(math.nan, 0.5, (1, 1, 1)))[-2:] == ["holds", "holds"]
    assert (
        "3 of 3 trainings with relu"
        in exploding.findings(courses(math.nan, 0.5, (1, 1, 1)))[4].measured
    )


def test_all_scales_past_1_are_compared() -> None:
    made = courses(0.9, 0.1, (1, 1, 100))
    middle = [replace(c, gain=1.5, norms=(1.5, 30.0)) for c in made.courses if c.gain == 1.0]
    budget = replace(made.budget, gains=(0.9, 1.0, 1.5, 2.0))
    found = exploding.findings(exploding.Result(budget, (*made.courses, *middle)))[0]
    assert found.verdict == "holds in part"
    assert found.measured == (
        "Before training, beside the gradient norm with the matrix scaled by 1 (1), it is 1.5 "
        "times as large where it is scaled by 1.5 (1.5; without any saturation it would be 26 "
        "times) and 100 times as large where it is scaled by 2 (100; without any saturation it "
        "would be 2.6e+02 times); medians of 1 start. It holds where each is more than 10 times as "
        "large, in part where one is more than 2 times."
    )


def test_tanh_and_relu_have_a_growth_each() -> None:
    made = courses(0.9, 0.1, (1, 1, 100))
    grown = {"tanh": (4.0, 40.0), "relu": (600.0, 500.0)}
    below = [
        replace(c, seed=k, norms=(2.0, 2.0 * growth))
        for c in made.courses
        if c.gain == 0.9
        for k, growth in enumerate(grown[c.nonlinearity])
    ]
    rest = [c for c in made.courses if c.gain != 0.9]
    result = exploding.Result(replace(made.budget, starts=2), (*rest, *below))
    tanh, relu = exploding.findings(result)[2:4]
    assert (tanh.verdict, relu.verdict) == ("holds in part", "does not hold")
    assert "rose to 22 times that of the start" in tanh.measured
    assert "(median of 2 starts, from 4 to 40), in 1 of 2 to more than 10 times." in tanh.measured
    assert "rose to 550 times that of the start" in relu.measured
    assert "training changes" not in tanh.measured + relu.measured
