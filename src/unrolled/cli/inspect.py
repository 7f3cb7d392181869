"""``unrolled inspect``: what a language model remembers, forgets and learned, on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from unrolled.cli.device import find_device
from unrolled.cli.options import Options, pick
from unrolled.data.corpus import find, read
from unrolled.errors import ModelError, UserError
from unrolled.inspect.neurons import Property
from unrolled.inspect.properties import matches
from unrolled.inspect.report import MOST, PARTS, prepare, report
from unrolled.models.language_model import LanguageModel
from unrolled.models.loading import kind_of
from unrolled.train.directory import RunDirectory
from unrolled.train.trainer import METRICS

_FORMAT = "{percentage:3.0f}% |{bar}| {desc}, {elapsed}"


@dataclass(frozen=True)
class InspectConfig:
    """What is looked at, and where the report goes.

    Attributes:
        text: The text that the model reads: a file, gzip too; "-" is standard input.
        output: The directory of the report; by default inspect in that of the model.
        run: The directory of the training run whose metrics are looked at; by default that of the
            model, where it holds them.
        characters: How many characters (or tokens) are read from the text's beginning; by default
            2000, or all of a shorter text.
        position: The character (or token), counted from 1, after which the prediction is traced
            back to what it rests on; by default the last.
        only: Look at these parts alone, with commas between them.
        skip: Leave these parts out, with commas between them.
        image: What the figures beside the page are.
        encoding: How the text is encoded.
        device: Where to compute, such as cpu or cuda.
    """

    text: str | None = None
    output: str | None = None
    run: str | None = None
    characters: int | None = None
    position: int | None = None
    only: str | None = None
    skip: str | None = None
    image: Literal["png", "svg"] = "png"
    encoding: str = "utf-8"
    device: str = "cpu"


def run(arguments: list[str]) -> int:
    """Writes the report, and gives the exit status."""
    options = Options(
        "inspect",
        "MODEL --text FILE [options]",
        "Show what a language model remembers, forgets and learned: one page, report.html, that "
        f"asks nothing of the network, and its figures as files. Its parts: {', '.join(PARTS)}.",
        "unrolled inspect runs/lm --text sentences.txt",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_fields(InspectConfig)
    options.add_argument(
        "--property", action="append", type=str, default=[], metavar="NAME=PATTERN",
        help="a property that units are compared with, beside the usual ones: what a regular "
        "expression matches; as often as there are such",
    )  # fmt: skip
    values = options.read(["--output" if word == "-o" else word for word in arguments])
    config, place = pick(InspectConfig, values), Path(values["model"])
    if config.text is None:
        raise UserError("name the text that the model is to read: --text FILE")
    chosen = _parts(config)
    _refuse_others(place)
    run_directory = _run(config, place)
    parts = tuple(part for part in chosen if part != "health" or run_directory is not None)
    if not parts:
        raise UserError(f"{place} holds no metrics of a run, which health looks at: give --run")
    if config.characters is not None and not 1 <= config.characters <= MOST:
        raise UserError(f"--characters takes 1 to {MOST:,}, not {config.characters:,}")
    if config.position is not None and config.position < 1:
        raise UserError(f"--position takes 1 or more, not {config.position}")
    properties = _properties(values["property"])
    model = LanguageModel.from_pretrained(place, find_device(config.device))
    text = _read(config.text, config, binary=model.vocabulary.kind == "byte")
    output = prepare(config.output or place / "inspect")
    with tqdm(total=1.0, bar_format=_FORMAT, dynamic_ncols=True, disable=None) as bar:

        def show(what: str, share: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(share - bar.n)

        found = report(
            model,
            text,
            characters=config.characters,
            position=config.position,
            parts=parts,
            run=run_directory,
            properties=properties,
            name=place.resolve().name,
            source="standard input" if config.text == "-" else Path(config.text).name,
            progress=show,
        )
        bar.set_description_str("writing the page")
        written = found.write(output, config.image)
        bar.set_description_str("done")
    if found.warning:
        print(found.warning)
    for section in found.sections:
        verdict = f"{section.verdict}. " if section.verdict else ""
        print(f"{section.title}: {verdict}{section.finding}")
    print(*written, sep="\n")
    return 0


def _parts(config: InspectConfig) -> tuple[str, ...]:
    """The parts that are asked for, in the order of the page."""
    only, skip = _names("--only", config.only), _names("--skip", config.skip)
    chosen = tuple(part for part in PARTS if part in (only or PARTS) and part not in skip)
    if not chosen:
        raise UserError("--only and --skip leave no part: see unrolled inspect --help")
    return chosen


def _names(flag: str, listed: str | None) -> list[str]:
    names = [] if listed is None else [name.strip() for name in listed.split(",")]
    for name in names:
        if name not in PARTS:
            raise UserError(f"{flag} takes {', '.join(PARTS)}, with commas between; not {name!r}")
    return names


def _properties(given: list[str]) -> dict[str, Property]:
    """By name, what is written NAME=PATTERN."""
    found: dict[str, Property] = {}
    for words in given:
        name, equals, pattern = words.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"--property takes NAME=PATTERN, as in 'verb=\\w+ing', not {words!r}")
        try:
            found[name] = matches(pattern)
        except ValueError as error:
            raise UserError(f"--property {name}: {error}") from None
    return found


def _refuse_others(place: Path) -> None:
    kind = kind_of(place)
    if kind != "language model":
        raise ModelError(
            f"unrolled inspect reads a text with a language model, and {place} holds a {kind}: "
            "from Python, equations, gradient_flow, jacobians and gates of unrolled.inspect look "
            "into any model"
        )


def _read(name: str, config: InspectConfig, *, binary: bool) -> str:
    sources = find(name)
    if len(sources) > 1:
        raise UserError(f"--text takes one file, and {name} is {len(sources)}: name one of them")
    return "".join(read(sources, config.encoding, binary=binary))


def _run(config: InspectConfig, place: Path) -> Path | None:
    """The directory of the run that is named, or of the model where it holds one."""
    directory = Path(config.run or place)
    metrics = RunDirectory(directory).training / METRICS
    if metrics.exists():
        return directory
    if config.run is not None:
        raise UserError(f"{config.run} holds no metrics of a run ({metrics}): check --run")
    return None
