"""How pictures look: colours, dashes, size; and how they are written, with the extra ``plots``.

The colours are those of Okabe and Ito, "Color universal design" (2008), and the colour map cividis
(Nuñez, Anderton and Renslow 2018), which people with any colour vision can tell apart; lines differ
in their dashes too. A picture is 800 pixels wide.

Ink is black, which a page's own text colour replaces (:func:`svg`), so that a picture serves light
and dark pages.  What stands on a ground of a colour of its own, such as a number in a heat map, is
:data:`DARK` or :data:`LIGHT`, which stay as they are.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

from unrolled.data.files import staged
from unrolled.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
PINK, SKY, YELLOW = "#CC79A7", "#56B4E9", "#E69F00"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW)
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
"""Beside the colours, one for one."""
BANDS = ("#DCEBF5", "#BBD9EC", "#94C2E0", "#6BABD3")
"""Shades of blue below a blue line, the widest band first."""
DARK, LIGHT = "#010101", "#fefefe"
SHADES = "cividis"
DIVERGING = "PuOr_r"
"""A colour map for numbers below and above zero, purple and orange (Brewer), as safe as cividis."""

WIDTH, DPI = 8.0, 100
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"


def figure(height: float) -> Figure:
    """A picture without axes, 800 pixels wide.

    Args:
        height: In inches, of 100 pixels.

    Raises:
        UserError: where matplotlib is not installed.
    """
    # Without pyplot, which keeps every figure and looks for a screen.
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError(
            "pictures need matplotlib, which is not installed: pip install 'unrolled[plots]'"
        ) from error
    return Figure(figsize=(WIDTH, height), layout="constrained")


def figure_with_axes(height: float) -> tuple[Figure, Axes]:
    """A picture with one pair of axes."""
    made = figure(height)
    return made, made.subplots()


def panels(n: int, each: float = 2.4, *, shared: bool = True) -> tuple[Figure, list[Axes]]:
    """Panels below each other, ``each`` so many inches high, over one axis where it is shared."""
    made = figure(1.2 + each * n)
    return made, list(made.subplots(n, 1, sharex=shared, squeeze=False)[:, 0])


def short(label: str, most: int = 18) -> str:
    """A label cut to so many characters, in which a $ begins no formula."""
    text = label if len(label) <= most else f"{label[: most - 1]}…"
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> Path:
    """Writes a picture, whole or not at all; the same picture gives the same bytes.

    Raises:
        DataError: where it can't be written.
    """
    import matplotlib

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with staged(path) as file, matplotlib.rc_context({"svg.hashsalt": "unrolled"}):
        figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)
    return path


def svg(figure: Figure, title: str | None = None) -> str:
    """A picture as an ``<svg>`` to stand in an HTML page, light or dark.

    Text is text, the ground is transparent, and what is black is ``currentColor``. Nothing of it
    touches the rest of the page: it has no style sheet, and its ids begin with a hash of it.

    Args:
        figure: The picture.
        title: What a screen reader says of it; by default the picture's label
            (``figure.set_label``), or else what its axes are.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "unrolled", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    referred = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", text))
    for element in root.iter():
        _adapt(element, mark, referred)
    for legend in _legend_frames(root):
        legend.set("style", "fill: none; stroke: none")
    said = title or _described(figure)
    name = ElementTree.Element(f"{{{_SVG}}}title")
    name.text = said
    root.insert(0, name)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {
        "role": "img",
        "aria-label": said,
        "fill": "currentColor",
        "style": "width: 100%; max-width: 800px; height: auto; stroke-linejoin: round; "
        "stroke-linecap: butt",
    }
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, mark: str, referred: set[str]) -> None:
    """Ids are the picture's own, black is the page's text colour."""
    if "id" in element.attrib:
        name = element.attrib.pop("id")
        if name in referred:
            element.set("id", f"{mark}-{name}")
    link = element.attrib.pop(_LINK, None)
    if link is not None:
        own = link.startswith("#")
        element.set("href", f"#{mark}-{link[1:]}" if own else re.sub(r"\s+", "", link))
    if "clip-path" in element.attrib:
        element.set("clip-path", element.attrib["clip-path"].replace("(#", f"(#{mark}-"))
    if "style" in element.attrib:
        style = element.attrib["style"].replace("(#", f"(#{mark}-")
        element.set("style", re.sub(r"#000000\b", "currentColor", style))


def _legend_frames(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The grounds of legends: half-transparent white, on which a dark page's text is unreadable."""
    for path in root.iter(f"{{{_SVG}}}path"):
        style = path.get("style", "")
        if "fill: #ffffff" in style and "opacity: 0.8" in style and "stroke: #cccccc" in style:
            yield path


def _described(figure: Figure) -> str:
    label = str(figure.get_label())
    if label:
        return label
    axes = [a for a in figure.axes if a.get_ylabel() and a.get_xlabel()]
    named = [a.get_title() or f"{a.get_ylabel()} over {a.get_xlabel()}" for a in axes]
    return "; ".join(dict.fromkeys(named)) or "picture"
