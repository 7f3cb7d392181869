"""Pictures of gates and units: axes with units, what they say is what was measured, any letters."""

import math
from typing import Any

import pytest
import torch

import unrolled
from tiny_models import TEXT, tiny
from unrolled.cells import CELLS
from unrolled.data.vocabulary import Vocabulary
from unrolled.inspect.gates import gates
from unrolled.inspect.neurons import Unit, neurons
from unrolled.inspect.pictures.gates import PICTURES
from unrolled.inspect.pictures.pieces import printable
from unrolled.inspect.style import svg

pytest.importorskip("matplotlib")

ODD = "👩‍💻🙂 שלום \\ $x$ <script>\n\tעולם _^{\n"


def shown_axes(figure: Any) -> list[Any]:
    return [a for a in figure.axes if a.get_visible()]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("kind", ["char", "word"])
def test_gates_are_drawn_over_any_letters(picture: str, kind: Any) -> None:
    model = tiny("lstm", vocabulary=Vocabulary.build([ODD], kind))
    figure = gates(model, ODD * 4).plot(picture)
    assert figure.get_figwidth() * figure.dpi == pytest.approx(800)
    labels = [a.get_xlabel() for a in figure.axes] + [str(figure.get_supxlabel())]
    assert any(labels)
    assert "<svg" in svg(figure)


def test_a_histogram_shows_the_counts() -> None:
    found = gates(tiny("gru", num_layers=1), TEXT)
    (axes,) = shown_axes(found.plot("histograms"))
    for gate, stairs in zip(found.gates, axes.patches[2:], strict=True):
        share = gate.counts.double() / gate.counts.sum()
        assert stairs.get_data().values.tolist() == share.tolist()
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["r", "z (keeps h)"]


def test_a_scatter_has_a_point_for_each_unit_of_each_layer() -> None:
    found = gates(tiny("lstm"), TEXT)
    axes = shown_axes(found.plot("saturation"))
    assert sorted(a.get_title() for a in axes) == ["gate f", "gate i", "gate o"]
    for a in axes:
        gate = [g for g in found.gates if a.get_title() == f"gate {g.name}"]
        for g, line in zip(gate, a.lines, strict=False):
            assert line.get_xdata().tolist() == g.low.tolist()
            assert line.get_ydata().tolist() == g.high.tolist()


def test_units_that_never_fade_are_told_beside_the_histogram() -> None:
    layer = unrolled.Recurrent(CELLS["lstm_one_bias"], 2, 4)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.get_parameter("b_l0")[4:8] = torch.tensor([50.0, 0.0, 0.0, 0.0])
    found = gates(layer, torch.randn(5, 1, 2))
    (axes,) = shown_axes(found.plot("time constants"))
    assert axes.get_title() == "recurrent l0: state c, kept by f; 1 unit never fades"
    assert sum(bar.get_height() for bar in axes.patches) == 3
    assert axes.get_legend().get_texts()[0].get_text() == "median 1.44 steps"
    with torch.no_grad():
        layer.get_parameter("b_l0")[4:8] = 50
    (axes,) = shown_axes(gates(layer, torch.randn(5, 1, 2)).plot("time constants"))
    assert axes.get_title().endswith("4 units never fade")


def test_what_can_not_be_drawn_is_told() -> None:
    found = gates(tiny("rnn"), TEXT)
    for name in PICTURES:
        with pytest.raises(ValueError, match="nothing to draw") as caught:
            found.plot(name)
        missing = "states that are kept by a share" if name == "time constants" else "gates"
        assert str(caught.value) == (
            f"there is nothing to draw: the model's cells have no {missing}"
        )
    with pytest.raises(ValueError, match="expected one of histograms, ") as caught:
        found.plot("pie")
    assert str(caught.value) == (
        "expected one of histograms, saturation, time constants, heat map, got 'pie'"
    )
    seen = neurons(tiny(), TEXT)
    with pytest.raises(ValueError, match=r"^expected heat map or text, got 'pie'$"):
        seen.plot("pie")
    with pytest.raises(ValueError, match=r"^there is no unit recurrent l0 h\[6\]$"):
        seen.plot("text", Unit("recurrent l0", "h", 6))
    with pytest.raises(ValueError, match=r"^there is no unit other h\[0\]$"):
        seen.plot("text", Unit("other", "h", 0))


@pytest.mark.parametrize("picture", ["heat map", "text"])
@pytest.mark.parametrize("kind", ["char", "byte", "word"])
def test_units_are_drawn_over_any_letters(picture: str, kind: Any) -> None:
    model = tiny("lstm", vocabulary=Vocabulary.build([ODD], kind))
    figure = neurons(model, ODD * 4).plot(picture)
    assert figure.get_figwidth() * figure.dpi == pytest.approx(800)
    assert "<svg" in svg(figure)


def test_a_character_stands_on_its_units_activation() -> None:
    model = tiny("gru", num_layers=1)
    seen = neurons(model, TEXT * 3)
    unit = Unit("recurrent l0", "h", 2)
    axes = shown_axes(seen.plot("text", unit))[0]
    values = seen.values(unit)
    ground = axes.images[0].get_array()
    assert ground[1, :12].tolist() == pytest.approx(values[12:24].tolist())
    assert ground.mask[1, 12:].all()
    assert "".join(t.get_text() for t in axes.texts if t.get_position()[1] == 0) == "helloworld⏎"


def test_characters_of_a_word_stand_on_the_words_activation() -> None:
    text = "hello you\n"
    seen = neurons(tiny(vocabulary=Vocabulary.build([text], "word")), text)
    unit = Unit("recurrent l1", "c", 0)
    ground = shown_axes(seen.plot("text", unit))[0].images[0].get_array()
    first, second, end = seen.values(unit).tolist()
    assert ground[0, :10].tolist() == pytest.approx([first] * 5 + [second] * 4 + [end])


def test_a_unit_that_is_always_zero_and_a_single_token_are_drawn() -> None:
    model = tiny("gru")
    with torch.no_grad():
        for p in model.recurrent.parameters():
            p.zero_()
    seen = neurons(model, "h")
    assert not math.isnan(float(seen.states["recurrent l0", "h"].sum()))
    for picture in ("heat map", "text"):
        assert "<svg" in svg(seen.plot(picture))


def test_pieces_are_shown_by_what_the_font_has() -> None:
    shown = [
        "a",
        " the",
        "\n",
        "\t",
        "$x$",
        "🙂",
        "\x07",
        "e\u0301",
        "q\u0301",
        "longer than that",
        "",
    ]
    assert [printable(p) for p in shown] == [
        "a", "␣the", "⏎", "⇥", r"\$x\$", "□", "□", "é", "q", "longer␣…", ""
    ]  # fmt: skip
