"""What is seen of layers is what they compute, and gradients by states are those of plain loops."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unrolled
from layer_samples import assert_near
from unrolled.cells import CELLS
from unrolled.errors import ModelError
from unrolled.inspect import gradient_flow, jacobians
from unrolled.inspect.watch import LayerRun, Seen, watch
from unrolled.ir import Graph
from unrolled.returned import unpack

STEPS, BATCH, D, H = 7, 3, 4, 4
LENGTHS = [2, 7, 5]
PARAM = unrolled.param("H", "D")

# Each state and each gradient is made of at most STEPS steps of sums over D + H products and some
# forty further operations, all of values below 10.
TOLERANCE = 10 * STEPS * (D + H + 40) * torch.finfo(torch.float64).eps


@unrolled.cell
def delayed(x: Tensor, h: Tensor, old: Tensor, *, W: Tensor = PARAM) -> Any:
    """An output that reads the new state, and a state that is what another was a step before."""
    new = torch.tanh(W @ x + 0.5 * h - 0.25 * old)
    return 2 * new, (new, h)


@unrolled.cell
def twins(x: Tensor, h: Tensor, g: Tensor, *, W: Tensor = PARAM) -> Any:
    """Two states that are one value."""
    new = torch.tanh(W @ x + 0.5 * h - 0.25 * g)
    return new, (new, new)


OWN = {"delayed": delayed, "twins": twins}
ALL = {**CELLS, **OWN}


def layer_of(name: str, **options: Any) -> unrolled.Recurrent:
    torch.manual_seed(0)
    cell = ALL[name]
    sizes = {s: 3 for s in cell.size_names() if s not in ("D", "H")}
    return unrolled.Recurrent(cell, D, H, sizes=sizes, dtype=torch.float64, **options)


def plain(layer: unrolled.Recurrent, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """One sequence step by step on the user's own function: the last output, each step's states."""
    parameters = {name: getattr(layer, f"{name}_l0").detach() for name in layer.cell.parameters}
    states = tuple(s[0, 0] for s in layer.initial_state(1))
    seen: list[tuple[Tensor, ...]] = []
    y = x
    for at in x:
        y, states, _ = unpack(layer.cell(at, *states, **parameters), len(states))
        seen.append(states)
    return y, seen


@pytest.mark.parametrize("name", sorted(CELLS))
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "lengths"])
def test_states_and_gradients_are_those_of_a_plain_loop(
    name: str, lengths: list[int] | None
) -> None:
    layer = layer_of(name)
    x = torch.randn(STEPS, BATCH, D, dtype=torch.float64)
    weights = torch.randn(layer.output_size, dtype=torch.float64)
    order = sorted(range(BATCH), key=lambda k: -(lengths or [STEPS] * BATCH)[k])
    with watch(layer, pushes=True) as seen:
        y, _ = layer(x, lengths=lengths)
        ends = lengths or [STEPS] * BATCH
        total = sum(((y[n - 1, k] * weights).sum() for k, n in enumerate(ends)), torch.zeros(()))
        ((gx, gradients),) = seen.gradients(total)
    (run,) = seen.runs
    assert run.lengths.tolist() == [ends[k] for k in order]
    for place, k in enumerate(order):
        n = ends[k]
        own = x[:n, k].clone().requires_grad_()
        last, states = plain(layer, own)
        by = torch.autograd.grad(
            last @ weights, [own, *(s for step in states for s in step)],
            materialize_grads=True, allow_unused=True,
        )  # fmt: skip
        compare(gx[:n, place], by[0])
        for j, name_of_state in enumerate(run.states):
            compare(run.states[name_of_state][:n, place], torch.stack([s[j] for s in states]))
            assert run.states[name_of_state][n:, place].abs().sum() == 0
            want = torch.stack(by[1 + j :: len(run.states)])
            compare(gradients[name_of_state][:n, place], want)


def compare(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want.detach(), atol=TOLERANCE, rtol=0)


def test_two_states_that_are_one_value_are_told_apart() -> None:
    layer = layer_of("twins")
    x = torch.randn(STEPS, 1, D, dtype=torch.float64)
    with watch(layer, pushes=True) as seen:
        y, _ = layer(x)
        ((_, gradients),) = seen.gradients(y[-1].sum())
    # 0.5 of the one and -0.25 of the other go on.
    compare(gradients["g"][:-1], -0.5 * gradients["h"][:-1])
    assert gradients["h"][-2].abs().sum() > 0


def test_an_output_that_reads_the_new_state_counts_for_it() -> None:
    layer = layer_of("delayed")
    x = torch.randn(STEPS, 1, D, dtype=torch.float64)
    with watch(layer, pushes=True) as seen:
        y, _ = layer(x)
        ((_, gradients),) = seen.gradients(y[-1].sum())
    # The output is 2 h, and what h was a step ago is the other state.
    torch.testing.assert_close(gradients["h"][-1], torch.full((1, H), 2.0, dtype=torch.float64))
    assert gradients["old"][-1].abs().sum() == 0
    assert gradients["old"][-2].abs().sum() > 0


LAYERS = {
    "recurrent": lambda: unrolled.Recurrent(CELLS["gru"], D, H, 2, bidirectional=True),
    "lstm": lambda: unrolled.LSTM(D, H, 2, bidirectional=True, batch_first=True),
    "torch's kernels": lambda: unrolled.LSTM(D, H, 2, backend="torch"),
    "gru": lambda: unrolled.GRU(D, H),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_watched_layer_gives_what_it_gives(name: str) -> None:
    torch.manual_seed(1)
    layer = LAYERS[name]()
    x = torch.randn(9, 5, D)
    expected, final = layer(x)
    for pushes in (False, True):
        with watch(layer, pushes=pushes) as seen:
            y, states = layer(x)
        assert_near([y, *states], [expected, *final], 2, 9, 5)
        assert len(seen.runs) == layer.num_layers * (2 if layer.bidirectional else 1)
    assert "run_layer" not in vars(layer)


def test_a_reversed_direction_is_seen_in_the_order_of_its_walk() -> None:
    layer = layer_of("gru", bidirectional=True)
    x = torch.randn(STEPS, BATCH, D, dtype=torch.float64)
    with watch(layer) as seen:
        layer(x, lengths=LENGTHS)
    forward, backward = seen.runs
    assert (forward.name, backward.name) == ("recurrent l0", "recurrent l0 reverse")
    for place, k in enumerate([1, 2, 0]):
        n = LENGTHS[k]
        assert torch.equal(forward.x[:n, place], x[:n, k])
        assert torch.equal(backward.x[:n, place], x[:n, k].flip(0))
        assert backward.x[n:, place].abs().sum() == 0


def test_values_of_a_step_are_kept_by_name() -> None:
    layer = layer_of("gru")
    x = torch.randn(STEPS, BATCH, D, dtype=torch.float64)

    def gates(graph: Graph) -> list[str]:
        return [e.out.name for e in graph.equations if e.op == "sigmoid"]

    with watch(layer, gates) as seen:
        layer(x)
    assert set(seen.runs[0].values) == {"r", "z"}
    assert seen.runs[0].values["r"].shape == (STEPS, BATCH, H)


class Odd(nn.Module):
    """A model whose layers are called in a way of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = unrolled.LSTM(D, H), unrolled.GRU(H, H)

    def forward(self, x: Tensor) -> Tensor:
        return self.above(torch.relu(self.below(x)[0]))[0]


