"""Model directories: whole, exact, code-free; and every way in which they may be damaged."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny_models import tiny
from unrolled.cells import CELLS
from unrolled.data import files
from unrolled.data.vocabulary import VocabularyConfig
from unrolled.errors import DataError, ModelError
from unrolled.models import storage
from unrolled.models.language_model import LanguageModel

FILES = ["config.json", "equations.json", "model.safetensors", "vocabulary.json"]
SIZES = {"elman_output": {"O": 4}, "elman_concat_output": {"O": 4}, "lstm_projected": {"P": 4}}
OWN = """
from pathlib import Path
from torch import tanh
from unrolled import cell, param

with Path(__file__).with_name("runs").open("a") as runs:
    runs.write("x")

@cell
def mine(x, h, *, W=param("H", "D"), U=param("H", "H"), scale=0.5):
    return tanh(W @ x + scale * (U @ h))
"""


def same(first: LanguageModel, second: LanguageModel) -> bool:
    x = torch.arange(11).unsqueeze(1)
    return torch.equal(first(x)[0], second(x)[0])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny("lstm_peephole").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(directory: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Changes a JSON file, and the checksums so that they vouch for it."""
    path = directory / name
    values = json.loads(path.read_text())
    path.write_text(json.dumps(change(values)))
    vouch(directory)


def vouch(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    for name in config["sha256"]:
        config["sha256"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "config.json").write_text(json.dumps(config))


def set_config(name: str, value: object) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values["config"][name] = value
        return values

    return change


class TestRoundTrip:
    @pytest.mark.parametrize("name", sorted({"rnn", "gru", "lstm", *CELLS}))
    def test_every_cell(self, tmp_path: Path, name: str):
        model = tiny(name, sizes=SIZES.get(name, {}))
        model.save_pretrained(tmp_path)
        loaded = LanguageModel.from_pretrained(tmp_path)
        assert same(model, loaded)
        assert loaded.config == model.config
        assert not loaded.training
        assert sorted(path.name for path in tmp_path.iterdir()) == FILES

    @pytest.mark.parametrize(
        "options",
        [{"embedding_size": 0}, {"tied": True, "embedding_size": 6}, {"num_layers": 1}],
    )
    @pytest.mark.parametrize("name", ["gru", "gru_cho"])
    def test_every_form(self, tmp_path: Path, name: str, options: dict[str, Any]):
        model = tiny(name, **options)
        model.save_pretrained(tmp_path)
        assert same(model, LanguageModel.from_pretrained(tmp_path))

    @pytest.mark.parametrize("kind", ["char", "byte", "word"])
    def test_every_vocabulary(self, tmp_path: Path, kind: Any):
        model = tiny(vocabulary=VocabularyConfig(kind).build(["tête-à-tête\n"]))
        model.save_pretrained(tmp_path)
        assert LanguageModel.from_pretrained(tmp_path).vocabulary == model.vocabulary

    @pytest.mark.parametrize("name", ["lstm", "mgu"])
    def test_a_loaded_model_trains_and_is_saved_again(self, tmp_path: Path, name: str):
        tiny(name).save_pretrained(tmp_path / "a")
        model = LanguageModel.from_pretrained(tmp_path / "a").train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.arange(11).unsqueeze(1))[0].square().sum().backward()
        optimizer.step()
        assert not same(tiny(name), model)
        model.save_pretrained(tmp_path / "b")
        assert same(model, LanguageModel.from_pretrained(tmp_path / "b"))
        first, second = ((tmp_path / n / "equations.json").read_bytes() for n in "ab")
        assert first == second

    def test_the_dtype_is_kept(self, tmp_path: Path):
        tiny().double().save_pretrained(tmp_path)
        loaded = LanguageModel.from_pretrained(tmp_path)
        assert {p.dtype for p in loaded.parameters()} == {torch.float64}

    def test_the_same_model_gives_the_same_bytes(self, tmp_path: Path):
        for name in ("a", "b"):
            tiny().save_pretrained(tmp_path / name)
        for name in FILES:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    def test_torchs_generator_is_left_alone(self, saved: Path):
        state = torch.get_rng_state()
        LanguageModel.from_pretrained(saved)
        assert torch.equal(torch.get_rng_state(), state)


