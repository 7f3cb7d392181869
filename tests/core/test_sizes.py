"""Sizes are integers that remember their expression."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from unrolled.sizes import Size, as_size, evaluate, named, solve, symbols

H, D, P = named("H", 48), named("D", 72), named("P", 5)


@pytest.mark.parametrize(
    ("size", "value", "text"),
    [
        (H, 48, "H"),
        (3 * H, 144, "3*H"),
        (H * 3, 144, "3*H"),
        (H + D, 120, "D + H"),
        (H + H, 96, "2*H"),
        (2 * H - D, 24, "2*H - D"),
        (D - 2 * H, -24, "D - 2*H"),
        (H + 1, 49, "H + 1"),
        (1 + H, 49, "H + 1"),
        (H - 1, 47, "H - 1"),
        (100 - H, 52, "100 - H"),
        (-H, -48, "-H"),
        (-H - 1, -49, "-H - 1"),
        (H - H, 0, "0"),
        (0 * H, 0, "0"),
        ((4 * H) // 4, 48, "H"),
        ((4 * H + 2) // 2, 97, "2*H + 1"),
        (H // 2, 24, "H//2"),
        ((H + 1) // 2, 24, "(H + 1)//2"),
        (H // D, 0, "H//D"),
        (100 // H, 2, "100//H"),
        (H * D, 3456, "H*D"),
        ((H + 1) * P, 245, "(H + 1)*P"),
        (2 * (H // 5), 18, "2*(H//5)"),
        (2 * (H * P), 480, "2*(H*P)"),
        (D - (H // 5), 63, "D - H//5"),
        (as_size(7), 7, "7"),
        (as_size(7) // as_size(2), 3, "3"),
        (as_size(7) * as_size(2) - 1, 13, "13"),
        (sum([H, H, D]), 168, "D + 2*H"),
    ],
)
def test_arithmetic(size: Size, value: int, text: str) -> None:
    assert size == value
    assert isinstance(size, Size)
    assert isinstance(size, int)
    assert str(size) == repr(size) == f"{size}" == text


def test_a_size_serves_as_an_integer() -> None:
    assert list(range(named("H", 3))) == [0, 1, 2]
    assert [0, 1, 2, 3][: named("H", 2)] == [0, 1]
    assert {48: "a"}[H] == "a"
    assert hash(H) == hash(48)
    assert max(H, D) is D
    assert H / 2 == 24.0
    assert f"{H:>4s}|{H:05d}|{H:.1f}" == "   H|00048|48.0"


@pytest.mark.parametrize("other", [1.5, "2", None])
def test_what_is_no_integer_is_no_size(other: Any) -> None:
    with pytest.raises(TypeError):
        as_size(other)
    for operation in (lambda: H - other, lambda: other - H, lambda: H // other):
        if not isinstance(other, float):
            with pytest.raises(TypeError):
                operation()


@pytest.mark.parametrize("size", [H, 2 * H - D + 1, H // 5, (H + 1) * P, as_size(3)])
def test_copies_and_pickles_are_equal(size: Size) -> None:
    for again in (copy.deepcopy(size), pickle.loads(pickle.dumps(size))):
        assert again == size
        assert (again.terms, again.constant) == (size.terms, size.constant)


# --- expressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "found"),
    [("3*H", ("H",)), ("D + H", ("D", "H")), ("H*H + D - H", ("H", "D")), ("4", ()), (4, ())],
)
def test_symbols(expression: str | int, found: tuple[str, ...]) -> None:
    # In the order of a walk through the tree, each once.
    assert sorted(symbols(expression)) == sorted(found)


@pytest.mark.parametrize(
    "expression",
    [
        "H/2",
        "max(H, D)",
        "H**2",
        "H.real",
        "3.5",
        "'H'",
        "H if D else P",
        "~H",
        "[H]",
        "H D",
        "",
        "(",
    ],
)
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        symbols(expression)
    with pytest.raises((ValueError, SyntaxError)):
        evaluate(expression, {"H": 4, "D": 3, "P": 2})


@pytest.mark.parametrize("expression", [None, 2.5, ["H"]])
def test_what_is_no_text(expression: Any) -> None:
    with pytest.raises(ValueError, match="is no size: a size is an int or an expression"):
        symbols(expression)


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError, match="K"):
        evaluate("2*K", {"H": 4})


def expressions() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["D", "H", "P", "1", "2", "3", "7"])
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda a, op, b: f"({a} {op} {b})", inner, st.sampled_from(["+", "-", "*", "//"]), inner
        ),
        max_leaves=6,
    )


@given(expressions(), st.tuples(*[st.integers(1, 30)] * 3), st.tuples(*[st.integers(1, 30)] * 3))
def test_an_expression_keeps_its_meaning_at_other_sizes(
    expression: str, here: tuple[int, ...], there: tuple[int, ...]
) -> None:
    """What is printed of a size is the expression: also where it was simplified, at all sizes."""
    at_here, at_there = (dict(zip("DHP", n, strict=True)) for n in (here, there))
    try:
        wanted = [eval(expression, {}, dict(sizes)) for sizes in (at_here, at_there)]
    except ZeroDivisionError:
        assume(False)
        raise
    size = evaluate(expression, at_here)
    assert size == wanted[0]
    assert evaluate(str(size), at_there) == wanted[1]
    assert str(evaluate(str(size), at_here)) == str(size)


# --- solving --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([("H", 4)], {"H": 4}),
        ([("3*H", 12), ("D", 5)], {"H": 4, "D": 5}),
        ([("2*H + 1", 9)], {"H": 4}),
        ([("D + H", 9), ("D", 5)], {"D": 5, "H": 4}),
        ([("D + H", 9), ("H + P", 6), ("P", 2)], {"P": 2, "H": 4, "D": 5}),
        ([("10 - H", 6)], {"H": 4}),
        ([("H*P", 8), ("P", 2)], {"P": 2, "H": 4}),
        ([("(H + 1)*P", 10), ("P", 2)], {"P": 2, "H": 4}),
        ([("H", 4), ("H", 5)], {"H": 4}),  # whoever compares the shapes says what is wrong
        ([("2*H", 9)], {}),
        ([("H//2", 2)], {}),
        ([("H*H", 16)], {}),
        ([("H - H", 0)], {}),
        ([("D + H", 9)], {}),
        ([(4, 4), ("4", 4)], {}),
        ([], {}),
    ],
)
def test_solve(pairs: list[tuple[str | int, int]], found: dict[str, int]) -> None:
    assert solve(pairs) == found
