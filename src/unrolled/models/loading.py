"""``load``: the model in a directory, whatever sort of model it is."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.errors import ModelError

MODELS: dict[str, tuple[str, str]] = {
    "language model": ("unrolled.models.language_model", "LanguageModel"),
    "classifier": ("unrolled.models.classifier", "Classifier"),
    "tagger": ("unrolled.models.tagger", "Tagger"),
    "sequence to sequence model": ("unrolled.models.seq2seq", "Seq2Seq"),
    "generator": ("unrolled.models.generator", "Generator"),
    "forecaster": ("unrolled.models.forecaster", "Forecaster"),
}
"""By what ``config.json`` says that a model is: the module and the name of its class."""

_FORMAT = "unrolled "


def kind_of(directory: str | os.PathLike[str]) -> str:
    """What sort of model is saved in a directory: one of :data:`MODELS`.

    Raises:
        ModelError: where there is no model, or none of Unrolled.
    """
    root = Path(directory)
    path = root / "config.json"
    if not root.is_dir():
        raise ModelError(f"there is no model directory {root}: check the path")
    if not path.exists():
        raise ModelError(f"{root} is no model directory: it has no config.json")
    try:
        content: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: it is no JSON ({error})") from error
    written = content.get("format") if isinstance(content, dict) else None
    kind = written.removeprefix(_FORMAT) if isinstance(written, str) else None
    if kind not in MODELS or kind == written:
        raise ModelError(
            f"{root} holds no model of this Unrolled: the format in its config.json is {written!r}"
        )
    return kind


def load(directory: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """The model that was saved in ``directory``, of its own class, in evaluation mode.

    Args:
        directory: Where it is.
        device: Where it goes.

    Raises:
        ModelError: where the directory is missing, damaged or of another version, or holds no model
            of Unrolled.
    """
    module, name = MODELS[kind_of(directory)]
    return getattr(import_module(module), name).from_pretrained(directory, device)
