"""Norms are those of closed forms and of sequences alone; verdicts and errors are as described."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn

import unrolled
from linear_rnns import H, scaled_orthogonal, sequence
from model_rounding import rounding
from tiny_models import TEXT, tiny
from unrolled.cells import CELLS
from unrolled.errors import DataError, ModelError
from unrolled.inspect.gradient_flow import Curve, GradientFlow, gradient_flow
from unrolled.inspect.style import save
from unrolled.inspect.watch import watch
from unrolled.models.classifier import Classifier
from unrolled.models.classifier_config import ClassifierConfig

EPS = torch.finfo(torch.float64).eps


def last(out: Any) -> Tensor:
    return out[0][-1].sum(-1)


@pytest.mark.parametrize(
    ("rho", "verdict"), [(0.9, "vanishing"), (1.0, "healthy"), (1.1, "exploding")]
)
def test_a_linear_network_has_powers_of_rho(rho: float, verdict: str) -> None:
    flow = gradient_flow(scaled_orthogonal(rho), (sequence(60, 4),), last, initial=False)
    (layer,) = flow.layers
    want = H**0.5 * rho ** torch.arange(60, dtype=torch.float64)
    for curve in (layer.together, layer.states["h"]):
        for name in ("mean", "low", "median", "high"):
            got = getattr(curve, name)
            # 60 products of 5 terms.
            torch.testing.assert_close(got, want, atol=0, rtol=60 * 2 * H * EPS)
        assert curve.count.tolist() == [4] * 60
    assert layer.decay.verdict == verdict
    assert layer.decay.rate == pytest.approx(rho, abs=1e-6)
    assert (flow.initial, flow.kept, flow.sequences) == ((), (), 4)


class OfLengths(nn.Module):
    """Two layers, sequences of their own lengths, the last output of each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = unrolled.Recurrent(
            CELLS["lstm"], 3, 4, 2, bidirectional=True, dtype=torch.float64
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y, _ = self.layers(x, lengths=lengths)
        return y[lengths - 1, torch.arange(len(lengths))]


def test_each_sequence_counts_from_its_own_end() -> None:
    model, x, lengths = OfLengths(), sequence(9, 3), torch.tensor([5, 9, 7])
    flow = gradient_flow(model, (x, lengths), lambda y: y.square().sum(-1), initial=False)
    alone = [
        gradient_flow(
            model, (x[:n, k : k + 1], lengths[k : k + 1]), lambda y: y.square().sum(-1),
            initial=False,
        )
        for k, n in enumerate(lengths.tolist())
    ]  # fmt: skip
    assert [layer.name for layer in flow.layers] == [
        "layers l0", "layers l0 reverse", "layers l1", "layers l1 reverse"
    ]  # fmt: skip

    def means() -> Tensor:
        again = gradient_flow(model, (x, lengths), lambda y: y.square().sum(-1), initial=False)
        return torch.cat([c.mean for found in again.layers for c in found.states.values()])

    bound = rounding(model, means, 2 * 2 * 9)  # two layers, nine steps, there and back
    for n, layer in enumerate(flow.layers):
        for state, curve in layer.states.items():
            single = [a.layers[n].states[state].mean for a in alone]
            for d in range(len(curve.mean)):
                norms = [s[d] for s in single if d < len(s)]
                assert int(curve.count[d]) == len(norms)
                want = torch.stack(norms).mean()
                torch.testing.assert_close(curve.mean[d], want, atol=bound, rtol=0)
    # The last output of the upper layer's way back is its first step.
    assert flow.layers[3].decay.verdict == "unknown"
    assert [len(layer.together.mean) for layer in flow.layers] == [9, 9, 9, 1]


def classifier(pooling: Any, bidirectional: bool, layers: int = 2) -> Classifier:
    torch.manual_seed(0)
    config = ClassifierConfig(
        hidden_size=32, num_layers=layers, pooling=pooling, bidirectional=bidirectional
    )
    return Classifier(config, ["a", "b"], ["u", "v", "w"])


def verdicts(model: nn.Module) -> dict[str, tuple[str, str]]:
    x = torch.randn(60, 8, 3, generator=torch.Generator().manual_seed(1))
    flow = gradient_flow(model, (x,), lambda y: y.square().sum(-1), initial=False)
    return {f.name.split(" ", 1)[1]: (f.decay.verdict, f.decay.reason) for f in flow.layers}


def test_a_layer_read_from_both_ends_has_no_verdict() -> None:
    found = verdicts(classifier("last", True))
    other = "which walks the other way, reads its states to the end that is far for this layer"
    assert found["l0"] == ("unknown", f"networks.0.recurrent l1 reverse, {other}")
    assert found["l0 reverse"] == ("unknown", f"networks.0.recurrent l1, {other}")
    assert found["l1"][0] == found["l1 reverse"][0] == "vanishing"
    one_way = verdicts(classifier("last", False))
    assert {verdict for verdict, _ in one_way.values()} == {"vanishing"}


@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
def test_where_every_step_is_pooled_there_is_no_verdict(pooling: str) -> None:
    found = verdicts(classifier(pooling, False))
    why = "the loss reads its states all along the sequence, not at the end alone"
    assert found["l1"] == ("unknown", why)
    below = f"networks.0.recurrent l1 reads its states, of which it is true that {why}"
    assert found["l0"] == ("unknown", below)


def test_layers_in_modules_of_their_own_are_read_through_one_another() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below = scaled_orthogonal(0.9)
            self.above = unrolled.Recurrent(CELLS["elman"], H, 4, dtype=torch.float64)

        def forward(self, x: Tensor) -> Any:
            return self.above(self.below(x)[0])

    flow = gradient_flow(Stack(), (sequence(60, 4),), last, initial=False)
    assert [f.decay.verdict for f in flow.layers] == ["vanishing"] * 2
    every = gradient_flow(Stack(), (sequence(60, 4),), lambda o: o[0].sum((0, 2)), initial=False)
    assert [f.decay.verdict for f in every.layers] == ["unknown"] * 2
    assert every.table()[0]["horizon"] is None


def test_mean_and_quantiles_are_over_the_sequences() -> None:
    torch.manual_seed(0)
    layer = unrolled.Recurrent(CELLS["gru"], 3, 4, dtype=torch.float64)
    x = sequence(8, 11)
    with watch(layer, pushes=True) as seen:
        total = layer(x)[0][-1].sum()
        ((_, gradients),) = seen.gradients(total)
    norms = gradients["h"].norm(dim=-1).flip(0).numpy()
    curve: Curve = gradient_flow(layer, (x,), last, initial=False).layers[0].states["h"]
    # A norm is a root of a sum of 4 squares, a mean a sum of 11; all numbers are above 0.
    bound = (4 + 2 + 11 + 1) * EPS
    np.testing.assert_allclose(curve.mean, norms.mean(1), rtol=bound)
    for name, q in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
        np.testing.assert_allclose(getattr(curve, name), np.quantile(norms, q, axis=1), rtol=bound)


def test_a_text_is_cut_and_its_loss_is_the_next_token() -> None:
    model = tiny(num_layers=1).double()
    text = TEXT * 3 + "hello"
    flow = gradient_flow(model, text, steps=12, initial=False)
    assert flow.sequences == 3
    ids = model.encode(text)
    curves: list[Tensor] = []
    for start in (0, 14, 28):
        with watch(model, pushes=True) as seen:
            logits, _ = model(ids[start : start + 12].unsqueeze(1))
            loss = -logits[-1, 0].log_softmax(-1)[ids[start + 12]]
            ((_, gradients),) = seen.gradients(loss)
        curves.append(gradients["c"][:, 0].norm(dim=-1).flip(0))
    torch.testing.assert_close(flow.layers[0].states["c"].mean, torch.stack(curves).mean(0))


def test_a_short_text_gives_what_it_has_and_a_long_one_64_sequences_of_100() -> None:
    model = tiny(num_layers=1)
    assert len(gradient_flow(model, "hello wo", initial=False).layers[0].together.mean) == 7
    flow = gradient_flow(model, TEXT * 700, initial=False)
    assert flow.sequences == 64
    assert len(flow.layers[0].together.mean) == 100


def test_at_initialisation_it_is_a_copy_drawn_anew() -> None:
    torch.manual_seed(5)
    fresh = unrolled.Recurrent(CELLS["lstm"], 3, 4, 2, dtype=torch.float64)
    layer = unrolled.Recurrent(CELLS["lstm"], 3, 4, 2, dtype=torch.float64)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    generator = torch.get_rng_state()
    x = sequence(6, 2)
    flow = gradient_flow(layer, (x,), last, seed=5)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
    want = gradient_flow(fresh, (x,), last, initial=False)
    for got, known in zip(flow.initial, want.layers, strict=True):
        assert torch.equal(got.together.mean, known.together.mean)
    assert flow.kept == ()
    model_flow = gradient_flow(tiny(), TEXT)
    assert model_flow.kept == ("output_weight", "output_bias")
    assert [row["when"] for row in model_flow.table()] == ["as it is"] * 2 + [
        "at initialisation"
    ] * 2


def test_float32_that_overflows_and_underflows_is_told() -> None:
    def verdict(rho: float) -> str:
        layer = scaled_orthogonal(rho).float()
        x = torch.zeros(100, 2, 3)  # or else the states would overflow too
        return gradient_flow(layer, (x,), last, initial=False).layers[0].decay.verdict

    assert (verdict(10.0), verdict(0.1)) == ("exploding", "vanishing")


def test_progress_ends_at_one() -> None:
    told: list[tuple[str, float]] = []
    gradient_flow(tiny(), TEXT, progress=lambda what, share: told.append((what, share)))
    assert [share for _, share in told] == [0.0, 0.5, 1.0]


def one_error(*args: Any, **options: Any) -> str:
    with pytest.raises((ValueError, TypeError, ModelError, DataError)) as caught:
        gradient_flow(*args, **options)
    return str(caught.value)


def broken() -> unrolled.Recurrent:
    layer = scaled_orthogonal(1.0)
    with torch.no_grad():
        layer.get_parameter("U_l0")[0, 0] = float("nan")
    return layer


X = (sequence(6, 2),)
ERRORS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "a text with a loss": (
        (tiny(), TEXT, last), {},
        "a text brings its own loss, the next token's: leave loss out",
    ),
    "a short text": (
        (tiny(), "hell"), {},
        "the text has 4 characters, fewer than the 5 that were asked for: give a longer text or "
        "ask for fewer",
    ),
    "a sequence shorter than asked": (
        (tiny(), TEXT), {"steps": 12},
        "the text has 12 characters, fewer than the 13 that were asked for: give a longer text or "
        "ask for fewer",
    ),
    "too few steps": ((tiny(), TEXT), {"steps": 3}, "steps must be at least 4, got 3"),
    "steps of tensors": (
        (scaled_orthogonal(1.0), X, last), {"steps": 5},
        "steps= cuts a text; these sequences have their own length",
    ),
    "a text for another model": (
        (scaled_orthogonal(1.0), TEXT), {},
        "text is read by a LanguageModel, this is a Recurrent: give the tensor that the model is "
        "called with instead of a text",
    ),
    "no loss": (
        (scaled_orthogonal(1.0), X), {},
        "expected loss=, a function from the model's output to one number for each sequence",
    ),
    "a bare tensor": (
        (scaled_orthogonal(1.0), X[0], last), {},
        "expected a text, or the model's arguments in a tuple, (x,) for one; got Tensor",
    ),
    "no steps": (
        (scaled_orthogonal(1.0), (X[0][:0],), last), {},
        "argument 1 of the model is empty, [0, 2, 3]: give one sequence or more, of one step or "
        "more",
    ),
    "no sequences": (
        (scaled_orthogonal(1.0), (X[0][:, :0],), last), {},
        "argument 1 of the model is empty, [6, 0, 3]: give one sequence or more, of one step or "
        "more",
    ),
    "a loss of many numbers": (
        (scaled_orthogonal(1.0), X, lambda out: out[0]), {},
        "loss must give one number for each sequence [B], or one, got [6, 2, 5]",
    ),
    "a loss that is no tensor": (
        (scaled_orthogonal(1.0), X, lambda out: 1.0), {}, "loss must give a tensor, got float"
    ),
    "a detached loss": (
        (scaled_orthogonal(1.0), X, lambda out: out[0][-1].sum().detach()), {},
        "the loss does not hang on any state: is it detached?",
    ),
    "a loss of no state": (
        (scaled_orthogonal(1.0), X, lambda out: 0 * out[0][-1].sum()), {},
        "the loss does not hang on any state: is it one of the last step?",
    ),
    "a loss that is NaN": (
        (scaled_orthogonal(1.0), X, lambda out: out[0][-1].sum(-1) * torch.tensor([1, np.nan])), {},
        "the loss is not finite for 1 of 2 sequences",
    ),
    "a NaN parameter": (
        (broken(), X, last), {},
        "recurrent.U_l0 holds 1 numbers that are not finite (of 25): the model can't be looked "
        "into; take an earlier checkpoint",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_gets_one_line(name: str) -> None:
    args, options, message = ERRORS[name]
    assert one_error(*args, **options) == message


def test_what_is_computed_from_parameters_can_not_be_drawn_anew() -> None:
    layer = scaled_orthogonal(1.0)
    torch.nn.utils.parametrize.register_parametrization(layer, "U_l0", nn.Identity())
    assert one_error(layer, X, last) == (
        "the model can't be drawn anew (U_l0 is computed from other parameters: take its "
        "parametrization or pruning off before reset_parameters()): pass initial=False"
    )
    assert gradient_flow(layer, X, last, initial=False).layers[0].decay.rate == pytest.approx(1)


def test_the_picture_shows_the_means_and_has_units(tmp_path: Path) -> None:
    flow: GradientFlow = gradient_flow(tiny(), TEXT * 3)
    figure = flow.plot()
    assert imread(save(figure, tmp_path / "flow.png")).shape[1] == 800
    assert len(figure.axes) == 2
    for axes, layer in zip(figure.axes, flow.layers, strict=True):
        for line, curve in zip(axes.lines, layer.states.values(), strict=False):
            np.testing.assert_array_equal(line.get_ydata(), curve.mean)
        assert axes.get_title() == f"{layer.name}: {layer.decay.verdict}"
        assert axes.get_ylabel() == "gradient norm\n(loss per unit of state)"
    assert figure.axes[-1].get_xlabel() == "distance from the end (steps)"


def test_forgetting_most_and_keeping_some_is_healthy() -> None:
    torch.manual_seed(0)
    layer = unrolled.Recurrent(CELLS["lstm"], 3, 32, dtype=torch.float64)
    with torch.no_grad():
        bias = layer.get_parameter("b_hh_l0")
        bias[32:64] = 0.0  # forget gates about a half, and four that keep 98 %
        bias[32:36] = 4.0
    flow = gradient_flow(layer, (sequence(100, 8),), last, initial=False)
    found = flow.layers[0].decay
    assert found.verdict == "healthy"
    assert 0.93 < found.rate < 0.99
    assert found.horizon is not None