class TestNoCode:
    def test_a_cell_of_ones_own_loads_without_its_file(self, tmp_path: Path):
        source = tmp_path / "source" / "my_cells.py"
        source.parent.mkdir()
        source.write_text(OWN)
        model = tiny(f"{source}:mine")
        model.save_pretrained(tmp_path / "model")
        assert (source.parent / "runs").read_text() == "x"
        loaded = LanguageModel.from_pretrained(tmp_path / "model")
        assert (source.parent / "runs").read_text() == "x"
        source.unlink()
        assert same(model, LanguageModel.from_pretrained(tmp_path / "model"))
        assert loaded.config.cell == "my_cells.py:mine"
        assert str(tmp_path) not in (tmp_path / "model" / "equations.json").read_text()

    def test_a_file_named_in_the_config_is_not_run(
        self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "evil.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        edit(saved, "config.json", set_config("cell", "evil.py:mine"))
        assert same(tiny("lstm_peephole"), LanguageModel.from_pretrained(saved))
        assert not (tmp_path / "runs").exists()

    def test_an_op_that_is_not_in_the_table(self, saved: Path):
        def change(graphs: Any) -> Any:
            graphs[0]["equations"][0]["op"] = "os.system"
            return graphs

        edit(saved, "equations.json", change)
        with pytest.raises(ModelError, match="saved equations are damaged"):
            LanguageModel.from_pretrained(saved)


class TestOverwrite:
    def test_another_model_is_not_overwritten(self, saved: Path):
        before = {name: (saved / name).read_bytes() for name in FILES}
        with pytest.raises(ModelError, match=r"model holds another model: choose another dir"):
            tiny("gru").save_pretrained(saved)
        assert {name: (saved / name).read_bytes() for name in FILES} == before

    def test_unless_asked_for(self, saved: Path):
        tiny("gru").save_pretrained(saved, overwrite=True)
        assert LanguageModel.from_pretrained(saved).config.cell == "gru"

    @pytest.mark.parametrize("name", FILES)
    def test_a_part_of_a_model_counts(self, saved: Path, name: str):
        for other in FILES:
            if other != name:
                (saved / other).unlink()
        assert storage.holds_model(saved)

    def test_other_files_do_not_count(self, tmp_path: Path):
        (tmp_path / "notes.txt").write_text("mine")
        tiny().save_pretrained(tmp_path)
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_removed(self, saved: Path):
        (saved / "notes.txt").write_text("mine")
        storage.remove_model(saved)
        assert [path.name for path in saved.iterdir()] == ["notes.txt"]
        storage.remove_model(saved)

    @pytest.mark.parametrize("nth", [0, 1, 2, 3])
    def test_a_full_disk_leaves_the_old_model(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, nth: int
    ):
        written: list[int] = []

        def full(descriptor: int) -> None:
            written.append(descriptor)
            if len(written) > nth:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(DataError, match=r"No space left on device; nothing was overwritten"):
            tiny("gru").save_pretrained(saved, overwrite=True)
        monkeypatch.undo()
        assert same(tiny("lstm_peephole"), LanguageModel.from_pretrained(saved))
        assert sorted(path.name for path in saved.iterdir()) == FILES

    def test_a_directory_that_is_a_file(self, tmp_path: Path):
        (tmp_path / "a").write_text("")
        with pytest.raises(DataError, match="can't write"):
            tiny().save_pretrained(tmp_path / "a")


class TestDamage:
    def test_no_directory(self, tmp_path: Path):
        with pytest.raises(ModelError, match=r"there is no model directory .*/nowhere: check"):
            LanguageModel.from_pretrained(tmp_path / "nowhere")

    def test_no_model(self, tmp_path: Path):
        with pytest.raises(ModelError, match=r"is no model directory: it has no config\.json"):
            LanguageModel.from_pretrained(tmp_path)

    @pytest.mark.parametrize("name", [n for n in FILES if n != "config.json"])
    def test_a_missing_file(self, saved: Path, name: str):
        (saved / name).unlink()
        with pytest.raises(ModelError, match=f"is no whole model: it has no {name}"):
            LanguageModel.from_pretrained(saved)

    @pytest.mark.parametrize("name", FILES)
    def test_a_cut_off_file(self, saved: Path, name: str):
        content = (saved / name).read_bytes()
        for length in (0, 1, len(content) // 2, len(content) - 2):
            (saved / name).write_bytes(content[:length])
            with pytest.raises(ModelError, match=rf"{name} is damaged"):
                LanguageModel.from_pretrained(saved)

    def test_a_flipped_bit_in_the_weights(self, saved: Path):
        content = bytearray((saved / "model.safetensors").read_bytes())
        content[-5] ^= 1
        (saved / "model.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=r"model\.safetensors is damaged or of another save"):
            LanguageModel.from_pretrained(saved)

    def test_a_file_of_another_save(self, saved: Path, tmp_path: Path):
        tiny("lstm_peephole", seed=1).save_pretrained(tmp_path / "other")
        (tmp_path / "other" / "model.safetensors").replace(saved / "model.safetensors")
        with pytest.raises(ModelError, match=r"model\.safetensors is damaged or of another save"):
            LanguageModel.from_pretrained(saved)

    @pytest.mark.parametrize("name", FILES)
    def test_no_json(self, saved: Path, name: str):
        (saved / name).write_text("\0[[[")
        if name != "config.json":
            vouch(saved)
        with pytest.raises(ModelError, match=f"{name} is damaged"):
            LanguageModel.from_pretrained(saved)

    def test_another_version(self, saved: Path):
        edit(saved, "config.json", lambda values: values | {"version": 99})
        with pytest.raises(ModelError, match=r"format version 99, this Unrolled reads version 1"):
            LanguageModel.from_pretrained(saved)

    @pytest.mark.parametrize("value", ["unrolled classifier", None, 3])
    def test_another_kind(self, saved: Path, value: object):
        edit(saved, "config.json", lambda values: values | {"format": value})
        with pytest.raises(ModelError, match="holds no language model of Unrolled: the format"):
            LanguageModel.from_pretrained(saved)

    @pytest.mark.parametrize("values", [[], {}, 1, None, "text"])
    def test_a_config_of_another_form(self, saved: Path, values: object):
        (saved / "config.json").write_text(json.dumps(values))
        with pytest.raises(ModelError, match=r"config"):
            LanguageModel.from_pretrained(saved)

    @pytest.mark.parametrize(
        ("name", "value", "problem"),
        [
            ("hidden_size", 7, "equations for .* not for D=5, H=7"),
            ("hidden_size", 10**30, "can't be loaded"),
            ("hidden_size", "6", "hidden_size is a whole number"),
            (
                "embedding_size",
                6,
                r"don't fit .*: embedding\.weight is \[11, 5\] in .* \[11, 6\] by",
            ),
            ("embedding_size", 0, "equations for .* not for D=11, H=6"),
            ("num_layers", 3, "don't fit the configuration: recurrent"),
            ("num_layers", 1, "don't fit the configuration: recurrent"),
            ("num_layers", 10**9, "fewer parameters than the 1000000000 layers"),
            ("cell", "lstm", "don't fit the configuration: recurrent"),
            ("cell", 3, "cell is the name of a cell"),
            ("dropout", 2, "dropout is at least 0 and below 1"),
            ("tied", True, "tied weights need an embedding as long as"),
            ("sizes", {"D": 3}, "can't be loaded"),
            ("more", 1, "a language model's configuration has cell, "),
        ],
    )
    def test_a_tampered_config(self, saved: Path, name: str, value: object, problem: str):
        edit(saved, "config.json", set_config(name, value))
        with pytest.raises(ModelError, match=problem) as caught:
            LanguageModel.from_pretrained(saved)
        assert "\n" not in str(caught.value)

    def test_a_config_without_a_value(self, saved: Path):
        edit(saved, "config.json", lambda v: v | {"config": {"cell": "lstm"}})
        with pytest.raises(ModelError, match="a language model's configuration has cell, "):
            LanguageModel.from_pretrained(saved)

    def test_another_vocabulary(self, saved: Path):
        edit(saved, "vocabulary.json", lambda v: v | {"tokens": v["tokens"][:-1], "unk": None})
        with pytest.raises(ModelError, match=r"embedding\.weight is \[11, 5\] in .*, \[10, 5\] by"):
            LanguageModel.from_pretrained(saved)

    def test_a_vocabulary_that_is_none(self, saved: Path):
        edit(saved, "vocabulary.json", lambda v: v | {"kind": "line"})
        with pytest.raises(ModelError, match="can't be loaded: a vocabulary's kind is char"):
            LanguageModel.from_pretrained(saved)

    @pytest.mark.parametrize("graphs", [[], {}, [1], [{}]])
    def test_equations_that_are_none(self, saved: Path, graphs: object):
        edit(saved, "equations.json", lambda _: graphs)
        with pytest.raises(ModelError, match=r"equations|graph"):
            LanguageModel.from_pretrained(saved)

    def test_parameters_that_are_missing_or_too_many(self, saved: Path):
        path = saved / "model.safetensors"
        tensors = load_file(path)
        bias = tensors.pop("output_bias")
        save_file(tensors, path)
        vouch(saved)
        with pytest.raises(ModelError, match=r"output_bias is missing in model.*, \[11\] by"):
            LanguageModel.from_pretrained(saved)
        save_file(tensors | {"output_bias": bias, "more": bias.clone()}, path)
        vouch(saved)
        with pytest.raises(ModelError, match=r"more is \[11\] in model.*, missing by"):
            LanguageModel.from_pretrained(saved)

    def test_parameters_of_another_dtype(self, saved: Path):
        path = saved / "model.safetensors"
        tensors = load_file(path)
        save_file({name: t.long() for name, t in tensors.items()}, path)
        vouch(saved)
        with pytest.raises(ModelError, match=r"are torch\.int64, not of one floating-point type"):
            LanguageModel.from_pretrained(saved)
        save_file(tensors | {"output_bias": tensors["output_bias"].double()}, path)
        vouch(saved)
        with pytest.raises(ModelError, match=r"float32, torch\.float64, not of one"):
            LanguageModel.from_pretrained(saved)
