"""Vocabularies: ids, text back, order, limits, unknown tokens, JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.vocabulary import Vocabulary, VocabularyConfig
from unrolled.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_characters_stand_by_falling_count_then_in_order_with_the_special_ones_last():
    vocabulary = Vocabulary.build(["banana", "b\n"], "char")
    assert vocabulary.tokens == ("a", "b", "n", "\n", "<eos>", "<unk>")
    assert (vocabulary.eos, vocabulary.unk) == (4, 5)
    assert vocabulary.encode("nab").tolist() == [2, 0, 1]


def test_the_notes_vocabulary_of_four():
    assert Vocabulary.build(["ab", "aabb"], "char").tokens == ("a", "b", "<eos>", "<unk>")


@given(TEXT)
def test_characters_come_back(text: str):
    vocabulary = Vocabulary.build([text], "char")
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.unknown(text) == []


@given(TEXT)
def test_words_come_back(text: str):
    vocabulary = Vocabulary.build([text, "a"], "word")
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.unknown(text) == []


@given(st.text())
def test_words_of_lines_are_the_words_of_the_text(text: str):
    lines = text.split("\n")
    pieces = [line + "\n" for line in lines[:-1]] + [lines[-1]]
    vocabulary = Vocabulary.build([text, "a"], "word")
    assert Vocabulary.build([*pieces, "a"], "word") == vocabulary
    parts = [vocabulary.encode(piece) for piece in pieces]
    assert np.concatenate(parts).tolist() == vocabulary.encode(text).tolist()


@given(TEXT)
def test_bytes_come_back(text: str):
    vocabulary = Vocabulary.build([], "byte")
    assert vocabulary.encode(text).tolist() == list(text.encode())
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(st.lists(st.lists(st.text("ab\xa0é", min_size=1, max_size=3))))
def test_items_come_back(lines: list[list[str]]):
    text = "\n".join(" ".join(line) for line in lines)
    vocabulary = Vocabulary.build([text, "a"], "item")
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.unknown(text) == []
    listed = Vocabulary.build_items([*(item for line in lines for item in line), "a"])
    assert {t for line in lines for t in line} | {"a", "<eos>", "<unk>"} == set(listed.tokens)


def test_items_are_looked_up_whole():
    vocabulary = Vocabulary.build_items(["New York", "is", "is", "<unk>"])
    assert vocabulary.tokens == ("is", "New York", "<eos>", "<unk>")
    assert vocabulary.encode_items(["New York", "was", "<eos>", "<unk>"]).tolist() == [1, 3, 3, 3]
    assert vocabulary.encode("  is\tYork ").tolist() == [0, 3]
    assert vocabulary.decode([1, 0, 3]) == "New York is <unk>"
    assert vocabulary.encode_items([]).dtype == np.uint16


def test_unknown_items_are_named():
    with pytest.raises(DataError) as caught:
        Vocabulary.build(["AH0 B"], "item", unk=False).encode_items(["B", "X Y", "Z", "X Y"])
    assert str(caught.value) == (
        "the vocabulary doesn't know 'X Y', 'Z' and has no <unk> to stand for it: leave it out, or "
        "train with the <unk> token"
    )


def test_bytes_that_are_no_text_are_kept():
    vocabulary = Vocabulary.build([], "byte")
    text = b"a\xff\x00b".decode("utf-8", "surrogateescape")
    assert vocabulary.encode(text).tolist() == [97, 255, 0, 98]
    assert vocabulary.decode([97, 255, 98]) == "a\ufffdb"


def test_bytes_of_a_character_are_kept_back_until_it_is_whole():
    vocabulary = Vocabulary.build([], "byte")
    decoder = vocabulary.decoder()
    pieces = [decoder.decode(byte) for byte in "é€".encode()]
    assert pieces == ["", "é", "", "", "€"]
    assert decoder.decode(0xC3) == ""
    assert decoder.decode(256) == "\ufffd<eos>"
    assert decoder.finish() == ""


def test_words_keep_the_space_before_them():
    vocabulary = Vocabulary.build(["the cat, the hat's on\n    the mat\n"], "word")
    ids = vocabulary.encode("the cat,\n    the hat's")
    words = [vocabulary.tokens[i] for i in ids]
    assert words == ["the", " cat", ",", "\n", "   ", " the", " hat's"]


def test_unk_spelled_out_in_a_corpus_is_the_unknown_word():
    vocabulary = Vocabulary.build(["a <unk> b"], "word")
    assert vocabulary.encode("a <unk> b<unk>").tolist() == [
        vocabulary.tokens.index("a"),
        vocabulary.unk,
        vocabulary.tokens.index(" b"),
        vocabulary.unk,
    ]
    assert "<unk>" not in Vocabulary.build(["<unk>"], "char", unk=False).tokens


def test_max_size_keeps_the_most_frequent_and_counts_the_special_ones():
    vocabulary = Vocabulary.build(["aaabbc"], "char", max_size=4)
    assert vocabulary.tokens == ("a", "b", "<eos>", "<unk>")
    assert vocabulary.encode("abc").tolist() == [0, 1, 3]
    assert vocabulary.decode([0, 3]) == "a<unk>"


def test_min_count_leaves_out_the_rare():
    assert Vocabulary.build(["aaabbc"], "char", min_count=2, unk=False, eos=False).tokens == (
        "a",
        "b",
    )


def test_nothing_left_says_which_limit():
    with pytest.raises(DataError, match="no token of the corpus is left with min_count 9"):
        Vocabulary.build(["abc"], "char", min_count=9)


@pytest.mark.parametrize("kind", ["char", "word", "item"])
def test_an_empty_corpus_is_refused(kind: str):
    with pytest.raises(DataError, match="the corpus is empty"):
        VocabularyConfig(kind).build([])  # type: ignore[arg-type]


def test_unknown_characters_become_unk_or_are_refused():
    with_unk = Vocabulary.build(["ab"], "char")
    assert with_unk.encode("axb").tolist() == [0, with_unk.unk, 1]
    assert with_unk.unknown("xaxy") == ["x", "y"]
    without = Vocabulary.build(["ab"], "char", unk=False)
    with pytest.raises(DataError, match=r"doesn't know 'x', 'y' and has no <unk>"):
        without.encode("axyx")


def test_many_unknown_characters_are_not_all_listed():
    with pytest.raises(DataError, match="'h', 'i', 'j' and 2 more and has no"):
        Vocabulary.build(["ab"], "char", unk=False).encode("cdefghijkl")


def test_no_text_spells_a_special_token():
    vocabulary = Vocabulary.build(["<eos>"], "char")
    assert vocabulary.eos not in vocabulary.encode("<eos>").tolist()


def test_ids_are_as_narrow_as_the_vocabulary_allows():
    small = Vocabulary.build(["abc"], "char")
    large = Vocabulary("word", tuple(f" w{i}" for i in range(70_000)))
    assert small.encode("abc").dtype == np.uint16
    assert large.encode(" w69999 w1").tolist() == [69_999, 1]
    assert large.encode(" w1").dtype == np.uint32


def test_an_id_outside_the_vocabulary_is_refused():
    with pytest.raises(DataError, match="4 tokens, none with id 4"):
        Vocabulary.build(["ab"], "char").decode([4])


@pytest.mark.parametrize("kind", ["char", "byte", "word", "item"])
def test_json_round_trip(kind: str):
    vocabulary = VocabularyConfig(kind).build(["tête-à-tête <unk>\n"])  # type: ignore[arg-type]
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], "is an object"),
        ({"kind": "char"}, r"not \['kind'\]"),
        ({"kind": "char", "tokens": "ab", "unk": None, "eos": None}, "a list of strings"),
        ({"kind": "char", "tokens": ["a", 1], "unk": None, "eos": None}, "a list of strings"),
        ({"kind": "char", "tokens": [], "unk": None, "eos": None}, "a list of strings"),
        ({"kind": "char", "tokens": ["a"], "unk": "0", "eos": None}, "numbers or null"),
        ({"kind": "char", "tokens": ["a"], "unk": True, "eos": None}, "numbers or null"),
        ({"kind": "char", "tokens": ["a", "b"], "unk": 7, "eos": None}, "unk is token 7"),
        ({"kind": "char", "tokens": ["a", "b"], "unk": 1, "eos": 1}, "the same token"),
        ({"kind": "char", "tokens": ["a", "a"], "unk": None, "eos": None}, "'a' twice"),
        ({"kind": "char", "tokens": ["a", "bc"], "unk": None, "eos": None}, "length 1, not 'bc'"),
        ({"kind": "byte", "tokens": ["a"], "unk": None, "eos": None}, "the bytes in order"),
        ({"kind": "line", "tokens": ["a"], "unk": None, "eos": None}, "not 'line'"),
    ],
)
def test_damaged_json_is_refused(values: object, problem: str):
    with pytest.raises(DataError, match=problem):
        Vocabulary.from_dict(values)
