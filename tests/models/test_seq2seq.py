"""The encoder–decoder: its equations, its lengths, its steps, any cell, its errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_rounding import assert_near, rounding
from tiny_seq2seq import SIZES, SOURCE, TARGET, tiny
from unrolled import cell, param
from unrolled.cells import CELLS
from unrolled.data.batch import Sequences
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import CellError, DataError, ModelError, UserError
from unrolled.models.bridge import own_initial
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.seq2seq_config import Seq2SeqConfig

OPTIONS: list[dict[str, Any]] = [
    {},
    {"bidirectional": False, "attention": "dot"},
    {"num_layers": 2, "decoder_layers": 2, "dropout": 0.4},
    {"bridge": False},
    {"learn_initial": True},
    {"checkpoint": 2},
]
# Of these the states matter here, not the kernels: nothing is compiled for them.
CELLS_AND_DROP_INS = sorted({"lstm", "gru", "rnn", *CELLS})
# Of the encoder's and the decoder's two layers each, where there are so many.
STEPS = 2 * (6 + 5)
S_LENGTHS, T_LENGTHS = torch.tensor([4, 1, 6]), torch.tensor([5, 3, 1])


def ids(steps: int, batch: int, size: int, seed: int = 1) -> Tensor:
    return torch.randint(size, (steps, batch), generator=torch.Generator().manual_seed(seed))


def pairs() -> tuple[Tensor, Tensor]:
    """Sources ``[6, 3]`` and what the decoder reads, ``[5, 3]``."""
    return ids(6, 3, len(SOURCE)), ids(5, 3, len(TARGET))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_network_is_the_one_that_its_docstring_says(name: str, options: dict[str, Any]):
    model = tiny(name, **options)
    source, inputs = pairs()
    memory, final = model.encoder(model.source_embedding(source))
    both = (model.first, model.behind)
    states = [s for layers in both for s in own_initial(layers, 3)]
    if model.bridge is not None:
        finals = [final] if isinstance(final, Tensor) else final
        flat = torch.stack([torch.cat([s[:, b].flatten() for s in finals]) for b in range(3)])
        made = torch.tanh(flat @ model.bridge.linear.weight.T + model.bridge.linear.bias)
        begin = 0
        for i, state in enumerate(states):
            for row in range(len(state)):
                end = begin + state.shape[-1]
                states[i] = states[i].clone()
                states[i][row] += made[:, begin:end]
                begin = end
        assert begin == made.shape[1]
    n = 1 if name == "gru" else 2
    given = [s[0] if len(s) == 1 else tuple(s) for s in (states[:n], states[n:])]
    y, _ = model.first(model.target_embedding(inputs), given[0])
    contexts, _ = model.attention(y, memory)
    y, _ = model.behind(torch.cat([y, contexts], -1), given[1])
    logits = model(source, inputs)
    assert logits.shape == (5, 3, len(TARGET))
    assert_near(logits, model.output(y), model, lambda: model(source, inputs), STEPS)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["lstm", "mgu"])
def test_padding_and_neighbours_do_not_matter(name: str, options: dict[str, Any]):
    model = tiny(name, **options)
    source, inputs = pairs()
    whole = model(source, inputs, S_LENGTHS, T_LENGTHS)
    bound = rounding(model, lambda: model(source, inputs, S_LENGTHS, T_LENGTHS), STEPS)
    for b, (s, t) in enumerate(zip(S_LENGTHS.tolist(), T_LENGTHS.tolist(), strict=True)):
        alone = model(source[:s, b : b + 1], inputs[:t, b : b + 1])
        assert (whole[:t, b : b + 1] - alone).abs().max() <= bound
    other_source, other_inputs = source.clone(), inputs.clone()
    for b, (s, t) in enumerate(zip(S_LENGTHS.tolist(), T_LENGTHS.tolist(), strict=True)):
        other_source[s:, b], other_inputs[t:, b] = 0, 0
    again = model(other_source, other_inputs, S_LENGTHS, T_LENGTHS)
    for b, t in enumerate(T_LENGTHS.tolist()):
        assert torch.equal(again[:t, b], whole[:t, b])


@pytest.mark.parametrize("options", OPTIONS)
def test_every_parameter_learns(options: dict[str, Any]):
    model = tiny(**options).train()
    source, targets = ids(6, 3, len(SOURCE)), ids(4, 3, 3)
    loss = model.loss(Sequences(source, S_LENGTHS), Sequences(targets, torch.tensor([4, 2, 1])))
    loss.backward()
    assert loss.dtype == torch.float32
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@pytest.mark.parametrize("name", CELLS_AND_DROP_INS)
def test_one_step_at_a_time_is_the_whole_run(name: str):
    model = tiny(name, backend="reference").double()
    source, inputs = pairs()
    encoded = model.encode(source, S_LENGTHS)
    whole, end, weights = model.decode(inputs, encoded, encoded.state)
    state, logits, attended = encoded.state, [], []
    for t in range(len(inputs)):
        step, state, attention = model.decode(inputs[t : t + 1], encoded, state)
        logits.append(step)
        attended.append(attention)

    def at_once(which: int) -> Any:
        again = model.encode(source, S_LENGTHS)
        return model.decode(inputs, again, again.state)[which]

    assert_near(torch.cat(logits), whole, model, lambda: at_once(0), STEPS)
    assert_near(torch.cat(attended), weights, model, lambda: at_once(2), STEPS)
    for i, (one, other) in enumerate(zip(state, end, strict=True)):
        assert_near(one, other, model, lambda i=i: at_once(1)[i], STEPS)
    # Six quotients by their sum, which rounds five times.
    assert (weights.sum(-1) - 1).abs().max() <= (6 + 5 + 5) * torch.finfo(torch.float64).eps


def test_several_targets_of_a_source_are_decoded_side_by_side():
    model = tiny()
    source = ids(6, 3, len(SOURCE))
    encoded = model.encode(source, S_LENGTHS)
    inputs = ids(4, 2 * 3, len(TARGET))
    state = tuple(torch.cat([s, s], 1) for s in encoded.state)
    both, _, weights = model.decode(inputs, encoded, state)
    for k in range(2):
        alone, _, expected = model.decode(inputs[:, 3 * k : 3 * k + 3], encoded, encoded.state)
        given = inputs[:, 3 * k : 3 * k + 3]

        def by_itself(which: int, given: Tensor = given) -> Any:
            again = model.encode(source, S_LENGTHS)
            return model.decode(given, again, again.state)[which]

        assert_near(both[:, 3 * k : 3 * k + 3], alone, model, lambda: by_itself(0), STEPS)
        assert_near(weights[:, 3 * k : 3 * k + 3], expected, model, lambda: by_itself(2), STEPS)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_sum_over_all_targets_and_their_ends(smoothing: float):
    model = tiny(label_smoothing=smoothing).train()
    source, targets, lengths = ids(6, 3, len(SOURCE)), ids(4, 3, 3), [4, 0, 1]
    found = model.loss(Sequences(source, S_LENGTHS), Sequences(targets, torch.tensor(lengths)))
    total = torch.zeros(())
    for b, n in enumerate(lengths):
        wanted = torch.cat([targets[:n, b], torch.tensor([model.eos])])
        inputs = torch.cat([torch.tensor([model.eos]), targets[:n, b]])
        logits = model(source[: S_LENGTHS[b], b : b + 1], inputs.unsqueeze(1))[:, 0]
        logs = logits.log_softmax(-1)
        right = logs[torch.arange(n + 1), wanted]
        total -= ((1 - smoothing) * right + smoothing * logs.mean(-1)).sum()
    pair = Sequences(source, S_LENGTHS), Sequences(targets, torch.tensor(lengths))
    assert_near(found, total, model, lambda: model.loss(*pair), STEPS)
    # Without smoothing where it is judged.
    plain = tiny(label_smoothing=0.0).loss(
        Sequences(source, S_LENGTHS), Sequences(targets, torch.tensor(lengths))
    )
    judged = model.eval().loss(
        Sequences(source, S_LENGTHS), Sequences(targets, torch.tensor(lengths))
    )
    assert torch.equal(judged, plain)


@pytest.mark.parametrize("name", ["lstm", "mgu"])
def test_autocast_gives_nearly_the_same(name: str):
    model = tiny(name)
    source, targets = Sequences(ids(6, 3, len(SOURCE)), S_LENGTHS), Sequences(ids(4, 3, 3))
    exact = model.loss(source, targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.loss(source, targets)
    assert found.dtype == torch.float32
    found.backward()
    # 15 targets, whose losses each change by at most twice as much as a logit: by some six
    # roundings to 8 bits on its way.
    largest = float(model(*pairs()).detach().abs().max())
    assert abs(found.item() - exact.item()) < 15 * 2 * 6 * 2**-9 * largest
    assert found.item() != exact.item()


def test_dropout_is_for_training():
    model = tiny(dropout=0.5)
    assert torch.equal(model(*pairs()), model(*pairs()))
    model.train()
    assert not torch.equal(model(*pairs()), model(*pairs()))


@pytest.mark.parametrize("name", CELLS_AND_DROP_INS)
def test_a_saved_model_computes_the_same(tmp_path: Path, name: str):
    model = tiny(name, backend="reference")
    model.save_pretrained(tmp_path)
    loaded = Seq2Seq.from_pretrained(tmp_path)
    assert torch.equal(loaded(*pairs()), model(*pairs()))
    assert loaded.config == model.config
    assert (loaded.source, loaded.target) == (model.source, model.target)
    assert not loaded.training
    assert loaded.translate(["abc", "h"]) == model.translate(["abc", "h"])


@pytest.mark.parametrize("options", [*OPTIONS, {"weight_dropout": {"weight_hh": 0.3}}])
def test_a_saved_model_of_any_form_computes_the_same(tmp_path: Path, options: dict[str, Any]):
    model = tiny(**options)
    model.save_pretrained(tmp_path)
    assert torch.equal(Seq2Seq.from_pretrained(tmp_path)(*pairs()), model(*pairs()))


def test_a_cell_of_ones_own(tmp_path: Path):
    @cell
    def keep(x, h, *, U=param("H", "D"), decay=0.5):
        return decay * h + torch.tanh(U @ x)

    model = tiny("mine", own=keep)
    model.save_pretrained(tmp_path)
    assert torch.equal(Seq2Seq.from_pretrained(tmp_path)(*pairs()), model(*pairs()))


def test_a_composed_cell_with_noise_is_saved_as_in_evaluation(tmp_path: Path):
    source = (
        "import unrolled as ur\nfrom unrolled import cells\n\n"
        'mine = ur.layer_norm(ur.zoneout(cells.lstm_one_bias, h=0.3, c=0.3), "h")\n'
    )
    (tmp_path / "own.py").write_text(source)
    model = tiny(f"{tmp_path / 'own.py'}:mine")
    assert not torch.equal(model.train()(*pairs()), model(*pairs()))
    model.eval().save_pretrained(tmp_path / "model")
    assert torch.equal(Seq2Seq.from_pretrained(tmp_path / "model")(*pairs()), model(*pairs()))


def test_a_hand_written_loop_learns_to_reverse():
    letters = "abcd"
    source = Vocabulary.build([letters], "char", unk=False)
    target = Vocabulary.build([" ".join(letters)], "item", unk=False)
    torch.manual_seed(0)
    config = Seq2SeqConfig("gru", 32, embedding_size=16, max_length=8)
    model = Seq2Seq(config, source, target)
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = torch.tensor(0.0)
    for _ in range(250):
        lengths = torch.randint(1, 6, (32,), generator=draw)
        x = torch.randint(4, (5, 32), generator=draw)
        y = torch.zeros_like(x)
        for b, n in enumerate(lengths.tolist()):
            y[:n, b] = x[:n, b].flip(0)
        loss = model.loss(Sequences(x, lengths), Sequences(y, lengths)) / int(lengths.sum() + 32)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.05
    texts = [source.decode([i, j, k]) for i in range(4) for j in range(4) for k in range(4)]
    expected = [" ".join(reversed(text)) for text in texts]
    for beam in (1, 3):
        right = sum(a == b for a, b in zip(model.translate(texts, beam), expected, strict=True))
        assert right >= 62, f"{right} of 64 with a beam of {beam}"


class TestCandidates:
    def test_greedy_search_takes_the_likeliest_each_time(self):
        model = tiny(max_length=7)
        for text, found in zip(
            ["abc", "h", "fedcba"], model.candidates(["abc", "h", "fedcba"]), strict=True
        ):
            (best,) = found
            source = torch.from_numpy(SOURCE.encode(text).astype("int64")).unsqueeze(1)
            inputs, log = [model.eos], 0.0
            while True:
                logs = model(source, torch.tensor(inputs).unsqueeze(1))[-1, 0].log_softmax(-1)
                barred = logs.clone()
                barred[model.target.unk] = -torch.inf
                token = model.eos if len(inputs) == 8 else int(barred.argmax())
                log += logs[token].item()
                if token == model.eos:
                    break
                inputs.append(token)
            assert best.tokens == tuple(inputs[1:])
            assert best.text == TARGET.decode(best.tokens)
            assert best.log_probability == pytest.approx(log, rel=1e-5)
            assert best.score == pytest.approx(log / len(inputs), rel=1e-5)

    @pytest.mark.parametrize("name", ["lstm", "gru", "mgu"])
    def test_each_score_is_the_models_and_neighbours_do_not_matter(self, name: str):
        model = tiny(name, max_length=5)
        texts = ["abcdefgh", "h", "fed", "ab", "cab", "hh"]
        found = model.candidates(texts, 4, 4, 0.5, batch_size=4, attention=True)
        for text, each in zip(texts, found, strict=True):
            (alone,) = model.candidates([text], 4, 4, 0.5)
            assert [t.tokens for t in alone] == [t.tokens for t in each]
            assert [t.score for t in each] == sorted((t.score for t in each), reverse=True)
            for t in each:
                source = torch.from_numpy(SOURCE.encode(text).astype("int64")).unsqueeze(1)
                wanted = torch.tensor([*t.tokens, model.eos])
                inputs = torch.tensor([model.eos, *t.tokens]).unsqueeze(1)
                logits = model(source, inputs)[:, 0]
                log = -F.cross_entropy(logits, wanted, reduction="sum").item()
                assert t.log_probability == pytest.approx(log, rel=1e-5)
                assert t.score == pytest.approx(log / len(wanted) ** 0.5, rel=1e-5)
                assert t.attention is not None
                assert t.attention.shape == (len(wanted), len(text))
                torch.testing.assert_close(t.attention.sum(1), torch.ones(len(wanted)))

    def test_a_wide_beam_finds_the_best_of_all(self):
        model = tiny(max_length=2, seed=3)
        (found,) = model.candidates(["cab"], 13, 13, 0.0)
        assert len(found) == 13
        logs = {t.tokens: t.log_probability for t in found}
        tokens = [t for t in range(len(TARGET)) if t not in (TARGET.eos, TARGET.unk)]
        assert set(logs) == {(), *((a,) for a in tokens), *((a, b) for a in tokens for b in tokens)}
        assert [t.log_probability for t in found] == sorted(logs.values(), reverse=True)

    def test_no_text_gives_nothing(self):
        assert tiny().candidates([]) == []
        assert tiny().translate([]) == []

    def test_weights_are_left_out_unless_asked_for(self):
        assert tiny().candidates(["a"])[0][0].attention is None

    def test_the_mode_stays(self):
        model = tiny(dropout=0.5).train()
        assert model.translate(["abc"], 2) == model.translate(["abc"], 2)
        assert model.training

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"beam": 0}, "a beam's width is a whole number of at least 1, not 0"),
            ({"n_best": 2}, "a beam of 1 finds at most so many hypotheses, not 2: make it wider"),
            ({"batch_size": 0}, "batch_size is a whole number of at least 1, not 0"),
        ],
    )
    def test_arguments_out_of_range(self, arguments: dict[str, Any], problem: str):
        with pytest.raises(UserError) as caught:
            tiny().candidates(["a"], **arguments)
        assert str(caught.value) == problem

    def test_an_empty_source(self):
        with pytest.raises(DataError) as caught:
            tiny().translate(["a", ""])
        assert str(caught.value) == "the source '' is empty: it needs at least one token"

    def test_an_unknown_token(self):
        known = Vocabulary.build(["ab"], "char", unk=False)
        with pytest.raises(DataError) as caught:
            tiny(source=known).translate(["axb"])
        assert str(caught.value) == (
            "the vocabulary doesn't know 'x' and has no <unk> to stand for it: leave it out, or "
            "train with the <unk> token"
        )
        assert len(tiny().translate(["xyz"])) == 1


class TestRefused:
    def test_a_target_without_an_end(self):
        with pytest.raises(ModelError) as caught:
            tiny(target=Vocabulary.build(["a"], "char", eos=False))
        assert str(caught.value) == (
            "a target needs an end: build the vocabulary of the targets with <eos>"
        )

    def test_dot_attention_of_unequal_sizes(self):
        with pytest.raises(ModelError, match="equally long, not 12 and 6: take general attention"):
            tiny(attention="dot")

    def test_a_drop_ins_name_for_another_cell(self):
        with pytest.raises(ModelError, match="the name 'lstm' stands for the drop-in layer"):
            tiny("lstm", own=CELLS["mgu"])

    def test_a_size_that_is_missing(self):
        with pytest.raises(CellError, match="size P"):
            tiny("lstm_projected", sizes={})
        assert "lstm_projected" in SIZES

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"embedding_size": 0}, "embedding_size is a whole number of at least 1, not 0"),
            ({"bidirectional": 1}, "bidirectional is true or false, not 1"),
            ({"decoder_layers": 0}, "decoder_layers is a whole number of at least 1, not 0"),
            ({"attention": "mlp"}, "attention is general or dot, not 'mlp'"),
            ({"bridge": None}, "bridge is true or false, not None"),
            ({"label_smoothing": 1.0}, "label_smoothing is at least 0 and below 1, not 1.0"),
            ({"max_length": 0}, "max_length is a whole number of at least 1, not 0"),
            ({"hidden_size": 0}, "hidden_size is a whole number of at least 1, not 0"),
        ],
    )
    def test_a_wrong_configuration(self, options: dict[str, Any], problem: str):
        with pytest.raises(ModelError) as caught:
            Seq2SeqConfig(**options)
        assert str(caught.value) == problem

    def test_tokens_and_lengths_that_do_not_fit(self):
        model = tiny()
        source, inputs = pairs()
        with pytest.raises(ValueError, match=r"source tokens of shape \[T, B\] .* got \[6\]"):
            model(source[:, 0], inputs)
        with pytest.raises(ValueError, match=r"target tokens of shape \[T, B\] .* got \[0, 3\]"):
            model(source, inputs[:0])
        with pytest.raises(
            TypeError, match=r"expected torch\.int64 source tokens, got torch\.int32"
        ):
            model(source.int(), inputs)
        with pytest.raises(IndexError, match="target tokens: 5 is none of the 5, 0 to 4"):
            model(source, torch.full_like(inputs, 5))
        with pytest.raises(ValueError, match="lengths are from 1 to T = 6, got 0 to 6"):
            model(source, inputs, torch.tensor([0, 1, 6]))
        with pytest.raises(ValueError, match="lengths are from 1 to T = 5, got 1 to 6"):
            model(source, inputs, None, torch.tensor([6, 1, 5]))

    def test_the_directory_of_another_model(self, tmp_path: Path):
        tiny().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="holds another model"):
            tiny().save_pretrained(tmp_path)
        tiny(seed=1).save_pretrained(tmp_path, overwrite=True)
        text = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(text.replace("sequence to sequence", "language"))
        with pytest.raises(ModelError) as caught:
            Seq2Seq.from_pretrained(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path} holds no sequence to sequence model of Unrolled: the format in its "
            "config.json is 'unrolled language model'"
        )
