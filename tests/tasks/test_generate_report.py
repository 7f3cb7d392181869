"""How generators are judged: every figure beside a plain loop that works it out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny_generators import LABELS, LETTERS, tiny_generator
from unrolled.data.examples import Examples
from unrolled.data.ragged import Ragged
from unrolled.models.background import Background
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig
from unrolled.tasks.generate_report import best_threshold, report, validation
from unrolled.tasks.generate_statistics import (
    BINS,
    CHANCE,
    KEYS,
    ON,
    count,
    often,
    repeat,
    statistics,
)

LENGTHS = (5, 1, 9, 2, 7, 3)
OF_LABELS = (0, 1, 2, 2, 1, 0)


def rolls(model: Generator, seed: int = 0) -> Examples:
    draw = np.random.default_rng(seed)
    made = [(draw.random((n, model.size)) < 0.4).astype(np.uint8) for n in LENGTHS]
    return Examples.of({"sequence": Ragged.of(made)}, {"label": np.array(OF_LABELS)})


def texts(seed: int = 0) -> Examples:
    draw = np.random.default_rng(seed)
    assert LETTERS.eos is not None
    made = [np.append(draw.integers(0, 5, n - 1), LETTERS.eos).astype(np.uint16) for n in LENGTHS]
    return Examples.of({"sequence": Ragged.of(made)}, {"label": np.array(OF_LABELS)})


@torch.no_grad()
def published(model: Generator, examples: Examples) -> tuple[float, list[float], list[float]]:
    """The protocol as its authors' program has it: one sequence at a time, traces of products.

    Its input is all frames but the last, its target all but the first; losses are added up over
    all sequences and divided by the number of targets. And over the same frames, for each of the
    thresholds 0.05, 0.1 … 0.95, the accuracy, and what it would be expected to be.
    """
    total, n = 0.0, 0
    chances: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    for i in range(len(examples)):
        frames = torch.from_numpy(examples.sequences["sequence"][i]).double()
        label = torch.tensor([int(examples.values["label"][i])])
        logits, _ = model(model.before(frames[:-1].unsqueeze(1)), label)
        p, y = torch.sigmoid(logits[1:, 0]), frames[1:]
        total -= float(torch.trace(y @ p.log().T + (1 - y) @ (1 - p).log().T))
        n += len(y)
        chances.append(p)
        targets.append(y)
    p, y = torch.cat(chances), torch.cat(targets)
    found: list[float] = []
    expected: list[float] = []
    for k in range(1, 20):
        guess = (p > k / 20).double()
        found.append(float((guess * y).sum() / torch.maximum(guess, y).sum()))
        expected.append(float((guess * p).sum() / (guess + (1 - guess) * p).sum()))
    return total / n, found, expected


def last_best(expected: list[float]) -> int:
    return max(range(len(expected)), key=lambda k: (round(expected[k], 9), k))


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_frames_are_judged_by_the_published_protocol(batch_size: int):
    model = tiny_generator(frames=True).double()
    examples = rolls(model)
    model.background = count(rolls(model, 1), 3, model.size, frames=True)
    found = report(model, examples, "test", batch_size)
    likelihood, accuracy = found.figures[:2]
    nll, shares, expected = published(model, examples)
    # Sums of a few hundred numbers in double precision.
    assert likelihood.value == pytest.approx(nll, rel=1e-12)
    best = last_best(expected)
    assert found.details["threshold"] == pytest.approx((best + 1) / 20)
    assert accuracy.value == pytest.approx(shares[best], rel=1e-12)
    assert found.details["frame accuracy at one half"] == pytest.approx(shares[9], rel=1e-12)
    assert (likelihood.name, likelihood.unit, likelihood.better) == (
        "negative log-likelihood per frame", "nats", "lower",
    )  # fmt: skip
    assert (accuracy.name, accuracy.unit, accuracy.better) == ("frame accuracy", "%", "higher")
    assert likelihood.low < likelihood.value < likelihood.high
    assert accuracy.low < accuracy.value < accuracy.high
    assert found.on == "6 test sequences: 21 frames after the first of each"
    assert found.details["steps"] == 21


def test_the_other_averages_are_what_they_say():
    model = tiny_generator(frames=True).double()
    examples = rolls(model)
    found = report(model, examples, "test", 4).details
    losses = [
        -model.log_probability(examples.sequences["sequence"][i], LABELS[OF_LABELS[i]]).numpy()
        for i in range(6)
    ]
    assert found["with first frames"] == pytest.approx(np.concatenate(losses).mean())
    # A sequence of one frame has no frame behind its first.
    means = [one[1:].mean() for one in losses if len(one) > 1]
    assert found["mean of sequences"] == pytest.approx(np.mean(means))
    figures = validation(model, examples, 4)
    assert figures["loss"] == pytest.approx(np.concatenate(losses).mean())
    nll, shares, expected = published(model, examples)
    assert figures["nll"] == pytest.approx(nll)
    assert figures["accuracy"] == pytest.approx(shares[last_best(expected)])


def test_the_threshold_of_uncertain_keys_is_below_one_half():
    """Keys of one probability each, as often on as it says: the best threshold is A / (1 + A)."""
    sums = np.zeros(CHANCE.stop)
    for chance, keys in ((0.075, 1000), (0.325, 100), (0.725, 20)):
        place = int(chance * BINS)
        sums[KEYS][place], sums[CHANCE][place] = keys, keys * chance
    chosen = best_threshold(sums)

    def accuracy(k: int) -> float:
        taken = np.arange(BINS) >= k
        hits = sums[CHANCE][taken].sum()
        return hits / (sums[KEYS][taken].sum() + sums[CHANCE][~taken].sum())

    assert [accuracy(k) for k in (1, 2, 7)] == pytest.approx([122 / 1120, 47 / 195, 14.5 / 127.5])
    # Of thresholds that choose the same keys the highest.
    assert chosen == 6
    assert accuracy(6) == max(accuracy(k) for k in range(1, BINS))
    # What is on has no say.
    sums[ON] = sums[KEYS]
    assert best_threshold(sums) == chosen


def test_tokens_are_judged_with_their_ends():
    model = tiny_generator().double()
    examples = texts()
    model.background = count(texts(1), 3, model.size, frames=False)
    found = report(model, examples, "test", 4)
    figure = found.figures[0]
    losses: list[float] = []
    for i in range(6):
        text = LETTERS.decode(examples.sequences["sequence"][i][:-1].tolist())
        losses += (-model.log_probability(text, LABELS[OF_LABELS[i]])).tolist()
    assert len(losses) == sum(LENGTHS)
    assert figure.value == pytest.approx(np.mean(losses))
    assert validation(model, examples, 4) == {"loss": pytest.approx(np.mean(losses))}
    assert (figure.name, figure.unit) == ("negative log-likelihood per token", "nats")
    assert found.on == "6 test sequences: 27 tokens, their ends included"


def test_counts_are_those_of_a_plain_loop():
    model = tiny_generator(frames=True)
    examples = rolls(model).part(np.array([0, 2, 3, 4]))  # not all of them
    found = count(examples, 3, model.size, frames=True)
    steps, symbols, pairs = np.zeros(3), np.zeros((3, 6)), np.zeros((3, 2, 2))
    for i in (0, 2, 3, 4):
        before = None
        for frame in examples.sequences["sequence"][i]:
            steps[OF_LABELS[i]] += 1
            symbols[OF_LABELS[i]] += frame
            if before is not None:
                for one, other in zip(before, frame, strict=True):
                    pairs[OF_LABELS[i], one, other] += 1
            before = frame
    for array, expected in ((found.steps, steps), (found.symbols, symbols), (found.pairs, pairs)):
        assert np.array_equal(array, expected)


def test_the_baselines_are_distributions_from_the_counts():
    background = Background(
        np.array([10, 0]), np.array([[7, 0, 3], [0, 0, 0]]), np.array([[[8, 2], [1, 9]]] * 2)
    )
    labels = np.array([0, 1])
    tokens = np.array([[0, 0], [2, 1]])
    expected = -np.log([[8 / 13, 1 / 3], [4 / 13, 1 / 3]])
    assert np.allclose(often(background, tokens, labels, frames=False), expected)
    frames = np.array([[[1, 0, 0], [1, 1, 1]], [[1, 1, 0], [0, 0, 0]]])
    found = often(background, frames, labels, frames=True)
    on = np.array([7.5, 0.5, 3.5]) / 11
    expected = -np.log([[on[0], 1 - on[1], 1 - on[2]], [on[0], on[1], 1 - on[2]]]).sum(1)
    assert np.allclose(found[:, 0], expected)
    assert np.allclose(found[:, 1], 3 * np.log(2))
    before = np.concatenate([np.zeros_like(frames[:1]), frames[:-1]])
    again = repeat(background, frames, before, labels)
    stays, comes, goes, holds = 8.5 / 11, 2.5 / 11, 1.5 / 11, 9.5 / 11
    # Before a sequence's first frame no key is on.
    assert again[0, 0] == pytest.approx(-np.log([comes, stays, stays]).sum())
    assert again[1, 0] == pytest.approx(-np.log([holds, comes, stays]).sum())
    assert again[1, 1] == pytest.approx(-3 * np.log(goes))


def test_the_better_baseline_stands_in_the_figure_and_both_in_the_details():
    model = tiny_generator(frames=True)
    still = np.repeat(np.eye(6, dtype=np.uint8)[:5], 12, 0)  # each frame twelve times
    lasting = Examples.of({"sequence": Ragged.of([still])}, {"label": np.array([0])})
    model.background = count(lasting, 3, 6, frames=True)
    found = report(model, lasting, "test", 4)
    figure = found.figures[0]
    assert figure.baseline_name == "last frame again, with its chance"
    assert figure.baseline == found.details["repeat last frame"]
    assert found.details["each key's frequency for its label"] > figure.baseline
    # Frames 12, 24, 36 and 48 are others; a key goes and another comes at each.
    assert found.figures[1].baseline == pytest.approx(55 / (55 + 4 + 4))


def test_without_counts_there_is_no_baseline():
    found = report(tiny_generator(), texts(), "test", 4)
    assert {(f.baseline, f.baseline_name) for f in found.figures} == {(None, "")}


def test_each_label_has_a_line_and_a_figure_and_one_label_has_none():
    model = tiny_generator()
    part = texts().part(np.array([0, 2, 3, 5]))  # none of the label "high"
    model.background = count(texts(1), 3, model.size, frames=False)
    found = report(model, part, "test", 4)
    lines = found.tables["by label"].splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["label", "sequences"], ["low", "2"], ["high", "0"], ["wide", "2"],
    ]  # fmt: skip
    name = "negative log-likelihood per token"
    assert [figure.name for figure in found.figures] == [name, f"{name}, low", f"{name}, wide"]
    for figure, place in zip(found.figures[1:], (0, 2), strict=True):
        own = part.part(np.flatnonzero(part.values["label"][part.indices] == place))
        # The same as the whole figure of this label's sequences alone.
        whole = report(model, own, "test", 4).figures[0]
        assert replace(figure, name=whole.name) == whole
        assert f"{figure.low:.3f} to {figure.high:.3f}" in lines[place + 1]
        assert lines[place + 1].endswith(f"{figure.baseline:.3f}")
    sums = statistics(model, part, 4)
    assert float(lines[1].split()[2]) == pytest.approx(
        sums[[0, 3], 1].sum() / sums[[0, 3], 0].sum(), abs=5e-4
    )
    torch.manual_seed(0)
    one = Generator(GeneratorConfig(hidden_size=4), ["low"], LETTERS)
    alone = report(one, texts().part(np.array([0, 5])), "test", 4)
    assert (alone.tables, len(alone.figures)) == ({}, 1)
    # Of many labels the table says it all.
    many = tiny_generator()
    many.labels = tuple("abcdefghi")
    assert len(report(many, texts(), "test", 4).figures) == 1


@pytest.mark.parametrize("frames", [True, False])
@pytest.mark.parametrize("at_once", [1, 2, 3, 8])
def test_parts_with_the_state_carried_add_up_to_the_whole(frames: bool, at_once: int):
    model = tiny_generator(frames=frames).double()
    examples = (rolls(model) if frames else texts()).part(np.array([3, 0, 5, 2, 1, 4]))
    model.background = count(examples, 3, model.size, frames=frames)
    read: list[int] = []
    model.register_forward_hook(lambda _, given, __: read.append(len(given[0])))
    whole = statistics(model, examples, 4, max(LENGTHS))
    assert max(read) == max(LENGTHS)
    read.clear()
    # Sums of a few hundred numbers in double precision.
    np.testing.assert_allclose(statistics(model, examples, 4, at_once), whole, rtol=1e-12)
    assert max(read) <= at_once  # 9 steps in parts of at most 8 are 5 and 4
