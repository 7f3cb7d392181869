"""All that may be wrong with what a user gives: one clear line, status 2, nothing changed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import SMALL, TEXT, Command, Outcome, tree
from small_files import largest_file

Prepare = Callable[[Path], object]


def is_refused(outcome: Outcome, line: str) -> None:
    """Standard error is this one line and the exit status says that the input was wrong."""
    assert outcome.err == f"unrolled: error: {line}\n"
    assert outcome.status == 2


def nothing(root: Path) -> None:
    """There is nothing to prepare."""


def write(name: str, content: bytes) -> Prepare:
    return lambda root: (root / name).write_bytes(content)


# What is at hand, the words after `unrolled train lm`, the line. {root} is the test's directory.
TRAINING: dict[str, tuple[Prepare, str, str]] = {
    "no corpus": (
        nothing,
        "",
        "no corpus given: name a file, a directory, a glob, '-' or 'stdlib'",
    ),
    "missing": (
        nothing,
        "{root}/no.txt",
        "there is no corpus {root}/no.txt: check the path (seen from {root})",
    ),
    "no match": (nothing, "{root}/*.md", "no file matches '{root}/*.md'"),
    "empty": (
        write("empty.txt", b""),
        "{root}/empty.txt",
        "the corpus is empty: there is no character in {root}/empty.txt",
    ),
    "binary": (
        write("binary.bin", b"ab\0cd" * 100),
        "{root}/binary.bin",
        "{root}/binary.bin is binary (or UTF-16): it has a NUL byte at offset 2. Leave it out, "
        "give its encoding, or use a byte vocabulary",
    ),
    "not utf-8": (
        write("latin.txt", "abc Größe".encode("latin-1")),
        "{root}/latin.txt",
        "{root}/latin.txt is not UTF-8: byte 0xf6 at offset 6 (invalid start byte). Give its "
        "encoding (latin-1?), or use a byte vocabulary",
    ),
    "one character": (
        write("same.txt", b"a" * 1000),
        "{root}/same.txt",
        "the corpus {root}/same.txt is the token 'a' alone: there is nothing to learn, give it "
        "more text",
    ),
    "damaged gzip": (
        write("cut.gz", b"\x1f\x8b\x08\x00\x00"),
        "{root}/cut.gz",
        "{root}/cut.gz is a damaged gzip file: Compressed file ended before the end-of-stream "
        "marker was reached",
    ),
    "window longer than the corpus": (
        nothing,
        "{root}/corpus.txt --window 5000",
        "a window of 5000 steps is longer than the corpus: its 3098 tokens make 4 streams of 774 "
        "steps. Lower the window or the batch size, or give more text",
    ),
    "no validation part": (
        nothing,
        "{root}/corpus.txt --validation-fraction 0.0001",
        "the validation part has 0 tokens, which leaves nothing to predict: raise the validation "
        "fraction, or set it to 0 to do without",
    ),
    "validation fraction": (
        nothing,
        "{root}/corpus.txt --validation-fraction 1",
        "validation_fraction is at least 0 and below 1, not 1.0",
    ),
    "no number": (
        nothing,
        "{root}/corpus.txt --learning-rate fast",
        "--learning-rate takes a number, not fast; see unrolled train lm --help",
    ),
    "no whole number": (
        nothing,
        "{root}/corpus.txt --max-steps 1.5",
        "--max-steps takes a whole number or null, not 1.5; see unrolled train lm --help",
    ),
    "no choice": (
        nothing,
        "{root}/corpus.txt --optimizer adam",
        "--optimizer takes adamw or sgd, not adam; see unrolled train lm --help",
    ),
    "unknown option": (
        nothing,
        "{root}/corpus.txt --hiden-size 3",
        "there is no option --hiden-size: did you mean --hidden-size?; see unrolled train lm "
        "--help",
    ),
    "out of range": (
        nothing,
        "{root}/corpus.txt --epochs 0",
        "epochs is a number from 1 up, not 0",
    ),
    "no cell": (
        nothing,
        "{root}/corpus.txt --cell lstn",
        "there is no cell 'lstn': did you mean lstm? A cell of your own is file.py:function",
    ),
    "no device": (
        nothing,
        "{root}/corpus.txt --device cuda:99",
        "there is no device 'cuda:99' here: try --device cpu",
    ),
    "output is a file": (
        write("taken", b"mine"),
        "{root}/corpus.txt --output {root}/taken",
        "{root}/taken is a file: name a directory with --output",
    ),
    "output below a file": (
        write("taken", b"mine"),
        "{root}/corpus.txt --output {root}/taken/run",
        "can't write to {root}/taken/run: Not a directory; name another directory with --output",
    ),
    "overwrite and resume": (
        nothing,
        "{root}/corpus.txt --overwrite --resume",
        "--overwrite starts again and --resume goes on: give one of them",
    ),
    "nothing to resume": (
        nothing,
        "--resume --output {root}/run",
        "there is no run in {root}/run to go on with: name its directory with --output",
    ),
    "no prompt and no end of text": (
        nothing,
        "{root}/corpus.txt --no-vocabulary-eos --samples 1",
        "give a prompt: this model's vocabulary has no <eos>, with which a text could start",
    ),
    "a sample of unknown characters": (
        nothing,
        "{root}/corpus.txt --no-vocabulary-unk --samples 1 --sample-prompt É",
        "the vocabulary doesn't know 'É' and has no <unk> to stand for it: leave it out, or train "
        "with the <unk> token",
    ),
    "no such configuration": (
        nothing,
        "{root}/corpus.txt --config {root}/no.yaml",
        "Parser key \"config\": File does not exist: '{root}/no.yaml'; see unrolled train lm "
        "--help",
    ),
    "unknown key in the configuration": (
        write("c.yaml", b"hidden_size: 3\nhiden_size: 4\n"),
        "{root}/corpus.txt --config {root}/c.yaml",
        "there is no option hiden_size: did you mean hidden_size?; see unrolled train lm --help",
    ),
    "wrong type in the configuration": (
        write("c.yaml", b"hidden_size: wide\n"),
        "{root}/corpus.txt --config {root}/c.yaml",
        "--hidden-size takes a whole number, not wide; see unrolled train lm --help",
    ),
}


@pytest.mark.parametrize("case", TRAINING)
def test_training_is_refused_and_leaves_no_trace(
    unrolled: Command, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, case: str
):
    prepare, words, line = TRAINING[case]
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    split = words.format(root=tmp_path).split()
    is_refused(unrolled("train", "lm", *SMALL, *split), line.format(root=tmp_path))
    assert tree(tmp_path) == before


# The others are about the output directory itself.
REPLACING = [
    case
    for case, (_, words, _) in TRAINING.items()
    if not {"--output", "--resume"} & {*words.split()}
]


@pytest.mark.parametrize("case", REPLACING)
def test_overwrite_does_not_cost_the_old_run_where_a_new_one_is_refused(
    unrolled: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, case: str
):
    prepare, words, _ = TRAINING[case]
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = tree(model)
    split = words.format(root=tmp_path).split()
    outcome = unrolled("train", "lm", *SMALL, *split, "--overwrite", "--output", model)
    assert outcome.status == 2
    assert before.items() <= tree(model).items()


def test_a_run_is_not_overwritten(unrolled: Command, model: Path, corpus: Path):
    before = tree(model)
    is_refused(
        unrolled("train", "lm", corpus, "--output", model, *SMALL),
        f"{model} holds another run: name another directory with --output, go on with the run "
        "with --resume, or replace it with --overwrite",
    )
    assert tree(model) == before


@pytest.mark.parametrize("flag", [[], ["--resume"]])
def test_a_model_is_not_overwritten(unrolled: Command, model: Path, corpus: Path, flag: list[str]):
    shutil.rmtree(model / "training")
    before = tree(model)
    is_refused(
        unrolled("train", "lm", corpus, "--output", model, *SMALL, *flag),
        f"{model} holds a model, and no run to go on with: name another directory with --output, "
        "or replace the model with --overwrite",
    )
    assert tree(model) == before


# For each: the options of the second sitting, the line.
RESUMING = {
    "another size": (
        ["--hidden-size", "13"],
        "the run was begun with hidden_size 12, not 13: leave that option out, or start again with "
        "--overwrite",
    ),
    "another seed": (
        ["--seed", "1"],
        "the run was begun with seed 0, not 1: leave that option out, or start again with "
        "--overwrite",
    ),
    "another vocabulary": (
        ["--vocabulary-kind", "byte"],
        "the run was begun with vocabulary_kind 'char', not 'byte': leave that option out, or "
        "start again with --overwrite",
    ),
    "another corpus": (
        ["{root}/other.txt"],
        "the data is not that which the run was begun with (what differs: text): put that "
        "back, or start again with --overwrite",
    ),
}


@pytest.mark.parametrize("case", RESUMING)
def test_another_run_is_not_the_rest_of_this_one(
    unrolled: Command, tmp_path: Path, model: Path, case: str
):
    words, line = RESUMING[case]
    (tmp_path / "other.txt").write_text(TEXT + "more")
    before = tree(model)
    given = [word.format(root=tmp_path) for word in words]
    is_refused(unrolled("train", "lm", "--output", model, "--resume", *given), line)
    assert before.items() <= tree(model).items()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "options": {}}',
        "null",
        '{"version": 1, "options": {}, "fingerprint": {}, "environment": {}}',
        '{"version": 2, "options": {}, "fingerprint": "", "environment": {}}',
        '{"version": 2, "options": {}, "fingerprint": {}, "environment": {}}',
    ],
)
def test_damaged_settings_are_not_resumed(unrolled: Command, model: Path, content: str):
    settings = model / "training" / "settings.json"
    settings.write_text(content)
    before = tree(model)
    outcome = unrolled("train", "lm", "--output", model, "--resume")
    assert outcome.status == 2
    assert outcome.err.startswith("unrolled: error: ")
    assert outcome.err.endswith("start again with --overwrite\n")
    assert outcome.err.count("\n") == 1
    assert tree(model) == before


def test_where_no_checkpoint_is_whole_nothing_is_resumed(unrolled: Command, model: Path):
    steps = sorted((model / "training").glob("step-*.safetensors"))
    assert len(steps) == 2
    for path in steps:
        path.write_bytes(path.read_bytes()[:-1])
    before = tree(model)
    older, newer = (path.with_suffix(".json") for path in steps)
    sizes = [(path.stat().st_size, path.stat().st_size + 1) for path in steps]
    is_refused(
        unrolled("train", "lm", "--output", model, "--resume"),
        f"the checkpoint {newer} is damaged: it has {sizes[1][0]} bytes of {sizes[1][1]}; the "
        f"checkpoint {older} is damaged: it has {sizes[0][0]} bytes of {sizes[0][1]}. None is left "
        "to resume from: start again with --overwrite",
    )
    assert tree(model) == before


def test_two_processes_do_not_train_in_one_directory(unrolled: Command, model: Path):
    holder = (
        "import sys; from unrolled.train.directory import RunDirectory\n"
        f"with RunDirectory({str(model)!r}).locked(): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", holder]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        before = tree(model)
        is_refused(
            unrolled("train", "lm", "--output", model, "--resume"),
            f"another process trains in {model}: wait for its end, or name another directory with "
            "--output",
        )
        assert tree(model) == before
        other.communicate("\n")
    assert unrolled("train", "lm", "--output", model, "--resume").status == 0


def test_a_loss_that_explodes_stops_the_run_and_keeps_the_last_good_checkpoint(
    unrolled: Command, tmp_path: Path, corpus: Path
):
    run = tmp_path / "run"
    begun = ["train", "lm", corpus, "--output", run, *SMALL, "--optimizer", "sgd", "--warmup", "0"]
    assert unrolled(*begun, "--max-steps", "15").status == 0
    before = tree(run)
    outcome = unrolled(
        *["train", "lm", "--output", run, "--resume", "--max-steps", "30", "--clip", "0"],
        *["--learning-rate", "1e38"],
    )
    assert outcome.status == 2
    *notes, line = outcome.err.splitlines()
    assert all(note.startswith("unrolled: note: ") for note in notes)
    assert line.startswith("unrolled: error: the ")
    what, _, rest = line.removeprefix("unrolled: error: the ").partition(" is ")
    assert what in ("loss", "gradient norm")
    value, _, rest = rest.partition(" at step ")
    assert value in ("nan", "inf")
    step, _, rest = rest.partition(" ")
    assert 16 <= int(step) <= 20
    rate, _, rest = rest.removeprefix("with a learning rate of ").partition(". ")
    assert 1e37 < float(rate) < 1e38
    assert rest == (
        "The checkpoint of step 15 is kept; try a lower --learning-rate, a longer --warmup or a "
        "smaller --clip"
    )
    after = tree(run)
    for name in before:
        if "step-" in name or name.endswith((".safetensors", "config.json")):
            assert after[name] == before[name]
    assert not [name for name in after if "step-" in name and name not in before]
    # A lower rate goes on from there.
    again = unrolled("train", "lm", "--output", run, "--resume", "--max-steps", "30")
    assert again.status == 0


@pytest.mark.parametrize("room", [0, 200, 3000, 6000, 20000, 22000])
def test_a_full_disk_is_said_and_nothing_is_lost(
    unrolled: Command, tmp_path: Path, corpus: Path, room: int
):
    run = tmp_path / "run"
    expected = tmp_path / "expected"
    rest = ["--resume", "--max-steps", "49"]
    for path in (run, expected):
        words = ["train", "lm", corpus, "--output", path, *SMALL, "--max-steps", "20"]
        assert unrolled(*words).status == 0
    assert unrolled("train", "lm", "--output", expected, *rest).status == 0

    before = tree(run)
    with largest_file(room):
        outcome = unrolled("train", "lm", "--output", run, *rest)
    assert outcome.status == 2
    *_, line = outcome.err.splitlines()
    assert line.startswith("unrolled: error: ")
    assert "can't write " in line
    assert "File too large" in line
    assert "Traceback" not in outcome.err
    after = tree(run)
    assert not [name for name in after if name.endswith(".tmp")]
    for name in before:
        if "step-" in name:
            assert after[name] == before[name]

    assert unrolled("train", "lm", "--output", run, *rest).status == 0
    for name in ("training/metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (expected / name).read_bytes()


def test_a_disk_that_is_full_from_the_start_leaves_no_run(
    unrolled: Command, tmp_path: Path, corpus: Path
):
    with largest_file(100):
        outcome = unrolled("train", "lm", corpus, "--output", tmp_path / "run", *SMALL)
    assert outcome.status == 2
    assert outcome.err.startswith(f"unrolled: error: can't write {tmp_path / 'run'}")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def reconfigure(path: Path, **values: object) -> None:
    """Changes config.json as a text editor would."""
    content = json.loads((path / "config.json").read_text())
    content["config"] |= {k: v for k, v in values.items() if k in content["config"]}
    content |= {k: v for k, v in values.items() if k in content}
    (path / "config.json").write_text(json.dumps(content))


MODELS: dict[str, tuple[Prepare, str]] = {
    "missing": (shutil.rmtree, "there is no model directory {model}: check the path"),
    "no model": (
        lambda path: [file.unlink() for file in path.glob("*.*")],
        "{model} is no model directory: it has no config.json",
    ),
    "part missing": (
        lambda path: (path / "vocabulary.json").unlink(),
        "{model} is no whole model: it has no vocabulary.json",
    ),
    "truncated": (
        lambda path: truncate(path / "model.safetensors"),
        "{model}/model.safetensors is damaged or of another save: its checksum is not the one in "
        "config.json; restore the directory from where the model was saved",
    ),
    "of another version": (
        lambda path: reconfigure(path, version=99),
        "{model} is of format version 99, this Unrolled reads version 1: install the version of "
        "Unrolled that wrote it",
    ),
    "shapes that don't fit": (
        lambda path: reconfigure(path, hidden_size=13),
        "the model in {model} can't be loaded: the saved parameters don't fit the configuration: "
        "output_weight is [32, 12] in model.safetensors, [32, 13] by config.json, vocabulary.json "
        "and equations.json; restore them from where the model was saved",
    ),
    "tampered": (
        lambda path: reconfigure(path, dropout="much"),
        "the model in {model} can't be loaded: dropout is at least 0 and below 1, not 'much'",
    ),
    "another program's": (
        lambda path: (path / "config.json").write_text('{"architectures": ["GPT2"]}'),
        "{model} holds no model of this Unrolled: the format in its config.json is None",
    ),
}


@pytest.mark.parametrize("command", ["sample", "score", "info"])
@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_is_not_whole_is_refused(
    unrolled: Command, model: Path, corpus: Path, command: str, case: str
):
    damage, line = MODELS[case]
    damage(model)
    words = [command, model, *([corpus] if command == "score" else [])]
    is_refused(unrolled(*words), line.format(model=model))


def test_a_prompt_of_unknown_characters_is_read_as_unknown_and_said(unrolled: Command, model: Path):
    outcome = unrolled("sample", model, "--prompt", "Éa§", "--length", "5", "--seed", "0")
    assert outcome.status == 0
    assert outcome.err == "unrolled: note: the model reads 'É', '§' as <unk>\n"
    assert outcome.out.startswith("Éa§")


def test_a_prompt_of_unknown_characters_is_refused_where_nothing_stands_for_them(
    unrolled: Command, tmp_path: Path, corpus: Path
):
    run = tmp_path / "run"
    done = unrolled("train", "lm", corpus, "--output", run, *SMALL, "--no-vocabulary-unk")
    assert done.status == 0
    line = (
        "the vocabulary doesn't know 'É' and has no <unk> to stand for it: leave it out, or train "
        "with the <unk> token"
    )
    is_refused(unrolled("sample", run, "--prompt", "É"), line)
    (tmp_path / "accents.txt").write_text("Éa\n")
    is_refused(unrolled("score", run, tmp_path / "accents.txt"), line)


# The words after `unrolled`, the line.
OTHERS = {
    "sample nothing": (
        "sample",
        "the following arguments are required: model; see unrolled sample --help",
    ),
    "sample a negative length": (
        "sample {model} --length -1",
        "the length is at least 0 tokens, not -1",
    ),
    "sample at no temperature": (
        "sample {model} --temperature cold",
        "--temperature takes a number, not cold; see unrolled sample --help",
    ),
    "score no file": (
        "score {model}",
        "the following arguments are required: files; see unrolled score --help",
    ),
    "score a missing file": (
        "score {model} {root}/no.txt",
        "there is no corpus {root}/no.txt: check the path (seen from {root})",
    ),
    "score an empty file": (
        "score {model} {root}/empty.txt",
        "the corpus is empty: there is no character in {root}/empty.txt",
    ),
    "no command": ("smaple", "there is no command 'smaple': did you mean 'sample'?"),
    "no task": ("train ml", "there is no command 'train ml': did you mean 'train lm'?"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_commands_refuse_in_one_line(
    unrolled: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, case: str
):
    words, line = OTHERS[case]
    (tmp_path / "empty.txt").touch()
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    split = words.format(root=tmp_path, model=model).split()
    outcome = unrolled(*split)
    is_refused(outcome, line.format(root=tmp_path, model=model))
    assert outcome.out == ""
    assert tree(tmp_path) == before


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_reaches_the_user_only_with_debug(tmp_path: Path, debug: bool):
    command = [sys.executable, "-m", "unrolled", "sample", str(tmp_path / "no")]
    result = subprocess.run(
        command + ["--debug"] * debug, capture_output=True, text=True, check=False
    )
    assert ("Traceback" in result.stderr) == debug
    assert result.returncode == (1 if debug else 2)
    assert f"there is no model directory {tmp_path / 'no'}: check the path" in result.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_even_a_bug_is_one_line(
    unrolled: Command, model: Path, monkeypatch: pytest.MonkeyPatch, debug: bool
):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("something\nis broken")

    monkeypatch.setattr("unrolled.models.language_model.LanguageModel.from_pretrained", broken)
    if debug:
        with pytest.raises(RuntimeError, match="something"):
            unrolled("sample", model, "--debug")
        return
    outcome = unrolled("sample", model)
    assert outcome.status == 1
    assert outcome.err == (
        "unrolled: error: RuntimeError: something is broken. This should not happen: the same "
        "command with --debug shows where it comes from\n"
    )
