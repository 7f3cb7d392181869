"""Letters to phonemes: a training and a test file from the CMU pronouncing dictionary.

    python -m proofs.g2p_data ../shared/data/cmudict.zip g2p

writes ``g2p/train.tsv`` and ``g2p/test.tsv`` with the columns ``source``, the word in lower case,
and ``target``, its phonemes with spaces between them; a word with several pronunciations has as
many lines. As is usual (Yao and Zweig, "Sequence-to-sequence neural net models for
grapheme-to-phoneme conversion", 2015), stress marks are taken off, words with other characters than
letters and apostrophes are left out, and a word is in one of the files only: a tenth of the words
are for the test.
"""

from __future__ import annotations

import argparse
import csv
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

_WORD = re.compile(r"[A-Z']*[A-Z][A-Z']*")
_MEMBER = "cmudict/cmudict"


def dictionary(lines: Iterable[str]) -> dict[str, list[str]]:
    """The pronunciations of each word: words and pronunciations in the order of the lines.

    Args:
        lines: ``WORD 1 PH PH …``, the number counting the word's pronunciations.

    Returns:
        Pronunciations without stress, each once, by the word in lower case.

    Raises:
        ValueError: where a line is not of that form.
    """
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(lines, 1):
        word, _, rest = line.strip().partition(" ")
        variant, *phonemes = rest.split() or [""]
        if not variant.isdecimal() or not phonemes:
            raise ValueError(f"line {number}: expected WORD NUMBER PHONEME …, got {line!r}")
        if _WORD.fullmatch(word):
            plain = " ".join(phoneme.rstrip("012") for phoneme in phonemes)
            found.setdefault(word.lower(), {})[plain] = None
    return {word: list(plain) for word, plain in found.items()}


def split(
    words: Mapping[str, list[str]], fraction: float = 0.1, seed: int = 0
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The words to learn from and those of the test, ``fraction`` of them."""
    names = sorted(words)
    drawn = np.random.default_rng(seed).permutation(len(names))
    test = {names[i] for i in drawn[: round(fraction * len(names))]}
    return (
        {word: words[word] for word in names if word not in test},
        {word: words[word] for word in names if word in test},
    )


def read(path: Path) -> Iterator[str]:
    """The lines of the dictionary, or of the one in a ``.zip``."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            yield from archive.read(_MEMBER).decode("ascii").splitlines()
    else:
        yield from path.read_text(encoding="ascii").splitlines()


def write(path: Path, words: Mapping[str, list[str]]) -> None:
    """One line for each pronunciation."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        writer.writerow(["source", "target"])
        for word, pronunciations in words.items():
            writer.writerows([word, each] for each in pronunciations)


def written(source: Path, directory: Path) -> tuple[Path, Path]:
    """Writes the training and the test file of a dictionary, and gives both."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = directory / "train.tsv", directory / "test.tsv"
    for path, words in zip(paths, split(dictionary(read(source))), strict=True):
        write(path, words)
        lines = sum(map(len, words.values()))
        print(f"{path.name}: {len(words):,} words, {lines:,} pronunciations")
    return paths


def main() -> None:
    """Reads the command line and writes both files."""
    parser = argparse.ArgumentParser(description="Make pairs of letters and phonemes.")
    parser.add_argument("dictionary", type=Path, help="cmudict, or cmudict.zip")
    parser.add_argument("directory", type=Path, help="where train.tsv and test.tsv go")
    options = parser.parse_args()
    written(options.dictionary, options.directory)


if __name__ == "__main__":
    main()
