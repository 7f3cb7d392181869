"""Units are found that were built to follow a property, and not those that do so by chance."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import unrolled
from model_rounding import assert_near
from tiny_models import TEXT, tiny
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.inspect.neurons import Neurons, Unit, neurons
from unrolled.inspect.properties import PROPERTIES
from unrolled.inspect.text import TextSample
from unrolled.models.language_model import LanguageModel, LanguageModelConfig

ALPHABET = 'ab ()\n"X3'
HIDDEN, COUNTER, QUOTE, LINE = 12, 7, 3, 10


@unrolled.cell
def followers(
    x: Tensor, h: Tensor, *,
    W: Tensor = unrolled.param("H", "D"), U: Tensor = unrolled.param("H", "H"),
    count: Tensor = unrolled.param("H", "D"), keep: Tensor = unrolled.param("H", "D"),
    flip: Tensor = unrolled.param("H", "D"), own: Tensor = unrolled.param("H"),
) -> Any:  # fmt: skip
    """Units that count exactly by each character, beside those of a plain random network."""
    counted = (keep @ x) * (h * (1 - 2 * (flip @ x)) + flip @ x) + count @ x
    return torch.where(own > 0, counted, torch.tanh(W @ x + U @ h))


def counting_model() -> LanguageModel:
    """Of one layer, with a unit for the bracket depth, one for quotes, one for the line."""
    torch.manual_seed(0)
    vocabulary = Vocabulary("char", (*ALPHABET, "<eos>"), None, len(ALPHABET))
    config = LanguageModelConfig("followers", embedding_size=0, hidden_size=HIDDEN, num_layers=1)
    model = LanguageModel(config, vocabulary, followers).eval()
    place = {c: i for i, c in enumerate(ALPHABET)}
    with torch.no_grad():
        own, count, keep, flip = (
            model.recurrent.get_parameter(f"{name}_l0") for name in ("own", "count", "keep", "flip")
        )
        for p in (own, count, flip):
            p.zero_()
        keep.fill_(1)
        own[[COUNTER, QUOTE, LINE]] = 1
        count[COUNTER, place["("]], count[COUNTER, place[")"]] = 1, -1
        flip[QUOTE, place['"']] = 1
        count[LINE] = 1
        count[LINE, place["\n"]] = 0
        keep[LINE, place["\n"]] = 0
        keep[LINE, len(ALPHABET)] = count[LINE, len(ALPHABET)] = 0
    return model


def some_text(n: int = 600) -> str:
    generator = np.random.default_rng(0)
    pieces = ["ab a ", "X3 ba", "(a(b) a)", '"ab a"', "\n", "(b)", "aX "]
    return "".join(generator.choice(pieces, n // 4))[:n]


@pytest.fixture(scope="module")
def seen() -> Neurons:
    return neurons(counting_model(), some_text())


@pytest.mark.parametrize(
    ("name", "unit", "measure"),
    [
        ("bracket depth", COUNTER, "Spearman"),
        ("inside brackets", COUNTER, "AUC"),
        ("inside quotes", QUOTE, "AUC"),
        ("position in line", LINE, "Spearman"),
    ],
)
def test_a_unit_that_follows_a_property_exactly_is_first(
    seen: Neurons, name: str, unit: int, measure: str
) -> None:
    ranking = seen.rankings[name]
    first, second = ranking.units[:2]
    assert ranking.measure == measure
    assert str(first.unit) == f"recurrent l0 h[{unit}]"
    assert (first.sought, first.held_out, first.sign) == pytest.approx((1, 1, 1), abs=1e-12)
    assert second.sought < 0.999
    assert len(ranking.units) == HIDDEN
    assert [abs(f.sought) for f in ranking.units] == sorted(
        (abs(f.sought) for f in ranking.units), reverse=True
    )
    held = seen.values(first.unit)
    assert held.shape == (len(seen.sample),)
    if name != "inside brackets":
        assert torch.equal(held.double(), ranking.values.double())


def test_a_unit_that_is_low_there_has_a_negative_sign() -> None:
    text = some_text()
    found = neurons(counting_model(), text, {"outside": lambda t: ~PROPERTIES["inside quotes"](t)})
    first = found.rankings["outside"].units[0]
    assert (first.unit.index, first.sought, first.held_out, first.sign) == (QUOTE, 1, 1, -1)


def test_what_is_best_by_chance_is_no_better_on_held_out_text() -> None:
    torch.manual_seed(3)
    model = tiny("gru", hidden_size=64)
    text = TEXT * 50
    generator = np.random.default_rng(1)
    noise = {f"noise {k}": generator.random(len(text)) < 0.3 for k in range(20)}
    found = neurons(model, text, noise)
    best = [found.rankings[name].units[0] for name in noise]
    assert np.mean([b.sought for b in best]) > 0.56
    assert abs(np.mean([b.held_out for b in best]) - 0.5) < 0.03


def test_states_are_those_of_the_network_behind_its_mark() -> None:
    model = tiny("lstm").double()
    text = TEXT * 80
    told: list[tuple[str, float]] = []
    found = neurons(model, text, progress=lambda what, share: told.append((what, share)))
    assert {what for what, _ in told} == {"reading the text", "ranking units"}
    assert told[-1][1] == 1
    logits, (h, c) = model(model.with_start(text).unsqueeze(1))
    states = found.states
    assert set(states) == {(f"recurrent l{k}", s) for k in (0, 1) for s in "hc"}
    for k in (0, 1):
        torch.testing.assert_close(states[f"recurrent l{k}", "h"][-1], h[k, 0].detach())
        torch.testing.assert_close(states[f"recurrent l{k}", "c"][-1], c[k, 0].detach())
    expected = found.expected
    p, ids = logits[1:, 0].double().softmax(-1).topk(5)
    torch.testing.assert_close(expected.probabilities, p.float())
    assert (expected.tokens == ids).double().mean() > 0.99  # ties of rounding may change places

    def surprise() -> Tensor:
        return -model.log_probability(text) / math.log(2)

    assert_near(expected.surprise, surprise(), model, surprise, 2 * len(text))


def test_without_a_mark_the_first_token_surprises_by_no_number() -> None:
    model = tiny(vocabulary=Vocabulary.build(["ab"], "char", eos=False, unk=False))
    expected = neurons(model, "abba").expected
    assert expected.surprise.isnan().tolist() == [True, False, False, False]
    assert expected.tokens.shape == (4, 2)
    torch.testing.assert_close(expected.probabilities.sum(1), torch.ones(4))


def test_words_and_bytes_take_the_value_of_their_last_character() -> None:
    text = 'He "said so" (twice 🙂) 😀.\n' * 3
    for kind in ("word", "byte"):
        model = tiny(vocabulary=Vocabulary.build([text], kind))
        found = neurons(model, text, {"own": np.arange(len(text))})
        sample = found.sample
        assert found.rankings["own"].values.tolist() == sample.places.tolist()
        quotes = PROPERTIES["inside quotes"](text)
        assert found.rankings["inside quotes"].values.tolist() == [
            bool(quotes[place]) for place in sample.places
        ]
        by_token = neurons(model, text, {"own": np.arange(len(sample)) % 3})
        assert by_token.rankings["own"].values.tolist() == [k % 3 for k in range(len(sample))]


def test_a_property_that_never_changes_is_said_so() -> None:
    model = tiny()
    n = len(TEXT)
    late, early = np.arange(n) > n - 3, np.arange(n) < 3
    found = neurons(model, TEXT, {"late": late, "early": early})
    assert str(found).splitlines()[-2] == (
        "late: it never changes in the first half of the text, so no unit can be found by it"
    )
    ranking = found.rankings["early"]
    assert ranking.note == "it never changes in the second half: nothing is held out"
    assert all(math.isnan(f.held_out) for f in ranking.units)
    assert neurons(model, "h").rankings["digit"].units == ()


def test_what_was_found_is_said_in_words_and_as_a_table(seen: Neurons) -> None:
    assert str(seen).splitlines()[0] == (
        f"inside quotes: recurrent l0 h[{QUOTE}], high: AUC 1.000 on the second half of the text, "
        "held out (1.000 on the first, by which it was found); better than chance (p = 0.0033)"
    )
    row = seen.table()[0]
    assert row == {
        "property": "inside quotes",
        "unit": f"recurrent l0 h[{QUOTE}]",
        "measure": "AUC",
        "first half": 1.0,
        "second half": 1.0,
        "sign": 1,
        "p-value": 1 / (len(seen.sample) - len(seen.sample) // 2),
        "better than chance": True,
    }
    assert seen.best() in {Unit("recurrent l0", "h", k) for k in (COUNTER, QUOTE, LINE)}


def test_what_the_second_half_contradicts_is_no_better_than_chance() -> None:
    text = some_text()
    depth = np.asarray(PROPERTIES["bracket depth"](text))
    turned = np.where(np.arange(len(text)) < len(text) // 2, depth, -depth)
    found = neurons(counting_model(), text, {"turned": turned})
    first = found.rankings["turned"].units[0]
    assert (first.unit.index, first.held_out) == (COUNTER, pytest.approx(-1))
    row = found.table()[-1]
    assert (row["p-value"], row["better than chance"]) == (1.0, False)
    assert str(found).splitlines()[-1] == (
        f"turned: recurrent l0 h[{COUNTER}], rises with it: Spearman -1.000 on the second half of "
        "the text, held out (1.000 on the first, by which it was found); no better than chance "
        "(p = 1)"
    )


def test_noise_is_seldom_better_than_chance() -> None:
    generator = np.random.default_rng(1)
    text = some_text()
    noise = {f"noise {k}": generator.random(len(text)) < 0.3 for k in range(40)}
    rows = neurons(counting_model(), text, noise).table()[-len(noise) :]
    # At 1 % each: three or more of 40 in 1 of 130 drawings.
    assert sum(bool(row["better than chance"]) for row in rows) <= 2


def message(model: Any, text: Any, properties: Any = None) -> str:
    with pytest.raises((ValueError, TypeError, DataError)) as caught:
        neurons(model, text, properties)
    return str(caught.value)


def test_bad_input_gets_one_line() -> None:
    model = tiny()
    assert message(model, "") == "the text is empty: there is nothing to look at"
    assert message(model, "hello", {"mine": [True] * 4}) == (
        "the property 'mine' has 4 values, the text has 5 characters"
    )
    assert message(model, "hello", {"mine": [[True] * 5]}) == (
        "the property 'mine' is a list of truth values or numbers, one for each character, not "
        "bool of shape [1, 5]"
    )
    assert message(model, "hello", {"mine": "aeiou"}) == (
        "the property 'mine' is a list of truth values or numbers, one for each character, not "
        "<U5 of shape []"
    )
    assert message(model, "he", {"mine": [1.0, math.nan]}) == (
        "the property 'mine' has values that are not finite"
    )
    words = tiny(vocabulary=Vocabulary.build(["hello you"], "word"))
    assert message(words, "hello you", {"mine": [1]}) == (
        "the property 'mine' has 1 values, the text has 9 characters and 2 tokens"
    )
    assert message(unrolled.GRU(2, 2), "hello").startswith("text is read by a LanguageModel, this ")
    sample = TextSample.of(model, "hello")
    assert message(unrolled.GRU(2, 2), sample) == "text is read by a LanguageModel, this is a GRU"


@pytest.mark.parametrize("text", ["👩‍💻🙂 שלום עולם\n", "<script>alert('$x$')</script>\n"])
def test_any_letters_pass(text: str) -> None:
    model = tiny(vocabulary=Vocabulary.build([text], "char"))
    found = neurons(model, text * 3)
    assert "".join(found.sample.pieces) == text * 3
