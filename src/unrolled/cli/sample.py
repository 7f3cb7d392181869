"""``unrolled sample``: text from a language model, on the terminal as it comes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module

from unrolled.cli.device import find_device
from unrolled.cli.model_words import refuse_others
from unrolled.cli.options import Options, pick
from unrolled.data.vocabulary import UNK
from unrolled.models.language_model import LanguageModel
from unrolled.models.loading import kind_of

# What other models are sampled by, with options of their own.
_OTHERS = {"generator": "unrolled.cli.sample_generator"}


@dataclass(frozen=True)
class TextConfig:
    """What is written.

    Attributes:
        prompt: What the text begins with.
        length: How many tokens to write; fewer where the model ends the text.
        temperature: Below 1 the likely gets likelier; 0 takes the likeliest token.
        top_k: Choose among the so many likeliest tokens only.
        top_p: Choose among the likeliest tokens only that together have this probability.
        seed: Where the choices start; by default it is different each time.
        device: Where to compute, such as cpu or cuda.
    """

    prompt: str = ""
    length: int = 500
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float = 1.0
    seed: int | None = None
    device: str = "cpu"


def run(arguments: list[str]) -> int:
    """Writes, and gives the exit status."""
    if arguments and not arguments[0].startswith("-"):
        refuse_others(arguments[0], "sample", ["language model", *_OTHERS])
        module = _OTHERS.get(kind_of(arguments[0]))
        if module is not None:
            return import_module(module).run(arguments)
    options = Options(
        "sample",
        "MODEL [options]",
        "Let a language model write. A generator has other options: unrolled sample MODEL --help.",
        'unrolled sample runs/lm --prompt "def " --temperature 0.5 --seed 1',
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_fields(TextConfig)
    values = options.read(arguments)
    text = pick(TextConfig, values)
    model = LanguageModel.from_pretrained(values["model"], find_device(text.device))
    pieces = model.generate(
        text.prompt, text.length, text.temperature, text.top_k, text.top_p, text.seed
    )
    unknown = model.vocabulary.unknown(text.prompt)
    if unknown:
        names = ", ".join(map(repr, unknown))
        print(f"unrolled: note: the model reads {names} as {UNK}", file=sys.stderr)
    print(text.prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    return 0
