"""Saving and loading, the same for every model: configuration, vocabularies, equations, weights.

A loaded model runs nobody's code: a cell other than the drop-ins is built from its saved equations.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from unrolled.cell import Cell
from unrolled.errors import ModelError, UnrolledError
from unrolled.ir import Graph
from unrolled.models import storage
from unrolled.models.cell_names import without_directories
from unrolled.models.config import LayersConfig, from_dict
from unrolled.models.layers import is_drop_in
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.evaluated import evaluated_state

C = TypeVar("C", bound=LayersConfig)
M = TypeVar("M", bound="Pretrained[Any]")


class Pretrained(nn.Module, ABC, Generic[C]):
    """A model that can be saved and loaded; it says what it is and what it knows.

    Attributes:
        KIND: What sort of model it is, as ``config.json`` and messages say it.
        CONFIG: The class of its configuration.
        config: What it is built of. Its recurrent layers are those of its modules that are ours.
    """

    KIND: ClassVar[str]
    CONFIG: ClassVar[type[LayersConfig]]
    config: C

    @abstractmethod
    def knowledge(self) -> Mapping[str, object]:
        """What it knows besides its weights, such as vocabularies, as plain values for JSON."""

    @classmethod
    @abstractmethod
    def built(cls: type[M], config: Any, known: Mapping[str, Any], cell: Cell | None) -> M:
        """The model of a configuration and of what ``knowledge`` gave; its weights don't matter.

        Args:
            config: Of the class ``CONFIG``.
            known: As it was saved, perhaps by JSON; perhaps damaged.
            cell: Its cell; None for a drop-in.

        Raises:
            UnrolledError: where the values are none that ``knowledge`` gives.
            KeyError: where one is missing.
        """

    def save_pretrained(
        self, directory: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        """Writes the model into ``directory``, all of it or nothing.

        Four files: ``model.safetensors``, ``config.json``, ``vocabulary.json`` and
        ``equations.json``, the cells' equations as data.  The weights are those of evaluation: what
        parametrizations and pruning compute, without themselves.

        Args:
            directory: Where it goes.
            overwrite: Whether to replace a model that is there.

        Raises:
            ModelError: where ``directory`` holds a model and ``overwrite`` is not set.
            DataError: where it can't be written.
        """
        # The place of a user's own file is nobody's business, and its name is enough.
        config = asdict(replace(self.config, cell=without_directories(self.config.cell)))
        weights = evaluated_state(self)
        saved = storage.Saved(self.KIND, config, self.knowledge(), _graphs(self), weights)
        storage.write(saved, directory, overwrite=overwrite)

    @classmethod
    def from_pretrained(
        cls: type[M], directory: str | os.PathLike[str], device: torch.device | str = "cpu"
    ) -> M:
        """The model that was saved in ``directory``, in evaluation mode; runs nobody's code.

        Args:
            directory: Where it is.
            device: Where the model goes.

        Raises:
            ModelError: where the directory is missing, damaged, of another version, or its parts
                don't fit.
        """
        saved = storage.read(directory, cls.KIND)
        try:
            config = from_dict(cls.CONFIG, saved.config, cls.KIND)
            if config.num_layers > len(saved.tensors):
                raise ModelError(
                    f"it has fewer parameters than the {config.num_layers} layers of its config"
                )
            cell = None if is_drop_in(config) else Cell.from_graphs(saved.graphs)
            # Weights were saved as evaluation has them, and dropping them anew is for training
            # anew.
            plain = replace(config, weight_dropout={})
            # Nothing is allocated before the saved shapes are known to fit.
            with torch.device("meta"):
                model = cls.built(plain, saved.vocabulary, cell)
            storage.fill(model, saved)
        except (
            UnrolledError, ArithmeticError, RuntimeError, TypeError, ValueError, KeyError,
        ) as error:  # fmt: skip
            # Whatever stands in the files, what the user needs to know is that it doesn't fit.
            problem = str(error).partition("\n")[0]
            raise ModelError(f"the model in {directory} can't be loaded: {problem}") from error
        return model.to(device).eval()


def _graphs(model: nn.Module) -> list[Graph]:
    """One step of each distinct size of all recurrent layers, in the modules' order."""
    layers = [m for m in model.modules() if isinstance(m, (Recurrent, RNN, GRU, LSTM))]
    return list(dict.fromkeys(graph for layer in layers for graph in layer.graphs()))
