"""Every Python block in the documentation runs, and prints what the documentation says it prints.

The blocks of one file share a namespace, in order, as a reader would type them.
"""

import contextlib
import io
import linecache
from pathlib import Path
from typing import Any

import pytest

from markdown_blocks import Block, blocks_of

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A block in any other language would be shown as code and checked by nobody.
LANGUAGES = {"python", "bash", "text", "c", "yaml", "toml", "json", "latex"}


def run_python_blocks(name: str, markdown: str) -> None:
    """Run the Python blocks of a page called `name`; assert that they print what it says."""
    # Tracebacks, inspect.getsource and our own error messages read the block's lines through
    # linecache under the page's name and the page's line numbers.
    linecache.cache[name] = (len(markdown), None, markdown.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    last_ran: Block | None = None
    printed = ""
    for block in blocks_of(markdown):
        where = f"{name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: unknown language {block.language!r}"
        if block.is_output:
            assert last_ran is not None, f"{where}: an output without a Python block that ran"
            assert printed == block.text, f"{where}: not what the block at {last_ran.line} prints"
        elif block.language == "python" and block.reason_not_run is None:
            code = compile("\n" * (block.line - 1) + block.text, name, "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            last_ran, printed = block, out.getvalue()
        else:
            last_ran = None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python_blocks(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))


PAGE = """\
# A page

```python
def double(n):
    return 2 * n
```

```python
print(double(21))
```

<!-- output -->
```text
42
```

<!-- not run: it needs a GPU -->
```python
raise RuntimeError
```
"""


def test_a_sound_page_passes() -> None:
    run_python_blocks("sound.md", PAGE)


def test_wrong_output_is_found() -> None:
    with pytest.raises(AssertionError, match=r"wrong\.md:14: not what the block at 9 prints"):
        run_python_blocks("wrong.md", PAGE.replace("42", "43"))


def test_an_exception_points_to_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_python_blocks("raises.md", PAGE.replace("2 * n", "n / 0"))
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("raises.md", 5)


def test_an_output_must_follow_a_block_that_ran() -> None:
    with pytest.raises(AssertionError, match="an output without a Python block"):
        run_python_blocks("orphan.md", PAGE.replace("python", "yaml"))


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(AssertionError, match="unknown language 'py'"):
        run_python_blocks("language.md", PAGE.replace("python", "py"))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (PAGE.replace("not run: it needs a GPU", "not run"), "the comment before this fence"),
        (PAGE.replace("<!-- output -->", "<!-- outputs -->"), "the comment before this fence"),
        (PAGE + "```python\n", "never closed"),
        ("- item\n\n  ```python\n  x = 1\n  ```\n", "an indented fence"),
    ],
)
def test_a_block_cannot_escape_by_a_slip_of_the_pen(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_python_blocks("slip.md", page)
