"""Beam search on toy models whose every ending can be counted, and against a plain one."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from unrolled.errors import ModelError, UserError
from unrolled.models.beam import Beam, Hypothesis, State, largest, search

EOS = 2
SIZE = 4


class Toy:
    """A model whose state is the whole history, so that a wrongly chosen state is seen."""

    def __init__(self, seed: int, n_sources: int = 1, ties: bool = False) -> None:
        draw = torch.Generator().manual_seed(seed)
        logits = torch.randn(n_sources, 997, SIZE, generator=draw, dtype=torch.float64) * 2
        if ties:
            logits = logits.round()
        self.table = logits.log_softmax(-1)
        self.state: State = (torch.zeros(1, n_sources, 1, dtype=torch.float64),)

    def __call__(self, tokens: Tensor, state: State, sources: Tensor) -> tuple[Tensor, State]:
        (history,) = state
        history = (history * 5 + tokens.reshape(1, -1, 1) + 1) % 997
        places = history.view(tokens.shape).long()
        return self.table[sources.expand_as(tokens), places], (history,)

    def logs(self, prefix: tuple[int, ...], source: int = 0) -> list[float]:
        history = 0
        for token in (EOS, *prefix):
            history = (history * 5 + token + 1) % 997
        return self.table[source, history].tolist()

    def log(self, tokens: tuple[int, ...], source: int = 0) -> float:
        ended = (*tokens, EOS)
        return sum(self.logs(ended[:i], source)[t] for i, t in enumerate(ended))


def scored(toy: Toy, tokens: tuple[int, ...], power: float, source: int = 0) -> Hypothesis:
    log = toy.log(tokens, source)
    return Hypothesis(tokens, log, log / (len(tokens) + 1) ** power)


def by_rank(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(hypotheses, key=lambda h: (-h.score, h.tokens))


def enumerated(toy: Toy, longest: int, power: float, source: int = 0) -> list[Hypothesis]:
    others = [t for t in range(SIZE) if t != EOS]
    strings = [s for n in range(longest + 1) for s in itertools.product(others, repeat=n)]
    return by_rank([scored(toy, s, power, source) for s in strings])


def plain(toy: Toy, beam: Beam, source: int = 0, barred: int | None = None) -> list[Hypothesis]:
    """The search in lists, without batches, states or stopping early."""
    live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    found: list[Hypothesis] = []
    for length in range(beam.max_length + 1):
        followed = [
            (prefix, token, log + toy.logs(prefix, source)[token])
            for prefix, log in live
            for token in range(SIZE)
            if token != barred
            if length < beam.max_length or token == EOS
        ]
        followed.sort(key=lambda f: -f[2])
        taken = followed[: beam.width - len(found)]
        found += [scored(toy, p, beam.length_penalty, source) for p, t, _ in taken if t == EOS]
        live = [((*p, t), log) for p, t, log in taken if t != EOS]
    return by_rank(found)[: beam.n_best]


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [h.tokens for h in found] == [h.tokens for h in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-13)
        assert one.score == pytest.approx(other.score, rel=1e-13)


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("longest", [0, 1, 3])
def test_as_many_slots_as_endings_is_enumeration(longest: int, power: float):
    toy = Toy(longest, n_sources=3)
    n = sum(3**k for k in range(longest + 1))
    found = search(toy, toy.state, EOS, Beam(n, n, longest, power))
    for source, each in enumerate(found):
        assert_same(each, enumerated(toy, longest, power, source))


@pytest.mark.parametrize("seed", range(20))
def test_one_slot_is_greedy_search(seed: int):
    toy = Toy(seed, n_sources=4)
    found = search(toy, toy.state, EOS, Beam(1, max_length=5))
    for source, each in enumerate(found):
        tokens: tuple[int, ...] = ()
        while len(tokens) < 5:
            logs = toy.logs(tokens, source)
            best = logs.index(max(logs))
            if best == EOS:
                break
            tokens += (best,)
        assert_same(each, [scored(toy, tokens, 1.0, source)])


@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(5))
def test_any_width_is_the_plain_search_for_each_source(seed: int, width: int, power: float):
    toy = Toy(seed, n_sources=5)
    for n_best in {1, width}:
        beam = Beam(width, n_best, 6, power)
        found = search(toy, toy.state, EOS, beam)
        assert len(found) == 5
        for source, each in enumerate(found):
            assert_same(each, plain(toy, beam, source))


@pytest.mark.parametrize("width", [1, 3, 40])
def test_equal_hypotheses_stand_in_the_order_of_their_ids(width: int):
    toy = Toy(0)
    toy.table.fill_(-math.log(SIZE))
    found = search(toy, toy.state, EOS, Beam(width, width, 3, 0.0))[0]
    assert_same(found, plain(toy, Beam(width, width, 3, 0.0)))
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(10))
def test_ties_go_to_the_first(seed: int):
    toy = Toy(seed, n_sources=2, ties=True)
    beam = Beam(1, 1, 6)
    found = search(toy, toy.state, EOS, beam)
    for source, each in enumerate(found):
        assert_same(each, plain(toy, beam, source))


@pytest.mark.parametrize("width", [1, 4, 9])
def test_a_barred_token_is_never_taken(width: int):
    toy = Toy(3, n_sources=2)
    beam = Beam(width, width, 4)
    for source, each in enumerate(search(toy, toy.state, EOS, beam, barred=0)):
        assert_same(each, plain(toy, beam, source, barred=0))


def test_an_end_that_is_sure_stops_the_search():
    toy = Toy(0)
    toy.table[..., EOS] = 0.0
    toy.table[..., :EOS] = toy.table[..., EOS + 1 :] = -50.0
    calls = 0

    def step(tokens: Tensor, state: State, sources: Tensor) -> tuple[Tensor, State]:
        nonlocal calls
        calls += 1
        return toy(tokens, state, sources)

    found = search(step, toy.state, EOS, Beam(4, 1, 1000, 0.0))
    assert found == [[Hypothesis((), 0.0, 0.0)]]
    assert calls == 1


@pytest.mark.parametrize("k", [1, 2, 5, 30, 99])
def test_largest_is_a_stable_sort(k: int):
    draw = torch.Generator().manual_seed(k)
    for levels in (2, 5, 1000):
        values = torch.randint(levels, (7, 30), generator=draw).double()
        values[values == 0] = -math.inf
        expected, places = values.sort(stable=True, dim=1, descending=True)
        found = largest(values, k)
        assert torch.equal(found[0], expected[:, :k])
        assert torch.equal(found[1], places[:, :k])


def test_probabilities_that_are_none_are_refused():
    toy = Toy(0)
    toy.table[:] = math.nan
    with pytest.raises(ModelError) as caught:
        search(toy, toy.state, EOS, Beam())
    assert str(caught.value) == (
        "the model's probabilities are no numbers: its weights hold NaN or infinities, as after a "
        "training that diverged"
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ((0,), "a beam's width is a whole number of at least 1, not 0"),
        ((2.0,), "a beam's width is a whole number of at least 1, not 2.0"),
        ((2, 0), "a beam's n_best is a whole number of at least 1, not 0"),
        ((2, 3), "a beam of 2 finds at most so many hypotheses, not 3: make it wider"),
        ((1, 1, -1), "a beam's max_length is a whole number of at least 0, not -1"),
        ((1, 1, 5, -0.5), "length_penalty is a number of at least 0, not -0.5"),
        ((1, 1, 5, math.nan), "length_penalty is a number of at least 0, not nan"),
    ],
)
def test_a_beam_out_of_range_is_refused(values: tuple[int, ...], problem: str):
    with pytest.raises(UserError) as caught:
        Beam(*values)
    assert str(caught.value) == problem
