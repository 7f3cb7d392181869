"""The table of proofs, their settings and the page made of their results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs import page, run
from proofs.table import PROOFS, SETTINGS, Proof, Target
from proofs.variants import VARIANTS, Variant
from unrolled.cli import train_settings
from unrolled.tasks.table import kind_called

BY_NAME = pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)


@BY_NAME
def test_the_settings_are_those_of_the_command(proof: Proof):
    options = train_settings.options(kind_called(proof.kind))
    values = options.read(["--config", str(SETTINGS / f"{proof.name}.yaml"), "data"])
    assert values["data"] == ["data"]


@BY_NAME
def test_the_results_have_the_figures_that_must_hold(proof: Proof):
    for result in run.results(proof.name):
        assert result.cell in run.CELLS
        names = {figure["name"] for figure in result.figures}
        assert {target.figure for target in proof.targets} <= names
        assert not any(word.startswith("/") for word in result.command.split())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.results)
def test_variants_differ_from_their_proof_by_their_options(variant: Variant):
    (proof,) = [proof for proof in PROOFS if proof.name == variant.proof]
    commands = {r.seed: r.command for r in run.results(proof.name) if r.cell == run.CELLS[0]}
    for result in run.results(variant.results):
        assert result.command == " ".join([commands[result.seed], *variant.options])
        names = {figure["name"] for figure in result.figures}
        assert {target.figure for target in proof.targets} <= names


def test_the_page_is_made_of_the_results():
    assert page.PAGE.read_text("utf-8") == page.page()


def test_a_run_with_other_threads_is_told():
    one = run.Run("p", "lstm", 0, "", [], 1, 1, 1, 1.0, None, 1, "m")
    others = [replace(one, seed=k, threads=t) for k, t in ((1, 1), (2, 2))]
    assert page.threads([one]) == "one thread"
    assert page.threads([one, *others]) == "one thread, and 2 threads for `lstm` with seed 2"


def test_whether_a_target_is_reached():
    below, above = Target("a", 0.1, "lower"), Target("a", 0.1, "higher")
    assert below.reached(0.1, None)
    assert not below.reached(0.11, None)
    assert above.reached(0.1, None)
    assert not above.reached(0.09, None)
    beats = Target("a", "baseline", "lower")
    assert beats.reached(0.5, 0.6)
    assert not beats.reached(0.6, 0.6)
    assert not replace(beats, better="higher").reached(0.6, 0.6)
