"""The whole report, of all instruments: its sections, files and errors."""

import math
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tiny_models import TEXT, tiny
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, ModelError
from unrolled.inspect import Report, report
from unrolled.inspect.decay import Decay, Verdict
from unrolled.inspect.gradient_flow import Curve, GradientFlow, LayerFlow
from unrolled.inspect.neurons import Found, Ranking, Unit
from unrolled.inspect.properties import matches
from unrolled.inspect.report import PARTS, Section, Table
from unrolled.inspect.report.page import render
from unrolled.inspect.report.parts import gradients
from unrolled.inspect.report.parts.text import follows
from unrolled.inspect.report.section import in_words

READ = TEXT * 12
WITHOUT_RUN = [part for part in PARTS if part != "health"]


@pytest.fixture(scope="module")
def whole() -> Report:
    return report(tiny(), READ, name="tiny <b>", source="a & b")


def test_every_part_has_its_section(whole: Report) -> None:
    assert [section.name for section in whole.sections] == WITHOUT_RUN
    assert all(section.finding.endswith(".") for section in whole.sections)
    assert whole.title == "What tiny <b> remembers"
    assert whole.about.endswith("Read: a & b, 144 characters.")
    assert whole.text is not None
    assert list(whole.text.tokens) == list(READ)


def test_the_page_and_its_figures_are_written(whole: Report, tmp_path: Path) -> None:
    page, *figures = whole.write(tmp_path / "made" / "here", "svg")
    assert page == tmp_path / "made" / "here" / "report.html"
    assert page.stat().st_size < 5_000_000
    named = [
        *(d.name for s in whole.sections for d in s.drawings if d.name),
        *(p.name for s in whole.sections for p in s.pictures),
    ]
    assert sorted(path.stem for path in figures) == sorted(named)
    assert len(set(named)) == len(named)
    assert all(b"<svg" in path.read_bytes() for path in figures)
    assert len(list((tmp_path / "made" / "here").iterdir())) == 1 + len(figures)


def test_pngs(whole: Report, tmp_path: Path) -> None:
    figures = whole.write(tmp_path)[1:]
    kinds = {path.suffix: path.read_bytes()[:4] for path in figures}
    assert kinds[".png"] == b"\x89PNG"
    assert set(kinds) == {".png", ".svg"}


def test_the_page_names_no_other_file(whole: Report) -> None:
    html = whole.html()
    assert "<h1>What tiny &lt;b&gt; remembers</h1>" in html
    assert "a &amp; b" in html
    # Addresses are namespaces, data and places on the page.
    for address in re.findall(r'\b(?:src|href|action)="([^"]*)"', html):
        assert address.startswith(("#", "data:")), address
    namespaces = set(re.findall(r"https?://[^\"'\s<)]*", html))
    assert namespaces <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xlink",
    }


def test_numbers_in_sentences_are_short_and_have_the_minus_of_the_tables(whole: Report) -> None:
    parts = [s for s in whole.sections if s.name in ("gradients", "jacobians", "attribution")]
    assert len(parts) == 3
    for section in parts:
        reasons = [cell for t in section.tables for row in t.rows for cell in row if ":" in cell]
        for words in (section.finding, *section.notes, *reasons):
            assert not re.search(r"(^|[\s(e])-\d", words), words
            for number in re.findall(r"\d+\.\d+", words):
                assert len(number.replace(".", "").lstrip("0")) <= 3, words


def flow_of(*verdicts: Verdict) -> GradientFlow:
    nothing = torch.ones(6, dtype=torch.float64)
    curve = Curve(nothing, nothing, nothing, nothing, nothing.long())
    layers = tuple(
        LayerFlow(
            f"l{n}", {"h": curve}, curve, Decay(v, 0.9, (0, 5), 1 + n, 5, 0.1, "between a and b: c")
        )
        for n, v in enumerate(verdicts)
    )
    return GradientFlow(layers, (), (), 3)


