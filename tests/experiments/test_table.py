"""Every experiment, on a tiny budget: files, words and numbers fit together."""

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tiny_experiments import TINY
from unrolled.errors import DataError
from unrolled.experiments import table
from unrolled.experiments.encoding import decode, encode
from unrolled.experiments.table import EXPERIMENTS, Record, read, write

BY_NAME = pytest.mark.parametrize("name", EXPERIMENTS)


@lru_cache
def record(name: str, seed: int = 0) -> Record:
    of = EXPERIMENTS[name]
    return Record(name, "small", seed, "2.0", of.run(TINY[name], seed, lambda _, __: None))


@BY_NAME
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    made = record(name)
    files = write(made, tmp_path)
    assert [path.name for path in files] == [
        f"{name}.{kind}" for kind in ("png", "svg", "json", "txt")
    ]
    found = read(tmp_path / f"{name}.json")
    assert found == decode_again(made)
    # Rounded once, it is what it is.
    assert read(write(found, tmp_path)[2]) == found
    assert (tmp_path / f"{name}.json").read_text() == found.json()
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / f"{name}.txt").read_text() == found.text() + "\n"


def decode_again(made: Record) -> Record:
    result = decode(made.experiment.result, encode(made.result))
    return Record(made.name, made.budget, made.seed, made.torch, result)


@BY_NAME
def test_the_text_has_all_numbers_and_findings(name: str) -> None:
    of, made = EXPERIMENTS[name], record(name)
    rows, text = of.table(made.result), made.text()
    assert all(len(row) == len(rows.columns) for row in rows.rows)
    assert text.startswith(f"{of.title}: {of.question}\n\n{rows.columns[0]} ")
    found = of.findings(made.result)
    assert len(found) >= 3
    for finding in found:
        assert f"{finding.verdict.upper()}: {finding.claim}\n  {finding.measured}\n" in text
        assert finding.claim.endswith(".")
        assert finding.measured.endswith(".")


@BY_NAME
def test_a_figure_says_what_its_axes_are(name: str) -> None:
    figure = EXPERIMENTS[name].picture(record(name).result)
    assert figure.get_figwidth() * 100 == 800
    for axes in figure.axes:
        assert axes.get_xlabel()
        # Panels side by side may share what stands at the left.
        shared = axes.get_shared_y_axes().get_siblings(axes)
        assert any(one.get_ylabel() for one in shared)


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "speed"])
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    of, seed = EXPERIMENTS[name], 0
    again = of.run(TINY[name], seed, lambda _, __: None)
    assert encode(again) == encode(record(name).result)
    assert encode(record(name, 5).result) != encode(again)


@BY_NAME
def test_progress_goes_from_0_up(name: str) -> None:
    told: list[tuple[str, float]] = []
    EXPERIMENTS[name].run(TINY[name], 0, lambda doing, share: told.append((doing, share)))
    shares = [share for _, share in told]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert all(doing for doing, _ in told)


@BY_NAME
def test_both_budgets_are_of_its_kind(name: str) -> None:
    of = EXPERIMENTS[name]
    assert list(of.budgets) == ["small", "full"]
    assert all(type(budget) is type(TINY[name]) for budget in of.budgets.values())
    assert asdict(of.budgets["small"]) != asdict(of.budgets["full"])


def test_what_is_refused(tmp_path: Path) -> None:
    def error(call: Any) -> str:
        with pytest.raises(DataError) as caught:
            call()
        return str(caught.value)

    assert error(lambda: table.run("nothing")) == (
        "there is no experiment 'nothing': there are vanishing, exploding, memory, counting, speed"
    )
    path = tmp_path / "a.json"
    assert error(lambda: read(path)) == f"can't read {path}: No such file or directory"
    path.write_text("{}")
    assert error(lambda: read(path)) == f"{path} is no result of an experiment: 'experiment'"
    path.write_text(record("memory").json().replace('"hidden"', '"hid"', 1))
    assert error(lambda: read(path)).startswith(
        f"{path} is no result of an experiment: expected an object with hidden, batch, steps, "
    )
