"""The loss of one prediction, step by step, and the mean over several.

Two logits, −1.2366e-4 and 1.7240e-4, and the first is right: log-softmax takes the logarithm of the
sum of exponentials from it, and the loss is what is left with its sign turned.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

LOGITS = torch.tensor([-1.2366e-4, 1.7240e-4], dtype=torch.float64)
TARGET = 0

# What an untrained network says after "a", over the vocabulary a, b, EOS, UNK.
UNTRAINED = torch.tensor([4.8925e-4, -7.6466e-5, -2.9858e-5, -3.3591e-4], dtype=torch.float64)


def main() -> None:
    total = sum(math.exp(logit) for logit in LOGITS.tolist())
    log_softmax = LOGITS[TARGET].item() - math.log(total)
    loss = -log_softmax
    print(f"sum of exponentials  {total:.4f}")
    print(f"log-softmax          {log_softmax:.4f}")
    print(f"loss                 {loss:.4f}")
    assert round(total, 4) == 2.0
    assert round(log_softmax, 4) == -0.6933
    assert round(loss, 4) == 0.6933

    library = F.cross_entropy(LOGITS.unsqueeze(0), torch.tensor([TARGET]))
    assert math.isclose(library.item(), loss, rel_tol=1e-12)

    # Of several predictions the loss is the mean; the untrained network knows nothing, and pays
    # the logarithm of its four symbols for each, whichever comes.
    symbols = torch.arange(4)
    losses = [F.cross_entropy(UNTRAINED, symbol).item() for symbol in symbols]
    mean = F.cross_entropy(UNTRAINED.expand(4, 4), symbols).item()
    print(f"untrained, each      {', '.join(f'{one:.4f}' for one in losses)}")
    print(f"untrained, mean      {mean:.4f} = log 4, a perplexity of {math.exp(mean):.2f}")
    assert math.isclose(mean, sum(losses) / 4, rel_tol=1e-12)
    assert round(mean, 4) == round(math.log(4), 4) == 1.3863
    assert round(math.exp(mean), 2) == 4.0


if __name__ == "__main__":
    main()