@pytest.mark.parametrize(
    ("verdicts", "verdict", "finding"),
    [
        (
            ("vanishing", "healthy"),
            "Vanishing in l0; healthy in l1",
            "1 % of the gradient is left after 1 character in l0 and 2 characters in l1. "
            "This rests on 3 sequences.",
        ),
        (
            ("healthy", "healthy"),
            "Healthy",
            "1 % of the gradient is left after 1 character in l0 and 2 characters in l1. "
            "This rests on 3 sequences.",
        ),
        (
            ("unknown", "unclear"),
            "Unknown in l0; unclear in l1",
            "1 % of the gradient is left after an unknown number of characters in l0 and 2 "
            "characters in l1. In l1 it is between a and b. This rests on 3 sequences.",
        ),
    ],
)
def test_layers_that_differ_have_a_verdict_each(
    verdicts: tuple[Verdict, ...], verdict: str, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "gradient_flow", lambda *_, **__: flow_of(*verdicts))
    (section,) = report(tiny(), READ, parts=["gradients"]).sections
    assert (section.verdict, section.finding) == (verdict, finding)


def test_progress_goes_from_nothing_to_all() -> None:
    told: list[float] = []
    report(
        tiny(), READ, parts=["neurons", "gates"], progress=lambda what, share: told.append(share)
    )
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)
    assert len(told) > 4


@pytest.mark.parametrize("cell", ["elman", "gru", "mingru", "leaky_rnn", "residual(gru)"])
def test_cells_of_all_kinds(cell: str) -> None:
    found = report(tiny(cell, num_layers=1, embedding_size=6), READ)
    assert [section.name for section in found.sections] == WITHOUT_RUN
    assert len(found.html()) > 10_000


@pytest.mark.parametrize("kind", ["byte", "word", "item"])
def test_tokens_of_all_kinds(kind: str) -> None:
    text = "three blind mice, see how they run: é\n" * 20
    vocabulary = Vocabulary.build([text], kind)  # pyright: ignore[reportArgumentType]
    found = report(tiny(vocabulary=vocabulary), text, characters=120)
    assert found.text is not None
    assert len(found.text.tokens) == 120
    assert f"120 {vocabulary.unit}s" in found.about


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9])
def test_a_text_of_a_few_characters(length: int) -> None:
    found = report(tiny(), TEXT[:length])
    assert [section.name for section in found.sections] == WITHOUT_RUN
    found.html()


def lead(text: str) -> str:
    (section,) = report(tiny(), text, parts=["neurons"]).sections
    return section.finding.removesuffix("a character.").rpartition(" The text takes ")[0]


def test_a_unit_is_named_where_it_is_better_than_chance_alone() -> None:
    assert lead("h") == NOT_JUDGED
    assert lead(TEXT * 12) == (
        "The text is too short to tell whether a unit follows any property of it better than "
        "chance: that takes 200 characters."
    )
    mixed = random.Random(0).choices(["hello", "world", " ", " ", "\n"], k=200)
    named = r"Unit \d of [hc] in recurrent l[01] follows “.*” .*best of all \(it .*\): .* 0\.\d\d\."
    assert re.fullmatch(named, lead("".join(mixed)))
    # Each line as the one before it: there are 12 different shifts.
    assert lead(TEXT * 20) == "No unit follows any property of this text better than chance."


