"""Model directories: weights, configuration, vocabulary and equations, never code or pickles.

- ``model.safetensors``: the parameters;
- ``vocabulary.json``: the tokens;
- ``equations.json``: one step of each distinct layer size as a Graph, in layer order;
- ``config.json``: what the model is built of, the format's version, and the other files' SHA-256.

All four are written before the first is renamed, and ``config.json`` is renamed last, so that a
directory is whole or says that it isn't.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from unrolled.data.files import write_together
from unrolled.errors import ModelError
from unrolled.ir import Graph
from unrolled.serialize import graph_from_dict, graph_to_dict

VERSION = 1

_CONFIG = "config.json"
_VOCABULARY = "vocabulary.json"
_EQUATIONS = "equations.json"
_WEIGHTS = "model.safetensors"
_VOUCHED = (_WEIGHTS, _VOCABULARY, _EQUATIONS)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Saved:
    """What a model directory holds.

    Attributes:
        kind: What sort of model it is.
        config: The model's configuration as plain values.
        vocabulary: The vocabulary as plain values.
        graphs: One step of each distinct layer size.
        tensors: The parameters by name.
    """

    kind: str
    config: Mapping[str, object]
    vocabulary: Mapping[str, object]
    graphs: list[Graph]
    tensors: Mapping[str, Tensor]


def holds_model(directory: str | os.PathLike[str]) -> bool:
    """Whether there is a saved model, or a part of one, in ``directory``."""
    return any((Path(directory) / name).exists() for name in (_CONFIG, *_VOUCHED))


def remove_model(directory: str | os.PathLike[str]) -> None:
    """Removes a saved model, if there is one: the file that vouches for the others first."""
    for name in (_CONFIG, *_VOUCHED):
        (Path(directory) / name).unlink(missing_ok=True)


def write(saved: Saved, directory: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Saves a model.

    Raises:
        ModelError: where ``directory`` holds a model and ``overwrite`` is not set.
        DataError: where it can't be written; then nothing was overwritten.
    """
    if not overwrite and holds_model(directory):
        raise ModelError(
            f"{directory} holds another model: choose another directory, or say to overwrite it"
        )
    tensors = {name: t.detach().cpu().contiguous() for name, t in saved.tensors.items()}
    contents = {
        _WEIGHTS: save(tensors),
        _VOCABULARY: _to_json(saved.vocabulary),
        _EQUATIONS: _to_json([graph_to_dict(graph) for graph in saved.graphs]),
    }
    contents[_CONFIG] = _to_json(
        {
            "format": f"unrolled {saved.kind}",
            "version": VERSION,
            "config": saved.config,
            "sha256": {name: _digest(content) for name, content in contents.items()},
        }
    )
    write_together({Path(directory) / name: content for name, content in contents.items()})


def read(directory: str | os.PathLike[str], kind: str) -> Saved:
    """What ``write`` saved, checked as far as it can be without building the model.

    Raises:
        ModelError: where the directory is missing, holds no model, or one of another kind or
            version, or where a file is missing or damaged.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ModelError(f"there is no model directory {root}: check the path")
    if not (root / _CONFIG).exists():
        raise ModelError(f"{root} is no model directory: it has no {_CONFIG}")
    config = _from_json(root / _CONFIG, _read(root / _CONFIG))
    if not isinstance(config, dict):
        raise ModelError(f"{root / _CONFIG} is no model's configuration")
    fields = cast("dict[str, Any]", config)
    if fields.get("format") != f"unrolled {kind}":
        raise ModelError(
            f"{root} holds no {kind} of Unrolled: the format in its {_CONFIG} is "
            f"{fields.get('format')!r}"
        )
    if fields.get("version") != VERSION:
        raise ModelError(
            f"{root} is of format version {fields.get('version')!r}, this Unrolled reads version "
            f"{VERSION}: install the version of Unrolled that wrote it"
        )
    contents = {name: _read(root / name) for name in _VOUCHED}
    digests = cast("object", fields.get("sha256"))
    if digests != {name: _digest(content) for name, content in contents.items()}:
        raise ModelError(_which_differs(root, contents, digests))
    return Saved(
        kind,
        fields.get("config", {}),
        _from_json(root / _VOCABULARY, contents[_VOCABULARY]),
        _graphs(root / _EQUATIONS, contents[_EQUATIONS]),
        _tensors(root / _WEIGHTS, contents[_WEIGHTS]),
    )


def fill(model: nn.Module, saved: Saved) -> None:
    """Gives a model that was built on the ``meta`` device the saved parameters.

    Raises:
        ModelError: where names, shapes or dtypes don't fit.
    """
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in saved.tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        wanted, given = expected.get(name), found.get(name)
        if wanted != given:
            raise ModelError(
                f"the saved parameters don't fit the configuration: {name} is "
                f"{_shape(given)} in {_WEIGHTS}, {_shape(wanted)} by {_CONFIG}, {_VOCABULARY} and "
                f"{_EQUATIONS}; restore them from where the model was saved"
            )
    dtypes = {t.dtype for t in saved.tensors.values()}
    if len(dtypes) != 1 or not dtypes.issubset(_FLOATS):
        names = ", ".join(sorted(map(str, dtypes)))
        raise ModelError(f"the saved parameters are {names}, not of one floating-point type")
    model.load_state_dict(dict(saved.tensors), assign=True)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _which_differs(root: Path, contents: Mapping[str, bytes], digests: object) -> str:
    known = cast("dict[str, object]", digests) if isinstance(digests, dict) else {}
    for name, content in contents.items():
        if known.get(name) != _digest(content):
            return (
                f"{root / name} is damaged or of another save: its checksum is not the one in "
                f"{_CONFIG}; restore the directory from where the model was saved"
            )
    return f"{root / _CONFIG} is damaged: its checksums are not those of the other files"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} is no whole model: it has no {path.name}") from error
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror or error}") from error


def _to_json(values: object) -> bytes:
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def _from_json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: it is no JSON ({error})") from error


def _graphs(path: Path, content: bytes) -> list[Graph]:
    values = _from_json(path, content)
    if not isinstance(values, list):
        raise ModelError(f"{path} is damaged: it is no list of equations")
    return [graph_from_dict(graph) for graph in cast("list[Any]", values)]


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
