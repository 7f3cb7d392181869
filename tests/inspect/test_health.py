"""Each rule speaks where it should and alone, and what units do is counted as a plain loop does."""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unrolled
from unrolled.cells import CELLS
from unrolled.errors import DataError, ModelError
from unrolled.inspect.health import health
from unrolled.inspect.health_rules import RULES
from unrolled.inspect.units import Units, units

Records = list[dict[str, Any]]
LINES = 50


def run(
    loss: Callable[[float], float] = lambda t: 3 - 2 * (1 - math.exp(-8 * t)),
    validation: Callable[[float], float] | None = None,
    **figures: Callable[[float], float],
) -> Records:
    """A run that goes well but for what is given, each a function of the time from 0 to 1.

    The loss has a noise of 0.01, which is always the same.
    """
    noise = random.Random(0)
    usual: dict[str, Callable[[float], float]] = {
        "learning_rate": lambda t: 0.004,
        "gradient_norm": lambda t: 0.5,
        "clipped_gradient_norm": lambda t: 0.5,
        "clipped": lambda t: 0.02,
        "update_ratio": lambda t: 1e-3,
    }
    records: Records = []
    for k in range(LINES):
        t = k / (LINES - 1)
        record = {name: of(t) for name, of in {**usual, **figures}.items()}
        value = loss(t) + noise.gauss(0, 0.01)
        records.append({"step": 10 * (k + 1), "split": "train", "loss": value, **record})
        if validation is not None and k % 5 == 4:
            records.append({"step": 10 * (k + 1), "split": "validation", "loss": validation(t)})
    return records


# For each rule a run that calls for it alone, and all that it says.
FALLS = lambda t: 3 - 2 * (1 - math.exp(-8 * t))
CASES: dict[str, tuple[Records, str]] = {
    "not finite": (
        run(lambda t: math.nan if t > 0.9 else FALLS(t)),
        "The loss was nan at step 460 with a learning rate of 0.004: lower the learning rate, "
        "lengthen the warmup, or clip at a smaller norm.",
    ),
    "too few lines": (
        run()[:4],
        "The run has 4 lines of metrics in 40 steps, and below 5 there are too few to say how it "
        "went: log more often (--log-every 2), or train longer.",
    ),
    "diverged": (
        run(lambda t: FALLS(t) + 40 * max(0.0, t - 0.6) ** 2),
        "The training loss rose to 4.94 in the last fifth of the lines, from 1.04 in fifth 3: the "
        "learning rate (at most 0.004) is too high; try a third of it, or a schedule that falls.",
    ),
    "not learning": (
        run(lambda t: 3.0),
        "The training loss did not fall in 500 steps (3 in the first fifth of the lines, 3.01 in "
        "the last): with a learning rate of 0.004 nothing is learned; try ten times as much and a "
        "tenth, and look at the gradient flow.",
    ),
    "still falling": (
        run(lambda t: 3 - 2 * t),
        "The training loss still fell by 0.4 in the last fifth of the lines, 25 % of all that it "
        "fell: train longer than 500 steps.",
    ),
    "overfitting": (
        run(validation=lambda t: 2 + (t - 0.5) ** 2 * 4),
        "The validation loss was best at step 250 (2) and rose to 3 by step 500, while the "
        "training loss went on to 1.027: more data, more dropout or weight decay, a smaller model, "
        "or an earlier end (--patience).",
    ),
    "learning rate high": (
        run(update_ratio=lambda t: 0.05),
        "An update changes the weights by 0.05 of their size (median), where 0.001 is usual: the "
        "learning rate of 0.004 is high; try 8e-05.",
    ),
    "learning rate low": (
        run(update_ratio=lambda t: 2e-5),
        "An update changes the weights by 2e-05 of their size (median), where 0.001 is usual: the "
        "learning rate of 0.004 is low; try 0.2.",
    ),
    "clips often": (
        run(
            gradient_norm=lambda t: 4.0, clipped_gradient_norm=lambda t: 1.0, clipped=lambda t: 0.9
        ),
        "In the second half 90 % of the updates were clipped: the gradient norm is 4 before it on "
        "average and 1 after. Clipping is for the exception: raise --clip above 4, or lower the "
        "learning rate if the loss is unsteady.",
    ),
    "jumps": (
        run(gradient_norm=lambda t: 40.0 if 0.6 < t < 0.63 else 0.5, clipped=lambda t: 0.0),
        "The gradient norm jumped to 40 by step 310, 80 times its median, and nothing was clipped: "
        "try --clip 1.",
    ),
    "no gradient": (
        run(gradient_norm=lambda t: 1e-8, clipped_gradient_norm=lambda t: 1e-8),
        "The gradient norm is 1e-08 (median of the second half): hardly anything reaches the "
        "parameters. Look for units that do nothing, and at the gradient flow.",
    ),
}


