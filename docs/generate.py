"""Write the generated parts of the documentation: printed output, tables and the page of cells.

    python docs/generate.py           writes them
    python docs/generate.py --check   changes nothing, and exits 1 where a page is stale

Generated are ``docs/cells.md`` as a whole, README.md's tables of cells and of speed, each between
``<!-- name -->`` and ``<!-- end of name -->``, and every ``text`` block after ``<!-- output -->``:
what the Python block before it prints.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import linecache
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests"), str(ROOT)]

from tables import paper, speed, summary, table  # noqa: E402

import keras_on_torch  # noqa: E402, F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
from markdown_blocks import blocks_of  # noqa: E402  # pyright: ignore[reportMissingImports]
from unrolled.cells import CELLS  # noqa: E402

CELLS_PAGE = ROOT / "docs" / "cells.md"
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "full.json"


def cells_page() -> str:
    """``docs/cells.md``: every cell with its source, its equations and its paper."""
    intro = (ROOT / "docs" / "_cells_intro.md").read_text(encoding="utf-8")
    parts = [
        "<!-- Written by docs/generate.py. Do not edit: change the cells, then run make docs. -->",
        "# The textbook cells",
        intro.strip(),
        table().strip(),
    ]
    for cell in CELLS.values():
        source = inspect.getsource(cell.function).rstrip()
        parts += [
            f"## `{cell.name}`",
            f"{summary(cell)}.",
            f"$$\n{cell.latex()}\n$$",
            f"<!-- not run: the source of unrolled.cells -->\n```python\n{source}\n```",
            f"Paper: {paper(cell)}.",
        ]
    return "\n\n".join(parts) + "\n"


def with_tables(page: str) -> str:
    """README.md with its tables written anew."""
    cells = ["| cell | what it is |", "| --- | --- |"]
    cells += [f"| `{cell.name}` | {summary(cell)} |" for cell in CELLS.values()]
    for name, rows in (("cells", "\n".join(cells)), ("speed", speed(RESULTS).strip())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        page, n = pattern.subn(lambda m, rows=rows: f"{m[1]}{rows}\n{m[2]}", page)
        assert n == 1, f"README.md has lost the place of its table of {name}"
    return page


def with_output(name: str, page: str) -> str:
    """A page with what its Python blocks print written anew; run in an empty directory."""
    linecache.cache[name] = (len(page), None, page.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    lines = page.splitlines()
    edits: list[tuple[int, int, str]] = []
    printed = ""
    for block in blocks_of(page):
        if block.is_output:
            n = len(block.text.splitlines())
            edits.append((block.line - 1, block.line - 1 + n, printed))
        elif block.language == "python" and block.reason_not_run is None:
            code = compile("\n" * (block.line - 1) + block.text, name, "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed = out.getvalue()
    for start, stop, text in reversed(edits):
        lines[start:stop] = text.rstrip("\n").split("\n")
    return "\n".join(lines) + "\n"


def generated() -> dict[Path, str]:
    """Every page with a generated part, as it should be."""
    pages = {CELLS_PAGE: cells_page()}
    for path in [README, *sorted((ROOT / "docs").glob("*.md"))]:
        if path == CELLS_PAGE or path.name.startswith("_"):
            continue
        page = path.read_text(encoding="utf-8")
        page = with_tables(page) if path == README else page
        # Twice, for an output's length moves the lines that a later one may print.
        for _ in range(2):
            with tempfile.TemporaryDirectory() as empty:
                os.chdir(empty)
                page = with_output(path.relative_to(ROOT).as_posix(), page)
                os.chdir(ROOT)
        pages[path] = page
    return pages


def main() -> None:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description="Write the generated documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where stale")
    check: bool = parser.parse_args().check
    pages = generated()
    stale = [
        path
        for path, page in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != page
    ]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(pages[path], encoding="utf-8")
    if check and stale:
        sys.exit("run make docs")


if __name__ == "__main__":
    main()
