"""What is said of a generator's labels, beside plain loops and scikit-learn."""

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from proofs import labels
from tiny_generators import LABELS, tiny_generator
from unrolled.data.examples import Examples
from unrolled.data.ragged import Ragged

TEXTS = {"a": ["abab", "abba", "bab"], "b": ["bcbc", "ccb", "bbb", "abc"], "c": ["cac", "aca"]}


def test_naive_bayes_is_scikit_learns():
    names = [text for own in TEXTS.values() for text in own]
    of = [label for label, own in TEXTS.items() for _ in own]
    counts: Any = CountVectorizer(analyzer=cast("Any", labels.pieces))
    theirs = MultinomialNB(fit_prior=False).fit(counts.fit_transform(names), of)
    ours = labels.NaiveBayes(TEXTS)
    # All of whose pieces occur in some text.
    tried = [*names, "ab", "bc", "ca", "abc", "cab", "bb"]
    assert [ours.label(t) for t in tried] == list(theirs.predict(counts.transform(tried)))


def test_what_the_label_is_worth():
    model = tiny_generator().double()
    assert model.vocabulary is not None
    texts, of = ["abc", "", "eed", "bb"], [0, 2, 1, 2]
    ids = [model.vocabulary.encode(text) for text in texts]
    eos = model.start
    ends = [np.append(each, eos).astype(np.uint16) for each in ids]
    examples = Examples.of({"sequence": Ragged.of(ends)}, {"label": np.array(of)})
    shares = np.array([0.5, 0.2, 0.3])
    found = labels.without_label(model, examples, shares)
    own, mixed, steps = 0.0, 0.0, 0
    for text, label in zip(texts, of, strict=True):
        logs = [float(model.log_probability(text, name).sum()) for name in LABELS]
        own -= logs[label]
        mixed -= math.log(sum(s * math.exp(log) for s, log in zip(shares, logs, strict=True)))
        steps += len(text) + 1
    # Sums of a few dozen numbers in double precision.
    assert found.value == pytest.approx(own / steps, rel=1e-12)
    assert found.baseline == pytest.approx(mixed / steps, rel=1e-12)
    assert found.low <= found.value <= found.high


def test_what_is_drawn_is_told_by_a_label_that_matters_and_by_chance_else():
    model = tiny_generator(frames=True, hidden_size=6, embedding_size=0)
    # With this label a key's chance is far from what it is with the others.
    model.label_embedding.weight.data.copy_(10 * torch.eye(3))
    model.output.weight.data.mul_(3)
    share = labels.likeliest_under_own(model, 8, 12, 0)
    assert share.baseline == pytest.approx(1 / 3)
    assert share.value >= share.low > 1 / 3
    model.label_embedding.weight.data.zero_()
    # No label is likelier than another: the first is taken for all.
    assert labels.likeliest_under_own(model, 4, 6, 0).value == pytest.approx(1 / 3)
