"""Run the commands of README.md's `bash` blocks for real, one shell a block, in the checkout.

Used by `.ci/run`, after it has run the tests: those commands it names by `--already-run`, so that
nothing runs twice, or for ever. A block that can't be run carries `<!-- not run: reason -->`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from markdown_blocks import blocks_of

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Run every block; exit with the status of the first command that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--already-run", nargs="*", default=[], metavar="COMMAND")
    already_run: set[str] = set(parser.parse_args().already_run)

    # `unrolled …` in the README is the one that `make` has just installed.
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    for block in blocks_of((ROOT / "README.md").read_text(encoding="utf-8")):
        if block.language != "bash":
            continue
        where = f"README.md:{block.line}"
        if block.reason_not_run is not None:
            print(f"--- {where} not run: {block.reason_not_run}", flush=True)
            continue
        print(f"--- {where}\n{block.text}", flush=True)
        lines = [line for line in block.text.splitlines() if not is_any(line, already_run)]
        script = "set -euo pipefail\n" + "\n".join(lines)
        status = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=os.environ | {"PATH": path}, check=False
        ).returncode
        if status != 0:
            sys.exit(f"{where}: exit status {status}")


def is_any(line: str, commands: set[str]) -> bool:
    """Whether a line of a script is one of `commands`, be it with a comment behind it."""
    return line.partition(" #")[0].strip() in commands


if __name__ == "__main__":
    main()
