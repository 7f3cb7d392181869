"""The fenced code blocks of a Markdown file, each with the HTML comment that stands before it.

Two comments mean something to the checks of the documentation:

- `<!-- not run: reason -->` before a block that can't be run, with the reason;
- `<!-- output -->` before a `text` block that must equal what the block before it prints.
"""

import re
from dataclasses import dataclass

FENCE = "```"
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->")
NOT_RUN = re.compile(r"not run:\s*(\S.*)")


@dataclass(frozen=True)
class Block:
    """One fenced block: `text` is its content, `line` the number of the content's first line."""

    language: str
    text: str
    line: int
    comment: str | None

    @property
    def reason_not_run(self) -> str | None:
        """Why the block must not be run, or None where it must be."""
        match = NOT_RUN.fullmatch(self.comment or "")
        return match[1] if match else None

    @property
    def is_output(self) -> bool:
        """Whether the block is what the one before it prints."""
        return self.comment == "output"


def blocks_of(markdown: str) -> list[Block]:
    """Every fenced block of `markdown`, in order.

    Raises:
        ValueError: a fence is indented or never closed, or a comment before a block starts like
            one of the two above but is not written like it: such a block would escape its check.
    """
    blocks: list[Block] = []
    comment: str | None = None
    language: str | None = None
    first = 0
    lines = markdown.splitlines()
    for number, line in enumerate(lines, start=1):
        if language is not None:
            if line.rstrip() == FENCE:
                text = "".join(f"{inner}\n" for inner in lines[first - 1 : number - 1])
                blocks.append(Block(language, text, first, comment))
                language = comment = None
        elif line.startswith(FENCE):
            language, first = line.removeprefix(FENCE).strip(), number + 1
            check_comment(comment, number)
        elif line.lstrip().startswith(FENCE):
            raise ValueError(f"line {number}: an indented fence; start it in the first column")
        elif match := COMMENT.fullmatch(line.strip()):
            comment = match[1]
        elif line.strip():
            comment = None
    if language is not None:
        raise ValueError(f"line {first - 1}: this fence is never closed")
    return blocks


def check_comment(comment: str | None, number: int) -> None:
    """Refuse a comment that is meant for the checks and misspelt."""
    if comment is None or comment == "output" or NOT_RUN.fullmatch(comment):
        return
    if re.match(r"not\b|skip|output", comment, re.IGNORECASE):
        raise ValueError(
            f"line {number}: the comment before this fence is {comment!r}; "
            "expected 'output' or 'not run: <reason>'"
        )
