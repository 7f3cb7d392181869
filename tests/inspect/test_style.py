"""Inline pictures: text is text, the page's colour is the ink, and the page is left alone."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from unrolled.inspect import style

SVG = "{http://www.w3.org/2000/svg}"


def picture(title: str = "") -> Figure:
    figure, axes = style.figure_with_axes(3.0)
    for k, (colour, dashes) in enumerate(zip(style.COLOURS, style.DASHES, strict=True)):
        axes.plot([0, 1], [k, k], color=colour, ls=dashes, label=f"line <{k}> & 'more'")
    axes.plot([0, 1], [7, 8], color="black")
    axes.text(0.5, 1, "dark", color=style.DARK)
    axes.imshow(np.eye(2), cmap=style.SHADES, extent=(0, 1, 0, 1))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("height (m)")
    axes.legend()
    if title:
        figure.set_label(title)
    return figure


def test_an_inline_picture_has_text_and_a_name_and_takes_the_colour_of_the_page():
    text = style.svg(picture())
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert text.startswith("<svg ")
    assert (root.get("role"), root.get("aria-label")) == ("img", "height (m) over time (s)")
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "height (m) over time (s)"
    shown = ["".join(e.itertext()).strip() for e in root.iter(f"{SVG}text")]
    assert {"time (s)", "height (m)", "dark", "line <0> & 'more'"} <= set(shown)
    assert root.get("fill") == "currentColor"
    assert "stroke: currentColor" in text
    assert "#000000" not in text
    assert "fill: #ffffff" not in text
    # What is drawn on a ground of its own stays as it was.
    assert "fill: #010101" in text


def test_an_inline_picture_asks_for_nothing_and_has_no_style_of_the_page():
    text = style.svg(picture())
    assert "<style" not in text
    assert "<metadata" not in text
    addresses = set(re.findall(r'https?://[^" ]+', text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert 'href="data:image/png;base64,iVBOR' in text


def test_ids_of_two_pictures_differ_and_all_references_are_met():
    texts = [style.svg(picture()), style.svg(picture("another"), "another")]
    other, axes = style.figure_with_axes(3.0)
    axes.plot([0, 1], [1, 0], "o")
    texts[1] = style.svg(other, "points")
    ids = [re.findall(r' id="([^"]+)"', text) for text in texts]
    assert not set(ids[0]) & set(ids[1])
    for text, own in zip(texts, ids, strict=True):
        assert len(own) == len(set(own))
        assert set(re.findall(r'(?:\(|href=")#([^)"]+)', text)) == set(own)


def test_the_label_or_the_given_title_names_a_picture():
    assert 'aria-label="a label"' in style.svg(picture("a label"))
    assert 'aria-label="given &quot;so&quot;"' in style.svg(picture("a label"), 'given "so"')


def test_the_same_picture_gives_the_same_text():
    assert style.svg(picture()) == style.svg(picture())


@pytest.mark.parametrize(("ground", "least"), [("#ffffff", 1.9), ("#121212", 3.0)])
def test_lines_stand_out_on_light_and_dark_pages(ground: str, least: float):
    def luminance(colour: str) -> float:
        parts = np.array(to_rgb(colour))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in style.COLOURS:
        low, high = sorted([luminance(colour), luminance(ground)])
        assert (high + 0.05) / (low + 0.05) > least, colour


def test_a_label_is_cut_and_holds_no_formula():
    assert style.short("a" * 30) == "a" * 17 + "…"
    assert style.short("$x$") == r"\$x\$"
