"""The page of experiments, its figures and the results that it is made of."""

from __future__ import annotations

import pytest

from proofs import experiments
from unrolled.cli.experiment import ExperimentConfig
from unrolled.experiments.table import EXPERIMENTS

BY_NAME = pytest.mark.parametrize("name", EXPERIMENTS)


def test_the_page_is_made_of_the_results():
    assert experiments.PAGE.read_text("utf-8") == experiments.page()


@BY_NAME
def test_the_results_are_those_of_the_command_as_it_is(name: str):
    record = experiments.record(name)
    default = ExperimentConfig()
    assert (record.name, record.budget, record.seed) == (name, default.budget, default.seed)
    assert record.result.budget == EXPERIMENTS[name].budgets[default.budget]
    assert (experiments.RESULTS / f"{name}.json").read_text("utf-8") == record.json()


@BY_NAME
def test_each_has_its_figure(name: str):
    content = (experiments.RESULTS / f"{name}.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width = int.from_bytes(content[16:20], "big")
    assert width == 800
