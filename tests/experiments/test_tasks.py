"""Memory, counting and speed: the problems are what they say, and words follow numbers."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from matplotlib.patches import Rectangle
from torch import Tensor, nn

import unrolled
from tiny_experiments import TINY
from unrolled.experiments import counting, memory, speed
from unrolled.experiments.counting import Counter, Learned
from unrolled.experiments.memory import Trial
from unrolled.experiments.speed import Timed
from unrolled.experiments.table import EXPERIMENTS


def test_the_adding_problem() -> None:
    x, target = memory.adding(10, 500)
    numbers, marks = x.unbind(-1)
    assert marks[:5].sum(0).eq(1).all()
    assert marks[5:].sum(0).eq(1).all()
    assert set(marks.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(target, (numbers * marks).sum(0))
    assert marks.sum(1).gt(0).all()  # all places come up
    # Who says 1 has the variance of a sum of two, 2/12; the sum of 500 squares scatters around it.
    assert (target - 1).square().mean().item() == pytest.approx(1 / 6, abs=0.04)


def test_the_copying_problem() -> None:
    x, said = memory.copying(lag=4, batch=50, symbols=3, alphabet=5)
    tokens = x.argmax(-1)
    assert x.sum(-1).eq(1).all()
    assert x.shape == (10, 50, 7)
    assert torch.equal(tokens[:3], said)
    assert tokens[3:6].eq(5).all()  # blanks
    assert tokens[6].eq(6).all()  # the mark, after which the first symbol is due
    assert tokens[7:].eq(5).all()
    assert set(said.unique().tolist()) == set(range(5))


def test_a_climb_ends_with_the_first_lag_that_is_not_bridged() -> None:
    result = memory.run(TINY["memory"], 0)
    for problem in memory.SOLVED:
        for cell in memory.CELLS_TRIED:
            for seed in range(result.budget.starts):
                own = [
                    t for t in result.trials
                    if (t.problem, t.cell, t.seed) == (problem, cell, seed)
                ]  # fmt: skip
                assert [t.lag for t in own] == list(result.lags(problem)[: len(own)])
                assert all(t.solved for t in own[:-1])
                assert own[-1].solved == (
                    len(own) == len(result.lags(problem)) and own[-1].error < memory.SOLVED[problem]
                )
                assert all(t.steps <= result.budget.steps for t in own)


def bridged(**longest: int) -> memory.Result:
    trials = [
        Trial(problem, cell, seed, lag, 0.0, 1, solved=lag <= longest[cell])
        for problem in memory.SOLVED
        for cell in memory.CELLS_TRIED
        for seed in (0, 1)
        for lag in (2, 4, 8)
    ]
    budget = replace(TINY["memory"], adding=(2, 4, 8), copying=(2, 4, 8))
    return memory.Result(budget, tuple(trials))


def test_memory_says_what_the_numbers_say() -> None:
    def said(**longest: int) -> list[str]:
        return [f.verdict for f in memory.findings(bridged(**longest))]

    assert said(RNN=2, IRNN=2, GRU=4, LSTM=8) == ["holds", "holds", "holds", "not shown"]
    assert said(RNN=4, IRNN=8, GRU=2, LSTM=8) == [
        "holds", "does not hold", "does not hold", "holds in part",
    ]  # fmt: skip
    assert memory.table(bridged(RNN=0, IRNN=2, GRU=4, LSTM=8)).rows == (
        ("RNN", "< 2, < 2", "< 2, < 2"), ("IRNN", "2, 2", "2, 2"), ("GRU", "4, 4", "4, 4"),
        ("LSTM", "≥ 8, ≥ 8", "≥ 8, ≥ 8"),
    )  # fmt: skip
    first = memory.findings(bridged(RNN=0, IRNN=2, GRU=4, LSTM=8))[0].measured
    assert first.startswith(
        "In adding the LSTM bridges at least 8 and at least 8 steps, the RNN less than 2 and less "
        "than 2; in copying "
    )


def test_memory_compares_the_worse_of_two_starts_and_tells_both() -> None:
    """A GRU whose starts bridge 2 and 8 steps is no better than an RNN's 2 and 4."""
    alike = bridged(RNN=2, IRNN=2, GRU=2, LSTM=4)
    better = {("GRU", 1): 8, ("RNN", 1): 4}
    trials = tuple(
        replace(t, solved=t.lag <= better.get((t.cell, t.seed), 0) or t.solved)
        for t in alike.trials
    )
    result = memory.Result(replace(alike.budget, starts=2), trials)
    assert memory.table(result).rows[2] == ("GRU", "2, ≥ 8", "2, ≥ 8")
    found = memory.findings(result)[1]
    assert found.verdict == "does not hold"
    assert found.measured == (
        "In adding the GRU bridges 2 and at least 8 steps, the RNN 2 and 4; in copying the GRU "
        "bridges 2 and at least 8 steps, the RNN 2 and 4. The worse of the GRU's 2 starts "
        "bridges more than the RNN's in 0 of 2 problems (30 updates of 8 sequences for each lag, "
        "6 units, Adam at 0.01 for all)."
    )
    drawn = EXPERIMENTS["memory"].picture(result).axes[0].patches
    assert [bar.get_height() for bar in drawn if isinstance(bar, Rectangle)] == [2, 2, 2, 4]
    said = [EXPERIMENTS["memory"].caption, *(f.measured for f in memory.findings(result))]
    assert not any("median" in words for words in said)


