"""Small classifiers, taggers and data for them, for the tests that need some."""

from pathlib import Path
from typing import Any

import torch

from unrolled.data.vocabulary import Vocabulary
from unrolled.models.classifier import Classifier
from unrolled.models.classifier_config import ClassifierConfig
from unrolled.models.tagger import Tagger
from unrolled.models.tagger_inputs import TaggerConfig, TaggerInputs

CLASSES = ("even", "odd", "other")
TAGS = ("B-NP", "B-VP", "I-NP", "I-VP", "O")
SENTENCES = (("The", "old", "cat", "sat"), ("It", "sat"), ("7", "cats"))
POS = (("DT", "JJ", "NN", "VB"), ("PR", "VB"), ("CD", "NN"))


def classifier(cell: str = "lstm", *, real: bool = False, **options: Any) -> Classifier:
    """A classifier of 3 classes, of texts in the letters a to e or of 2 real values a step."""
    settings: dict[str, Any] = {"hidden_size": 6, "embedding_size": 5, "dropout": 0.0} | options
    torch.manual_seed(0)
    inputs = ("x", "y") if real else Vocabulary.build(["abcde"], "char", eos=False)
    return Classifier(ClassifierConfig(cell, **settings), CLASSES, inputs).eval()


def tagger(
    cell: str = "lstm", *, pos: bool = True, tags: tuple[str, ...] = TAGS, **options: Any
) -> Tagger:
    """A tagger that knows the words of ``SENTENCES``, and reads their parts of speech or not."""
    settings: dict[str, Any] = {
        "hidden_size": 6, "embedding_size": 5, "character_size": 4, "character_hidden_size": 3,
        "column_size": 2, "dropout": 0.0, "embedding_dropout": 0.0, "token_dropout": 0.0,
    } | options  # fmt: skip
    torch.manual_seed(0)
    config = TaggerConfig(cell, **settings)
    inputs = TaggerInputs.build(config, SENTENCES, {"pos": POS} if pos else {})
    return Tagger(config, tags, inputs).eval()


def write_conll(path: Path, sentences: list[list[tuple[str, ...]]]) -> Path:
    """A file of columns that spaces separate."""
    path.write_text("\n".join("".join(f"{' '.join(w)}\n" for w in words) for words in sentences))
    return path


def write_classes(folder: Path, classes: dict[str, list[str]]) -> Path:
    """A folder with a file for each class and a line for each example."""
    folder.mkdir()
    for name, lines in classes.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder
