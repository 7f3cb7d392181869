"""The elements of all pictures: style, text with subscripts, boxes, wires, a legend.

A picture is one ``<svg>`` that stands alone, in a page or as a file.  It takes a page's
colours where a page sets them (``--ur-text``, ``--ur-box`` and so on); else it has its own for
light and dark.  The colours are near to Okabe and Ito's palette, safe for
colour-blind readers, and what they tell is told by the form of the outline as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from unrolled.inspect.diagram.names import Text, plain, width

WIDE, LEGIBLE = 1100.0, 0.75
"""A picture that is wider than this is not shrunk below that share, but scrolls."""

_LIGHT = {"text": "#1d1d1f", "box": "#fff", "parameter": "#fbe3c0", "state": "#cfe6f7",
          "io": "#e6e6e6", "carried": "#0072b2", "edge": "#c45500"}  # fmt: skip
_DARK = {"text": "#e8e8ea", "box": "#26262b", "parameter": "#54320f", "state": "#123f5e",
         "io": "#3c3c42", "carried": "#56b4e9", "edge": "#e69f00"}  # fmt: skip


def _colours(of: dict[str, str]) -> str:
    return ";".join(f"--u-{name}:var(--ur-{name},{colour})" for name, colour in of.items())


STYLE = f"""
.ur-diagram{{{_colours(_LIGHT)}}}
@media (prefers-color-scheme:dark){{.ur-diagram{{{_colours(_DARK)}}}}}
.ur-diagram{{color:var(--u-text);font-family:"DejaVu Sans",Verdana,sans-serif}}
.ur-diagram text{{fill:currentColor;font-size:13px}}
.ur-diagram text.small{{font-size:11px}}
.ur-diagram .name{{font-style:italic}}
.ur-diagram .box{{fill:var(--u-box);stroke:currentColor;stroke-width:1.3}}
.ur-diagram .product{{fill:var(--u-parameter);stroke:var(--u-edge);stroke-width:2.4}}
.ur-diagram .early{{stroke-dasharray:5 3}}
.ur-diagram .recurrent{{fill:var(--u-state);stroke:var(--u-carried);stroke-width:2.4}}
.ur-diagram .io{{fill:var(--u-io)}}
.ur-diagram .lane{{fill:currentColor;fill-opacity:.05;stroke:none}}
.ur-diagram .loop{{fill:var(--u-carried);fill-opacity:.11}}
.ur-diagram .wire{{fill:none;stroke:currentColor;stroke-width:1.3}}
.ur-diagram .carried{{stroke:var(--u-carried);stroke-width:2.4}}
.ur-diagram .head{{fill:currentColor;stroke:none}}
.ur-diagram .carried-head{{fill:var(--u-carried)}}
"""


def picture(width: float, height: float, title: str, described: str, body: Iterable[str]) -> str:
    """The whole ``<svg>``; ``title`` and ``described`` are what a screen reader says."""
    size = f"{width:.0f} {height:.0f}"
    least = f"min-width:{LEGIBLE * width:.0f}px;" if width > WIDE else ""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="ur-diagram" viewBox="0 0 {size}" '
            f'width="{width:.0f}" style="{least}max-width:100%;height:auto" role="img" '
            f'aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(described)}</desc>",
            f"<style>{STYLE}</style>",
            *body,
            "</svg>",
        ]
    )


def text(x: float, y: float, content: Text, kind: str = "", anchor: str = "middle") -> str:
    """A line of text whose baseline is at ``y``."""
    spans: list[str] = []
    lowered = False
    for run in content:
        below = run.style == "sub"
        shift = f' dy="{3.5 if below else -3.5}"' if below != lowered else ""
        lowered = below
        if below:
            spans.append(f'<tspan{shift} font-size="75%">{escape(run.text)}</tspan>')
        elif run.style == "name":
            spans.append(f'<tspan{shift} class="name">{escape(run.text)}</tspan>')
        else:
            spans.append(f"<tspan{shift}>{escape(run.text)}</tspan>")
    style = f' class="{kind}"' if kind else ""
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text{style} xml:space="preserve" {where}>{"".join(spans)}</text>'


def rectangle(
    x: float, y: float, width: float, height: float, kind: str, radius: float = 4, said: str = ""
) -> str:
    """A box; ``said`` is what a pointer that rests on it shows."""
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}"'
    if not said:
        return f'<rect class="{kind}" {shape}/>'
    return f'<rect class="{kind}" {shape}><title>{escape(said)}</title></rect>'


def wire(points: Sequence[tuple[float, float]], kind: str, sharp: set[tuple[float, float]]) -> str:
    """A line through these corners, rounded but where others branch off, with a head."""
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    for k, (x, y) in enumerate(rest[:-1], 1):
        (bx, by), (ax, ay) = points[k - 1], points[k + 1]
        room = min(abs(x - bx) + abs(y - by), abs(ax - x) + abs(ay - y)) / 2
        r = 0.0 if (x, y) in sharp else min(5.0, room)
        if r < 0.5:
            path.append(f"L{x:.1f} {y:.1f}")
            continue
        path.append(f"L{x - r * _sign(x - bx):.1f} {y - r * _sign(y - by):.1f}")
        path.append(f"Q{x:.1f} {y:.1f} {x + r * _sign(ax - x):.1f} {y + r * _sign(ay - y):.1f}")
    x, y = points[-1]
    px, py = points[-2]
    dx, dy = _sign(x - px), _sign(y - py)
    path.append(f"L{x - 6 * dx:.1f} {y - 6 * dy:.1f}")
    carried = " carried-head" if "carried" in kind else ""
    side = 3.6
    head = (
        f"M{x:.1f} {y:.1f}L{x - 8 * dx + side * dy:.1f} {y - 8 * dy + side * dx:.1f}"
        f"L{x - 8 * dx - side * dy:.1f} {y - 8 * dy - side * dx:.1f}Z"
    )
    return f'<path class="{kind}" d="{"".join(path)}"/><path class="head{carried}" d="{head}"/>'


def dot(x: float, y: float, kind: str = "head") -> str:
    """The mark of a branch."""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.8"/>'


def legend(
    x: float, y: float, within: float, entries: Sequence[tuple[str, str]]
) -> tuple[list[str], float]:
    """Samples of boxes and wires with what they mean, in lines; and the height of all."""
    parts: list[str] = []
    left, top = x, y
    for kind, meaning in entries:
        words = plain(meaning)
        wide = 34 + width(words, 11.0) + 18
        if left > x and left + wide > x + within:
            left, top = x, top + 22
        if "wire" in kind:
            parts.append(wire([(left, top), (left + 26, top)], kind, set()))
        else:
            parts.append(rectangle(left, top - 7, 26, 14, kind))
        parts.append(text(left + 32, top + 4, words, "small", "start"))
        left += wide
    return parts, top - y + 22


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
