"""``unrolled export c``: a saved language model's step as C99."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from unrolled.cli.model_words import refuse_others
from unrolled.cli.options import Options, pick
from unrolled.interop.c import export
from unrolled.models.language_model import LanguageModel

COMPILE = ("cc", "-std=c99", "-O2")


@dataclass(frozen=True)
class ExportConfig:
    """What is written, and where.

    Attributes:
        output: The directory of the files.
        name: What the files, functions and macros begin with.
        weights: Put the weights into the C file (array), or into a file of their own (blob).
        test: Write a test program too, which compares the C with Python's numbers.
    """

    output: str = "."
    name: str = "model"
    weights: Literal["array", "blob"] = "array"
    test: bool = True


def run(arguments: list[str]) -> int:
    """Writes the files, says how to compile them, and gives the exit status."""
    options = Options(
        "export c",
        "MODEL [options]",
        "Write a language model's step as C99 that needs nothing but libm: step(token) -> logits.",
        "unrolled export c runs/lm --output c --name lm",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_fields(ExportConfig)
    values = options.read(["--output" if word == "-o" else word for word in arguments])
    config = pick(ExportConfig, values)
    refuse_others(values["model"], "export c", ["language model"])
    model = LanguageModel.from_pretrained(values["model"])
    files = export(model, config.output, config.name, config.weights, test=config.test)
    for file in files:
        print(f"{file}  {file.stat().st_size:,} bytes")
    sources = [file for file in files if file.suffix == ".c"]
    if config.test:
        blob = [str(file) for file in files if file.suffix == ".bin"]
        program = str(sources[-1].absolute().with_suffix(""))
        print("compile and run the test:")
        print("  " + shlex.join([*COMPILE, *map(str, sources), "-lm", "-o", program]))
        print("  " + shlex.join([program, *blob]))
    else:
        print("compile: " + shlex.join([*COMPILE, "-c", str(sources[0])]))
    return 0
