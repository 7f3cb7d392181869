"""``unrolled predict``: in order, as the lines come, with an object for what can't be read."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from command_line import Command
from unrolled.cli.pausing import chunks

BAD = '{"error": "it has 12 characters, more than 9"}'


def test_a_line_in_an_object_out(unrolled: Command, fake: Path, tmp_path: Path):
    (tmp_path / "in.txt").write_text("abc\n\nÉé\r\nlast")
    done = unrolled("predict", fake, tmp_path / "in.txt")
    assert (done.status, done.err) == (0, "")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"text": "abc", "length": 3},
        {"text": "", "length": 0},
        {"text": "Éé", "length": 2},
        {"text": "last", "length": 4},
    ]
    assert "Éé" in done.out


def test_options_are_those_of_the_kind(unrolled: Command, fake: Path, tmp_path: Path):
    (tmp_path / "in.txt").write_text("abc\n")
    done = unrolled("predict", fake, tmp_path / "in.txt", "--twice")
    assert json.loads(done.out)["length"] == 6
    assert "--twice" in unrolled("predict", fake, "--help").out


@pytest.mark.parametrize(("strict", "status"), [([], 0), (["--strict"], 2)])
def test_a_bad_line_keeps_its_place(
    unrolled: Command, fake: Path, tmp_path: Path, strict: Sequence[str], status: int
):
    (tmp_path / "in.txt").write_bytes(b"abc\ntwelve chars\nGr\xf6\xdfe\nend\n")
    done = unrolled("predict", fake, tmp_path / "in.txt", *strict)
    assert done.status == status
    assert done.out.splitlines() == [
        '{"text": "abc", "length": 3}',
        BAD,
        '{"error": "it is not UTF-8: byte 0xf6 at 2"}',
        '{"text": "end", "length": 3}',
    ]
    assert done.err == (
        "unrolled: note: 2 of 4 lines could not be read, the first is line 2: it has 12 "
        "characters, more than 9\n"
    )


def test_a_file_for_the_output_is_written_whole(unrolled: Command, fake: Path, tmp_path: Path):
    path = tmp_path / "lines"
    path.write_text("a\nbb\n")
    assert unrolled("predict", fake, path, "-o", path).out == ""
    assert path.read_text() == '{"text": "a", "length": 1}\n{"text": "bb", "length": 2}\n'


def test_many_lines_stay_in_order(unrolled: Command, fake: Path, tmp_path: Path):
    lines = [str(k) for k in range(5000)]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    done = unrolled("predict", fake, tmp_path / "in.txt")
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == lines


def test_a_missing_file_is_refused(unrolled: Command, fake: Path, tmp_path: Path):
    done = unrolled("predict", fake, tmp_path / "no.txt")
    assert done.status == 2
    assert done.err == (
        f"unrolled: error: can't read {tmp_path}/no.txt: No such file or directory\n"
    )


# A process of its own, whose standard input is a pipe.
RUN = """
import sys
from unrolled.cli import main
from unrolled.models import loading
from unrolled.tasks import table
table.KINDS["classify"] = "fake_task"
loading.MODELS["classifier"] = ("fake_task", "FakeModel")
sys.exit(main(sys.argv[1:]))
"""


def process(model: Path) -> "subprocess.Popen[bytes]":
    here = str(Path(__file__).parent.parent)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "predict", str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_a_pipe_that_pauses_is_answered(fake: Path):
    with process(fake) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for line in (b"one\n", b"two\nthree\n"):
            running.stdin.write(line)
            running.stdin.flush()
            for word in line.split():
                # It would wait for ever, were the answer kept back for more lines.
                assert json.loads(running.stdout.readline())["text"] == word.decode()
        running.stdin.write(b"without an end")
        running.stdin.close()
        assert json.loads(running.stdout.read()) == {"error": "it has 14 characters, more than 9"}
    assert running.returncode == 0


def test_who_has_read_enough_gets_no_complaint(fake: Path):
    with process(fake) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"line\n" * 10)
        running.stdin.flush()
        running.stdout.readline()
        running.stdout.close()
        with pytest.raises(BrokenPipeError):
            running.stdin.write(b"line\n" * 10_000_000)
    assert running.returncode == 0


class Unhurried:
    """A pipe that was given pieces one by one, each after what came before it was read."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)
        self.read_end, self.write_end = os.pipe()
        self.feed()

    def feed(self) -> None:
        if self.pieces:
            os.write(self.write_end, self.pieces.pop(0))
        else:
            os.close(self.write_end)


def test_chunks_end_where_a_pipe_pauses():
    pipe = Unhurried([b"a\nb\n", b"c", b"d\n\n", b"e"])
    found: list[list[bytes]] = []
    with os.fdopen(pipe.read_end, "rb", buffering=0) as source:
        lines = chunks(source)
        found.append(next(lines))
        pipe.feed()
        pipe.feed()
        found.append(next(lines))
        pipe.feed()
        pipe.feed()
        found += list(lines)
    assert found == [[b"a", b"b"], [b"cd", b""], [b"e"]]


def test_chunks_of_a_file_are_of_one_size(tmp_path: Path):
    lines = [b"%d" % k for k in range(20_000)]
    (tmp_path / "lines").write_bytes(b"\n".join(lines) + b"\n")
    with (tmp_path / "lines").open("rb") as source:
        found = list(chunks(source, most=300))
    assert [len(chunk) for chunk in found] == [300] * 66 + [200]
    assert [line for chunk in found for line in chunk] == lines


def test_an_empty_file_has_no_chunk(tmp_path: Path):
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as source:
        assert list(chunks(source)) == []
