"""``unrolled train lm`` from its options to a model directory, and on again."""

import gzip
import io
import json
import math
import sys
from pathlib import Path

import pytest
import yaml

from command_line import SMALL, TEXT, Command, tree
from unrolled.models.language_model import LanguageModel
from unrolled.train.metrics import read


def train(*words: object) -> list[object]:
    return ["train", "lm", *SMALL, *words]


def test_it_leaves_a_model_and_says_what_it_did(unrolled: Command, tmp_path: Path, corpus: Path):
    run = tmp_path / "run"
    done = unrolled(*train(corpus, "--output", run))
    assert done.status == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[:3] == [
        "data: 3,440 characters, 30 different",
        "a step: 4 × 16 characters",
        "model: lstm, 1 × 12 units, 1,728 parameters",
    ]
    assert lines[3].startswith("training: 49 steps on cpu, ")
    losses = {
        r["step"]: r["loss"]
        for r in read(run / "training" / "metrics.jsonl")
        if r["split"] == "validation"
    }
    best = min(losses, key=lambda step: losses[step])
    measured = [line for line in lines if line.startswith("step ") and ", validation: " in line]
    assert lines[4 : 4 + len(measured)] == measured
    assert [line.partition(",")[0] for line in measured] == [f"step {s}" for s in losses]
    assert measured[0].endswith(
        f"validation: loss {losses[10]:.5g}, bits {losses[10] / math.log(2):.5g}, perplexity "
        f"{math.exp(losses[10]):.5g}"
    )
    report = json.loads((run / "training" / "report.json").read_text())
    assert report["on"] == "340 held-out characters, which also chose the step that is kept"
    nats, perplexity = report["figures"]
    assert nats["name"] == "nats per character"
    assert nats["value"] == pytest.approx(losses[best], rel=1e-6)
    assert nats["low"] < nats["value"] < nats["high"]
    assert perplexity["value"] == pytest.approx(math.exp(losses[best]), rel=1e-6)
    assert lines[-1] == (
        f"the model (of step {best}, the best) is in {run}: try unrolled sample {run}"
    )
    model = LanguageModel.from_pretrained(run)
    assert model.config.hidden_size == 12
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "equations.json", "model.safetensors", "vocabulary.json", "training")
    }


def test_the_validation_loss_is_that_of_the_saved_model_on_the_last_part(
    unrolled: Command, model: Path, corpus: Path
):
    """The tail of the corpus scored on its own, but for how its streams begin."""
    records = read(model / "training" / "metrics.jsonl")
    best = min(r["loss"] for r in records if r["split"] == "validation")
    loaded = LanguageModel.from_pretrained(model)
    tail = TEXT[-round(0.1 * len(TEXT)) :]
    scored = -loaded.log_probability(tail).mean().item()
    assert scored == pytest.approx(best, abs=0.1)


CORPORA = ["file", "several", "directory", "glob", "gzip", "standard input"]


