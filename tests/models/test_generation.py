"""Generated text: reproducible, streamed, and what it starts from."""

import math
from collections.abc import Iterator

import pytest
import torch

from tiny_models import TEXT, tiny
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, UserError
from unrolled.models.language_model import LanguageModel


def without_eos() -> LanguageModel:
    return tiny(vocabulary=Vocabulary.build([TEXT], "char", unk=False, eos=False))


def never(model: LanguageModel, token: int | None) -> LanguageModel:
    """The model, which now never finds the token likely."""
    assert token is not None
    with torch.no_grad():
        model.output_bias[token] = -1e9
    return model


def only(model: LanguageModel, token: int | None) -> LanguageModel:
    assert token is not None
    with torch.no_grad():
        model.output_bias[token] = 1e9
    return model


def test_it_is_the_same_for_the_same_seed_and_leaves_torchs_generator_alone():
    model = tiny()
    state = torch.get_rng_state()
    texts = ["".join(model.generate("he", 50, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    "".join(model.generate("he", 5))
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_seed_it_differs():
    model = without_eos()
    assert len({"".join(model.generate("h", 50)) for _ in range(3)}) == 3


def test_it_has_the_length_that_is_asked_for():
    model = without_eos()
    assert [len("".join(model.generate("h", n))) for n in (0, 1, 30)] == [0, 1, 30]


def test_each_token_is_drawn_given_all_before_it():
    model = without_eos()
    text = "h" + "".join(model.generate("h", 12, temperature=0))
    logits, _ = model(model.encode(text).unsqueeze(1))
    assert logits[:-1, 0].argmax(-1).tolist() == model.encode(text)[1:].tolist()


def test_it_comes_piece_by_piece():
    pieces = tiny().generate("h", 10**9, seed=0)
    assert isinstance(pieces, Iterator)
    assert len(next(pieces)) == 1


def test_characters_of_several_bytes_come_whole():
    model = tiny(vocabulary=Vocabulary.build([], "byte"))
    with torch.no_grad():
        model.output_bias.fill_(-1e9)
        model.output_bias[0xC3] = model.output_bias[0xA9] = 0
    pieces = list(model.generate("a", 200, seed=0))
    assert "é" in pieces
    assert all(pieces)
    assert set("".join(pieces)) <= {"é", "\ufffd"}


def test_it_ends_at_eos():
    model = tiny()
    assert "".join(only(model, model.vocabulary.eos).generate("h", 50)) == ""


def test_unk_is_never_drawn():
    model = tiny()
    text = "".join(only(model, model.vocabulary.unk).generate("h", 50, seed=0))
    assert "<unk>" not in text


def test_a_prompt_stands_behind_eos():
    model = tiny()
    eos = model.vocabulary.eos
    assert model.with_start("he").tolist() == [eos, *model.encode("he").tolist()]
    first = next(never(model, eos).generate("", 1, temperature=0))
    logits, _ = model(torch.tensor([[eos]]))
    assert model.encode(first).item() == logits[0, 0].argmax().item()


def test_neither_prompt_nor_eos():
    with pytest.raises(UserError, match=r"give a prompt: .* has no <eos>"):
        without_eos().generate("", 5)


def test_unknown_characters_in_the_prompt():
    model = tiny()
    assert model.vocabulary.unknown("hexÄe") == ["x", "Ä"]
    texts = {"".join(model.generate(prompt, 20, seed=0)) for prompt in ("hexe", "heÄe")}
    assert len(texts) == 1
    with pytest.raises(DataError, match="doesn't know 'x', 'Ä'"):
        without_eos().generate("hexÄe", 5)


def test_arguments_are_checked_before_the_first_piece_is_asked_for():
    with pytest.raises(UserError, match="length is at least 0 tokens, not -1"):
        tiny().generate("h", -1)
    with pytest.raises(UserError, match="temperature"):
        tiny().generate("h", 1, temperature=math.nan)


def test_the_mode_is_what_it_was_and_dropout_is_off():
    model = tiny(dropout=0.9).train()
    again = ["".join(model.generate("h", 30, seed=3)) for _ in range(2)]
    assert again[0] == again[1]
    assert model.training
    pieces = model.generate("h", 30, seed=3)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert model.training
    assert torch.is_grad_enabled()


def test_a_consumer_may_train_between_two_pieces():
    model = without_eos()
    pieces = model.generate("h", 3)
    next(pieces)
    assert torch.is_grad_enabled()
    logits, _ = model(model.encode("he").unsqueeze(1))
    logits.sum().backward()
    assert len(list(pieces)) == 2


def test_an_item_stands_a_space_behind_the_prompt():
    vocabulary = Vocabulary.build(["a b\n"], "item", unk=False, eos=False)
    model = only(tiny(vocabulary=vocabulary), vocabulary.tokens.index("b"))
    assert list(model.generate("a b", 2)) == [" b", " b"]
    assert list(model.generate("a\n", 2)) == ["b", " b"]
