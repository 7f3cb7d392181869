"""How an encoder–decoder does: error rates of what it writes for each held-out source.

A source may have several targets, as a word has several pronunciations: what is written is compared
with the nearest of them. The token error rate is the edits over the length of these targets (the
phoneme error rate, where tokens are phonemes); the sequence error rate is the share of sources for
which no target is met (the word error rate, where a sequence is a word).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unrolled.data.examples import Bucketed, Examples
from unrolled.models.beam import Beam
from unrolled.models.modes import evaluating
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.translation import candidates
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.diagonal import NAME, Written, write_diagonal
from unrolled.tasks.edits import closest
from unrolled.tasks.report import Figure, Report
from unrolled.tasks.translate_data import KEY, SOURCE, TARGET
from unrolled.tasks.words import counted

TOKEN_ERRORS, SEQUENCE_ERRORS = "token_error_rate", "sequence_error_rate"

_ROWS = 128
_LONGEST = 60
_SHOWN = 12


@dataclass(frozen=True)
class Reference:
    """A source and what may be written for it, as ids.

    Attributes:
        source: The source.
        targets: Its targets, at least one.
    """

    source: Written
    targets: list[Written]


def references(examples: Examples) -> list[Reference]:
    """All targets of each source, in the order of the examples.

    Sources are the same where their texts are: two may have the same ids, where tokens are unknown.
    """
    found: dict[int, Reference] = {}
    sources, targets = examples.sequences[SOURCE], examples.sequences[TARGET]
    keys = examples.values[KEY][examples.indices]
    for key, place in zip(keys.tolist(), examples.indices.tolist(), strict=True):
        if key not in found:
            found[key] = Reference(tuple(sources[place].tolist()), [])
        found[key].targets.append(tuple(targets[place].tolist()))
    return list(found.values())


def written(model: Seq2Seq, known: Sequence[Reference], width: int) -> list[Written]:
    """What the model writes for each source."""
    beam = Beam(width, max_length=model.config.max_length)
    found = candidates(
        model, [torch.tensor(of.source) for of in known], beam, _ROWS, attention=False
    )
    return [best.tokens for best, *_ in found]


def statistics(found: Sequence[Written], known: Sequence[Reference]) -> Statistics:
    """For each source its edits, the length of the nearest target, whether it is wrong, and 1."""
    rows: list[tuple[int, int, int, int]] = []
    for each, of in zip(found, known, strict=True):
        edits, length = closest(each, of.targets)
        rows.append((edits, length, int(edits > 0), 1))
    return np.array(rows, np.float64)


def token_errors(sums: Statistics) -> Statistics:
    """Edits over the targets' length."""
    return sums[..., 0] / sums[..., 1]


def sequence_errors(sums: Statistics) -> Statistics:
    """Wrong sequences over all."""
    return sums[..., 2] / sums[..., 3]


def mean_loss(model: Seq2Seq, examples: Examples) -> float:
    """Nats per token of the targets and their ends, without label smoothing."""
    total, n = 0.0, 0
    with evaluating(model), torch.no_grad():
        for batch in Bucketed(examples, _ROWS, SOURCE, None).batches():
            placed = batch.to(model.device)
            total += model.loss(placed.sequences[SOURCE], placed.sequences[TARGET]).item()
            n += batch.sequences[TARGET].steps() + batch.size
    return total / n


def validation(model: Seq2Seq, examples: Examples) -> dict[str, float]:
    """The loss, and the error rates of greedy search."""
    known = references(examples)
    sums = statistics(written(model, known, 1), known).sum(0)
    return {
        "loss": mean_loss(model, examples),
        TOKEN_ERRORS: float(token_errors(sums)),
        SEQUENCE_ERRORS: float(sequence_errors(sums)),
    }


def report(
    model: Seq2Seq, examples: Examples, width: int, baseline: dict[int, Written], on: str
) -> Report:
    """The error rates with a beam of ``width``, beside those of the baseline.

    Args:
        model: The encoder–decoder.
        examples: The held-out examples.
        width: The slots of the beam.
        baseline: What each source token writes, from ``learn_diagonal``.
        on: The examples in words, such as "test".
    """
    known = references(examples)
    found = written(model, known, width)
    rows = statistics(found, known)
    plain = statistics([write_diagonal(baseline, of.source) for of in known], known).sum(0)
    figures = tuple(
        Figure(
            name,
            float(figure(rows.sum(0))),
            *interval(rows, figure),
            float(figure(plain)),
            NAME,
            "lower",
            "%",
        )
        for name, figure in (
            ("token error rate", token_errors),
            ("sequence error rate", sequence_errors),
        )
    )
    shown = [
        {
            "source": model.source.decode(of.source),
            "translation": model.target.decode(each),
            "targets": [model.target.decode(t) for t in of.targets],
        }
        for each, of in zip(found[:_SHOWN], known[:_SHOWN], strict=True)
    ]
    told = f"{counted(len(known), 'source')} ({counted(len(examples), 'example')}) {on}"
    return Report(told, figures, {"examples": _table(shown)}, {"examples": shown, "beam": width})


def _table(shown: Sequence[Mapping[str, Any]]) -> str:
    """A line for each: right or wrong, the source, what was written, the targets."""
    lines: list[str] = []
    for each in shown:
        right = each["translation"] in each["targets"]
        mark, targets = (" ", "") if right else ("≠", f"   not {_cut(' | '.join(each['targets']))}")
        lines.append(f"{mark} {_cut(each['source'])} → {_cut(each['translation'])}{targets}")
    return "\n".join(lines)


def _cut(text: str) -> str:
    """A text whose length is bounded: a network that has learned little goes on for long."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
