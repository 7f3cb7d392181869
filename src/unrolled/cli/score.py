"""``unrolled score``: the log-probability of each line of a text, and the perplexity of it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unrolled.cli.device import find_device
from unrolled.cli.figures import UNITS, in_words
from unrolled.cli.model_words import refuse_others
from unrolled.cli.options import Options, pick
from unrolled.data.corpus import Source, find, read
from unrolled.data.vocabulary import UNK
from unrolled.errors import DataError
from unrolled.models.language_model import LanguageModel
from unrolled.models.scoring import score_lines, score_text


@dataclass(frozen=True)
class ScoreConfig:
    """How the text is read and scored.

    Attributes:
        lines: Print each line's log-probability too, as if nothing stood before the line.
        encoding: How the text is encoded.
        device: Where to compute, such as cpu or cuda.
    """

    lines: bool = True
    encoding: str = "utf-8"
    device: str = "cpu"


def run(arguments: list[str]) -> int:
    """Scores, and gives the exit status."""
    options = Options(
        "score",
        "MODEL FILE... [options]",
        "Say how likely a language model finds a text: each line's log-probability in nats, a tab "
        "and the line; then the figures of the file as one text.",
        "unrolled score runs/lm sentences.txt",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_argument(
        "files", nargs="+", type=str, metavar="FILE", help='files, gzip too; "-" is standard input'
    )
    options.add_fields(ScoreConfig)
    values = options.read(arguments)
    config = pick(ScoreConfig, values)
    refuse_others(values["model"], "score", ["language model"])
    model = LanguageModel.from_pretrained(values["model"], find_device(config.device))
    for source in find(values["files"]):
        _score(model, source, config)
    return 0


def _score(model: LanguageModel, source: Source, config: ScoreConfig) -> None:
    kind = model.vocabulary.kind
    binary = kind == "byte"
    # The whole first, so that what is wrong with the file is said before its first line.
    whole = score_text(model, read([source], config.encoding, binary=binary))
    if config.lines:
        pieces = read([source], config.encoding, binary=binary)
        for line, score in score_lines(model, _lines(pieces)):
            print(f"{score.log_probability:.4f}\t{line}")
    if not whole.tokens:
        raise DataError(f"{source.name} has nothing to score: it is a single {UNITS[kind]}")
    print(f"{source.name}, {whole.tokens:,} {UNITS[kind]}s: {in_words(whole.loss, kind)}")
    if whole.unknown:
        print(f"{whole.unknown:,} of these were read as {UNK}")


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text whose pieces end with lines, or inside one that is very long."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines
    if rest:
        yield rest
