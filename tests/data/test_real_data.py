"""The real data, read whole: as many rows, tokens and classes as its README says."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from real_data import shared
from row_files import rows_of
from unrolled.data.bad_rows import BadRows
from unrolled.data.encode import encode_rows
from unrolled.data.labels import Labels
from unrolled.data.split import held_out
from unrolled.data.vocabulary import Vocabulary


def unpacked(name: str, directory: Path) -> Path:
    with zipfile.ZipFile(shared(f"{name}.zip")) as archive:
        archive.extractall(directory)
    return directory / name


def test_names():
    rows = rows_of(shared("names"), text="class-files", needed=("text", "label"))
    labels = Labels.build(row.label("label") for row in rows)
    characters = Vocabulary.build((row.text("text") for row in rows), "char", eos=False)
    examples = encode_rows(
        rows,
        lambda row: {
            "text": characters.encode(row.text("text")),
            "label": labels.encode(row.label("label")),
        },
        None,
        BadRows(),
    )
    assert (len(labels), len(examples)) == (18, 20_050)
    numbers = examples.values["label"]
    train, held = held_out(len(examples), 0.1, 0, labels=numbers)
    assert (len(train), len(held)) == (18_045, 2005)
    shares = np.bincount(numbers[held]) / np.bincount(numbers)
    assert np.all(abs(shares * np.bincount(numbers) - np.bincount(numbers) / 10) <= 1)
    place = int(np.flatnonzero(numbers == labels.encode("Greek"))[0])
    assert characters.decode(examples.sequences["text"][place]) == "Adamidis"


def test_conll(tmp_path: Path):
    folder = unpacked("conll2000", tmp_path)
    for part, sentences, tokens in (("train", 8936, 211_727), ("test", 2012, 47_377)):
        rows = rows_of(folder / f"{part}.txt", text="conll", names=("word", "pos", "chunk"))
        lengths = [len(row.items("word")) for row in rows]
        assert (len(lengths), sum(lengths)) == (sentences, tokens)


def test_polarity(tmp_path: Path):
    folder = unpacked("sentence_polarity", tmp_path)
    rows = rows_of(folder, text="class-files", pattern="rt-*")
    found = Counter(row.label("label") for row in rows)
    assert found == {"rt-polarity.neg": 5331, "rt-polarity.pos": 5331}


def test_pronunciations(tmp_path: Path):
    lines = (unpacked("cmudict", tmp_path) / "cmudict").read_text("utf-8").splitlines()
    fields = [line.split(maxsplit=2) for line in lines]
    path = tmp_path / "a.tsv"
    table = "".join(f"{word}\t{phonemes}\n" for word, _, phonemes in fields)
    path.write_text(f"word\tphonemes\n{table}", "utf-8")
    rows = list(rows_of(path, needed=("word", "phonemes")))
    assert [(row.text("word"), row.text("phonemes")) for row in rows] == [
        (word, phonemes) for word, _, phonemes in fields
    ]
    words = [row.text("word") for row in rows]
    train, held = held_out(len(rows), 0.1, 0, groups=words)
    assert not {words[i] for i in train} & {words[i] for i in held}
    assert len(held) == round(len(rows) / 10)
    phonemes = Vocabulary.build((row.text("phonemes") for row in rows), "item", unk=False)
    # 15 vowels with 3 stresses, one UW without, 24 consonants, <eos>.
    assert len(phonemes) == 71
