"""Reports as tables, in full; and the plain word beside each figure."""

import math

import pytest

from unrolled.tasks.render import to_markdown, to_text, verdict
from unrolled.tasks.report import Figure, Report
from unrolled.tasks.words import counted

FIGURES = (
    Figure("accuracy", 0.8563, 0.8405, 0.8713, 0.4693, "majority class", "higher", "%"),
    Figure("loss", 0.512, 0.48, 0.55, 1.873, "class frequencies", "lower", "nats"),
    Figure("edits", 12345.6, 12000.0, 13000.0, None, "", "lower"),
)
REPORT = Report("2,005 held-out examples", FIGURES, {"by class": "Irish 0.5\n"}, {})


def test_a_wide_terminal_gets_a_table():
    assert (
        to_text(REPORT, 100)
        == """\
on 2,005 held-out examples
metric    model        95 % interval               baseline                         \n\
accuracy  85.63 %      84.05 % to 87.13 %          46.93 % (majority class)         better
loss      0.5120 nats  0.4800 nats to 0.5500 nats  1.8730 nats (class frequencies)  better
edits     12,346       12,000 to 13,000            none

by class
Irish 0.5""".replace(" " * 25 + "\n", "\n")
    )


def test_a_narrow_one_gets_lines_that_fit():
    text = to_text(REPORT, 40)
    assert (
        text
        == """\
on 2,005 held-out examples
accuracy: 85.63 %
  95 % interval: 84.05 % to 87.13 %
  baseline: 46.93 % (majority class)
  better
loss: 0.5120 nats
  95 % interval: 0.4800 nats to 0.5500
    nats
  baseline: 1.8730 nats (class
    frequencies)
  better
edits: 12,346
  95 % interval: 12,000 to 13,000
  baseline: none

by class
Irish 0.5"""
    )
    assert max(map(len, text.splitlines())) <= 40


@pytest.mark.parametrize("width", [10, 17, 20, 63, 90, 200])
def test_no_line_is_longer_than_the_terminal(width: int):
    lines = to_text(Report("data", FIGURES, {}, {}), width).splitlines()
    assert max(map(len, lines)) <= width


def test_markdown():
    assert (
        to_markdown(REPORT)
        == """\
On 2,005 held-out examples:

| metric | model | 95 % interval | baseline |  |
| --- | --- | --- | --- | --- |
| accuracy | 85.63 % | 84.05 % to 87.13 % | 46.93 % (majority class) | better |
| loss | 0.5120 nats | 0.4800 nats to 0.5500 nats | 1.8730 nats (class frequencies) | better |
| edits | 12,346 | 12,000 to 13,000 | none |  |

by class:

```text
Irish 0.5
```"""
    )


@pytest.mark.parametrize(
    ("better", "value", "low", "high", "baseline", "word"),
    [
        ("higher", 0.8, 0.7, 0.9, 0.6, "better"),
        ("higher", 0.8, 0.7, 0.9, 0.75, "perhaps better"),
        ("higher", 0.8, 0.7, 0.9, 0.7, "perhaps better"),
        ("higher", 0.8, 0.7, 0.9, 0.8, "not better than the baseline"),
        ("higher", 0.8, 0.7, 0.9, 0.95, "not better than the baseline"),
        ("lower", 0.8, 0.7, 0.9, 0.95, "better"),
        ("lower", 0.8, 0.7, 0.9, 0.85, "perhaps better"),
        ("lower", 0.8, 0.7, 0.9, 0.6, "not better than the baseline"),
        ("lower", 0.8, 0.7, 0.9, None, ""),
        ("lower", 0.8, math.nan, 0.9, 0.6, "not comparable"),
        ("lower", math.nan, 0.7, 0.9, 0.6, "not comparable"),
    ],
)
def test_the_plain_word(
    better: str, value: float, low: float, high: float, baseline: float | None, word: str
):
    figure = Figure("f", value, low, high, baseline, "b", better)  # pyright: ignore
    assert verdict(figure) == word


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.49824, "1.4982"), (0.0, "0.0000"), (0.001234, "0.0012340"), (123.456, "123.46"),
     (1e6, "1,000,000"), (-3.25, "-3.2500"), (math.inf, "inf")],
)  # fmt: skip
def test_numbers_have_five_digits(value: float, shown: str):
    report = Report("x", (Figure("f", value, value, value, None, "", "lower"),), {}, {})
    assert to_text(report).splitlines()[2].split()[1] == shown


def test_counts_in_words():
    assert [counted(n, "example") for n in (0, 1, 2, 2005)] == [
        "0 examples",
        "1 example",
        "2 examples",
        "2,005 examples",
    ]