def test_a_property_of_ones_own_comes_first() -> None:
    text = "".join(random.Random(0).choices("abc(d)e\n", k=600))
    model = tiny("elman", vocabulary=Vocabulary.build([text], "char"), num_layers=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # each state depends on its input above all
    made = report(model, text, parts=["neurons"], properties={"vowel": matches("[ae]")})
    assert " follows “vowel” " in made.sections[0].finding
    assert made.text is not None
    assert next(iter(made.text.ranked)) == "vowel"


def test_it_is_told_where_fewer_tokens_than_usual_get_a_part() -> None:
    model = tiny("lstm").double()
    notes = report(model, TEXT * 9, parts=["attribution"]).sections[0].notes
    assert not any("chaotic" in note for note in notes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(10)
    note = report(model, TEXT * 9, parts=["attribution"]).sections[0].notes[-1]
    told = re.match(r"Only the last (\d+) characters get a part; .* With (\d+) the contrib", note)
    assert told is not None
    assert 0 < int(told[1]) < 100
    assert int(told[2]) == 2 * int(told[1])


def test_measures_are_explained_with_their_sign(whole: Report) -> None:
    explained = whole.sections[0].notes[0]
    assert (
        "AUC is the probability that a unit is higher (sign 1) or lower (sign −1) where the "
        "property holds than where it does not: 0.5 is chance, 1 is perfect, and below 0.5 the "
        "halves contradict each other."
    ) in explained
    assert "Spearman's rank correlation, times the sign, is for" in explained


NOT_JUDGED = "No property of the text changes in both of its halves, so no unit could be judged."


@pytest.mark.parametrize(
    ("values", "sign", "words"),
    [
        (torch.tensor([True, False]), 1, "is high there): AUC 0.81."),
        (torch.tensor([True, False]), -1, "is low there): AUC 0.81."),
        (torch.tensor([1.0, 2.0]), 1, "rises with it): Spearman 0.81."),
        (torch.tensor([1.0, 2.0]), -1, "falls with it): Spearman 0.81."),
    ],
)
def test_how_a_unit_follows_a_property(values: torch.Tensor, sign: int, words: str) -> None:
    found = Found(Unit("l0", "c", 15), 0.9, 0.81, sign)
    measure = "AUC" if values.dtype == torch.bool else "Spearman"
    assert follows(Ranking("some", values, measure, (found,), ""), found) == (
        f"Unit 15 of c in l0 follows “some” best of all (it {words}"
    )
    weak = replace(found, held_out=0.49)
    assert "follows “some” weakly, but best of all (it " in follows(
        Ranking("some", values, measure, (weak,), ""), weak
    )


def held(*biases: float) -> str:
    """What is said of a GRU whose gates are σ(bias) at each step, a unit for each bias."""
    model = tiny("gru", num_layers=1, hidden_size=len(biases))
    with torch.no_grad():
        for p in model.recurrent.parameters():
            p.zero_()
        both = torch.tensor([*biases, *biases])
        model.recurrent.get_parameter("bias_ih_l0")[: len(both)] = both
    (section,) = report(model, READ, parts=["gates"]).sections
    return section.finding


LASTS = "A typical unit keeps what it holds for {0} in h of recurrent l0 (the longest {1})."


@pytest.mark.parametrize(
    ("bias", "lasting", "gates"),
    [
        # -1 / ln σ(bias): at σ = 1/e it is 1.
        (0.0, ("1.44 characters", "1.44"), "No gate is open, and none shut, for 10 % of the time."),
        (-math.log(math.e - 1), ("1 character", "1"), "No gate is open, and none shut, for 10 % "),
        (-math.log(math.exp(1 / 0.4426) - 1), ("0.44 characters", "0.44"), "No gate is open, and "),
        (
            -9.0,
            ("0.11 characters", "0.11"),
            "Of the gates, most often shut is r of recurrent l0 (100 % of the time); none is open "
            "for 10 % of the time.",
        ),
        (
            9.0,
            ("8,100 characters", "8,100"),
            "Of the gates, most often open is r of recurrent l0 (100 % of the time); none is shut "
            "for 10 % of the time.",
        ),
    ],
)
def test_how_long_states_last_in_words(bias: float, lasting: tuple[str, str], gates: str) -> None:
    assert held(bias).startswith(f"{LASTS.format(*lasting)} {gates}")


def test_what_gates_seldom_do_is_no_finding() -> None:
    assert held(*[0.0] * 19, -9.0).endswith("No gate is open, and none shut, for 10 % of the time.")
    assert held(9.0, 0.0, 0.0, -9.0, -9.0).endswith(
        "Of the gates, most often open is r of recurrent l0 (20 % of the time), most often shut is "
        "r of recurrent l0 (40 % of the time)."
    )


def test_a_cell_that_forgets_by_a_factor_is_not_said_to_have_no_gates() -> None:
    (section,) = report(tiny("leaky_rnn", num_layers=1), READ, parts=["gates"]).sections
    assert section.finding.startswith("A typical unit keeps what it holds for ")
    assert section.finding.endswith(
        " recurrent l0: no value of its cell is known to be a gate, but it keeps h by a factor "
        "that is fixed or not known to lie between 0 and 1."
    )
    (section,) = report(tiny("rnn"), READ, parts=["gates"]).sections
    assert section.finding == "recurrent l0 and recurrent l1: its cell has no gates."


def broken() -> nn.Module:
    model = tiny()
    model.recurrent.get_parameter("weight_hh_l1").data[0, 0] = torch.nan
    return model


# What is called, and the error in full.
WRONG = {
    "no language model": (
        lambda: report(nn.Linear(2, 2), "text"),
        TypeError,
        "a report reads a text with a LanguageModel, this is a Linear: equations, gradient_flow, "
        "jacobians and gates look into any model",
    ),
    "an empty text": (
        lambda: report(tiny(), ""),
        DataError,
        "the text is empty: there is nothing to look at",
    ),
    "a text that is too short": (
        lambda: report(tiny(), "hello", characters=6),
        DataError,
        "the text has 5 characters, fewer than the 6 that were asked for: give a longer text or "
        "ask for fewer",
    ),
    "no number": (
        lambda: report(broken(), "hello"),
        ModelError,
        "recurrent.weight_hh_l1 holds 1 numbers that are not finite (of 144): the model can't be "
        "looked into; take an earlier checkpoint",
    ),
    "no such part": (
        lambda: report(tiny(), "hello", parts=["gates", "neutrons"]),
        ValueError,
        f"parts are some of {', '.join(PARTS)}, not neutrons",
    ),
    "no part": (
        lambda: report(tiny(), "hello", parts=[]),
        ValueError,
        f"parts are some of {', '.join(PARTS)}, not none",
    ),
    "no run": (
        lambda: report(tiny(), "hello", parts=["health"]),
        ValueError,
        "the part health looks at a training run: give its directory as run=",
    ),
    "too many characters": (
        lambda: report(tiny(), "hello", characters=100_001),
        ValueError,
        "characters is 1 to 100,000, got 100,001",
    ),
    "a position before the text": (
        lambda: report(tiny(), "hello", position=0),
        ValueError,
        "position is counted from 1, got 0",
    ),
    "a position behind the text": (
        lambda: report(tiny(), "hello", position=6),
        DataError,
        "there is no character 6: 5 of the text are read; name an earlier one or read more",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input(call: object, kind: type[Exception], message: str) -> None:
    assert callable(call)
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message


def test_words_of_a_section_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    table = Table.of(evil, [{evil: evil, "number": 1.5}])
    section = Section("x", evil, evil, evil, tables=(table,), notes=(evil,))
    html = render(evil, evil, (section,), None, {})
    assert html.count("<script>") == 1  # the page's own
    # Heading and tab, the line below, three in the findings and in the section, four of the table,
    # and the note.
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2 + 1 + 3 + 3 + 4 + 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        ("", "–"),
        (True, "yes"),
        (12345, "12,345"),
        (-3, "−3"),
        (0.123456, "0.1235"),
        (-0.00001234, "−1.234e−05"),
        (12345.6, "12,346"),
        (float("inf"), "∞"),
        (float("nan"), "nan"),
        ((4, 5), "4 × 5"),
        ("words", "words"),
    ],
)
def test_entries_in_words(value: object, words: str) -> None:
    assert in_words(value) == words


def test_a_run_of_a_single_line_is_not_called_healthy(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    line = '{"split": "train", "step": 20, "loss": 4.416}\n'
    (tmp_path / "training" / "metrics.jsonl").write_text(line)
    (section,) = report(tiny(), READ, parts=["health"], run=tmp_path).sections
    assert (section.verdict, section.tone) == ("Too few lines to say", "plain")
    assert section.finding == (
        "At step 20 the training loss was 4.416. The run has 1 line of metrics in 20 steps, and "
        "below 5 there are too few to say how it went: log more often (--log-every 1), or train "
        "longer."
    )
