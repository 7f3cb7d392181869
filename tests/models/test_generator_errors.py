"""What a generator is built of, given and asked for, where that is wrong."""

from typing import Any

import numpy as np
import pytest
import torch

from tiny_generators import KEYS, tiny_generator
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, ModelError, UserError
from unrolled.models.background import Background
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig

KINDS = pytest.mark.parametrize("frames", [False, True], ids=["tokens", "frames"])


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
