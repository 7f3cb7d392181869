"""The page: one file that asks nothing of the network, written with Jinja's escaping on.

Its policy (Content-Security-Policy) lets the page's own script and style run, by their hashes, and
nothing else: a text that holds ``<script>`` is text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unrolled.inspect.report.section import Section
from unrolled.inspect.report.text_view import TextView

_FILES = "unrolled.inspect.report"
# As page.js has it: the shades of each side of the scale.
_LEVELS = 12


def render(
    title: str,
    about: str,
    sections: tuple[Section, ...],
    text: TextView | None,
    pictures: Mapping[str, Markup],
) -> str:
    """The page as HTML.

    Args:
        title: The heading.
        about: A line below it.
        sections: What it is made of.
        text: The text that is read beside the section ``neurons``.
        pictures: The markup of the sections' pictures, by their names.
    """
    style, script = _style(), _file("page.js")
    return (
        _environment()
        .get_template("template.html")
        .render(
            title=title,
            about=about,
            sections=sections,
            text=text,
            pictures=pictures,
            policy="; ".join(
                [
                    "default-src 'none'",
                    f"script-src '{_hash(script)}'",
                    " ".join(
                        ["style-src", *(f"'{_hash(s)}'" for s in [style, *_styles(sections)])]
                    ),
                    # Pictures have attributes of style; they can't fetch anything.
                    "style-src-attr 'unsafe-inline'",
                    "img-src data:",
                    "base-uri 'none'",
                    "form-action 'none'",
                ]
            ),
            style=Markup(style),
            script=Markup(script),
            data=Markup(_embedded(text.payload())) if text else "",
        )
    )


def data_uri(content: bytes, kind: str) -> str:
    """A picture as the address of an image.

    Args:
        content: The file.
        kind: ``png`` or ``svg``.
    """
    media = {"png": "image/png", "svg": "image/svg+xml"}[kind]
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def _embedded(values: object) -> str:
    """JSON that ends no script and opens no comment, whatever strings are in it."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader(_FILES, ""), autoescape=True, undefined=StrictUndefined)


def _file(name: str) -> str:
    return resources.files(_FILES).joinpath(name).read_text("utf-8")


def _style() -> str:
    shades = [
        f".level-{side}-{n} {{ background: color-mix(in oklab, var(--{side}) "
        f"{100 * n / _LEVELS:.0f}%, var(--paper)); }}"
        for side in ("below", "above")
        for n in range(1, _LEVELS + 1)
    ]
    return "\n".join([_file("page.css"), *shades, ""])


def _styles(sections: tuple[Section, ...]) -> list[str]:
    """The style sheets that drawings bring along, each once."""
    markup = "".join(drawing.markup for section in sections for drawing in section.drawings)
    return list(dict.fromkeys(re.findall(r"<style>(.*?)</style>", markup, re.DOTALL)))


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}"
