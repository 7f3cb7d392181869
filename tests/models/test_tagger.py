"""The tagger: its independence of neighbours, its decoding, its files, its errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from classified_data import POS, SENTENCES, tagger
from model_rounding import rounding
from unrolled import cell, param
from unrolled.errors import DataError, ModelError
from unrolled.models.tagger import Tagger
from unrolled.models.tagger_inputs import SPELLING, TaggerConfig, TaggerInputs

OPTIONS: list[dict[str, Any]] = [
    {},
    {"pos": False},
    {"character_hidden_size": 0},
    {"character_hidden_size": 0, "pos": False, "bidirectional": False},
    {"num_layers": 2, "learn_initial": True, "fold": False},
]
NAMES = ["gru", "rnn", "lstm", "elman_output", "lstm_projected", "lstm_peephole", "mingru"]
SIZES = {"elman_output": {"O": 4}, "lstm_projected": {"P": 4}}
LENGTHS = torch.tensor([len(words) for words in SENTENCES])


def columns_of(model: Tagger, i: int) -> dict[str, tuple[str, ...]]:
    return {"pos": POS[i]} if model.inputs.columns else {}


def padded(model: Tagger) -> dict[str, Any]:
    rows = [model.encode(words, columns_of(model, i)) for i, words in enumerate(SENTENCES)]
    return model.arguments(
        {
            name: torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row[name]) for row in rows])
            for name in rows[0]
        }
    )


def alone(model: Tagger, i: int) -> torch.Tensor:
    encoded = model.encode(SENTENCES[i], columns_of(model, i))
    return model(
        **model.arguments({k: torch.from_numpy(v).unsqueeze(1) for k, v in encoded.items()})
    )[:, 0]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_sentence_is_tagged_as_if_it_were_alone(options: dict[str, Any]):
    model = tagger(**options).double()
    together = model(lengths=LENGTHS, **padded(model))
    assert together.shape == (4, 3, 5)
    steps = (SPELLING + 4) * model.config.num_layers  # of a word's letters, then of words
    bound = rounding(model, lambda: model(lengths=LENGTHS, **padded(model)), steps)
    for i, n in enumerate(LENGTHS.tolist()):
        assert (together[:n, i] - alone(model, i)).abs().max() <= bound


@pytest.mark.parametrize("options", OPTIONS)
def test_what_stands_past_the_end_does_not_matter(options: dict[str, Any]):
    model = tagger(**options)
    given = padded(model)
    plain = model(lengths=LENGTHS, **given)
    given["words"][2:, 1:] = 1
    if given["characters"] is not None:
        given["characters"][2:, 1:] = 2
    for ids in given["columns"]:
        ids[2:, 1:] = 1
    other = model(lengths=LENGTHS, **given)
    for i, n in enumerate(LENGTHS.tolist()):
        assert torch.equal(plain[:n, i], other[:n, i])


def test_spellings_are_read_by_their_own_layer():
    model = tagger().double()
    spelling = model.spelling
    assert spelling is not None
    assert model.inputs.characters is not None
    characters = padded(model)["characters"]
    found = spelling(characters)
    bound = rounding(spelling, lambda: spelling(characters), SPELLING)
    for t, i in ((0, 0), (1, 0), (3, 0), (1, 2)):
        word = SENTENCES[i][t]
        ids = torch.from_numpy(model.inputs.characters.encode(word).astype("int64")) + 1
        y, _ = spelling.recurrent(spelling.vectors(ids.unsqueeze(1)))
        expected = torch.cat([y[-1, 0, :3], y[0, 0, 3:]])
        assert (found[t, i] - expected).abs().max() <= bound


def test_a_long_word_is_read_by_both_ends():
    model = tagger(pos=False)
    long = "cat" * 10
    found = model.encode([long, "cat"])["characters"]
    same = model.encode([long[:12] + long[-12:], "cat"])["characters"]
    assert found.shape == (2, SPELLING)
    assert (found == same).all()
    assert (found[1, 3:] == 0).all()
    assert (found[1, :3] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_any_cell_and_it_is_saved(name: str, tmp_path: Path):
    model = tagger(name, sizes=SIZES.get(name, {}))
    model.usual = (0,) * len(model.inputs.words)
    model.save_pretrained(tmp_path)
    loaded = Tagger.from_pretrained(tmp_path)
    assert (loaded.config, loaded.tags, loaded.inputs) == (model.config, model.tags, model.inputs)
    assert loaded.usual == model.usual
    assert not loaded.training
    expected = model(lengths=LENGTHS, **padded(model))
    assert torch.equal(loaded(lengths=LENGTHS, **padded(loaded)), expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_form_is_saved(options: dict[str, Any], tmp_path: Path):
    model = tagger(**options)
    model.save_pretrained(tmp_path)
    loaded = Tagger.from_pretrained(tmp_path)
    expected = model(lengths=LENGTHS, **padded(model))
    assert torch.equal(loaded(lengths=LENGTHS, **padded(loaded)), expected)


def test_a_cell_of_ones_own(tmp_path: Path):
    @cell
    def keep(x, h, *, U=param("H", "D")):
        return h + torch.tanh(U @ x)

    config = TaggerConfig("mine", 5, character_hidden_size=3)
    model = Tagger(config, ("a", "b"), TaggerInputs.build(config, SENTENCES), keep).eval()
    model.save_pretrained(tmp_path)
    assert Tagger.from_pretrained(tmp_path).predict(SENTENCES) == model.predict(SENTENCES)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["lstm", "lstm_peephole"])
def test_a_gradient_reaches_every_parameter(name: str, options: dict[str, Any]):
    model = tagger(name, **options).train()
    logits = model(lengths=LENGTHS, **padded(model))
    F.cross_entropy(logits.flatten(0, 1), torch.arange(12) % 5).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert without == []


def test_it_learns_in_a_loop_written_by_hand():
    # A word's tag is what the word before it ends in: neither the word nor its spelling says.
    words = ("ab", "ca", "bb", "aa", "cb", "ba")
    draw = torch.Generator().manual_seed(0)
    sentences = [[words[i] for i in torch.randint(6, (5,), generator=draw)] for _ in range(40)]
    answers = [["O", *(word[-1] for word in sentence[:-1])] for sentence in sentences]
    config = TaggerConfig(
        "gru", 12, embedding_size=6, character_hidden_size=4, dropout=0.0, embedding_dropout=0.0,
        token_dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Tagger(config, ("O", "a", "b"), TaggerInputs.build(config, sentences))
    encoded = [model.encode(sentence) for sentence in sentences]
    given = model.arguments(
        {k: torch.stack([torch.from_numpy(e[k]) for e in encoded], 1) for k in encoded[0]}
    )
    right = torch.tensor([[model.tags.encode(tag) for tag in tags] for tags in answers]).T
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = F.cross_entropy(model(**given).flatten(0, 1), right.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.predict(sentences) == answers


def test_chunks_that_are_predicted_are_allowed():
    model = tagger()
    assert model.chunks
    model.output.bias.data[2] = 9.0  # I-NP everywhere
    assert model.predict(SENTENCES, {"pos": POS}) == [
        ["B-NP", *["I-NP"] * (len(words) - 1)] for words in SENTENCES
    ]
    plain = tagger(tags=("X", "Y", "Z", "I-NP", "O"))
    assert not plain.chunks
    plain.output.bias.data[3] = 9.0
    assert plain.predict(SENTENCES, {"pos": POS})[1] == ["I-NP", "I-NP"]


def test_predictions_do_not_depend_on_the_order():
    model = tagger()
    found = model.predict(SENTENCES, {"pos": POS})
    assert [len(tags) for tags in found] == [4, 2, 2]
    backward = model.predict(SENTENCES[::-1], {"pos": POS[::-1]})
    assert backward == found[::-1]
    assert model.predict([]) == []


class TestRefuses:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"bidirectional": 1}, "bidirectional is true or false, not 1"),
            ({"character_hidden_size": -1},
             "character_hidden_size is a whole number of at least 0, not -1"),
            ({"column_size": 0}, "column_size is a whole number of at least 1, not 0"),
            ({"fold": "yes"}, "fold is true or false, not 'yes'"),
        ],
    )  # fmt: skip
    def test_a_wrong_configuration(self, options: dict[str, Any], message: str):
        with pytest.raises(ModelError) as caught:
            TaggerConfig(**options)
        assert str(caught.value) == message

    def test_a_single_tag(self):
        with pytest.raises(DataError) as caught:
            tagger(tags=("O",))
        assert str(caught.value) == (
            "all examples have the label 'O': there is nothing to tell apart, give examples of at "
            "least two classes"
        )

    @pytest.mark.parametrize(
        ("words", "columns", "message"),
        [
            ([], {"pos": []}, "the sentence is empty"),
            (["a"], {},
             "the tagger reads the columns pos beside the words, got no further columns"),
            (["a"], {"pos": ["X"], "b": ["X"]},
             "the tagger reads the columns pos beside the words, got the columns b, pos"),
            (["a"], {"pos": ["X", "Y"]}, "the column pos has 2 values for 1 words"),
        ],
    )  # fmt: skip
    def test_a_sentence_that_cannot_be_read(self, words: Any, columns: Any, message: str):
        with pytest.raises(DataError) as caught:
            tagger().encode(words, columns)
        assert str(caught.value) == message

    def test_inputs_that_are_missing_or_wrong(self):
        model = tagger()
        given = padded(model)
        with pytest.raises(ValueError) as caught:
            model(given["words"])
        assert str(caught.value) == (
            "this tagger reads characters and 1 further columns, got no characters and 0"
        )
        with pytest.raises(IndexError) as of_index:
            model(**{**given, "columns": [given["columns"][0] + 99]})
        assert "ids of column pos: 99 is none of the" in str(of_index.value)
        with pytest.raises(ValueError) as caught:
            model(**{**given, "characters": given["characters"][:, :, :5]})
        assert str(caught.value) == (
            "expected character ids of shape [T, B, 24] with T and B at least 1, got [4, 3, 5]"
        )

    def test_usual_tags_that_are_damaged(self, tmp_path: Path):
        model = tagger()
        model.usual = (7,) * len(model.inputs.words)
        model.save_pretrained(tmp_path)
        with pytest.raises(ModelError) as caught:
            Tagger.from_pretrained(tmp_path)
        assert str(caught.value) == (
            f"the model in {tmp_path} can't be loaded: the usual tags of words are "
            f"{len(model.inputs.words)} numbers from 0 to 4, or none"
        )
