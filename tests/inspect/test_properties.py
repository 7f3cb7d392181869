"""Properties of texts, each as a reader would mark it by hand."""

import pytest

from unrolled.inspect.properties import (
    PROPERTIES,
    bracket_depth,
    inside_quotes,
    inside_single_quotes,
    matches,
    position_in_line,
    start_of_word,
)

# Below each text what holds after each of its characters: ^ for true.
QUOTES = [
    ('say "yes" now', "    ^^^^     "),
    ("don't \"don't\" don't", "      ^^^^^^       "),
    ("“a „b“ c” d", "^^^^^^^^   "),
    ("«a “b” c» d", "^^^^^^^^   "),
    ("»so« «so» x", "^^^  ^^^   "),
    # Unbalanced: to the end of the paragraph, and no further; what nothing opened closes nothing.
    ('"lost\n\nand "found"', "^^^^^      ^^^^^^ "),
    ('"two\nlines" on', "^^^^^^^^^^    "),
    ("a” b» c", "       "),
    ('a "b', "  ^^"),
    ('"“a"” b', "^^^    "),
    ('"“lost" on', "^^^^^^    "),
    ("“a „lost” on", "^^^^^^^^    "),
    ("", ""),
    ('👩‍💻 "שלום" x', "    ^^^^^   "),
]
SINGLE = [
    ("don't 'do it' now", "      ^^^^^^     "),
    ("dogs' and 'tis", "              "),
    ("‘don’t’ said", "^^^^^^      "),
    ("'tis lost\n\nthe dogs' bone", " " * 25),
    ("rock 'n' roll", "     ^^      "),
]


@pytest.mark.parametrize(("text", "marks"), QUOTES)
def test_inside_of_double_quotation_marks(text: str, marks: str) -> None:
    assert inside_quotes(text).tolist() == [m == "^" for m in marks]


@pytest.mark.parametrize(("text", "marks"), SINGLE)
def test_inside_of_single_quotation_marks(text: str, marks: str) -> None:
    assert inside_single_quotes(text).tolist() == [m == "^" for m in marks]


def test_matches_of_a_pattern() -> None:
    assert matches(r"\bb\w*")("ab bc\nb").tolist() == [False] * 3 + [True] * 2 + [False, True]
    assert matches("x|")("axa").tolist() == [False, True, False]
    assert matches("x")("").tolist() == []
    with pytest.raises(ValueError, match=r"^'\[' is no regular expression: unterminated "):
        matches("[")


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("a(b[c]d)e", "011221100"),
        ("((x))", "12210"),
        ("(a [ b) ] c", "11111100000"),
        (":) 1) (a", "00000000"),
        ("{\n\n}", "1110"),
        ("([)]", "1100"),
        ("", ""),
    ],
)
def test_bracket_depth(text: str, depth: str) -> None:
    assert bracket_depth(text).tolist() == [int(d) for d in depth]
    assert PROPERTIES["inside brackets"](text).tolist() == [d > "0" for d in depth]


def test_positions_and_words() -> None:
    assert position_in_line("ab\n\ncde\n").tolist() == [1, 2, 0, 0, 1, 2, 3, 0]
    text = "I don't, “we’ll” 3x\n"
    marked = "^ ^       ^      ^  "
    assert start_of_word(text).tolist() == [m == "^" for m in marked]


def test_time_goes_with_the_length_of_the_text() -> None:
    n = 100_000
    assert bracket_depth("[" * n + ")" * n).sum() == 0
    assert inside_quotes("“" * n + '"' * n).all()
    assert not inside_single_quotes("'a " * n).any()


def test_every_property_has_a_value_for_each_character() -> None:
    for text in ("", "x", "Ab 1\n", "🙂 שלום\u2028\ud800"):
        for name, of in PROPERTIES.items():
            assert len(of(text)) == len(text), name
