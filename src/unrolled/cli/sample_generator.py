"""``unrolled sample`` of a generator: a sequence of a label, as text, MIDI or an array."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.cli.device import find_device
from unrolled.cli.options import Options, pick
from unrolled.data.midi import MidiConfig
from unrolled.models.generator import Generator
from unrolled.tasks.generate_sample import SampleConfig, sample


@dataclass(frozen=True)
class PlaceConfig:
    """Where it is drawn.

    Attributes:
        device: Where to compute, such as cpu or cuda.
    """

    device: str = "cpu"


def run(arguments: list[str]) -> int:
    """Draws a sequence, and gives the exit status."""
    options = Options(
        "sample",
        "MODEL [options]",
        "Draw a sequence from a generator.",
        "unrolled sample runs/music --label jsb --output new.mid",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_fields(SampleConfig)
    options.add_fields(MidiConfig)
    options.add_fields(PlaceConfig)
    values = options.read(["--output" if word == "-o" else word for word in arguments])
    model = Generator.from_pretrained(values["model"], find_device(values["device"]))
    print(sample(model, pick(SampleConfig, values), pick(MidiConfig, values)))
    return 0
