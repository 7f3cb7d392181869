"""The generator: its equations, what conditions it, its state, its losses, its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_rounding import assert_near, rounding
from tiny_generators import LABELS, LETTERS, random_steps, tiny_generator
from unrolled import Recurrent, cell, param
from unrolled.cells import CELLS
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
    model = model.double()
    steps, labels = random_steps(model, 7, 3), torch.tensor([2, 0, 2])
    p = dict(model.named_parameters())
    x = steps.double() if frames else torch.eye(model.size).double()[steps]
    if embedding_size:
        x = (
            x @ p["embedding.weight"].T + p["embedding.bias"]
            if frames
            else x @ p["embedding.weight"]
        )
    label = p["label_embedding.weight"][labels]
    layer = torch.nn.GRU(x.shape[-1] + 3, 5).double()
    layer.load_state_dict(model.recurrent.state_dict())
    h = (label @ p["initial.weight"].T + p["initial.bias"]).unsqueeze(0)
    y, end = layer(torch.cat([x, label.expand(7, 3, 3)], -1), h)
    logits, state = model(steps, labels)
    expected = y @ p["output.weight"].T + p["output.bias"]
    assert_near(logits, expected, model, lambda: model(steps, labels)[0], 7)
    assert_near(state[0], end, model, lambda: model(steps, labels)[1][0], 7)


@pytest.mark.parametrize("name", sorted({"lstm", "gru", "rnn", *CELLS}))
def test_any_cell_carries_its_state_over_a_cut(name: str):
    model = tiny_generator(name, sizes=SIZES.get(name, {}), backend="reference").double()
    steps, labels = random_steps(model, 9, 3), torch.tensor([0, 1, 2])
    whole, end = model(steps, labels)
    first, state = model(steps[:4], labels)
    second, again = model(steps[4:], labels, state)
    both = torch.cat([first, second])
    assert_near(both, whole, model, lambda: model(steps, labels)[0], 2 * 9)
    assert len(again) == len(end)
    for i, (one, other) in enumerate(zip(again, end, strict=True)):
        assert_near(one, other, model, lambda i=i: model(steps, labels)[1][i], 2 * 9)


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
    given, begun = model(steps, labels, state)[0], model(steps, labels)[0]
    assert_near(given, begun, model, lambda: model(steps, labels)[0], 2 * 3)


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
    bound = rounding(model, lambda: model.losses(steps, labels, lengths)[0], 2 * 8)
    for row, length in enumerate(lengths.tolist()):
        alone, _ = model.losses(steps[:length, row : row + 1], labels[row : row + 1])
        assert (found[:length, row] - alone[:, 0]).abs().max() <= bound
        assert not found[length:, row].any()


@KINDS
def test_losses_are_those_of_the_distributions(frames: bool):
    model = tiny_generator(frames=frames).double()
    steps, labels = random_steps(model, 6, 2), torch.tensor([2, 1])
    losses, logits = model.losses(steps, labels)
    bound = rounding(model, lambda: model.losses(steps, labels)[0], 2 * 6)
    for t in range(6):
        for b in range(2):
            if frames:
                p = torch.sigmoid(logits[t, b])
                on = steps[t, b] == 1
                expected = -(p[on].log().sum() + (1 - p[~on]).log().sum())
            else:
                expected = -logits[t, b].softmax(0)[steps[t, b]].log()
            assert (losses[t, b] - expected).abs() <= bound


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