def test_gradients_flow_through_all_that_stands_between_layers() -> None:
    torch.manual_seed(0)
    model = Odd().double()
    with watch(model, pushes=True) as seen:
        loss = model(torch.randn(STEPS, BATCH, D).double())[-1].square().sum()
    assert [run.name for run in seen.runs] == ["below l0", "above l0"]
    gradients = seen.gradients(loss)
    assert all(g.abs().sum() > 0 for _, states in gradients for g in states.values())


class Loop(nn.Module):
    """Goes over time itself."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = unrolled.GRU(D, H)

    def forward(self, x: Tensor) -> Tensor:
        outputs, state = [], None
        for at in x:
            y, state = self.gru(at.unsqueeze(0), state)
            outputs.append(y)
        return torch.cat(outputs)


def test_a_layer_in_a_loop_over_time_is_refused_where_its_reach_is_asked_for() -> None:
    x = torch.randn(STEPS, BATCH, D)
    message = (
        "gru l0 ran 7 times in one call of the model: how far states reach is seen where a layer "
        "is given its whole sequence at once"
    )
    for look in (
        lambda m: gradient_flow(m, (x,), lambda y: y[-1].sum()),
        lambda m: jacobians(m, (x,)),
    ):
        with pytest.raises(ModelError) as caught:
            look(Loop())
        assert str(caught.value) == message


def one_error(model: nn.Module, call: Any) -> str:
    with pytest.raises((ModelError, ValueError)) as caught, watch(model) as seen:
        call(seen)
    return str(caught.value)


def test_a_model_without_layers_of_ours_is_told_what_to_do() -> None:
    nothing = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    assert one_error(nothing, lambda _: None) == (
        "there are no recurrent layers to look into: its parts are Linear, Sequential, Tanh"
    )
    stock = nn.ModuleDict({"rnn": nn.LSTM(2, 2)})
    assert one_error(stock, lambda _: None) == (
        "there are no recurrent layers to look into: rnn is torch's own: unrolled.convert(model) "
        "makes it ours"
    )


def test_a_parameter_that_is_no_number_is_named() -> None:
    layer = unrolled.LSTM(D, H)
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0")[0, 0] = float("nan")
    assert one_error(layer, lambda _: None) == (
        f"recurrent.weight_hh_l0 holds 1 numbers that are not finite (of {4 * H * H}): the model "
        "can't be looked into; take an earlier checkpoint"
    )


def test_resets_and_gradients_that_nobody_asked_for_are_refused() -> None:
    layer = layer_of("gru")
    x = torch.randn(STEPS, BATCH, D, dtype=torch.float64)
    resets = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    assert one_error(layer, lambda _: layer(x, resets=resets)) == (
        "recurrent: a sequence that is looked into has no resets: cut it there"
    )

    def gradients(seen: Seen) -> None:
        seen.gradients(layer(x)[0].sum())

    assert one_error(layer, gradients) == "gradients by states: watch(model, pushes=True)"
    assert "run_layer" not in vars(layer)


def test_a_run_is_what_its_docstring_says() -> None:
    described = re.findall(r"^        (\w+):", LayerRun.__doc__ or "", re.MULTILINE)
    assert described == [f for f in LayerRun.__dataclass_fields__ if not f.startswith("_")]
