"""Which parameter has which shape: the notes' tables for RNN, LSTM and GRU, read off real layers.

The notes write one matrix a gate; the layers, like torch's, keep the gates of a kind stacked in one
parameter, so each is cut into its gates here.
"""

from __future__ import annotations

from torch import nn

from unrolled.data.vocabulary import Vocabulary
from unrolled.models.language_model import LanguageModel, LanguageModelConfig
from unrolled.nn import GRU, LSTM

HIDDEN, EMBED = 5, 3
VOCABULARY = Vocabulary.build(["ab"], "char")
VOCAB = len(VOCABULARY)

Shapes = dict[str, tuple[int, ...]]


def rnn_shapes() -> Shapes:
    """The simple network on one-hot vectors, with its output, by the notes' names."""
    config = LanguageModelConfig("rnn", embedding_size=0, hidden_size=HIDDEN)
    parameters = dict(LanguageModel(config, VOCABULARY).named_parameters())
    names = {
        "W_xh": "recurrent.weight_ih_l0",
        "W_hh": "recurrent.weight_hh_l0",
        "b_h": "recurrent.bias_ih_l0",
        "W_hy": "output_weight",
        "b_y": "output_bias",
    }
    return {name: tuple(parameters[ours].shape) for name, ours in names.items()}


def gate_shapes(layer: nn.Module, gates: str) -> Shapes:
    """Each gate's parameters: W_i* on the input, W_h* on the state, b_i* and b_h*."""
    parameters = dict(layer.named_parameters())
    return {
        f"{letter}_{side}{gate}": tuple(piece.shape)
        for letter, kind in (("W", "weight"), ("b", "bias"))
        for side in "ih"
        for gate, piece in zip(
            gates, parameters[f"{kind}_{side}h_l0"].chunk(len(gates)), strict=True
        )
    }


def show(title: str, shapes: Shapes) -> None:
    print(title)
    for name, shape in shapes.items():
        print(f"  {name:<5} {' × '.join(map(str, shape))}")


def main() -> None:
    print(f"hidden_size {HIDDEN}, embed_dim {EMBED}, vocab_size {VOCAB}")
    assert VOCAB == 4

    rnn = rnn_shapes()
    show("RNN on one-hot vectors", rnn)
    assert rnn == {
        "W_xh": (HIDDEN, VOCAB),
        "W_hh": (HIDDEN, HIDDEN),
        "b_h": (HIDDEN,),
        "W_hy": (VOCAB, HIDDEN),
        "b_y": (VOCAB,),
    }

    for title, layer, gates in (
        ("LSTM", LSTM(EMBED, HIDDEN), "ifgo"),
        ("GRU", GRU(EMBED, HIDDEN), "rzn"),
    ):
        shapes = gate_shapes(layer, gates)
        show(title, shapes)
        assert len(shapes) == 4 * len(gates)
        for gate in gates:
            assert shapes[f"W_i{gate}"] == (HIDDEN, EMBED)
            assert shapes[f"W_h{gate}"] == (HIDDEN, HIDDEN)
            assert shapes[f"b_i{gate}"] == shapes[f"b_h{gate}"] == (HIDDEN,)


if __name__ == "__main__":
    main()
