"""What a generator is given, checked: tensors of a batch, and labels and sequences as users have.

A tensor's values are looked at on the CPU only; elsewhere that would wait for the device.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ModelError, UserError


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model, each once.

    Raises:
        ModelError: where there is none, one is no text, or one is there twice.
    """
    found = tuple(labels)
    if isinstance(labels, str) or not found or not all(isinstance(label, str) for label in found):
        raise ModelError(f"a generator's labels are a list of at least one text, not {labels!r}")
    twice = next((label for i, label in enumerate(found) if label in found[:i]), None)
    if twice is not None:
        raise ModelError(f"a generator's labels are each there once, but {twice!r} is there twice")
    return found


def place_of(label: str, labels: Sequence[str]) -> int:
    """The place of a label among those a model knows.

    Raises:
        UserError: where it isn't there.
    """
    if label in labels:
        return labels.index(label)
    close = difflib.get_close_matches(label, labels, 3)
    advice = f"did you mean {' or '.join(close)}? " if close else ""
    raise UserError(f"there is no label {label!r}: {advice}the model knows {', '.join(labels)}")


def encode_text(text: object, vocabulary: Vocabulary) -> Tensor:
    """The ids of a text's tokens: int64 ``[n]``.

    Raises:
        UserError: where it is no text.
        DataError: where a token is unknown and there is no "<unk>".
    """
    if not isinstance(text, str):
        raise UserError(f"this model's steps are tokens: give a text, not {type(text).__name__}")
    return torch.from_numpy(vocabulary.encode(text).astype(np.int64))


def encode_frames(frames: ArrayLike, keys: int) -> Tensor:
    """Frames as a tensor: uint8 ``[n, K]``.

    Raises:
        UserError: where they are no array ``[n, K]`` of zeros and ones, with K as many as ``keys``.
    """
    if isinstance(frames, str):
        raise UserError(f"this model's steps are frames: give an array [n, {keys}], not a text")
    array = np.asarray(frames.cpu() if isinstance(frames, Tensor) else frames)
    if array.ndim != 2 or array.shape[1] != keys:
        raise UserError(
            f"expected frames of {keys} keys, an array [n, {keys}], got {list(array.shape)}"
        )
    # What is no number equals neither.
    wrong = np.argwhere((array != 0) & (array != 1))
    if len(wrong):
        frame, key = map(int, wrong[0])
        raise UserError(
            f"a key is 0 or 1 in each frame, but key {key} of frame {frame} is {array[frame, key]}"
        )
    return torch.from_numpy(array.astype(np.uint8))


def check_tokens(tokens: Tensor, size: int) -> None:
    """Whether these are ids ``[T, B]`` of a vocabulary of this size."""
    if tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(
            "expected token ids of shape [T, B] with T and B at least 1, got "
            f"{list(tokens.shape)}; one sequence is tokens.unsqueeze(1)"
        )
    _check_ids(tokens, size, "token id", "the vocabulary")


def check_frames(frames: Tensor, keys: int) -> None:
    """Whether these are frames ``[T, B, K]`` of zeros and ones."""
    if frames.dim() != 3 or frames.shape[2] != keys or frames.numel() == 0:
        raise ValueError(
            f"expected frames of shape [T, B, {keys}] with T and B at least 1, got "
            f"{list(frames.shape)}; one sequence is frames.unsqueeze(1)"
        )
    if frames.device.type == "cpu" and not ((frames == 0) | (frames == 1)).all():
        raise ValueError("expected frames of zeros and ones; one of these values is another")


def check_places(places: Tensor, batch_size: int, labels: int) -> None:
    """Whether these are places ``[B]`` of labels."""
    if places.shape != (batch_size,):
        raise ValueError(
            f"expected a label for each of {batch_size} sequences, [{batch_size}], got "
            f"{list(places.shape)}"
        )
    _check_ids(places, labels, "label", "the model's labels")


def _check_ids(ids: Tensor, size: int, what: str, where: str) -> None:
    if ids.dtype != torch.int64:
        raise TypeError(f"expected int64 {what}s, got {ids.dtype}: call .long()")
    if ids.device.type == "cpu":
        for index in (int(ids.min()), int(ids.max())):
            if not 0 <= index < size:
                raise IndexError(
                    f"{what} {index} is not in {where}, of which there are {size}, 0 to {size - 1}"
                )
