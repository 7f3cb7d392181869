"""How far does each network count? Trained on a^n b^n for n = 1 … 10, tried on longer strings.

Once the first b has come, the rest of the string is certain: as many b as there were a, then the
end. So a network errs on no string up to n = N if, for each n ≤ N, it finds the right next symbol
likeliest from the first b on. Of the three only the LSTM has a state that it can add one to (Weiss,
Goldberg, Yahav, "On the practical computational power of finite precision RNNs for language
recognition", 2018), and it goes beyond what it was trained on.

The symbols are one-hot vectors over a vocabulary of four: a, b, EOS, UNK.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.vocabulary import Vocabulary
from unrolled.models.language_model import LanguageModel, LanguageModelConfig

TRAINED = range(1, 11)
TRIED = 500
VOCABULARY = Vocabulary.build(["ab"], "char")
PADDING = -100

# All that a string leaves open is its n, one of ten; it is shared by the 2n predictions of each.
FLOOR = len(TRAINED) * math.log(len(TRAINED)) / sum(2 * n for n in TRAINED)


def batch(lengths: range) -> tuple[Tensor, Tensor]:
    """Inputs and targets [T, B] of the strings a^n b^n EOS, padded behind."""
    ids = [[*VOCABULARY.encode("a" * n + "b" * n).tolist(), VOCABULARY.eos] for n in lengths]
    strings = [torch.tensor(row) for row in ids]
    inputs = torch.nn.utils.rnn.pad_sequence([s[:-1] for s in strings])
    targets = torch.nn.utils.rnn.pad_sequence([s[1:] for s in strings], padding_value=PADDING)
    return inputs, targets


def train(cell: str, seed: int, steps: int = 1000) -> tuple[LanguageModel, float]:
    """A network trained on all ten strings at once, and its last loss in nats per symbol."""
    torch.manual_seed(seed)
    model = LanguageModel(LanguageModelConfig(cell, embedding_size=0, hidden_size=16), VOCABULARY)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs, targets = batch(TRAINED)
    loss = torch.zeros(())
    for _ in range(steps):
        logits, _ = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model, loss.item()


@torch.no_grad()
def largest_n(model: LanguageModel) -> int:
    """The largest N so that the model continues each a^n b, n ≤ N, without an error."""
    for n in range(1, TRIED + 1):
        inputs, targets = batch(range(n, n + 1))
        logits, _ = model(inputs)
        if not torch.equal(logits[n:].argmax(-1), targets[n:]):
            return n - 1
    return TRIED


def main(seeds: int) -> None:
    assert VOCABULARY.tokens == ("a", "b", "<eos>", "<unk>")
    one_hot = F.one_hot(torch.from_numpy(VOCABULARY.encode("ab").astype("int64")), 4)
    assert one_hot.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]

    print(f"trained on n = 1 … {TRAINED[-1]}; no network can get below {FLOOR:.4f} nats a symbol")
    best: dict[str, int] = {}
    for cell in ("rnn", "gru", "lstm"):
        found: list[int] = []
        for seed in range(seeds):
            model, loss = train(cell, seed)
            assert FLOOR < loss < 1.05 * FLOOR, f"{cell} has not converged: {loss:.4f}"
            found.append(largest_n(model))
        best[cell] = max(found)
        print(f"{cell:>4}: no error up to n = {best[cell]:<3} (seeds: {found})", flush=True)

    assert all(n >= TRAINED[-1] for n in best.values())
    assert best["lstm"] > TRAINED[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="networks of each kind")
    main(parser.parse_args().seeds)
