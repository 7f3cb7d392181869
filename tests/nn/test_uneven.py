"""Lengths, resets and further outputs of layers, in every form in which sequences come."""

from __future__ import annotations

import itertools
import warnings
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

import unrolled as ur
from layer_samples import assert_near
from unrolled import cells, naive

T, B, D, H = 7, 6, 3, 5
LENGTHS = torch.tensor([4, 7, 2, 4, 7, 1])


def a_batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(T, B, D, generator=source, dtype=torch.float64)
    return x, torch.rand(T, B, generator=source) < 0.3


def a_layer(backend: str, **options: Any) -> ur.Recurrent:
    torch.manual_seed(1)
    cell = options.pop("cell", cells.lstm)
    return ur.Recurrent(cell, D, H, 2, backend=backend, dtype=torch.float64, **options)


def by_hand(
    layer: ur.Recurrent, x: Tensor, lengths: Tensor | None, resets: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """The plain loop of ``naive``, composed over layers and directions for [T, B, D]."""
    finals: list[tuple[Tensor, ...]] = []
    initial = layer.initial_state(x.shape[1])
    for k in range(layer.num_layers):
        outputs: list[Tensor] = []
        for reverse in (False, True)[: 2 if layer.bidirectional else 1]:
            suffix = f"_l{k}{'_reverse' * reverse}"
            params = {n: getattr(layer, n + suffix) for n in layer.cell.parameters}
            states = [s[len(finals)] for s in initial]
            y, final = naive.recurrence(
                layer.cell, x, states, params, lengths=lengths, resets=resets, reset_to=states,
                reverse=reverse,
            )  # fmt: skip
            outputs.append(y)
            finals.append(final)
        x = torch.cat(outputs, -1)
    return x, [torch.stack(rows) for rows in zip(*finals, strict=True)]


def gradients(layer: nn.Module, x: Tensor, results: list[Tensor]) -> list[Tensor]:
    source = torch.Generator().manual_seed(2)
    weights = [torch.randn(r.shape, generator=source, dtype=r.dtype) for r in results]
    return list(torch.autograd.grad(results, [x, *layer.parameters()], weights))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(
    ("lengths", "resets", "bidirectional", "learned"),
    list(itertools.product([True, False], repeat=4)),
)
def test_a_layer_equals_the_plain_loop(
    backend: str, lengths: bool, resets: bool, bidirectional: bool, learned: bool
) -> None:
    layer = a_layer(backend, bidirectional=bidirectional, learn_initial=learned)
    if learned:
        for name in ("initial_h", "initial_c"):
            nn.init.normal_(layer.get_parameter(name))
    x, borders = a_batch()
    x.requires_grad_()
    its = LENGTHS if lengths else None
    at = borders if resets else None
    y, state = layer(x, lengths=its, resets=at)
    expected_y, expected = by_hand(layer, x, its, at)
    found = [y, *state, *gradients(layer, x, [y, *state])]
    plain = [expected_y, *expected, *gradients(layer, x, [expected_y, *expected])]
    assert_near(found, plain, 2, T, B)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("backend", ["reference", "cpu", "auto"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_drop_ins_with_lengths_equal_torch_on_packed(
    kind: str, backend: str, batch_first: bool
) -> None:
    """Padded with lengths, packed, and nested give what torch gives for the packed batch."""
    theirs = getattr(nn, kind)(
        D, H, 2, bidirectional=True, batch_first=batch_first, dtype=torch.float64
    )
    ours = getattr(ur, kind)(
        D, H, 2, bidirectional=True, batch_first=batch_first, dtype=torch.float64, backend=backend
    )
    ours.load_state_dict(theirs.state_dict())
    x, _ = a_batch()
    given = x.transpose(0, 1) if batch_first else x
    packed = pack_padded_sequence(given, LENGTHS, batch_first, enforce_sorted=False)
    y_packed, hx = theirs(packed)
    expected = pad_packed_sequence(y_packed, batch_first)[0]
    states = hx if kind == "LSTM" else (hx,)
    y, found = ours(given, lengths=LENGTHS)
    assert_near([y], [expected], 2, T, B)
    of_packed, again = ours(packed)
    assert isinstance(of_packed, PackedSequence)
    assert_near([pad_packed_sequence(of_packed, batch_first)[0]], [expected], 2, T, B)
    for h in (found, again):
        assert_near(h if kind == "LSTM" else (h,), states, 2, T, B)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_nested_tensors(backend: str) -> None:
    layer = a_layer(backend, bidirectional=True, batch_first=True)
    x, borders = a_batch()
    parts = [x[:n, b] for b, n in enumerate(LENGTHS.tolist())]
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged, requires_grad=True)
    y, state = layer(nested, resets=borders.T)
    padded, expected = layer(x.transpose(0, 1), lengths=LENGTHS, resets=borders.T)
    assert y.is_nested
    for b, row in enumerate(y.unbind()):
        assert_near([row], [padded[b, : len(row)]], 2, T, B)
    assert_near(state, expected, 2, T, B)
    y.values().sum().backward()
    assert nested.grad is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, once in a process
        strided = torch.nested.nested_tensor(parts)
    with pytest.raises(TypeError, match="must have the jagged layout"):
        layer(strided)


def test_packed_of_equal_lengths_and_with_resets() -> None:
    layer = a_layer("cpu")
    x, borders = a_batch()
    order = torch.tensor([2, 0, 1, 5, 4, 3])
    for lengths in (torch.full((B,), T), LENGTHS):
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, state = layer(packed, resets=borders)
        expected, final = layer(x, lengths=lengths, resets=borders)
        torch.testing.assert_close(pad_packed_sequence(y)[0], expected)
        torch.testing.assert_close(tuple(state), tuple(final))
    again = layer(x[:, order], lengths=LENGTHS[order], resets=borders[:, order])
    torch.testing.assert_close(again[0], expected[:, order])


def test_resets_put_back_the_layers_own_state_whatever_was_carried() -> None:
    layer = a_layer("cpu")
    x, _ = a_batch()
    _, carried = layer(x)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[0] = True
    torch.testing.assert_close(layer(x, carried, resets=resets)[0], layer(x)[0])


def test_a_single_sequence_with_resets() -> None:
    layer = a_layer("cpu", bidirectional=True)
    x, borders = a_batch()
    y, state = layer(x[:, 0], resets=borders[:, 0])
    expected, final = layer(x[:, :1], resets=borders[:, :1])
    torch.testing.assert_close(y, expected[:, 0])
    torch.testing.assert_close(tuple(state), tuple(s[:, 0] for s in final))


def test_no_sequence_has_a_step() -> None:
    layer = a_layer("cpu", bidirectional=True)
    x, _ = a_batch()
    x.requires_grad_()
    y, state = layer(x, lengths=[0] * B)
    assert not y.any()
    assert not any(s.any() for s in state)
    y.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("checkpoint", ["sqrt", 3])
def test_checkpointed_layers_have_the_same_gradients(backend: str, checkpoint: Any) -> None:
    plain = a_layer(backend, bidirectional=True)
    kept = a_layer(backend, bidirectional=True, checkpoint=checkpoint)
    x, borders = a_batch()
    x.requires_grad_()
    for options in ({}, {"lengths": LENGTHS, "resets": borders}):
        found, expected = kept(x, **options), plain(x, **options)
        torch.testing.assert_close(found[0], expected[0])
        assert_near(gradients(kept, x, [found[0]]), gradients(plain, x, [expected[0]]), 2, T, B)


# --- further outputs


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gates_and_cell_states_as_outputs(backend: str, lengths: Tensor | None) -> None:
    """From the equations: c_t = f c_{t-1} + i g and h = o tanh(c), of every layer and direction."""
    layer = a_layer(backend, bidirectional=True)
    x, _ = a_batch()
    y, state, gates = layer(x, lengths=lengths, outputs=("h", "c", "i", "f", "g", "o"))
    assert [len(v) for v in gates.values()] == [4] * 6
    torch.testing.assert_close(y, torch.cat(gates["h"][2:], -1))
    for row in range(4):
        i, f, g, o, c, h = (gates[n][row] for n in ("i", "f", "g", "o", "c", "h"))
        before = torch.zeros_like(c)
        if row % 2:
            before[:-1] = c[1:]
        else:
            before[1:] = c[:-1]
        assert_near([c], [f * before + i * g], 1, 1, 1)
        assert_near([h], [o * torch.tanh(c)], 1, 1, 1)
        at_end = 0 if row % 2 else -1
        if lengths is None:
            torch.testing.assert_close(c[at_end], state[1][row])


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_outputs_are_differentiable(backend: str) -> None:
    layer = a_layer(backend, cell=cells.gru)
    x, _ = a_batch()
    x.requires_grad_()

    def f(x: Tensor) -> Tensor:
        y, _, more = layer(x, outputs=("z", "r"))
        return y.sum() + (more["z"][0] * more["r"][1]).sum()

    assert torch.autograd.gradcheck(f, x)


def test_an_unknown_output() -> None:
    layer = a_layer("cpu", cell=cells.gru)
    with pytest.raises(ValueError, match="gru has no 'q' to put out: expected one of y, h, "):
        layer(a_batch()[0], outputs=("q",))
    with pytest.raises(ValueError, match="y is the first result of every call; name others"):
        layer(a_batch()[0], outputs=("y",))


# --- what does not fit


def refused(error: type[Exception], call: Any) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_lengths_and_resets_that_do_not_fit() -> None:
    layer = a_layer("cpu")
    x, borders = a_batch()
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    assert refused(ValueError, lambda: layer(x, lengths=LENGTHS[:2])) == (
        "lengths must be [B] = [6], one for each example, got [2]"
    )
    assert refused(ValueError, lambda: layer(x, lengths=LENGTHS + 1)) == (
        "lengths[1] is 8: expected 0 to 7, the number of steps of x"
    )
    assert refused(TypeError, lambda: layer(x, lengths=LENGTHS.float())) == (
        "lengths must be whole numbers, got torch.float32: convert with .long()"
    )
    assert refused(ValueError, lambda: layer(packed, lengths=LENGTHS)) == (
        "Recurrent(lstm): lengths are for a padded Tensor [T, B, 3]; a PackedSequence has its own"
    )
    assert refused(ValueError, lambda: layer(x[:, 0], lengths=[3])) == (
        "lengths are for a batch: cut a single sequence [T, D] to its length"
    )
    assert refused(ValueError, lambda: layer(x, resets=borders[1:])) == (
        "resets must be [T, B] = [7, 6], got [6, 6]"
    )
    assert refused(TypeError, lambda: layer(x, resets=borders.float())) == (
        "resets must be a tensor of torch.bool, got torch.float32: convert with .bool()"
    )
    first = a_layer("cpu", batch_first=True)
    assert refused(ValueError, lambda: first(x.transpose(0, 1), resets=borders)) == (
        "resets must be [B, T] = [6, 7], got [7, 6]"
    )
    theirs = ur.GRU(D, H, backend="torch")
    assert refused(ValueError, lambda: theirs(x.float(), lengths=LENGTHS)) == (
        "backend='torch' has neither lengths nor resets: take another, such as 'auto', or a "
        "PackedSequence"
    )


def test_reset_to_needs_resets_and_the_states_form() -> None:
    x, borders = a_batch()
    layer = a_layer("cpu", cell=cells.gru)
    params = {n: getattr(layer, n + "_l0") for n in layer.cell.parameters}
    h = x.new_zeros(B, H)
    call = ur.recurrence
    assert refused(ValueError, lambda: call(cells.gru, x, (h,), params, reset_to=(h,))) == (
        "reset_to= says where resets= put the states, and there are no resets"
    )
    assert refused(
        ValueError,
        lambda: call(cells.gru, x, (h,), params, resets=borders, reset_to=(h[:2],)),
    ) == (
        "reset_to: state h must be [6, 5] of torch.float64 on cpu, as in state, "
        "got [2, 5] of torch.float64 on cpu"
    )


def test_a_recurrence_whose_batch_does_not_fit_its_lengths() -> None:
    x, borders = a_batch()
    layer = a_layer("cpu", cell=cells.gru)
    params = {n: getattr(layer, n + "_l0") for n in layer.cell.parameters}
    for n in (B - 1, B + 1):
        h = x.new_zeros(n, H)
        assert (
            refused(
                ValueError, lambda h=h: ur.recurrence(cells.gru, x, (h,), params, lengths=LENGTHS)
            )
            == f"state must be [B, size] with B = 6, got [{n}, 5]"
        )
    h = x.new_zeros(B, H)
    assert (
        refused(
            ValueError,
            lambda: ur.recurrence(
                cells.gru, x, (h,), params, lengths=LENGTHS, resets=borders, reset_to=(h[:2],)
            ),
        )
        == "reset_to must be [B, size] with B = 6, got [2, 5]"
    )
    assert (
        refused(
            TypeError,
            lambda: ur.recurrence(cells.gru, cast(Any, x.numpy()), (h,), params, lengths=LENGTHS),
        )
        == "x must be a tensor, got ndarray"
    )
    assert (
        refused(
            ValueError,
            lambda: ur.recurrence(
                ur.zoneout(cells.gru, h=0.5),
                x,
                (h,),
                params,
                lengths=LENGTHS,
                noise={"zoneout_h": torch.ones(B, T, H)},
            ),
        )
        == "noise zoneout_h must be [T, B, size] = [7, 6, …], got [6, 7, 5]"
    )
    assert refused(TypeError, lambda: layer(x, outputs="rz")) == (
        "outputs: expected a sequence of names, got 'rz'"
    )


def test_no_sequences_at_all() -> None:
    y, state = a_layer("cpu")(torch.zeros(T, 0, D, dtype=torch.float64), lengths=[])
    assert y.shape == (T, 0, H)
    assert state[0].shape == (2, 0, H)


# --- recorded


@ur.cell
def spiking(x, h, *, W=ur.param("H", "D"), U=ur.param("H", "H")):  # type: ignore[no-untyped-def]
    n = torch.tanh(W @ x + U @ h)
    spikes = n > 0
    return n, {"spikes": spikes}


def test_recorded_single_sequences_and_masks_as_outputs() -> None:
    x, borders = a_batch()
    layer = a_layer("cpu", cell=spiking, bidirectional=True)

    def call(x: Tensor, resets: Tensor) -> tuple[Tensor, Tensor]:
        y, _, more = layer(x, resets=resets, outputs=("spikes",))
        return y, torch.where(more["spikes"][0], 1.0, -1.0)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for found, expected in zip(
        compiled(x[:, 0], borders[:, 0]), call(x[:, 0], borders[:, 0]), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_what_has_its_lengths_inside_is_not_recorded() -> None:
    x, _ = a_batch()
    layer = a_layer("cpu")
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    with FlopCounterMode(display=False):
        assert refused(ValueError, lambda: layer(packed)) == (
            "a PackedSequence can't be recorded (torch.compile, torch.export, dispatch modes), for "
            "the sizes within it are known only when the program runs: give the padded tensor and "
            "lengths="
        )
        y, _ = layer(x, lengths=LENGTHS)
    torch.testing.assert_close(y, pad_packed_sequence(layer(packed)[0])[0])
