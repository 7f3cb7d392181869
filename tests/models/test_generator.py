"""The generator: its equations, what conditions it, its state, what it learns, its errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tiny_generators import KEYS, LABELS, LETTERS, random_steps, tiny_generator
from unrolled import Recurrent, cell, param
from unrolled.cells import CELLS
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, ModelError, UserError
from unrolled.models.background import Background
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig

SIZES = {"elman_output": {"O": 4}, "elman_concat_output": {"O": 4}, "lstm_projected": {"P": 4}}
KINDS = pytest.mark.parametrize("frames", [False, True], ids=["tokens", "frames"])


@cell
def own(x, h, *, W=param("H", "D"), u=param("H")):
    return torch.tanh(W @ x + u * h)


@KINDS
@pytest.mark.parametrize("embedding_size", [0, 4])
def test_the_network_is_the_one_that_the_configuration_says(frames: bool, embedding_size: int):
    model = tiny_generator("gru", frames=frames, num_layers=1, embedding_size=embedding_size)
    steps, labels = random_steps(model, 7, 3), torch.tensor([2, 0, 2])
    p = dict(model.named_parameters())
    x = steps.float() if frames else torch.eye(model.size)[steps]
    if embedding_size:
        x = (
            x @ p["embedding.weight"].T + p["embedding.bias"]
            if frames
            else x @ p["embedding.weight"]
        )
    label = p["label_embedding.weight"][labels]
    layer = torch.nn.GRU(x.shape[-1] + 3, 5)
    layer.load_state_dict(model.recurrent.state_dict())
    h = (label @ p["initial.weight"].T + p["initial.bias"]).unsqueeze(0)
    y, end = layer(torch.cat([x, label.expand(7, 3, 3)], -1), h)
    logits, state = model(steps, labels)
    # Sums of at most 80 products of numbers near 1, a few in a row, each rounded to 6e-8.
    torch.testing.assert_close(
        logits, y @ p["output.weight"].T + p["output.bias"], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(state[0], end, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted({"lstm", "gru", "rnn", *CELLS}))
def test_any_cell_carries_its_state_over_a_cut(name: str):
    model = tiny_generator(name, sizes=SIZES.get(name, {}))
    steps, labels = random_steps(model, 9, 3), torch.tensor([0, 1, 2])
    whole, end = model(steps, labels)
    first, state = model(steps[:4], labels)
    second, again = model(steps[4:], labels, state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert len(again) == len(end)
    for one, other in zip(again, end, strict=True):
        torch.testing.assert_close(one, other)


@KINDS
def test_a_cell_of_ones_own_works(frames: bool, tmp_path: Path):
    model = tiny_generator("mine", frames=frames, own=own)
    model.save_pretrained(tmp_path / "m")
    again = Generator.from_pretrained(tmp_path / "m")
    one, other = (m.generate("wide", length=30, seed=3) for m in (model, again))
    assert np.array_equal(one, other)


@KINDS
@pytest.mark.parametrize(
    "options",
    [
        {"learn_initial": True},
        {"checkpoint": "sqrt"},
        {"weight_dropout": {"weight_hh": 0.3}},
        {"dropout": 0.4, "input_dropout": 0.2},
        {"backend": "reference"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_layers_work_and_every_parameter_learns(
    frames: bool, options: dict[str, Any]
):
    model = tiny_generator(frames=frames, **options).train()
    steps = random_steps(model, 6, 3)
    losses, _ = model.losses(steps, torch.tensor([0, 1, 2]))
    losses.sum().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # A drop-in's second bias has the gradient of its first, and no matrix is left out.
    assert missing == []


def test_a_learned_initial_state_is_what_the_labels_part_from():
    model = tiny_generator(learn_initial=True)
    steps, labels = random_steps(model, 3, 3), torch.tensor([0, 1, 2])
    label = model.label_embedding(labels)
    assert isinstance(model.recurrent, Recurrent)
    own_state = model.recurrent.initial_state(3)
    shift = model.initial(label).view(3, 2, 2, 5)  # [B, state, layer, H]
    state = tuple(s + shift[:, i].transpose(0, 1) for i, s in enumerate(own_state))
    torch.testing.assert_close(model(steps, labels, state)[0], model(steps, labels)[0])


def test_without_training_all_labels_begin_as_the_layers_do():
    torch.manual_seed(0)
    model = Generator(GeneratorConfig(hidden_size=4), LABELS, LETTERS)
    assert not model.initial.weight.any()
    assert not model.initial.bias.any()


@KINDS
def test_the_label_conditions_the_first_step_and_the_later_ones(frames: bool):
    model = tiny_generator(frames=frames)
    steps = random_steps(model, 4, 1).expand(4, 3, *([model.size] if frames else []))
    logits, _ = model(steps, torch.tensor([0, 1, 2]))
    for t in range(4):
        assert (logits[t, 0] - logits[t, 1]).abs().max() > 1e-3
    # The state alone makes a difference, and so does the input alone.
    _, start = model(steps[:1], torch.tensor([0, 0, 0]))
    by_input, _ = model(steps, torch.tensor([0, 1, 2]), start)
    assert (by_input[0, 0] - by_input[0, 1]).abs().max() > 1e-3
    by_state, _ = model(steps, torch.tensor([0, 0, 0]), model(steps, torch.tensor([0, 1, 2]))[1])
    assert (by_state[0, 0] - by_state[0, 1]).abs().max() > 1e-3


@KINDS
def test_padding_and_neighbours_do_not_matter(frames: bool):
    model = tiny_generator(frames=frames)
    lengths = torch.tensor([3, 8, 1, 5])
    labels = torch.tensor([0, 1, 2, 1])
    steps = random_steps(model, 8, 4)
    found, _ = model.losses(steps, labels, lengths)
    other = steps.clone()
    for row, length in enumerate(lengths.tolist()):
        other[length:, row] = 1 - other[length:, row] if frames else 4 - other[length:, row]
    assert torch.equal(model.losses(other, labels, lengths)[0], found)
    for row, length in enumerate(lengths.tolist()):
        alone, _ = model.losses(steps[:length, row : row + 1], labels[row : row + 1])
        # Products of a batch are summed in another order: a dozen roundings of numbers near 10.
        torch.testing.assert_close(found[:length, row], alone[:, 0], atol=2e-5, rtol=0)
        assert not found[length:, row].any()


@KINDS
def test_losses_are_those_of_the_distributions(frames: bool):
    model = tiny_generator(frames=frames).double()
    steps, labels = random_steps(model, 6, 2), torch.tensor([2, 1])
    losses, logits = model.losses(steps, labels)
    for t in range(6):
        for b in range(2):
            if frames:
                p = torch.sigmoid(logits[t, b])
                on = steps[t, b] == 1
                expected = -(p[on].log().sum() + (1 - p[~on]).log().sum())
            else:
                expected = -logits[t, b].softmax(0)[steps[t, b]].log()
            torch.testing.assert_close(losses[t, b], expected)


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
    torch.testing.assert_close(found, torch.stack(logs))
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


@KINDS
def test_saved_and_loaded_it_is_the_same(frames: bool, tmp_path: Path):
    model = tiny_generator("gru_cho", frames=frames, learn_initial=True)
    n = model.size
    model.background = Background(
        np.array([3, 0, 1]), np.arange(3 * n).reshape(3, n), np.ones((3, 2, 2), np.int64)
    )
    model.save_pretrained(tmp_path / "m")
    again = Generator.from_pretrained(tmp_path / "m")
    assert (again.labels, again.config, again.size) == (model.labels, model.config, n)
    assert again.vocabulary == model.vocabulary
    assert again.background is not None
    assert again.background.to_dict() == model.background.to_dict()
    steps = random_steps(model, 5, 2)
    assert torch.equal(again(steps, torch.tensor([0, 2]))[0], model(steps, torch.tensor([0, 2]))[0])


@pytest.mark.parametrize(
    ("labels", "steps", "message"),
    [
        ([], 3, "a generator's labels are a list of at least one text, not []"),
        ("ab", 3, "a generator's labels are a list of at least one text, not 'ab'"),
        (["a", 1], 3, "a generator's labels are a list of at least one text, not ['a', 1]"),
        (
            ["a", "b", "a"],
            3,
            "a generator's labels are each there once, but 'a' is there twice",
        ),
        (["a"], 0, "a frame has a whole number of keys, at least 1, not 0"),
        (["a"], True, "a frame has a whole number of keys, at least 1, not True"),
        (
            ["a"],
            Vocabulary.build(["a"], "char", eos=False),
            "a generator's vocabulary needs <eos>, which ends each sequence",
        ),
    ],
)
def test_what_it_is_built_of_is_checked(labels: Any, steps: Any, message: str):
    with pytest.raises(ModelError) as error:
        Generator(GeneratorConfig(hidden_size=4), labels, steps)
    assert str(error.value) == message


NAN = np.full((1, KEYS), np.nan)
FRAMES: list[tuple[dict[str, Any], str]] = [
    (
        {"label": "lo"},
        "there is no label 'lo': did you mean low? the model knows low, high, wide",
    ),
    ({"label": "x"}, "there is no label 'x': the model knows low, high, wide"),
    (
        {"start": np.zeros((2, 5))},
        "expected frames of 6 keys, an array [n, 6], got [2, 5]",
    ),
    ({"start": np.zeros(6)}, "expected frames of 6 keys, an array [n, 6], got [6]"),
    (
        {"start": np.eye(6) * 2},
        "a key is 0 or 1 in each frame, but key 0 of frame 0 is 2.0",
    ),
    ({"start": NAN}, "a key is 0 or 1 in each frame, but key 0 of frame 0 is nan"),
    ({"start": np.zeros((0, 6))}, "the start is empty: give at least one step, or leave it out"),
    ({"start": "ab"}, "this model's steps are frames: give an array [n, 6], not a text"),
    ({"length": -1}, "the length is at least 0 steps, not -1"),
    ({"temperature": -1.0}, "the temperature is at least 0, not -1.0"),
    (
        {"top_k": 3},
        "top-k and top-p choose among tokens, and this model draws frames: leave them out",
    ),
    (
        {"top_p": 0.5},
        "top-k and top-p choose among tokens, and this model draws frames: leave them out",
    ),
]


@pytest.mark.parametrize(("bad", "message"), FRAMES)
def test_bad_input_for_frames_says_what_is_wrong(bad: dict[str, Any], message: str):
    wanted: dict[str, Any] = {"label": "low"} | bad
    with pytest.raises(UserError) as error:
        tiny_generator(frames=True).generate(**wanted)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"start": ""}, "the start is empty: give at least one step, or leave it out"),
        ({"start": np.zeros((1, 6))}, "this model's steps are tokens: give a text, not ndarray"),
        ({"top_k": 0}, "top-k is at least 1, not 0"),
    ],
)
def test_bad_input_for_tokens_says_what_is_wrong(bad: dict[str, Any], message: str):
    wanted: dict[str, Any] = {"label": "low"} | bad
    with pytest.raises(UserError) as error:
        tiny_generator().generate(**wanted)
    assert str(error.value) == message


def test_a_letter_that_a_vocabulary_without_unk_lacks_is_named():
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(["ab"], "char", unk=False)
    model = Generator(GeneratorConfig(hidden_size=4), ["a"], vocabulary)
    with pytest.raises(DataError) as error:
        model.generate("a", "az")
    assert str(error.value) == (
        "the vocabulary doesn't know 'z' and has no <unk> to stand for it: leave it out, or train "
        "with the <unk> token"
    )


@KINDS
def test_an_output_that_is_not_finite_is_no_distribution(frames: bool):
    model = tiny_generator(frames=frames)
    with torch.no_grad():
        model.output.bias.fill_(torch.nan)
    with pytest.raises(ModelError) as error:
        model.generate("low")
    assert str(error.value) == (
        f"the model's output is not finite, so that no {'frame' if frames else 'token'} can be "
        "drawn: its training diverged; train anew with a lower learning rate or with gradient "
        "clipping"
    )


PLACES = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("frames", "steps", "labels", "kind", "message"),
    [
        (
            False,
            torch.zeros(3, dtype=torch.int64),
            PLACES,
            ValueError,
            "expected token ids of shape [T, B] with T and B at least 1, got [3]; one sequence is "
            "tokens.unsqueeze(1)",
        ),
        (
            False,
            torch.zeros(3, 2),
            PLACES,
            TypeError,
            "expected int64 token ids, got torch.float32: call .long()",
        ),
        (
            False,
            torch.full((3, 2), 7),
            PLACES,
            IndexError,
            "token id 7 is not in the vocabulary, of which there are 7, 0 to 6",
        ),
        (
            True,
            torch.zeros(3, 2, 5),
            PLACES,
            ValueError,
            "expected frames of shape [T, B, 6] with T and B at least 1, got [3, 2, 5]; one "
            "sequence is frames.unsqueeze(1)",
        ),
        (
            True,
            torch.full((3, 2, 6), torch.nan),
            PLACES,
            ValueError,
            "expected frames of zeros and ones; one of these values is another",
        ),
        (
            True,
            torch.zeros(3, 2, 6),
            torch.tensor([0]),
            ValueError,
            "expected a label for each of 2 sequences, [2], got [1]",
        ),
        (
            True,
            torch.zeros(3, 2, 6),
            torch.tensor([0, 3]),
            IndexError,
            "label 3 is not in the model's labels, of which there are 3, 0 to 2",
        ),
        (
            True,
            torch.zeros(3, 2, 6),
            torch.tensor([0.0, 1.0]),
            TypeError,
            "expected int64 labels, got torch.float32: call .long()",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    frames: bool, steps: torch.Tensor, labels: torch.Tensor, kind: type[Exception], message: str
):
    with pytest.raises(kind) as error:
        tiny_generator(frames=frames)(steps, labels)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("embedding_size", -1, "embedding_size is a whole number of at least 0, not -1"),
        ("label_size", 0, "label_size is a whole number of at least 1, not 0"),
        ("input_dropout", 1.0, "input_dropout is at least 0 and below 1, not 1.0"),
        ("hidden_size", 0, "hidden_size is a whole number of at least 1, not 0"),
    ],
)
def test_the_configuration_is_checked(field: str, value: Any, message: str):
    with pytest.raises(ModelError) as error:
        GeneratorConfig(**{field: value})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": None}, "counts have steps, symbols, pairs, not ['steps', 'symbols']"),
        (
            {"steps": [1]},
            "the counts of steps are whole numbers from 0 up of shape [2], not int64 [1]",
        ),
        (
            {"symbols": [[1.5] * 3] * 2},
            "the counts of symbols are whole numbers from 0 up of shape [2, 3], not float64 [2, 3]",
        ),
        (
            {"steps": [1, -1]},
            "the counts of steps are whole numbers from 0 up of shape [2], not int64 [2]",
        ),
    ],
)
def test_saved_counts_are_checked(change: dict[str, Any], message: str):
    values = {"steps": [1, 2], "symbols": [[0] * 3] * 2, "pairs": [[[0] * 2] * 2] * 2} | change
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(ModelError) as error:
        Background.from_dict(values, 2, 3)
    assert str(error.value) == message
