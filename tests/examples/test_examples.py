"""The worked examples run, and assert their own figures."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_here():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    tested_elsewhere = {"record"}  # by tests/cli/test_record.py
    assert names - tested_elsewhere == {"anbn", "cross_entropy", "parameter_shapes"}


def test_cross_entropy(capsys: pytest.CaptureFixture[str]):
    load("cross_entropy").main()
    assert "loss                 0.6933" in capsys.readouterr().out


def test_parameter_shapes(capsys: pytest.CaptureFixture[str]):
    load("parameter_shapes").main()
    printed = capsys.readouterr().out
    assert "  W_xh  5 × 4\n" in printed
    assert "  W_hn  5 × 5\n" in printed


def test_anbn(capsys: pytest.CaptureFixture[str]):
    load("anbn").main(seeds=1)
    printed = capsys.readouterr().out
    assert "below 0.2093 nats" in printed
    assert printed.count("no error up to n = ") == 3


def test_anbn_sees_an_untrained_network_fail():
    anbn = load("anbn")
    model, _ = anbn.train("lstm", seed=0, steps=1)
    assert anbn.largest_n(model) < 10