def test_strings_and_where_what_follows_is_decided() -> None:
    read, following, decided = counting.strings(3, 2)
    # S a b c | S a a b b c c, with 4 for the end.
    assert read.T.tolist() == [[0, 1, 2, 3, 4, 4, 4], [0, 1, 1, 2, 2, 3, 3]]
    assert following.T.tolist() == [[1, 2, 3, 4, -100, -100, -100], [1, 1, 2, 2, 3, 3, 4]]
    assert decided.T.tolist() == [
        [False, False, True, True, False, False, False],
        [False, False, False, True, True, True, True],
    ]


class Exact(nn.Module):
    """Says what follows in aⁿbⁿcⁿ by counting, up to some n."""

    def __init__(self, letters: int, most: int) -> None:
        super().__init__()
        self.letters, self.most = letters, most

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.argmax(-1)
        logits = torch.zeros(*tokens.shape, self.letters + 2)
        for column in range(tokens.shape[1]):
            for t in range(len(tokens)):
                so_far = tokens[: t + 1, column]
                n, last = int((so_far == 1).sum()), int(so_far[-1])
                full = 1 < last <= self.letters and int((so_far == last).sum()) == min(n, self.most)
                logits[t, column, last + full] = 1.0
        return logits


@pytest.mark.parametrize("letters", [2, 3])
def test_who_counts_is_right_as_far_as_it_counts(letters: int) -> None:
    right = counting._right(Exact(letters, 4), letters, 7)  # pyright: ignore[reportPrivateUsage]
    assert right.tolist() == [True] * 4 + [False] * 3


def test_strings_beyond_a_hundred_are_tried_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(nn.Module):
        """Right where there are fewer than 130 a's."""

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.argmax(-1)
            counts = (tokens == 1).sum(0)
            following = torch.cat([tokens[1:], tokens.new_full((1, tokens.shape[1]), 3)])
            following = torch.where(counts < 130, following, 0)
            return nn.functional.one_hot(following, 4).float()

    right = counting._right(Short(), 2, 140)  # pyright: ignore[reportPrivateUsage]
    assert right.tolist() == [n < 130 for n in range(1, 141)]


