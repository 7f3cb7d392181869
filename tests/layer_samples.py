"""Drop-ins beside torch's own: the same weights, the same batches in every form, all results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import unrolled.nn as un

T, B, D, H, P = 7, 3, 3, 5, 2
LENGTHS = (4, 7, 2, 4, 7, 1)
"""Of the sequences of a packed batch: unsorted, with equal ones, with one of a single step."""

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn-tanh": ("RNN", {}),
    "rnn-relu": ("RNN", {"nonlinearity": "relu"}),
    "gru": ("GRU", {}),
    "lstm": ("LSTM", {}),
    "lstm-proj": ("LSTM", {"proj_size": P}),
}
FORMS = ("time-major", "batch-first", "unbatched", "packed")

Batch = Tensor | PackedSequence
State = Tensor | tuple[Tensor, ...] | None


def pair(kind: str, backend: str, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    """Our module and torch's, of the same weights."""
    name, more = KINDS[kind]
    options = {"dtype": dtype, **more, **options}
    theirs = getattr(nn, name)(D, H, **options)
    ours = getattr(un, name)(D, H, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def batch(form: str, dtype: torch.dtype = torch.float64) -> tuple[Batch, tuple[Tensor, ...], int]:
    """A batch, the tensors it is made of, which take gradients, and its number of sequences."""
    if form == "packed":
        parts = tuple(random(n, D, dtype=dtype).requires_grad_() for n in LENGTHS)
        return pack_sequence(list(parts), enforce_sorted=False), parts, len(LENGTHS)
    shape = {"time-major": (T, B, D), "batch-first": (B, T, D), "unbatched": (T, D)}[form]
    x = random(*shape, dtype=dtype).requires_grad_()
    return x, (x,), B


def initial_state(module: nn.RNNBase, form: str, n_sequences: int) -> State:
    """Random initial states that take gradients, in the form that the module takes them."""
    rows = module.num_layers * (2 if module.bidirectional else 1)
    middle = () if form == "unbatched" else (n_sequences,)
    dtype = next(module.parameters()).dtype
    h = random(rows, *middle, module.proj_size or H, dtype=dtype).requires_grad_()
    if not isinstance(module, nn.LSTM):
        return h
    return h, random(rows, *middle, H, dtype=dtype).requires_grad_()


def tensors(state: Any) -> tuple[Tensor, ...]:
    """The tensors of a state, or of an output."""
    if isinstance(state, PackedSequence):
        return (state.data,)
    return (state,) if isinstance(state, Tensor) else tuple(state or ())


@dataclass(frozen=True)
class Results:
    """All that a call gives: values, and the gradients of a random linear loss on all of them."""

    values: dict[str, Tensor]

    def assert_equal(self, other: "Results", bound: float) -> None:
        assert self.values.keys() == other.values.keys()
        for name, ours in self.values.items():
            theirs = other.values[name]
            assert ours.shape == theirs.shape, name
            assert ours.dtype == theirs.dtype, name
            difference = (ours - theirs).abs().max().item() if ours.numel() else 0.0
            assert difference <= bound, f"{name}: {difference:.1e}, allowed is {bound:.1e}"

    @property
    def magnitude(self) -> float:
        return max(t.abs().max().item() for t in self.values.values() if t.numel())


def results(
    call: Callable[[], tuple[Any, Any]],
    sources: Sequence[Tensor],
    module: nn.Module,
    seed: int = 0,
) -> Results:
    """Call; differentiate a loss that reads each output and final state by a weight of its own."""
    y, final = call()
    outputs = {"y": tensors(y)[0]} | {f"final {i}": s for i, s in enumerate(tensors(final))}
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in outputs.values()]
    parameters = dict(module.named_parameters())
    wanted = {f"d source {i}": s for i, s in enumerate(sources)}
    wanted |= {f"d {name}": p for name, p in parameters.items()}
    # A packed batch was built once and is read by each call.
    found = torch.autograd.grad(
        list(outputs.values()), list(wanted.values()), weights, retain_graph=True
    )
    return Results(
        {k: v.detach() for k, v in outputs.items()} | dict(zip(wanted, found, strict=True))
    )


def rounding(layers: int, steps: int, n_sequences: int, magnitude: float) -> float:
    """How far two ways of computing the same results in float64 may differ.

    On its way from a source to a result a value passes at most every layer and step twice, there
    and back. Each time it enters sums of at most 2·H inputs and H states (of both directions) and
    two biases, then ten elementwise operations; a parameter's gradient at last sums one term a
    step and sequence. Each of these n roundings is at most ε/2 of the magnitude of the values in
    the sum, the two ways err independently, and the weights, in ±1/√H, are too small to make
    earlier errors grow: n·ε·magnitude in all (Higham 2002, chapter 3, to first order).
    """
    terms = 2 * layers * steps * (3 * H + 2 + 10) + steps * n_sequences
    bound = terms * torch.finfo(torch.float64).eps * max(1.0, magnitude)
    assert bound < 1e-9, "the samples are too large to tell a wrong formula from rounding"
    return bound


def assert_near(
    found: Sequence[Tensor], expected: Sequence[Tensor], layers: int, steps: int, batch: int
) -> None:
    """Both are the same results but for rounding in their own precision."""
    assert len(found) == len(expected)
    magnitude = max((float(e.detach().abs().max()) for e in expected if e.numel()), default=1.0)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        unit = torch.finfo(a.dtype).eps / torch.finfo(torch.float64).eps
        bound = unit * rounding(layers, steps, batch, magnitude)
        off = float((a - b).detach().abs().max()) if a.numel() else 0.0
        assert off <= bound, f"off by {off:.3g}, and rounding allows {bound:.3g}"