@pytest.mark.parametrize("kind", CORPORA)
def test_the_same_text_in_any_form_gives_the_same_model(
    unrolled: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT)
    (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    (tmp_path / "b.txt").write_text(TEXT)
    given = {
        "file": [folder / "a.txt"],
        "several": [folder / "a.txt", tmp_path / "b.txt"],
        "directory": [folder],
        "glob": [folder / "*.txt"],
        "gzip": [tmp_path / "text.gz"],
        "standard input": ["-"],
    }[kind]
    run = tmp_path / "run"
    done = unrolled(*train(*given, "--output", run))
    assert done.status == 0, done.err
    same = (run / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert same == (kind != "several")


def test_the_configuration_comes_from_defaults_then_the_file_then_the_command_line(
    unrolled: Command, tmp_path: Path, corpus: Path
):
    (tmp_path / "c.yaml").write_text(
        f"data: [{corpus}]\nhidden_size: 10\nlearning_rate: 1e-3\ntied: true\n"
        f"embedding_size: 10\noutput: {tmp_path / 'run'}\n"
    )
    words = ["--config", tmp_path / "c.yaml", "--learning-rate", "2e-3", "--max-steps", "2"]
    quick = ["--batch-size", "4", "--window", "16", "--samples", "0"]
    assert unrolled("train", "lm", *words, *quick).status == 0
    options = json.loads((tmp_path / "run" / "training" / "settings.json").read_text())["options"]
    assert options["hidden_size"] == 10
    assert options["learning_rate"] == 0.002
    assert options["tied"] is True
    assert options["clip"] == 1.0
    assert "overwrite" not in options


def test_the_printed_configuration_is_one_to_train_with(
    unrolled: Command, tmp_path: Path, corpus: Path
):
    run = tmp_path / "run"
    words = train(corpus, "--output", run, "--max-steps", "3")
    printed = unrolled(*words, "--print-config")
    assert printed.status == 0
    assert not run.exists()
    values = yaml.safe_load(printed.out)
    assert values["hidden_size"] == 12
    assert values["data"] == [str(corpus)]
    (tmp_path / "c.yaml").write_text(printed.out)
    assert unrolled(*words).status == 0
    first = tree(run)
    assert unrolled("train", "lm", "--config", tmp_path / "c.yaml", "--overwrite").status == 0
    second = tree(run)
    for name in ("model.safetensors", "training/metrics.jsonl", "training/settings.json"):
        assert first[name] == second[name]


def test_the_help_names_each_option_and_what_it_is_for(unrolled: Command):
    shown = unrolled("train", "lm", "--help")
    assert shown.status == 0
    assert shown.out.startswith("usage: unrolled train lm DATA... [options]\n")
    values = yaml.safe_load(unrolled("train", "lm", "--print-config").out)
    assert len(values) > 40
    for name in set(values) - {"data"}:
        flag = f"  --{name.replace('_', '-')}"
        line = next(line for line in shown.out.splitlines() if line.startswith(flag))
        rest = shown.out.partition(line)[2].partition("\n  --")[0]
        assert "(type:" in line + rest, name
        words = (line.partition("  ")[2] + rest).partition("(type:")[0].split()
        assert len(words) > 3, name
    assert max(map(len, shown.out.splitlines())) <= 100


def test_the_order_of_the_words_does_not_matter(unrolled: Command, tmp_path: Path):
    (tmp_path / "c.yaml").write_text("data: [from-file]\nwindow: 9\nclip: 9.0\ntied: true\n")
    first = ["--config", tmp_path / "c.yaml", "a", "b", "--window", "7", "--no-tied"]
    second = ["a", "--no-tied", "--window=7", "b", f"--config={tmp_path / 'c.yaml'}"]
    shown = [unrolled("train", "lm", *words, "--print-config").out for words in (first, second)]
    assert shown[0] == shown[1]
    values = yaml.safe_load(shown[0])
    assert values["data"] == ["a", "b"]
    assert (values["window"], values["clip"], values["tied"]) == (7, 9.0, False)
    alone = unrolled("train", "lm", "--config", tmp_path / "c.yaml", "--print-config").out
    assert yaml.safe_load(alone)["data"] == ["from-file"]
    dashes = unrolled("train", "lm", "--window", "7", "--print-config", "--", "--odd", "-").out
    assert yaml.safe_load(dashes)["data"] == ["--odd", "-"]


def test_overwrite_leaves_nothing_of_the_old_run(unrolled: Command, tmp_path: Path, model: Path):
    (tmp_path / "other.txt").write_text(TEXT[::-1])
    (model / "notes.txt").write_text("mine")
    before = tree(model)
    words = train(tmp_path / "other.txt", "--output", model, "--max-steps", "4", "--overwrite")
    assert unrolled(*words).status == 0
    after = tree(model)
    assert after["notes.txt"] == b"mine"
    assert [name for name in after if "step-" in name] == [
        "training/step-00000004.json",
        "training/step-00000004.safetensors",
    ]
    assert sum(name.endswith(".tokens") for name in after) == 1
    assert after["model.safetensors"] != before["model.safetensors"]


def test_a_run_that_dies_after_overwriting_leaves_no_model_of_the_old_one(
    unrolled: Command, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
):
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unrolled.train.trainer.Trainer.run", dies)
    outcome = unrolled(*train(corpus, "--output", model, "--overwrite"))
    assert (outcome.status, outcome.err) == (130, "unrolled: stopped\n")
    assert not (model / "model.safetensors").exists()
    assert not (model / "config.json").exists()


def test_resume_begins_a_run_where_there_is_none(
    unrolled: Command, tmp_path: Path, corpus: Path, model: Path
):
    run = tmp_path / "run"
    assert unrolled(*train(corpus, "--output", run, "--resume")).status == 0
    assert (run / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_the_report_is_on_the_test_part_where_there_is_one(
    unrolled: Command, tmp_path: Path, corpus: Path
):
    run, whole = tmp_path / "run", len(TEXT) + 2
    done = unrolled(*train(corpus, "--output", run, "--test-fraction", "0.2"))
    assert (done.status, done.err) == (0, "")
    report = json.loads((run / "training" / "report.json").read_text())
    n = round(0.2 * whole) - 1
    assert report["on"] == f"{n - n % 4} characters of the test part".replace(",", "")
    losses = [
        r["loss"] for r in read(run / "training" / "metrics.jsonl") if r["split"] == "validation"
    ]
    assert report["figures"][0]["value"] not in losses

    # The same text as a file of its own: the training part is longer, the test is on that file.
    own = tmp_path / "own.txt"
    own.write_text("the lazy dog jumps over a box. " * 9)
    other = tmp_path / "other"
    words = train(corpus, "--output", other, "--test", own, "--max-minutes", "1e-9")
    begun = unrolled(*words)
    assert begun.status == 0
    assert "test: 281 characters" in begun.out.splitlines()
    own.unlink()
    corpus.unlink()
    done = unrolled("train", "lm", "--output", other, "--resume", "--max-minutes", "null")
    assert done.status == 0, done.err
    assert "on 280 characters of the test part" in done.out.splitlines()


def test_lines_of_another_encoding_are_skipped_where_they_may_be(unrolled: Command, tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode() + b"na\xefve\n")
    refused = unrolled(*train(path, "--output", tmp_path / "run"))
    assert refused.status == 2
    assert refused.err == (
        f"unrolled: error: {path} is not UTF-8: byte 0xef at offset {len(TEXT) + 2} (invalid "
        "continuation byte). Give its encoding (latin-1?), or use a byte vocabulary\n"
    )
    done = unrolled(*train(path, "--output", tmp_path / "run", "--skip-bad", "1"))
    assert (done.status, done.err) == (0, "")
    said = f"  {path}, line 41: byte 0xef in column 3 is not UTF-8: give the file's encoding"
    assert f"skipped 1 bad row:\n{said} (latin-1?)\n" in done.out
    judged = unrolled("eval", tmp_path / "run", path)
    assert judged.status == 0, judged.err
    assert said in judged.out


def test_a_run_goes_on_without_its_corpus(unrolled: Command, tmp_path: Path, corpus: Path):
    run = tmp_path / "run"
    assert unrolled(*train(corpus, "--output", run, "--max-minutes", "1e-9")).status == 0
    corpus.unlink()
    rest = unrolled("train", "lm", "--output", run, "--resume", "--max-minutes", "null")
    assert rest.status == 0, rest.err
    assert rest.err == "unrolled: note: max_minutes was 1e-09 before\n"
    assert "step 49, validation: " in rest.out


def test_a_run_goes_on_after_its_directory_was_moved(
    unrolled: Command, tmp_path: Path, corpus: Path, model: Path
):
    run = tmp_path / "run"
    stopped = unrolled(*train(corpus, "--output", run, "--max-minutes", "1e-9"))
    assert stopped.out.splitlines()[-1] == (
        "stopped by the time limit at step 1 of 49; all is saved. Go on with: unrolled train lm "
        f"--output {run} --resume"
    )
    run.rename(tmp_path / "moved")
    rest = unrolled(
        *["train", "lm", "--output", tmp_path / "moved", "--resume", "--max-minutes", "9"]
    )
    assert rest.status == 0, rest.err
    moved = tmp_path / "moved" / "model.safetensors"
    assert moved.read_bytes() == (model / "model.safetensors").read_bytes()


def test_more_epochs_follow_a_complete_run(unrolled: Command, model: Path):
    again = unrolled("train", "lm", "--output", model, "--resume")
    assert again.status == 0
    assert "going on from step 49" in again.out
    more = unrolled("train", "lm", "--output", model, "--resume", "--epochs", "2")
    assert more.status == 0
    assert more.err == "unrolled: note: epochs was 1 before\n"
    assert "step 98, validation: " in more.out


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_used(
    unrolled: Command, tmp_path: Path, corpus: Path, model: Path
):
    newest = model / "training" / "step-00000049.safetensors"
    expected = newest.read_bytes()
    newest.write_bytes(expected[:-1])
    again = unrolled("train", "lm", "--output", model, "--resume")
    assert again.status == 0
    assert again.err == (
        f"unrolled: note: the checkpoint {newest.with_suffix('.json')} is damaged: it has "
        f"{len(expected) - 1} bytes of {len(expected)}; going on from step 40\n"
    )
    assert newest.read_bytes() == expected


def test_another_number_of_threads_is_said(unrolled: Command, model: Path):
    settings = model / "training" / "settings.json"
    values = json.loads(settings.read_text())
    threads = values["environment"]["threads"]
    values["environment"]["threads"] = 77
    settings.write_text(json.dumps(values))
    again = unrolled("train", "lm", "--output", model, "--resume")
    assert again.status == 0
    assert again.err == (
        f"unrolled: note: threads 77 then, {threads} now: what follows may differ in its last bits "
        "from a run that was not stopped\n"
    )


def test_a_cache_serves_several_runs(unrolled: Command, tmp_path: Path, corpus: Path):
    cache = tmp_path / "cache"
    for name in ("a", "b"):
        words = train(corpus, "--output", tmp_path / name, "--cache", cache, "--max-steps", "2")
        assert unrolled(*words).status == 0
        assert not list((tmp_path / name).rglob("*.tokens"))
    assert len(list(cache.glob("*.tokens"))) == 1


@pytest.mark.parametrize("kind", ["char", "byte", "word"])
@pytest.mark.parametrize("cell", ["gru", "lstm_peephole"])
def test_each_vocabulary_and_any_cell(
    unrolled: Command, tmp_path: Path, corpus: Path, kind: str, cell: str
):
    run = tmp_path / "run"
    words = train(corpus, "--output", run, "--vocabulary-kind", kind, "--cell", cell)
    done = unrolled(*words, "--max-steps", "2", "--embedding-size", "0")
    assert done.status == 0, done.err
    unit = {"char": "character", "byte": "byte", "word": "word"}[kind]
    assert f"nats per {unit}" in done.out
    assert unrolled("sample", run, "--length", "9").status == 0
    assert unrolled("score", run, corpus).status == 0
    assert unrolled("info", run).status == 0


def test_a_cell_of_ones_own(unrolled: Command, tmp_path: Path, corpus: Path):
    (tmp_path / "mine.py").write_text(
        "from torch import tanh\nfrom unrolled import cell, param\n\n\n@cell\n"
        'def slow(x, h, *, W=param("H", "D"), U=param("H", "H")):\n'
        "    return 0.9 * h + 0.1 * tanh(W @ x + U @ h)\n"
    )
    run = tmp_path / "run"
    words = train(corpus, "--output", run, "--cell", f"{tmp_path / 'mine.py'}:slow")
    assert unrolled(*words, "--max-steps", "2").status == 0
    (tmp_path / "mine.py").unlink()
    assert "0.9" in unrolled("info", run).out


def test_a_cell_that_can_not_be_compiled_is_shown(unrolled: Command, tmp_path: Path, corpus: Path):
    (tmp_path / "mine.py").write_text(
        "from unrolled import cell, param\n\n\n@cell\n"
        'def odd(x, h, *, W=param("H", "D")):\n'
        "    if (W @ x).sum() > 0:\n        return h\n    return W @ x\n"
    )
    run = tmp_path / "run"
    outcome = unrolled(*train(corpus, "--output", run, "--cell", f"{tmp_path / 'mine.py'}:odd"))
    assert outcome.status == 2
    assert outcome.err.startswith(f"unrolled: error: {tmp_path / 'mine.py'}:6: ")
    assert "torch.where" in outcome.err
    assert "Traceback" not in outcome.err
    assert not run.exists()


def test_samples_come_before_between_and_after(unrolled: Command, tmp_path: Path, corpus: Path):
    words = train(corpus, "--output", tmp_path / "run", "--samples", "3", "--sample-length", "7")
    done = unrolled(*words, "--sample-prompt", "the ")
    heads = [line for line in done.out.splitlines() if "a sample" in line]
    assert heads == [f"── a sample after {step} of 49 steps ──" for step in (0, 24, 49)]
    bodies = [part.split("\n──\n")[0] for part in done.out.split(" steps ──\n")[1:]]
    assert all(body.startswith("the ") and len(body) <= 4 + 7 for body in bodies)


def test_samples_do_not_change_the_run(
    unrolled: Command, tmp_path: Path, corpus: Path, model: Path
):
    words = train(corpus, "--output", tmp_path / "run", "--samples", "7")
    assert unrolled(*words, "--dropout", "0").status == 0
    saved = tmp_path / "run" / "model.safetensors"
    assert saved.read_bytes() == (model / "model.safetensors").read_bytes()


def test_tensorboard_gets_each_figure(unrolled: Command, tmp_path: Path, corpus: Path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    run = tmp_path / "run"
    assert unrolled(*train(corpus, "--output", run, "--tensorboard")).status == 0
    events = accumulator.EventAccumulator(str(run / "training" / "tensorboard"))
    events.Reload()
    records = read(run / "training" / "metrics.jsonl")
    for split in ("train", "validation"):
        shown = [(event.step, event.value) for event in events.Scalars(f"{split}/loss")]
        written = [(r["step"], r["loss"]) for r in records if r["split"] == split]
        assert [step for step, _ in shown] == [step for step, _ in written]
        for (_, value), (_, expected) in zip(shown, written, strict=True):
            assert value == pytest.approx(expected, rel=1e-6)


def test_without_tensorboard_the_option_says_what_to_install(
    unrolled: Command, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    outcome = unrolled(*train(corpus, "--output", tmp_path / "run", "--tensorboard"))
    assert outcome.status == 2
    assert outcome.err == (
        "unrolled: error: TensorBoard is not installed: pip install 'unrolled[tensorboard]', or "
        "leave --tensorboard out\n"
    )
    assert not (tmp_path / "run").exists()


def test_all_of_the_corpus_may_be_learned_from(unrolled: Command, tmp_path: Path, corpus: Path):
    words = train(corpus, "--output", tmp_path / "run", "--validation-fraction", "0")
    done = unrolled(*words)
    assert done.status == 0
    assert "validation" not in done.out
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_the_advice_is_one_that_the_shell_finds(
    unrolled: Command, model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "argv", [".venv/bin/unrolled"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    again = unrolled("train", "lm", "--output", model, "--resume")
    assert again.out.endswith(f"try .venv/bin/unrolled sample {model}\n")
    (model / "unrolled").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(model))
    again = unrolled("train", "lm", "--output", model, "--resume")
    assert again.out.endswith(f"try unrolled sample {model}\n")
