"""Saving and loading of every model: configuration, vocabularies, equations and weights.

A loaded model runs nobody's code: a cell other than the drop-ins is built from its saved equations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TypeVar

import torch
from torch import nn

from unrolled.cell import Cell
from unrolled.errors import ModelError, UnrolledError
from unrolled.ir import Graph
from unrolled.models import storage
from unrolled.models.cell_names import without_directories
from unrolled.models.config import LayersConfig
from unrolled.models.layers import is_drop_in
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.evaluated import evaluated_state

M = TypeVar("M", bound=nn.Module)
C = TypeVar("C", bound=LayersConfig)


def save(
    model: nn.Module,
    kind: str,
    config: LayersConfig,
    vocabularies: Mapping[str, object],
    directory: str | os.PathLike[str],
    *,
    overwrite: bool,
) -> None:
    """Writes a model into ``directory``, all of it or nothing.

    Four files: ``model.safetensors``, ``config.json``, ``vocabulary.json`` and
    ``equations.json``, the cells' equations as data.  The weights are those of evaluation: what
    parametrizations and pruning compute, without themselves.

    Args:
        model: Its recurrent layers are those of its modules that are ours.
        kind: What sort of model it is.
        config: What it is built of.
        vocabularies: What it knows besides its weights, as plain values.
        directory: Where it goes.
        overwrite: Whether to replace a model that is there.

    Raises:
        ModelError: where ``directory`` holds a model and ``overwrite`` is not set.
        DataError: where it can't be written.
    """
    # The place of a user's own file is nobody's business, and its name is enough.
    named = replace(config, cell=without_directories(config.cell))
    saved = storage.Saved(kind, asdict(named), vocabularies, _graphs(model), evaluated_state(model))
    storage.write(saved, directory, overwrite=overwrite)


def load(
    directory: str | os.PathLike[str],
    kind: str,
    config_of: Callable[[object], C],
    build: Callable[[C, Mapping[str, object], Cell | None], M],
    device: torch.device | str,
) -> M:
    """The model that was saved in ``directory``, in evaluation mode.

    Args:
        directory: Where it is.
        kind: What sort of model is expected.
        config_of: The configuration from its saved values.
        build: The model from its configuration, its vocabularies' values and its cell (None for a
            drop-in); called on the ``meta`` device.
        device: Where the model goes.

    Raises:
        ModelError: where the directory is missing, damaged, of another version, or its parts
            don't fit.
    """
    saved = storage.read(directory, kind)
    try:
        config = config_of(saved.config)
        if config.num_layers > len(saved.tensors):
            raise ModelError(
                f"it has fewer parameters than the {config.num_layers} layers of its config"
            )
        cell = None if is_drop_in(config) else Cell.from_graphs(saved.graphs)
        # Weights were saved as evaluation has them, and dropping them anew is for training anew.
        plain = replace(config, weight_dropout={})
        # Nothing is allocated before the saved shapes are known to fit.
        with torch.device("meta"):
            model = build(plain, saved.vocabulary, cell)
        storage.fill(model, saved)
    except (UnrolledError, ArithmeticError, RuntimeError, TypeError, ValueError, KeyError) as error:
        # Whatever stands in the files, what the user needs to know is that it doesn't fit.
        problem = str(error).partition("\n")[0]
        raise ModelError(f"the model in {directory} can't be loaded: {problem}") from error
    return model.to(device).eval()


def _graphs(model: nn.Module) -> list[Graph]:
    """One step of each distinct size of all recurrent layers, in the modules' order."""
    layers = [m for m in model.modules() if isinstance(m, (Recurrent, RNN, GRU, LSTM))]
    return list(dict.fromkeys(graph for layer in layers for graph in layer.graphs()))
