"""The files of a model, written by hand: what was always written loads, and is still written."""

import hashlib
import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from six_models import SAMPLES, build
from unrolled import Recurrent, cell, param
from unrolled.errors import ModelError
from unrolled.models import Forecaster, load
from unrolled.models.loading import MODELS
from unrolled.serialize import graph_to_dict

ALL = pytest.mark.parametrize("kind", SAMPLES)


@cell
def own(x, h, *, U=param("H", "D"), u=param("H")):
    return torch.tanh(U @ x + u * h)


def to_json(values: Any) -> bytes:
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def files_of(kind: str, model: Any) -> dict[str, bytes]:
    """The four files of a model of a cell of one's own, without the code that saves."""
    layers = [m for m in model.modules() if isinstance(m, Recurrent)]
    graphs = dict.fromkeys(graph for layer in layers for graph in layer.graphs())
    files = {
        "model.safetensors": save({k: v.contiguous() for k, v in model.state_dict().items()}),
        "vocabulary.json": to_json(SAMPLES[kind].known),
        "equations.json": to_json([graph_to_dict(graph) for graph in graphs]),
    }
    files["config.json"] = to_json(
        {
            "format": f"unrolled {kind}",
            "version": 1,
            "config": asdict(model.config),
            "sha256": {name: hashlib.sha256(held).hexdigest() for name, held in files.items()},
        }
    )
    return files


def test_every_kind_is_here():
    assert SAMPLES.keys() == MODELS.keys()


@ALL
def test_files_written_by_hand_are_loaded(kind: str, tmp_path: Path):
    model, sample = build(kind, "mine", own), SAMPLES[kind]
    for name, content in files_of(kind, model).items():
        (tmp_path / name).write_bytes(content)
    by_class = type(model).from_pretrained(tmp_path)
    for loaded in (by_class, load(tmp_path)):
        assert type(loaded) is type(model)
        assert not loaded.training
        assert loaded.config == model.config
        batch = sample.batch(1)
        assert torch.equal(sample.loss(loaded, batch), sample.loss(model.eval(), batch))
    assert by_class.state_dict().keys() == model.state_dict().keys()


@ALL
def test_the_files_are_those_and_what_is_loaded_writes_them_again(kind: str, tmp_path: Path):
    model = build(kind, "mine", own)
    expected = files_of(kind, model)
    model.save_pretrained(tmp_path / "first")
    type(model).from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    for directory in ("first", "second"):
        found = {path.name: path.read_bytes() for path in (tmp_path / directory).iterdir()}
        assert found == expected


@ALL
def test_of_a_drop_in_the_same_stands_beside_the_weights(kind: str, tmp_path: Path):
    model, batch = build(kind), SAMPLES[kind].batch(1)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "vocabulary.json").read_text()) == SAMPLES[kind].known
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(SAMPLES[kind].loss(loaded, batch), SAMPLES[kind].loss(model.eval(), batch))


def test_a_model_of_another_kind_is_not_taken_for_this_one(tmp_path: Path):
    build("tagger").save_pretrained(tmp_path)
    with pytest.raises(ModelError) as caught:
        Forecaster.from_pretrained(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no forecaster of Unrolled: the format in its config.json is "
        "'unrolled tagger'"
    )


@ALL
def test_the_class_says_its_kind(kind: str):
    module, name = MODELS[kind]
    assert kind == getattr(import_module(module), name).KIND
