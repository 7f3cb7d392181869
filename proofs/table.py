"""The proofs: what each task must reach on public data, and with which settings.

One table for the script that runs them (``proofs.run``) and for the page that shows what came of it
(``proofs.page``). The settings are YAML files for ``--config`` in ``proofs/settings``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proofs import g2p_data, labels, series_data
from unrolled.tasks.report import Figure

SETTINGS = Path(__file__).parent / "settings"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Target:
    """What must hold.

    Attributes:
        figure: The name of a figure of the report.
        limit: The number, or "baseline" for the figure's own baseline.
        better: Whether a lower or a higher figure is better.
    """

    figure: str
    limit: float | Literal["baseline"]
    better: Literal["lower", "higher"]

    def reached(self, value: float, baseline: float | None) -> bool:
        """Whether a figure is as good as it must be; strictly better than a baseline."""
        if self.limit == "baseline":
            if baseline is None:
                return False
            return value < baseline if self.better == "lower" else value > baseline
        return value <= self.limit if self.better == "lower" else value >= self.limit


@dataclass(frozen=True)
class Proof:
    """One task on one set of data.

    Attributes:
        name: That of its settings' file and of its results.
        kind: The word of ``unrolled train``.
        title: What is learned.
        data: From the folder of the public data and one for unpacked files to the data's words,
            options that name files among them.
        targets: What must hold.
        protocol: What the figures are comparable with, in a sentence or two.
        further: Figures besides those of the report, from the model's directory, the data's words
            and the seed.
    """

    name: str
    kind: str
    title: str
    data: Callable[[Path, Path], list[str]]
    targets: Sequence[Target]
    protocol: str
    further: Callable[[Path, Sequence[str], int], list[Figure]] | None = None


def _unpacked(archive: Path, directory: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(directory)
    return directory / archive.stem


def _conll(shared: Path, work: Path) -> list[str]:
    found = _unpacked(shared / "conll2000.zip", work)
    return [str(found / "train.txt"), "--test", str(found / "test.txt")]


def _polarity(shared: Path, work: Path) -> list[str]:
    found = _unpacked(shared / "sentence_polarity.zip", work)
    classes = work / "polarity"
    classes.mkdir(exist_ok=True)
    for name in ("neg", "pos"):
        (classes / f"{name}.txt").write_bytes((found / f"rt-polarity.{name}").read_bytes())
    return [str(classes), "--encoding", "latin-1"]


def _pronunciation(shared: Path, work: Path) -> list[str]:
    train, test = g2p_data.written(shared / "cmudict.zip", work / "g2p")
    return [str(train), "--test", str(test)]


def _series(name: str) -> Callable[[Path, Path], list[str]]:
    def data(shared: Path, work: Path) -> list[str]:
        files = {path.stem: path for path in series_data.write(work)}
        return [str(files[name])]

    return data


_MUSIC = ("JSB_Chorales", "Nottingham", "Piano_midi", "MuseData")

PROOFS: tuple[Proof, ...] = (
    Proof(
        "shakespeare", "lm", "Shakespeare, character by character",
        lambda shared, work: [str(shared / "tinyshakespeare.txt")],
        (Target("nats per character", 1.50, "lower"),),
        "The last 10 % of the text are held out, and choose the step whose model is kept.",
    ),
    Proof(
        "surnames", "classify", "Surnames to 18 languages",
        lambda shared, work: [str(shared / "names")],
        (Target("accuracy", 0.85, "higher"), Target("macro recall", 0.60, "higher")),
        "10 % of the rows of each language are held out; some names are in several languages, and "
        "many occur twice in one.",
    ),
    Proof(
        "polarity", "classify", "Sentences of film reviews: for or against",
        _polarity, (Target("accuracy", 0.765, "higher"),),
        "10 % of the sentences are held out, and no vectors come from elsewhere; Kim 2014 reports "
        "76.1 % for a convolutional network, by cross-validation.",
    ),
    Proof(
        "part-of-speech", "tag", "CoNLL-2000: parts of speech, from the words alone",
        _conll, (Target("accuracy of tags", 0.965, "higher"),),
        "The test file of the shared task; its own tags of parts of speech, which a program made.",
    ),
    Proof(
        "chunks", "tag", "CoNLL-2000: chunks, from the words and their parts of speech",
        _conll, (Target("F1 of chunks", 0.92, "higher"),),
        "The test file of the shared task, chunks counted as its own script does.",
    ),
    Proof(
        "pronunciation", "translate", "CMUdict: letters to phonemes",
        _pronunciation,
        (Target("token error rate", 0.08, "lower"), Target("sequence error rate", 0.32, "lower")),
        "A tenth of the words are held out; no stress marks; where a word has several "
        "pronunciations, the nearest counts.",
    ),
    Proof(
        "chorales", "generate", "JSB chorales: the next frame of 88 keys",
        lambda shared, work: [str(shared / "JSB_Chorales.mat")],
        (Target("negative log-likelihood per frame", 8.6, "lower"),
         Target("frame accuracy", "baseline", "higher")),
        "The training, validation and test parts of Boulanger-Lewandowski et al. 2012; the loss of "
        "frames 2 to T summed over keys, averaged over all such frames, as Bai et al. 2018 do, who "
        "report 8.45 for an LSTM, 8.43 for a GRU and 8.91 for an RNN. No transposition.",
    ),
    Proof(
        "music", "generate", "Four kinds of music in one model: the next frame of 88 keys",
        lambda shared, work: [str(shared / f"{name}.mat") for name in _MUSIC],
        (*(Target(f"negative log-likelihood per frame, {name}", "baseline", "lower")
           for name in _MUSIC),
         Target("samples told by their label", "baseline", "higher")),
        "Parts and figures as above, of each kind by itself; the network is given the kind, and "
        "the same for all four. Networks for one kind each: on JSB Chorales see above; on "
        "Nottingham Bai et al. 2018 report 3.29 for an LSTM, 3.46 for a GRU and 4.05 for an RNN; "
        "on Piano-midi and MuseData Boulanger-Lewandowski et al. 2012 report 8.37 and 8.13 for an "
        "RNN, 7.66 and 7.19 for one trained Hessian-free. Of 25 pieces of 100 frames drawn for "
        "each kind, the last row is the share that the network finds likeliest under that kind.",
        labels.music,
    ),
    Proof(
        "names", "generate", "Languages to surnames",
        lambda shared, work: [str(shared / "names")],
        (Target("negative log-likelihood per token", "baseline", "lower"),
         Target("nats per token with the label", "baseline", "lower"),
         Target("samples told by their label", "baseline", "higher")),
        "10 % of each language are the test part, 10 % choose the model; tokens are characters and "
        "the end. Without the label the same network mixes the languages by their frequency. Of 50 "
        "names drawn for each language, the last row is the share that naive Bayes over pieces of "
        "one to three characters of all real names, all languages alike, takes for that language.",
        labels.names,
    ),
    Proof(
        "sunspots", "forecast", "Yearly sunspots",
        _series("sunspots"),
        (Target("MASE", "baseline", "lower"),
         Target("MASE relative to exponential smoothing", 1.0, "lower")),
        "The last 20 % of the series, from every year an eleven-year forecast. The linear map of "
        "the last values makes no difference here that is larger than that between seeds.",
    ),
    Proof(
        "co2", "forecast", "Monthly CO₂ at Mauna Loa",
        _series("co2"),
        (Target("MASE", "baseline", "lower"),
         Target("MASE relative to exponential smoothing", 1.0, "lower")),
        "Monthly means of the weekly series, five empty months interpolated; the last 20 %, from "
        "every month a forecast of twelve. Most of the small lead over exponential smoothing is "
        "due to the linear map of the last values; without it the two are about even.",
    ),
)  # fmt: skip
