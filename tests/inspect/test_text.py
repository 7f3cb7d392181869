"""Texts become the tokens that the model itself makes of them, and bad ones are told why."""

import pytest
import torch
from torch import nn

from tiny_models import TEXT, tiny
from unrolled.data.vocabulary import Kind, Vocabulary
from unrolled.errors import DataError
from unrolled.inspect.text import TextSample
from unrolled.models.language_model import LanguageModel

ANY = "He said: “don't”,\nшалом שלום 👩‍💻\t…\n\nend"


def model_of(kind: Kind, text: str = ANY, *, unk: bool = False, eos: bool = True) -> LanguageModel:
    return tiny(vocabulary=Vocabulary.build([text], kind, unk=unk, eos=eos))


@pytest.mark.parametrize("kind", ["char", "byte", "word", "item"])
@pytest.mark.parametrize("limit", [None, 1, 5, 23])
def test_tokens_are_the_models_and_pieces_are_the_text(kind: Kind, limit: int | None) -> None:
    model = model_of(kind)
    sample = TextSample.of(model, ANY, limit)
    assert torch.equal(sample.tokens, model.encode(ANY)[:limit])
    assert sample.tokens.dtype == sample.places.dtype == torch.int64
    assert "".join(sample.pieces) == sample.text == model.vocabulary.decode(sample.tokens.tolist())
    assert len(sample) == len(sample.pieces) == len(sample.places) == len(sample.unknown)
    assert not sample.unknown.any()
    for piece, place in zip(sample.pieces, sample.places.tolist(), strict=True):
        assert not piece or sample.text[place] == piece[-1]


def test_a_character_of_several_bytes_stands_at_its_last() -> None:
    sample = TextSample.of(model_of("byte"), "a😀b")
    assert sample.pieces == ("a", "", "", "", "😀", "b")
    assert sample.places.tolist() == [0, 1, 1, 1, 1, 2]
    cut = TextSample.of(model_of("byte"), "a😀b", 3)
    assert (cut.pieces, cut.text) == (("a", "", "�"), "a�")
    assert cut.places.tolist() == [0, 1, 1]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    for kind in ("byte", "char"):
        sample = TextSample.of(model_of(kind, "a\udcff"), "a\udcffa")
        assert sample.text == "a\ufffda"
        sample.text.encode()


def test_a_document_begins_behind_its_mark() -> None:
    model = model_of("char")
    sample = TextSample.of(model, ANY)
    assert torch.equal(sample.fed, model.with_start(ANY).unsqueeze(1))
    assert TextSample.of(model_of("char", eos=False), ANY).fed.shape == (len(ANY), 1)


def test_what_a_vocabulary_has_unk_for_is_marked_and_shown_as_it_is() -> None:
    sample = TextSample.of(tiny(), "he€d")
    assert sample.pieces == ("h", "e", "€", "d")
    assert sample.unknown.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("kind", "text", "note"),
    [
        ("char", "hello", ""),
        (
            "char",
            "he\nlאd€",
            "the model does not know 2 of the 7 characters, and reads <unk> for each: the first "
            "is 'א' (line 2, column 2)",
        ),
        (
            "char",
            "א",
            "the model does not know 1 of the 1 character, and reads <unk> for each: the first "
            "is 'א' (line 1, column 1)",
        ),
        (
            "item",
            "hello   there hello",
            "the model does not know 1 of the 3 tokens, and reads <unk> for each: the first "
            "is 'there' (line 1, column 9)",
        ),
        ("byte", "א", ""),
    ],
)
def test_what_a_model_does_not_know_is_counted_and_placed(kind: Kind, text: str, note: str) -> None:
    assert TextSample.of(model_of(kind, TEXT, unk=True), text).note == note


def message(model: nn.Module, text: str, limit: int | None = None, least: int = 1) -> str:
    with pytest.raises((DataError, ValueError, TypeError)) as caught:
        TextSample.of(model, text, limit, least)
    return str(caught.value)


def test_unknown_characters_and_words_are_named_with_their_places() -> None:
    rest = (
        ", and has no <unk> to stand for it: leave it out of the text, or look at a model that "
        "was trained with it"
    )
    model = model_of("char", TEXT)
    assert message(model, "hello\nwor€d €") == (
        "the vocabulary doesn't know '€' (line 2, column 4)" + rest
    )
    assert message(model, "abcmnpqs") == (
        "the vocabulary doesn't know 'a' (line 1, column 1), 'b' (line 1, column 2), "
        "'c' (line 1, column 3), 'm' (line 1, column 4), 'n' (line 1, column 5) and 3 more" + rest
    )
    assert message(model_of("word", TEXT), "hello\nhello there") == (
        "the vocabulary doesn't know ' there' (line 2, column 6)" + rest
    )
    assert message(model_of("item", TEXT), "hello\nhello  there") == (
        "the vocabulary doesn't know 'there' (line 2, column 8)" + rest
    )


def test_bad_texts_and_arguments_get_one_line() -> None:
    model = model_of("char")
    assert message(model, "") == "the text is empty: there is nothing to look at"
    assert message(model_of("item"), "  ") == (
        "the text has 0 tokens, fewer than the 1 that were asked for: give a longer text or ask "
        "for fewer"
    )
    assert message(model, "end", least=4) == (
        "the text has 3 characters, fewer than the 4 that were asked for: give a longer text or "
        "ask for fewer"
    )
    assert message(model, "end", 0) == "expected 1 <= least <= limit, got least 1 and limit 0"
    assert message(nn.LSTM(2, 2), "end") == (
        "text is read by a LanguageModel, this is a LSTM: give the tensor that the model is "
        "called with instead of a text"
    )
    assert message(model_of("byte"), "a\n\ud800") == (
        "the text holds '\\ud800' (line 2, column 1), half of a character: leave it out"
    )
