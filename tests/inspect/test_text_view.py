"""What the page is given of a text: bytes that mean what was measured, within the page's room."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.inspect.report import RankedUnit, StateView, TextView


def view(steps: int, units: int, tokens: list[str] | None = None) -> TextView:
    draw = torch.Generator().manual_seed(steps)
    vocabulary = ["a", "b", "\n", "<eos>", "é"]
    logits = torch.randn(steps, len(vocabulary), generator=draw)
    likely = (3 * logits).softmax(-1).topk(3)
    states = [
        StateView(layer, name, (unit + 1) * torch.randn(steps, units, generator=draw))
        for unit, (layer, name) in enumerate([("l0", "h"), ("l0", "c"), ("l1", "h"), ("l1", "c")])
    ]
    shown = tokens or ["a", "b", "\n"] * (steps // 3) + ["a"] * (steps % 3)
    return TextView(
        shown,
        torch.tensor([vocabulary.index(t) if t in vocabulary else 4 for t in shown]),
        "character",
        vocabulary,
        likely.indices,
        likely.values,
        likely.values[:-1, 0],
        states,
        {"quotes": (RankedUnit("l1", "h", units - 1, "AUC 0.9"),)},
        {"quotes": torch.rand(steps, generator=draw) > 0.5},
    )


def unpacked(text: str, kind: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_bytes_are_what_was_measured() -> None:
    seen = view(31, 5)
    found: Any = json.loads(json.dumps(seen.payload()))
    text = unpacked(found["text"], "u1")
    assert [found["tokens"][i] for i in text] == list(seen.tokens)
    expected = unpacked(found["expected"], "u1").reshape(31, found["choices"])
    words = [[seen.vocabulary[i] for i in row] for row in seen.expected.tolist()]
    assert [[found["tokens"][i] for i in row] for row in expected] == words
    for at, rank in enumerate(unpacked(found["ranks"], "u1")):
        likeliest = seen.expected[at].tolist()
        came = int(seen.ids[at + 1])
        assert rank == (likeliest.index(came) if came in likeliest else 3)
    for name, chances in (("chances", seen.chances.flatten()), ("came", seen.came)):
        roots = unpacked(found[name], "u1") / 255
        # Half a step of the root, at 1 at most: 2 · 0.5/255 and its square.
        assert np.abs(roots**2 - chances.numpy()).max() <= 1 / 255 + (0.5 / 255) ** 2
    for state, own in zip(found["states"], seen.states, strict=True):
        assert (state["layer"], state["state"], state["size"]) == (own.layer, own.state, 5)
        assert state["units"] == [0, 1, 2, 3, 4]
        largest = own.values.abs().amax(0)
        np.testing.assert_allclose(state["largest"], largest, rtol=5e-4)
        values = unpacked(state["values"], "i1").reshape(5, 31).T / 127 * largest.numpy()
        assert (np.abs(values - own.values.numpy()) <= largest.numpy() * (0.5 / 127 + 1e-6)).all()
    (ranked,) = found["ranked"]
    assert ranked["property"] == "quotes"
    assert ranked["units"] == [{"state": 2, "unit": 4, "score": "AUC 0.9"}]
    mask = np.unpackbits(unpacked(ranked["mask"], "u1"))[:31]
    assert mask.astype(bool).tolist() == seen.masks["quotes"].tolist()


def test_a_unit_that_never_moves() -> None:
    still = view(4, 2)
    still.states[0].values.zero_()
    state: Any = still.payload()["states"]
    assert state[0]["largest"] == [0.0, 0.0]
    assert not unpacked(state[0]["values"], "i1").any()


def test_many_tokens_take_wider_places() -> None:
    tokens = [f"word{n}" for n in range(300)]
    found: Any = view(300, 1, tokens).payload()
    assert found["width"] == 2
    assert [found["tokens"][i] for i in unpacked(found["text"], "<u2")] == tokens


def test_a_long_text_keeps_ranked_units_then_those_that_vary_most() -> None:
    seen = view(100, 8)
    # The text and its predictions take (1 + 1) · (3 + 1) + 1 bytes a token; 7 units have room.
    found: Any = seen.payload(most_bytes=100 * (2 * 4 + 1 + 7))
    kept = {(i, unit) for i, state in enumerate(found["states"]) for unit in state["units"]}
    spread = {
        (i, unit): float(own.values[:, unit].std(correction=0))
        for i, own in enumerate(seen.states)
        for unit in range(8)
    }
    best = [max((p for p in spread if p[0] == i), key=spread.__getitem__) for i in range(4)]
    others = sorted(spread, key=spread.__getitem__, reverse=True)
    wanted = list(dict.fromkeys([*best, (2, 7), *others]))[:7]
    assert kept == set(wanted)


@pytest.mark.parametrize("most", [0, 10])
def test_one_unit_of_each_state_is_there_however_long_the_text(most: int) -> None:
    found: Any = view(100, 8).payload(most_bytes=most)
    assert [len(state["units"]) for state in found["states"]] == [1, 1, 1, 1]
