"""What layers are said to compute: their parameters and costs are those of the closed forms."""

import pytest
import torch
from torch import nn

import unrolled
from unrolled.cells import CELLS
from unrolled.errors import ModelError
from unrolled.inspect import equations
from unrolled.inspect.cost import Cost, Count, cost
from unrolled.inspect.mathml import mathml
from unrolled.latex import latex

D, H, P = 5, 7, 3
NONE = Count()


def of(name: str, **others: int) -> Cost:
    return cost(CELLS[name].graph({"D": D, "H": H, **others}))


def test_a_simple_network_costs_what_it_must() -> None:
    # W_ih x + b before, b = b_ih + b_hh once; in the loop W_hh h, one sum and tanh.
    assert of("rnn") == Cost(Count(H * D, H, 0), Count(H * H, H, H), NONE, Count(elementwise=H))


def test_an_lstm_costs_what_it_must() -> None:
    # In the loop: four sums, f ⊙ c + i ⊙ g, o ⊙ tanh c; σ three times and tanh twice.
    assert of("lstm") == Cost(
        Count(4 * H * D, 4 * H, 0),
        Count(4 * H * H, 4 * H + 3 * H + H, 5 * H),
        NONE,
        Count(elementwise=4 * H),
    )


def test_a_gru_costs_what_it_must() -> None:
    # r and z have one sum each; n has b_hn, r ⊙ and a sum; (1 − z) ⊙ n + z ⊙ h is four more. Before
    # the loop one bias for each row of W x; the biases of r and z are added up once a call.
    assert of("gru") == Cost(
        Count(3 * H * D, 3 * H, 0),
        Count(3 * H * H, 2 * H + 3 * H + 4 * H, 3 * H),
        NONE,
        Count(elementwise=2 * H),
    )


def test_the_concatenated_form_costs_the_same_products() -> None:
    assert of("lstm_concat").before.multiply_adds == of("lstm").before.multiply_adds
    assert of("lstm_concat").loop == of("lstm").loop


def test_what_is_projected_and_put_out_is_counted_where_it_runs() -> None:
    projected = of("lstm_projected", P=P)
    assert projected.loop.multiply_adds == 4 * H * P + P * H
    assert of("elman_output", O=P).after == Count(P * H, P, 0)


def test_a_linear_cell_has_no_product_in_the_loop() -> None:
    # (1 − z) ⊙ h + z ⊙ h̃: what does not hold h is there before.
    found = of("mingru")
    assert found.loop == Count(0, 2 * H, 0)
    assert found.before.multiply_adds == 2 * H * D


def test_reductions_count_what_they_add_up() -> None:
    @unrolled.cell
    def mean(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return h * 0.5 + x.mean(-1, keepdim=True)

    found = cost(mean.graph({"D": D, "H": H}))
    assert found.before == Count(elementwise=D)
    assert found.loop == Count(elementwise=2 * H)


def test_a_step_is_the_sum_of_its_places() -> None:
    found = of("elman_output", O=P)
    assert found.step == Count(H * D + H * H + P * H, H + H + P, H)
    assert found.step.others == H + H + P + H


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_torchs_layers_are_told_layer_by_layer(kind: str) -> None:
    layer = getattr(unrolled, kind)(D, H, 2, bidirectional=True)
    lower, upper = equations(layer)
    assert (lower.name, upper.name) == ("recurrent l0", "recurrent l1")
    assert (lower.sizes, upper.sizes) == ({"D": D, "H": H}, {"D": 2 * H, "H": H})
    assert lower.directions == 2
    assert lower.count + upper.count == sum(p.numel() for p in layer.parameters())
    n = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    assert lower.cost.before.multiply_adds == n * H * D
    assert upper.cost.before.multiply_adds == n * H * 2 * H
    assert upper.cost.loop.multiply_adds == n * H * H


def test_the_equations_are_those_of_the_graph() -> None:
    (layer,) = equations(unrolled.Recurrent(CELLS["gru"], D, H))
    assert layer.cell == "gru"
    assert layer.latex == latex(CELLS["gru"].graph({"D": D, "H": H}))
    assert layer.mathml == mathml(layer.latex)


def test_the_tables_name_and_count_everything() -> None:
    layers = equations(unrolled.Recurrent(CELLS["lstm_one_bias"], D, H, learn_initial=True))
    assert layers[0].table() == [
        {
            "layer": "recurrent l0", "parameter": name, "shape": shape, "sizes": sizes,
            "numbers": count, "shared over time": shared,
        }
        for name, shape, sizes, count, shared in [
            ("W", "4*H × D", f"{4 * H} × {D}", 4 * H * D, True),
            ("U", "4*H × H", f"{4 * H} × {H}", 4 * H * H, True),
            ("b", "4*H", f"{4 * H}", 4 * H, True),
            ("initial_h", "H", f"{H}", H, False),
            ("initial_c", "H", f"{H}", H, False),
        ]
    ]  # fmt: skip
    in_loop = layers[0].cost_table()[1]
    assert in_loop == {
        "layer": "recurrent l0", "where": "in the loop", "multiply-adds": 4 * H * H,
        "elementwise": 8 * H, "functions": 5 * H,
    }  # fmt: skip


def test_every_recurrent_part_of_a_model_is_told() -> None:
    model = nn.ModuleDict(
        {
            "encoder": unrolled.GRU(D, H, dtype=torch.float64),
            "out": nn.Linear(H, D),
            "decoder": unrolled.Recurrent([CELLS["mgu"], CELLS["lstm"]], D, [H, P]),
        }
    )
    layers = equations(model)
    assert [(layer.name, layer.cell) for layer in layers] == [
        ("encoder l0", "gru"),
        ("decoder l0", "mgu"),
        ("decoder l1", "lstm"),
    ]
    assert layers[2].sizes == {"D": H, "H": P}


def test_a_model_without_recurrent_layers_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^there are no recurrent layers to look into: "):
        equations(nn.Linear(D, H))
