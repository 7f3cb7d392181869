"""``unrolled predict``: a line in, a JSON object out, in order and as the lines come."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unrolled.cli.device import find_device
from unrolled.cli.model_words import first_word
from unrolled.cli.options import Options, pick
from unrolled.cli.pausing import chunks
from unrolled.data.files import staged
from unrolled.errors import DataError
from unrolled.tasks.kind import Kind
from unrolled.tasks.table import kind_of_model

BAD_LINES = 2

Predict = Callable[[Iterable[str]], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class PredictConfig:
    """Where predictions go.

    Attributes:
        output: The file of the predictions, standard output by default.
        strict: Exit with a status that says so where a line could not be read.
        device: Where to compute, such as cpu or cuda.
    """

    output: str | None = None
    strict: bool = False
    device: str = "cpu"


@dataclass
class _Count:
    """The lines so far, and those that could not be read."""

    lines: int = 0
    bad: int = 0
    first: str = ""

    def add(self, answer: dict[str, Any]) -> None:
        self.lines += 1
        if "error" in answer:
            self.bad += 1
            self.first = self.first or f"line {self.lines:,}: {answer['error']}"


def run(arguments: list[str]) -> int:
    """Predicts, and gives the exit status."""
    words = ["--output" if word == "-o" else word for word in arguments]
    model = first_word("predict", words)
    kind = None if model is None else kind_of_model(model)
    values = {"file": "-", **_options(kind).read(words)}
    config = pick(PredictConfig, values)
    assert kind is not None  # help has ended the program
    how = pick(kind.prediction, values)
    loaded = kind.model.from_pretrained(values["model"], find_device(config.device))
    with ExitStack() as stack:
        source = _source(values["file"], stack)
        sink = _sink(config.output, stack)
        count = _predict(source, sink, lambda lines: kind.predict(loaded, lines, how))
    if count.bad:
        of = f"{count.bad:,} of {count.lines:,} lines could not be read"
        print(f"unrolled: note: {of}, the first is {count.first}", file=sys.stderr)
    return BAD_LINES if count.bad and config.strict else 0


def _options(kind: Kind | None) -> Options:
    about = "" if kind is None else f" This model is for: {kind.name}, {kind.summary}."
    options = Options(
        "predict",
        "MODEL [FILE] [options]",
        "Predict for each line of a file, or of standard input, and write a JSON object a line, in "
        "order. A line that can't be read gets an object with its error. Further options are those "
        f"of the model: unrolled predict MODEL --help.{about}",
        "unrolled predict runs/names names.txt -o predicted.jsonl",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_argument(
        "file", nargs="?", type=str, metavar="FILE", default="-", help='"-" is standard input'
    )
    options.add_argument("--config", action="config", help="a YAML file with any of these options")
    options.add_fields(PredictConfig)
    if kind is not None:
        options.add_fields(kind.prediction)
    return options


def _source(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(name).open("rb"))
    except OSError as error:
        raise DataError(f"can't read {name}: {error.strerror or error}") from error


def _sink(name: str | None, stack: ExitStack) -> BinaryIO:
    # JSON is UTF-8, whatever the terminal's encoding.
    return sys.stdout.buffer if name is None else stack.enter_context(staged(Path(name)))


def _predict(source: BinaryIO, sink: BinaryIO, predict: Predict) -> _Count:
    count = _Count()
    for lines in chunks(source):
        for answer in _answers(lines, predict):
            count.add(answer)
            sink.write(_json(answer))
        sink.flush()
    return count


def _answers(lines: Sequence[bytes], predict: Predict) -> Iterator[dict[str, Any]]:
    """An object for each line; what is not UTF-8 does not reach the model."""
    decoded = [_decoded(line) for line in lines]
    found = predict([text for text in decoded if isinstance(text, str)])
    for text in decoded:
        yield next(found) if isinstance(text, str) else text


def _decoded(line: bytes) -> str | dict[str, Any]:
    try:
        return line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return {"error": f"it is not UTF-8: byte 0x{line[error.start]:02x} at {error.start}"}


def _json(answer: dict[str, Any]) -> bytes:
    return (json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n").encode()