def layer(cell: Any, fill: Mapping[str, float]) -> unrolled.Recurrent:
    """A layer of 8 units, of whose second bias the first so many hold a number."""
    torch.manual_seed(0)
    made = unrolled.Recurrent(cell, 3, 8)
    for name, value in fill.items():
        with torch.no_grad():
            start = {"i": 0, "f": 8, "h": 0}[name]
            made.get_parameter("b_hh_l0")[start : start + 4] = value
    return made


X = torch.randn(40, 5, 3, generator=torch.Generator().manual_seed(0))
UNIT_CASES: dict[str, tuple[unrolled.Recurrent, str]] = {
    "saturated tanh": (
        layer(CELLS["rnn"], {"h": 20.0}),
        "Units of tanh are beyond ±0.99 nearly always and pass hardly any gradient: 4 of 8 in h of "
        "recurrent l0. Smaller starting weights, a lower learning rate, or layer normalisation.",
    ),
    "dead relu": (
        layer(CELLS["rnn"].bind(nonlinearity="relu"), {"h": -20.0}),
        "Units of relu are 0 nearly always and learn nothing: 5 of 8 in h of recurrent l0. A lower "
        "learning rate, larger starting biases, or a recurrent matrix that starts as the identity.",
    ),
    "shut gates": (
        layer(CELLS["lstm"], {"i": -20.0}),
        "Gates are shut (below 0.01) nearly always: 4 of 8 in i of recurrent l0. What they let in "
        "or keep is lost; try a higher starting bias of the gate, or a lower learning rate.",
    ),
    "open gates": (
        layer(CELLS["lstm"], {"i": 20.0}),
        "Gates are open (above 0.99) nearly always: 4 of 8 in i of recurrent l0. Where such a gate "
        "keeps a state, that state never forgets, which may be meant; else a lower starting bias "
        "of the gate.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_speaks_alone(name: str) -> None:
    records, text = CASES[name]
    assert [(a.name, str(a)) for a in health(records).advice] == [(name, text)]


@pytest.mark.parametrize("name", UNIT_CASES)
def test_a_rule_of_units_speaks_alone(name: str) -> None:
    model, text = UNIT_CASES[name]
    assert [(a.name, str(a)) for a in health(run(), model, X).advice] == [(name, text)]


def test_each_rule_has_its_case() -> None:
    assert [rule.name for rule in RULES] == [*CASES, *UNIT_CASES]


@pytest.mark.parametrize("count", range(1, 8))
def test_of_fewer_than_five_lines_nothing_else_is_said(count: int) -> None:
    found = health(run(gradient_norm=lambda t: 1e-9, update_ratio=lambda t: 0.5)[:count])
    if count >= 5:
        assert [a.name for a in found.advice] == ["learning rate high", "no gradient"]
        assert found.verdict == "Worth a look"
    else:
        assert [a.name for a in found.advice] == ["too few lines"]
        assert found.verdict == "Too few lines to say"
    assert health(run()[: 2 + count]).verdict == (
        "Healthy" if 2 + count >= 5 else "Too few lines to say"
    )


def test_a_loss_that_broke_and_units_are_said_of_a_single_line_too() -> None:
    broke = run(lambda t: math.nan if t > 0.03 else 3.0)[:4]
    assert [a.name for a in health(broke).advice] == ["not finite"]
    assert health(broke).verdict == "Worth a look"
    found = health(run()[:1], UNIT_CASES["dead relu"][0], X)
    assert [a.name for a in found.advice] == ["too few lines", "dead relu"]
    assert found.verdict == "Too few lines to say"


def test_a_run_that_broke_at_once_with_validations_can_be_read() -> None:
    records = run(lambda t: math.inf, validation=lambda t: 2 + t)
    assert [a.name for a in health(records).advice] == ["not finite"]


def test_few_points_are_marked_over_whole_steps() -> None:
    def drawn(records: Records) -> Any:
        figure = health(records).plot()
        figure.canvas.draw()
        return figure.axes[0]

    for count in (1, 2, 3):
        axes = drawn([{**record, "step": k + 1} for k, record in enumerate(run()[:count])])
        assert axes.lines[0].get_marker() == "o"
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
        assert axes.get_xlim()[0] == 0
        assert axes.get_xlim()[1] >= count
    assert drawn(run()).lines[0].get_marker() in ("", "None")


def test_a_run_that_goes_well_needs_nothing() -> None:
    found = health(run(validation=FALLS))
    assert found.advice == ()
    by_name = {row["what"]: row for row in found.table()}
    assert by_name["update-to-weight ratio"] == {
        "what": "update-to-weight ratio", "first": "0.001", "middle": "0.001", "last": "0.001",
    }  # fmt: skip
    assert by_name["validation loss"]["last"] == "1.001"
    assert by_name["share of updates clipped"]["middle"] == "2.0%"


def test_the_end_of_a_schedule_is_no_low_rate() -> None:
    cosine = lambda t: 0.5 + 0.5 * math.cos(math.pi * t)
    records = run(
        learning_rate=lambda t: 0.004 * cosine(t), update_ratio=lambda t: 1e-3 * cosine(t)
    )
    assert health(records).advice == ()


def test_lines_of_an_older_version_lack_figures() -> None:
    old = [
        {k: v for k, v in r.items() if k not in ("clipped_gradient_norm", "update_ratio")}
        for r in run(clipped=lambda t: 0.9, gradient_norm=lambda t: 4.0)
    ]
    found = health(old)
    assert [row["what"] for row in found.table()] == [
        "training loss", "learning rate", "gradient norm before clipping",
        "share of updates clipped",
    ]  # fmt: skip
    assert "4 before it on average. Clipping" in str(found.advice[0])
    assert found.plot().axes


def written(directory: Path, content: str, settings: str | None = None) -> Path:
    (directory / "training").mkdir(parents=True)
    (directory / "training" / "metrics.jsonl").write_text(content)
    if settings is not None:
        (directory / "training" / "settings.json").write_text(settings)
    return directory


def lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_a_directory_has_the_clip_and_a_line_that_is_being_written(tmp_path: Path) -> None:
    content = lines(CASES["clips often"][0]) + '{"step": 5'
    found = health(written(tmp_path / "run", content, '{"options": {"clip": 1.0}}'))
    assert len(found.course.lines) == LINES
    assert "90 % of the updates were clipped at 1: " in str(found.advice[0])


def test_what_can_not_be_read(tmp_path: Path) -> None:
    def error(run: Any) -> str:
        with pytest.raises(DataError) as caught:
            health(run)
        return str(caught.value)

    path = tmp_path / "none" / "training" / "metrics.jsonl"
    assert error(tmp_path / "none") == (
        f"{tmp_path / 'none'} holds no run: can't read {path}: No such file or directory"
    )
    assert error(written(tmp_path / "a", "{}\n")) == (
        f"{tmp_path / 'a' / 'training' / 'metrics.jsonl'} is damaged: KeyError: 'split'"
    )
    assert error(written(tmp_path / "b", "")) == (
        f"{tmp_path / 'b' / 'training' / 'metrics.jsonl'} has no figures yet: the run has not come "
        "to its first line"
    )
    assert error(written(tmp_path / "c", lines(run()), "[]")).startswith(
        f"{tmp_path / 'c' / 'training' / 'settings.json'} is damaged: TypeError: "
    )
    assert error([]) == "the metrics has no figures yet: the run has not come to its first line"


def test_a_model_and_its_input_belong_together() -> None:
    with pytest.raises(TypeError) as caught:
        health(run(), UNIT_CASES["dead relu"][0])
    assert str(caught.value) == (
        "health(run, model, x): what units do takes both a model and its input"
    )
    with pytest.raises(ModelError, match="there are no recurrent layers"):
        health(run(), nn.Linear(3, 3), X)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "lstm_layer_norm", "leaky_rnn", "sru"])
