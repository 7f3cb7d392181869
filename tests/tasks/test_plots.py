"""What is drawn is what was given; each picture is 800 pixels wide, and the same each time."""

import builtins
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from unrolled.errors import UserError
from unrolled.inspect.style import save
from unrolled.tasks import plots
from unrolled.tasks.confusion import Confusion
from unrolled.tasks.curves import Curve

CURVES = [
    Curve("loss", "train", (10, 20, 30), (3.0, 2.0, 1.0)),
    Curve("loss", "validation", (10, 30), (2.5, 1.5)),
    Curve("accuracy", "validation", (10, 30), (0.5, 0.75)),
    Curve("gradient_norm", "train", (10, 20, 30), (1.0, 1.0, 1.0)),
]
FORECAST: dict[str, Any] = {
    "value": "CO₂ (ppm)",
    "time": "time (a value every week)",
    "series": [
        {
            "name": "the series",
            "observed": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            "times": [f"2001-01-{day:02d}" for day in range(1, 50, 7)],
            "windows": [
                {"start": 3, "quantiles": {"0.9": [4.5, 5.5], "0.5": [4, 5], "0.1": [3.5, 4.5]}},
                {"start": 5, "quantiles": {"0.9": [6.5, 7.5], "0.5": [6, 8], "0.1": [5.5, 6.5]}},
            ],
        }
    ],
}
TWO = {**FORECAST, "series": [{**FORECAST["series"][0], "name": name} for name in "ab"]}


def confusion(k: int) -> Confusion:
    draw = np.random.default_rng(k)
    counts = draw.integers(0, 3, (k, k)) + np.diag(draw.integers(1, 90, k))
    return Confusion(tuple(f"class ${i}" for i in range(k)), counts)


PICTURES: dict[str, Callable[[], Figure]] = {
    "a confusion matrix": lambda: plots.confusion_matrix(confusion(5)),
    "one of many classes": lambda: plots.confusion_matrix(confusion(60)),
    "recall": lambda: plots.recall_bars(confusion(60)),
    "recall of a class without examples": lambda: plots.recall_bars(
        Confusion(("a", "b"), np.array([[1, 0], [0, 0]]))
    ),
    "curves": lambda: plots.learning_curves(CURVES),
    "curves that are not finite": lambda: plots.learning_curves(
        [Curve("loss", "validation", (1, 2), (math.nan, math.nan))]
    ),
    "a forecast": lambda: plots.forecast(FORECAST),
    "forecasts of several series": lambda: plots.forecast(TWO),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_800_pixels_wide_and_has_labels(tmp_path: Path, name: str):
    figure = PICTURES[name]()
    path = save(figure, tmp_path / "picture.png")
    assert imread(path).shape[1] == 800
    main = figure.axes[0]
    assert main.get_ylabel()
    assert any(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_picture_gives_the_same_bytes(tmp_path: Path, form: str):
    both = [save(PICTURES["curves"](), tmp_path / f"{k}.{form}") for k in range(2)]
    assert both[0].read_bytes() == both[1].read_bytes()


def test_a_confusion_matrix_shows_shares_and_counts():
    given = confusion(5)
    axes = plots.confusion_matrix(given).axes[0]
    shown = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(shown, given.counts / given.support[:, None])
    assert [text.get_text() for text in axes.texts] == [str(c) for c in given.counts.flat if c]
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"class \\${i}" for i in range(5)]


def test_recall_bars_have_the_most_frequent_class_at_the_top():
    given = confusion(60)
    axes = plots.recall_bars(given).axes[0]
    order = np.argsort(given.support, kind="stable")[-40:]
    widths = [patch.get_width() for patch in axes.patches]  # pyright: ignore
    np.testing.assert_array_equal(widths, given.recall()[order])
    top = axes.get_yticklabels()[-1].get_text()
    assert top == f"class \\${order[-1]} ({given.support.max()})"


def test_curves_have_a_panel_a_figure_and_mark_the_best():
    loss, accuracy = plots.learning_curves(CURVES).axes
    drawn = [(line.get_xdata(), line.get_ydata()) for line in loss.lines]
    assert [tuple(np.atleast_1d(y).tolist()) for _, y in drawn] == [
        (3.0, 2.0, 1.0), (2.5, 1.5), (1.5,)
    ]  # fmt: skip
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == (
        "loss (nats per target)",
        "accuracy (share)",
    )
    assert accuracy.get_xlabel() == "step (updates of the parameters)"
    legend = loss.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "train",
        "validation",
        "best: 1.5 at step 30",
    ]


def test_forecasts_have_bands_and_a_median():
    figure = plots.forecast(FORECAST)
    (axes,) = figure.axes
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "observed",
        "central 80 %",
        "median",
    ]
    for band, low, high in zip(axes.collections, (3.5, 5.5), (5.5, 7.5), strict=True):
        corners = np.asarray(band.get_paths()[0].vertices)
        assert (corners[:, 1].min(), corners[:, 1].max()) == (low, high)
    medians = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [np.asarray(line.get_xdata()).tolist() for line in medians] == [[3, 4], [5, 6]]
    assert [np.asarray(line.get_ydata()).tolist() for line in medians] == [[4, 5], [6, 8]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (a value every week)", "CO₂ (ppm)")
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == FORECAST["series"][0]["times"]


def test_several_series_have_a_panel_each():
    figure = plots.forecast(TWO)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["CO₂ (ppm)"] * 2
    assert len(figure.legends) == 1


def test_all_that_a_report_holds_is_drawn(tmp_path: Path):
    details: dict[str, Any] = {
        "confusion": confusion(4).to_details(),
        "forecast": FORECAST,
        "other": 1,
    }
    names = ["confusion.svg", "recall.svg", "forecast.svg"]
    assert plots.plot_report(details, tmp_path, "svg") == [tmp_path / name for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_report_without_anything_to_draw(tmp_path: Path):
    assert plots.plot_report({"other": 1}, tmp_path) == []


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name, name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError) as caught:
        plots.learning_curves(CURVES)
    assert str(caught.value) == (
        "pictures need matplotlib, which is not installed: pip install 'unrolled[plots]'"
    )
