"""Sequences drawn from a generator: how likely, by which seed, from what start; what it learned."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model_rounding import assert_near
from tiny_generators import KEYS, LETTERS, tiny_generator
from unrolled.data.vocabulary import Vocabulary
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig

KINDS = pytest.mark.parametrize("frames", [False, True], ids=["tokens", "frames"])


@KINDS
def test_step_by_step_gives_the_teacher_forced_probabilities(frames: bool):
    model = tiny_generator(frames=frames).double()
    drawn = model.generate("high", length=12, seed=5)
    found = model.log_probability(drawn, "high")
    labels = torch.tensor([1])
    encoded = torch.tensor(drawn) if frames else torch.from_numpy(LETTERS.encode(drawn)).long()
    if not frames:
        encoded = torch.cat([encoded, torch.tensor([LETTERS.eos])])
    step = model.before(encoded[:0].unsqueeze(1))
    state, logs = None, []
    for target in encoded:
        logits, state = model(step, labels, state)
        if frames:
            loss = F.binary_cross_entropy_with_logits(
                logits[0, 0], target.double(), reduction="sum"
            )
        else:
            loss = F.cross_entropy(logits[0, 0], target)
        logs.append(-loss)
        step = target[None, None]
    n = 2 * len(encoded)
    assert_near(found, torch.stack(logs), model, lambda: model.log_probability(drawn, "high"), n)
    assert found.dtype == torch.float64
    assert len(found) == len(drawn) + (not frames)


def test_a_text_has_the_probability_that_it_is_drawn_with():
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(["ab"], "char", unk=False)
    model = Generator(GeneratorConfig(hidden_size=3), ["x"], vocabulary).double()
    n = 600
    drawn = [model.generate("x", length=2, seed=seed) for seed in range(n)]
    for text in ("", "a", "b"):
        p = float(model.log_probability(text, "x").sum().exp())
        # Five standard errors.
        assert abs(drawn.count(text) / n - p) < 5 * (p * (1 - p) / n) ** 0.5


@KINDS
def test_the_same_seed_draws_the_same_and_leaves_torchs_generator_alone(frames: bool):
    model = tiny_generator(frames=frames)
    before = torch.get_rng_state()
    drawn = [model.generate("low", length=40, seed=seed) for seed in (1, 1, 2)]
    model.generate("low", length=3)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)


@KINDS
def test_drawing_leaves_the_mode_as_it_is_and_drops_nothing(frames: bool):
    model = tiny_generator(frames=frames, dropout=0.5)
    expected = model.generate("low", length=20, seed=1)
    model.train()
    assert np.array_equal(model.generate("low", length=20, seed=1), expected)
    assert model.training


def test_draws_have_the_models_frequencies():
    model = tiny_generator(frames=True).double()
    n = 600
    firsts = np.stack([model.generate("wide", length=1, seed=s)[0] for s in range(n)])
    logits, _ = model(model.before(torch.zeros(0, 1, KEYS)), torch.tensor([2]))
    p = torch.sigmoid(logits[0, 0]).detach().numpy()
    # Five standard errors: a false alarm in about two million seeds for each of six keys.
    assert (np.abs(firsts.mean(0) - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


def test_a_temperature_of_zero_takes_the_likeliest():
    frames = tiny_generator(frames=True)
    start = np.eye(KEYS, dtype=np.uint8)[:2]
    drawn = frames.generate("low", start, length=6, temperature=0)
    logits, _ = frames(frames.before(torch.from_numpy(drawn).unsqueeze(1)), torch.tensor([0]))
    assert torch.equal(logits[2:-1, 0] > 0, torch.from_numpy(drawn[2:]) == 1)
    tokens = tiny_generator()
    with torch.no_grad():
        tokens.output.bias[LETTERS.eos] = -100.0
    text = tokens.generate("low", "be", length=6, temperature=0)
    assert len(text) == 8
    ids = torch.from_numpy(LETTERS.encode(text)).long()
    logits, _ = tokens(tokens.before(ids.unsqueeze(1)), torch.tensor([0]))
    logits[..., LETTERS.unk] = -torch.inf
    assert torch.equal(logits[2:-1, 0].argmax(-1), ids[2:])


@KINDS
def test_the_start_stands_at_the_beginning_and_matters(frames: bool):
    model = tiny_generator(frames=frames)
    start = np.eye(KEYS, dtype=np.uint8)[:3] if frames else "cab"
    assert np.array_equal(model.generate("low", start, length=0), start)
    drawn = model.generate("low", start, length=20, seed=4)
    assert np.array_equal(drawn[:3], start)
    behind = [np.array_equal(drawn[3:], model.generate("low", length=20, seed=s)) for s in (4, 5)]
    assert not all(behind)


def test_lengths_are_as_asked_for():
    frames = tiny_generator(frames=True)
    assert frames.generate("low", length=0).shape == (0, KEYS)
    drawn = frames.generate("low", length=17)
    assert drawn.shape == (17, KEYS)
    assert drawn.dtype == np.uint8
    tokens = tiny_generator()
    assert tokens.generate("low", length=0) == ""
    with torch.no_grad():
        tokens.output.bias[LETTERS.eos] = 100.0
    assert tokens.generate("low", length=10) == ""


def test_an_unknown_token_is_never_drawn():
    model = tiny_generator()
    with torch.no_grad():
        model.output.bias[LETTERS.unk] = 100.0
        model.output.bias[LETTERS.eos] = -100.0
    assert set(model.generate("low", length=50, seed=0)) <= set("abcde")


def test_labels_learn_their_own_sequences_in_a_plain_loop():
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(["ab"], "char", unk=False)
    model = Generator(GeneratorConfig(hidden_size=8, embedding_size=4), ["A", "B"], vocabulary)
    ids = torch.tensor([[0, 1]] * 3 + [[vocabulary.eos] * 2])
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        losses, _ = model.losses(ids, torch.tensor([0, 1]))
        optimizer.zero_grad()
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    tokens = vocabulary.tokens
    assert model.generate("A", temperature=0) == tokens[0] * 3
    assert model.generate("B", temperature=0) == tokens[1] * 3
    assert model.log_probability("aaa", "A").sum() > model.log_probability("aaa", "B").sum() + 5


def test_labels_learn_their_own_frames_in_a_plain_loop():
    torch.manual_seed(0)
    model = Generator(GeneratorConfig(hidden_size=12, embedding_size=0), ["up", "down"], 4)
    up = torch.eye(4)[torch.arange(8) % 4]
    frames = torch.stack([up, up.flip(0)], 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(250):
        losses, _ = model.losses(frames, torch.tensor([0, 1]))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    for place, label in enumerate(("up", "down")):
        drawn = model.generate(label, length=8, temperature=0)
        assert np.array_equal(drawn, frames[:, place].numpy())