def test_units_are_those_of_a_plain_count(name: str) -> None:
    """Against the activations that hooks on torch's functions see, in a plain loop over time."""
    torch.manual_seed(1)
    made = unrolled.Recurrent(CELLS[name], 3, 6)
    with torch.no_grad():
        for name_of, parameter in made.named_parameters():
            parameter *= 6
            if parameter.ndim == 1 and name_of.startswith("b"):
                parameter[::4] = 60
                parameter[1::4] = -60
    lengths = [7, 20, 13]
    x = torch.randn(20, 3, 3)
    found = units(_WithLengths(made, lengths), x)
    seen: dict[int, list[torch.Tensor]] = {}
    parameters = {n: getattr(made, f"{n}_l0").detach() for n in made.cell.parameters}
    for k, length in enumerate(lengths):
        states = tuple(s[0, 0] for s in made.initial_state(1))
        for t in range(length):
            _, states, values = _step(made, x[t, k], states, parameters)
            for place, value in enumerate(values):
                seen.setdefault(place, []).append(value)
    expected: list[tuple[int, int, int]] = []
    for values in seen.values():
        stacked = torch.stack([v for v, _ in values])  # type: ignore[misc]
        low, high = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99)}[values[0][1]]  # type: ignore
        ends = stacked <= low, stacked >= high, (stacked <= low) | (stacked >= high)
        expected.append(tuple(int((e.double().mean(0) >= 0.99).sum()) for e in ends))  # type: ignore
    assert [(u.low, u.high, u.either) for u in found] == expected
    assert any(sum(counts) for counts in expected)


