"""``Report``: sections and a text as a page, and its figures as files beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from unrolled.data.files import staged
from unrolled.errors import DataError
from unrolled.inspect import style
from unrolled.inspect.report.page import data_uri, render
from unrolled.inspect.report.section import Picture, Section
from unrolled.inspect.report.text_view import TextView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
# A picture with more lines than this is drawn smaller, and as fast, as dots.
_MOST_SVG = 250_000


@dataclass(frozen=True, eq=False)
class Report:
    """What the instruments found.

    Attributes:
        title: The heading of the page.
        about: The model and the text, in a line.
        sections: What each instrument found.
        text: The text to read beside the section ``neurons``, where there is one.
        warning: What of the text the model does not know; empty where it knows all.
    """

    title: str
    about: str
    sections: tuple[Section, ...]
    text: TextView | None = None
    warning: str = ""

    def html(self) -> str:
        """The page: all in one file, which asks nothing of the network.

        Raises:
            UserError: where matplotlib is not installed and there are pictures.
        """
        pictures = {p.name: _inline(p) for section in self.sections for p in section.pictures}
        about = f"{self.about} {self.warning}".rstrip()
        return render(self.title, about, self.sections, self.text, pictures)

    def write(self, directory: str | os.PathLike[str], image: style.Format = "png") -> list[Path]:
        """Writes ``report.html`` and the figures.

        Args:
            directory: Made where it is not there; files of the same names are replaced.
            image: What the figures are. Diagrams are SVG at any rate.

        Returns:
            The files, the page first.

        Raises:
            DataError: where one can't be written.
            UserError: where matplotlib is not installed and there are pictures.
        """
        place = prepare(directory)
        written = [_write(place / PAGE, self.html())]
        for section in self.sections:
            for drawing in section.drawings:
                if drawing.name:
                    written.append(_write(place / f"{drawing.name}.svg", drawing.markup))
            for picture in section.pictures:
                written.append(style.save(picture.figure, place / f"{picture.name}.{image}"))
        return written


def prepare(directory: str | os.PathLike[str]) -> Path:
    """Makes the directory of a report.

    Raises:
        DataError: where it can't be made or written to.
    """
    place = Path(directory)
    try:
        place.mkdir(parents=True, exist_ok=True)
        writable = os.access(place, os.W_OK | os.X_OK)
    except OSError as error:
        raise DataError(
            f"can't write to {place}: {error.strerror or error}; name another directory"
        ) from error
    if not writable:
        raise DataError(f"can't write to {place}: no permission; name another directory")
    return place


def _write(path: Path, content: str) -> Path:
    with staged(path) as file:
        file.write(content.encode())
    return path


def _inline(picture: Picture) -> Markup:
    """The picture as markup of the page."""
    drawn = style.svg(picture.figure, picture.caption)
    # Its parts have found their places, which takes as long as drawing them.
    picture.figure.set_layout_engine("none")
    if len(drawn) <= _MOST_SVG:
        return Markup(drawn)
    source = data_uri(_png(picture.figure), "png")
    return Markup('<img src="{}" alt="{}">').format(source, picture.caption)


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=2 * style.DPI, metadata={"Software": None})
    return file.getvalue()
