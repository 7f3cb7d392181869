"""Scores: the chain rule, windows, chunks, batches of lines."""

import itertools
import math

import pytest
import torch

from tiny_models import TEXT, tiny
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.models import scoring
from unrolled.models.language_model import LanguageModel
from unrolled.models.scoring import Score, log_probabilities, score_lines, score_text


def bare() -> LanguageModel:
    """Without any special token, and without a line feed."""
    return tiny(vocabulary=Vocabulary.build(["hello world"], "char", unk=False, eos=False))


def by_hand(model: LanguageModel, before: str, text: str) -> list[float]:
    """Each token's log-probability by one forward call over everything before it."""
    ids = [*model.with_start(before + text).tolist()]
    found: list[float] = []
    for index in range(len(ids) - len(model.encode(text)), len(ids)):
        logits, _ = model(torch.tensor(ids[:index]).unsqueeze(1))
        found.append(float(logits[-1, 0].double().log_softmax(0)[ids[index]].detach()))
    return found


def test_the_log_probability_of_each_token():
    model = tiny()
    found = model.log_probability("hello")
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(by_hand(model, "", "hello"), abs=1e-5)
    assert model.log_probability("").tolist() == []


def test_without_eos_nothing_stands_before_the_first():
    model = bare()
    assert model.log_probability("hello").tolist() == pytest.approx(
        by_hand(model, "h", "ello"), abs=1e-5
    )
    assert model.log_probability("h").tolist() == []


def test_probabilities_of_all_texts_of_a_length_add_up_to_one():
    vocabulary = Vocabulary.build(["ab"], "char")
    model = tiny(vocabulary=vocabulary)
    start = torch.tensor([vocabulary.eos])
    texts = torch.tensor(list(itertools.product(range(4), repeat=3))).T
    found, _ = log_probabilities(model, torch.cat([start.expand(1, texts.shape[1]), texts]))
    assert float(found.sum(0).exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("budget", [1, 50, 1000])
def test_windows_change_nothing(monkeypatch: pytest.MonkeyPatch, budget: int):
    model = tiny()
    ids = model.with_start(TEXT * 5).unsqueeze(1).expand(-1, 2)
    whole, state = log_probabilities(model, ids)
    monkeypatch.setattr(scoring, "_LOGITS", budget)
    pieces, state_of_pieces = log_probabilities(model, ids)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)
    assert state is not None
    assert state_of_pieces is not None
    torch.testing.assert_close(state_of_pieces, state)


@pytest.mark.parametrize(
    "chunks", [["hello world\nhello"], ["hello", " world\nhello"], ["", *"hello world\nhello", ""]]
)
def test_a_document_in_pieces_is_one_document(chunks: list[str]):
    model = tiny()
    score = score_text(model, chunks)
    found = model.log_probability("hello world\nhello")
    assert score.log_probability == pytest.approx(float(found.sum()), abs=1e-4)
    assert (score.tokens, score.characters, score.unknown) == (17, 17, 0)


@pytest.mark.parametrize("chunks", [["hello"], ["", "h", "", "ello"]])
def test_a_document_without_eos_loses_its_first_token(chunks: list[str]):
    score = score_text(bare(), chunks)
    assert (score.tokens, score.characters) == (4, 4)


def test_an_empty_document_has_no_loss():
    score = score_text(tiny(), [])
    assert score == Score(0.0, 0, 0, 0)
    assert math.isnan(score.loss)
    assert math.isnan(score.perplexity)
    assert math.isnan(score.bits_per_character)


def test_unknown_tokens_are_scored_as_unk_and_counted():
    model = tiny()
    score = score_text(model, ["hexlÄ"])
    assert (score.tokens, score.unknown) == (5, 2)
    with pytest.raises(DataError, match="doesn't know"):
        score_text(bare(), ["x"])


def test_figures():
    score = Score(-math.log(2) * 6, tokens=3, characters=12, unknown=0)
    assert score.loss == pytest.approx(2 * math.log(2))
    assert score.perplexity == pytest.approx(4)
    assert score.bits_per_character == pytest.approx(0.5)
    assert Score(-1e6, 1, 1, 0).perplexity == math.inf


def test_bytes_are_tokens_and_characters_are_characters():
    model = tiny(vocabulary=Vocabulary.build([], "byte"))
    score = score_text(model, ["é€"])
    assert (score.tokens, score.characters) == (5, 2)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_lines_are_scored_each_by_itself_with_their_ends(batch_size: int):
    model = tiny()
    lines = ["hello world\n", "low\r\n", "", "hx", "\n"]
    found = list(score_lines(model, lines, batch_size))
    assert [line for line, _ in found] == ["hello world", "low", "", "hx", ""]
    for line, score in found:
        ids = model.encode(f"\n{line}\n").unsqueeze(1)
        expected, _ = log_probabilities(model, ids)
        assert score.log_probability == pytest.approx(float(expected.sum()), abs=1e-4)
        assert score.tokens == score.characters == len(line) + 1
    assert [score.unknown for _, score in found] == [0, 0, 0, 1, 0]


def test_lines_where_the_vocabulary_has_no_line_feed():
    model = tiny(vocabulary=Vocabulary.build(["hello world"], "char"))
    ((_, score),) = score_lines(model, ["hello\n"])
    eos = torch.tensor([model.vocabulary.eos])
    ids = torch.cat([eos, model.encode("hello"), eos])
    expected, _ = log_probabilities(model, ids.unsqueeze(1))
    assert score.log_probability == pytest.approx(float(expected.sum()), abs=1e-4)
    assert (score.tokens, score.characters) == (6, 5)


def test_lines_where_it_has_neither():
    model = bare()
    found = [score for _, score in score_lines(model, ["hello", "h", ""])]
    assert found[0].log_probability == pytest.approx(
        float(model.log_probability("hello").sum()), abs=1e-4
    )
    assert [(s.tokens, s.characters) for s in found] == [(4, 4), (0, 0), (0, 0)]
    assert [s for _, s in score_lines(model, [""])] == [Score(0.0, 0, 0, 0)]


def test_lines_come_as_they_are_scored():
    endless = itertools.repeat("hello")
    assert len(list(itertools.islice(score_lines(tiny(), endless, 4), 10))) == 10


def test_the_mode_is_what_it_was_and_dropout_is_off():
    model = tiny(dropout=0.9).train()
    first, second = (score_text(model, ["hello"]) for _ in range(2))
    assert first == second
    assert model.training