@unrolled.cell
def abacus(x: Tensor, h: Tensor, c: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    """Adds up what its input is worth, and forgets it in another state."""
    return c, (0.5 * h + W @ x, c + W @ x)


def test_a_counter_is_found() -> None:
    layer = unrolled.Recurrent(abacus, 4, 3)
    with torch.no_grad():
        layer.get_parameter("W_l0").copy_(
            torch.tensor([[0.0, 0, 0, 0], [0, -2, 2, 0], [0, 1, 3, 0]])
        )
    found = counting.counter(layer, 2, 5)
    assert (found.state, found.unit, found.up, found.down) == ("c", 1, -2.0, 2.0)
    assert found.correlation == pytest.approx(-1.0)
    assert found.values == (0, -2, -4, -6, -8, -10, -8, -6, -4, -2, 0)


def learned(right: dict[str, int], correlation: float) -> counting.Result:
    unit = Counter("c", 0, correlation, 1.0, -1.0, (0.0,))
    made = [
        Learned(language, cell, 0, 0.1, right[cell], 0.5, unit)
        for language in counting.LANGUAGES
        for cell in counting.CELLS_TRIED
    ]
    return counting.Result(replace(TINY["counting"], trained=3, tested=9), tuple(made))


def test_counting_says_what_the_numbers_say() -> None:
    found = counting.findings(learned({"RNN": 2, "GRU": 4, "LSTM": 9}, -0.999))
    assert [f.verdict for f in found] == [
        "holds", "holds", "does not hold", "holds in part", "holds",
    ]  # fmt: skip
    assert "up to at least n = 9 in aⁿbⁿ and at least n = 9 in" in found[-1].measured
    assert counting.findings(learned({"RNN": 2, "GRU": 4, "LSTM": 9}, 0.5))[0].verdict == (
        "holds in part"
    )


def test_as_many_parameters_are_as_many_as_fit() -> None:
    result = speed.run(TINY["speed"], 0)
    most = result.of("LSTM")[0].parameters
    for name in ("RNN with as many parameters", "GRU with as many parameters"):
        for one in result.of(name):
            assert one.parameters <= most
            cell = speed._cell(name)  # pyright: ignore[reportPrivateUsage]
            larger = unrolled.Recurrent(cell, 32, one.hidden + 1)
            assert sum(p.numel() for p in larger.parameters()) > most
    assert all(one.seconds > 0 for one in result.timed)
    assert all(result.to_target(one) > 0 for one in result.timed)
    assert all(one.hidden == 6 for one in result.of("GRU"))


def timed(seconds: dict[str, float], last: dict[str, float]) -> speed.Result:
    made = [
        Timed(name, turn, 6, 10 + len(name), seconds.get(name, 1.0) * (1 + turn), losses)
        for turn in (0, 1)
        for name in speed.NETWORKS
        for losses in [(3.0, 2.5, last.get(name, 2.0))]
    ]
    return speed.Result(TINY["speed"], tuple(made))


def test_ratios_are_of_one_round() -> None:
    result = timed({"GRU": 0.5}, {"GRU": 1.0})
    update, target = speed.ratios(result, "GRU")
    assert str(update) == "0.50 (0.50 to 0.50)"
    assert result.target == 2.0
    assert result.to_target(result.of("GRU")[0]) == 3 * speed.SMOOTH * 0.5
    assert target.middle == 0.5


def test_speed_says_what_the_numbers_say() -> None:
    def said(**seconds: float) -> list[str]:
        return [f.verdict for f in speed.findings(timed(seconds, {}))]

    assert said(GRU=0.5, RNN=0.5) == [
        "holds" if len("GRU") < len("LSTM") else "does not hold",
        "holds", "does not hold", "holds", "holds", "holds in part",
    ]  # fmt: skip
    assert said(GRU=2.0, RNN=2.0)[1:4] == ["does not hold"] * 3
    rnn = speed.findings(timed({"RNN": 0.5}, {}))[3]
    assert rnn.claim == "RNNs, with fewer operations, are faster to train than LSTMs."
    assert rnn.measured.startswith("Beside the LSTM's in the same round, an update of the RNN ")
    different = speed.findings(timed({"GRU": 0.5}, {"GRU": 2.5, "LSTM": 2.0}))
    assert [f.verdict for f in different[-2:]] == ["does not hold", "holds"]


def test_rounds_that_disagree_show_nothing() -> None:
    result = timed({}, {})
    disagree = {0: 0.5, 1: 4.0}
    made = [
        replace(one, seconds=disagree[one.round] if one.network == "GRU" else 1.0)
        for one in result.timed
    ]
    assert speed.findings(replace(result, timed=tuple(made)))[1].verdict == "not shown"
