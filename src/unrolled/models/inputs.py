"""What stands before the recurrent layers: vectors of tokens, of spellings, of real values.

Tokens are dropped in training as whole words (Iyyer et al., "Deep unordered composition rivals
syntactic methods for text classification", 2015): "<unk>" takes their place, which also teaches
what an unknown word means. A word's spelling is read by a recurrent layer of its own in both
directions (Ling et al., "Finding function in form", 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.errors import ModelError
from unrolled.models.config import LayersConfig
from unrolled.models.layers import build, output_size
from unrolled.models.pooling import last_outputs


class Tokens(nn.Module):
    """Ids ``[...]`` to vectors ``[..., size]``.

    Args:
        n: How many ids there are.
        size: The length of a vector.
        unk: The id of what is unknown, or None.
        drop: The probability in training that an id becomes ``unk``.
        deviation: That of the vectors' first values. Those of rare words move little in training,
            so that what they start with is noise.

    Raises:
        ModelError: where ids are to be dropped and there is no ``unk``.
    """

    def __init__(
        self, n: int, size: int, unk: int | None, drop: float, deviation: float = 0.1
    ) -> None:
        super().__init__()
        if drop and unk is None:
            raise ModelError(
                f'token_dropout {drop} puts "<unk>" in the place of tokens, which this vocabulary '
                "lacks: build it with unk, or set token_dropout to 0"
            )
        self.unk, self.drop = unk, drop
        self.vectors = nn.Embedding(n, size)
        nn.init.normal_(self.vectors.weight, 0, deviation)

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors."""
        if self.training and self.drop and self.unk is not None:
            dropped = torch.rand(ids.shape, device=ids.device) < self.drop
            ids = ids.masked_fill(dropped, self.unk)
        return self.vectors(ids)


class Spelling(nn.Module):
    """Words as characters to vectors: the last outputs of a layer in each direction.

    Each distinct word of a call is computed once.

    Args:
        n: How many characters there are.
        embedding_size: The length of a character's vector.
        hidden_size: The units of each direction.
        config: The model's layers, of which this one has the cell.
        cell: The cell to use instead of looking it up.
    """

    def __init__(
        self, n: int, embedding_size: int, hidden_size: int, config: LayersConfig, cell: Cell | None
    ) -> None:
        super().__init__()
        own = LayersConfig(
            config.cell, hidden_size, sizes=config.sizes, learn_initial=config.learn_initial,
            checkpoint=config.checkpoint, backend=config.backend,
        )  # fmt: skip
        self.vectors = nn.Embedding(n + 1, embedding_size, padding_idx=0)
        self.recurrent = build(own, embedding_size, cell, bidirectional=True)
        self.output_size = output_size(self.recurrent)

    def forward(self, characters: Tensor) -> Tensor:
        """``[T, B, C]``, ids from 1 up and 0 behind each word's end, to ``[T, B, size]``."""
        steps, batch, width = characters.shape
        words, places = torch.unique(
            characters.reshape(steps * batch, width), dim=0, return_inverse=True
        )
        # A padded step is a word without characters; one of length 1 in its place harms nobody.
        lengths = (words != 0).sum(1).clamp(min=1).cpu()
        x = self.vectors(words[:, : int(lengths.max())].T)
        y, _ = self.recurrent(x, lengths=lengths)
        return last_outputs(y, lengths, both_ways=True)[places].view(steps, batch, -1)


class Standardise(nn.Module):
    """Real values ``[..., D]`` with the training data's mean taken off, by its deviation.

    Args:
        size: D.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Takes the moments of the training data; a column that never changes is left as it is."""
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        """The values standardised."""
        return (x - self.mean) / self.deviation


def check_sequences(
    x: Tensor, what: str, behind: tuple[int, ...], ids: int | None, like: Tensor
) -> None:
    """What a model is given for each step.

    Args:
        x: ``[T, B, *behind]``.
        what: Its name for messages.
        behind: The sizes after T and B.
        ids: How many ids there are, or None for real values.
        like: A parameter, whose device and, for real values, dtype x has.

    Raises:
        ValueError: where its shape is another, or T or B are 0.
        TypeError: where its dtype is another.
        IndexError: where an id is none (seen on the CPU).
        RuntimeError: where it is on another device.
    """
    if tuple(x.shape[2:]) != behind or x.dim() != 2 + len(behind) or x.numel() == 0:
        shape = ", ".join(["T", "B", *map(str, behind)])
        raise ValueError(
            f"expected {what} of shape [{shape}] with T and B at least 1, got {list(x.shape)}"
        )
    dtype = like.dtype if ids is None else torch.int64
    if x.dtype != dtype:
        raise TypeError(f"expected {dtype} {what}, got {x.dtype}: call .to({dtype})")
    if x.device != like.device:
        raise RuntimeError(
            f"expected {what} on {like.device}, where the model is, got them on {x.device}: call "
            ".to(model.device)"
        )
    if ids is not None and x.device.type == "cpu":  # elsewhere it would wait for the device
        for index in (int(x.min()), int(x.max())):
            if not 0 <= index < ids:
                raise IndexError(f"{what}: {index} is none of the {ids}, 0 to {ids - 1}")


def check_lengths(lengths: Tensor | None, x: Tensor) -> Tensor:
    """The steps of each sequence of ``x`` ``[T, B, ...]``: int64 ``[B]`` on the CPU.

    Raises:
        ValueError: where they are not B whole numbers from 1 to T.
    """
    steps, batch = x.shape[:2]
    if lengths is None:
        return torch.full((batch,), steps)
    given = lengths.cpu()
    if given.dtype != torch.int64 or tuple(given.shape) != (batch,):
        raise ValueError(
            f"lengths are int64 of shape [B] = [{batch}], got {given.dtype} of {list(given.shape)}"
        )
    if int(given.min()) < 1 or int(given.max()) > steps:
        raise ValueError(
            f"lengths are from 1 to T = {steps}, got {int(given.min())} to {int(given.max())}"
        )
    return given