class _WithLengths(nn.Module):
    def __init__(self, layer: unrolled.Recurrent, lengths: list[int]) -> None:
        super().__init__()
        self.recurrent, self.lengths = layer, lengths

    def forward(self, x: torch.Tensor) -> Any:
        return self.recurrent(x, lengths=self.lengths)


def _step(made: unrolled.Recurrent, x: Any, states: Any, parameters: Any) -> Any:
    """One step by torch's own functions, with what tanh and sigmoid gave, in their order."""
    from torch.overrides import TorchFunctionMode

    from unrolled.returned import unpack

    values: list[Any] = []

    class Keep(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            out = func(*args, **(kwargs or {}))
            if getattr(func, "__name__", "") in ("tanh", "sigmoid"):
                values.append((out, func.__name__))
            return out

    with Keep():
        y, after, _ = unpack(made.cell(x, *states, **parameters), len(states))
    return y, after, values


def test_a_picture_has_a_panel_for_each_figure() -> None:
    found = health(run(validation=FALLS), UNIT_CASES["shut gates"][0], X)
    assert [axes.get_ylabel() for axes in found.plot().axes] == [
        "loss (nats per target)", "gradient norm", "share of updates clipped",
        "update-to-weight ratio", "activation, layer",
    ]  # fmt: skip
    assert all(axes.get_xlabel() for axes in found.plot().axes)
    assert found.units[0] == Units("recurrent l0", "i", "sigmoid", 8, 4, 0, 4)
    assert [u.value for u in found.units] == ["i", "f", "g", "o", "tanh(c)"]


def test_a_run_that_broke_at_once_can_be_shown() -> None:
    found = health(run(lambda t: math.inf))
    assert [a.name for a in found.advice] == ["not finite"]
    assert found.table() == []
    assert found.plot().axes
