"""The command ``unrolled``: finds what is asked for, and turns errors into one clear line."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from io import TextIOWrapper

from unrolled.errors import UnrolledError

# Each command's words, the module whose run() does it (behind a colon what it is given besides the
# words), and what it is for. A module is imported when it is asked for, since most need torch.
COMMANDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("train", "lm"): ("unrolled.cli.train:lm", "train a language model on text"),
    ("train", "classify"): ("unrolled.cli.train:classify", "a class for each sequence"),
    ("train", "tag"): ("unrolled.cli.train:tag", "a tag for each word of a sentence"),
    ("train", "translate"): ("unrolled.cli.train:translate", "a sequence into another one"),
    ("train", "generate"): ("unrolled.cli.train:generate", "sequences from labels, music too"),
    ("train", "forecast"): ("unrolled.cli.train:forecast", "the next values of series"),
    ("tune",): ("unrolled.cli.tune", "search for the settings of a model that do best"),
    ("eval",): ("unrolled.cli.eval", "say how a model does on data, beside a baseline"),
    ("predict",): ("unrolled.cli.predict", "answer each line of a file with a line of JSON"),
    ("sample",): ("unrolled.cli.sample", "let a language model write"),
    ("score",): ("unrolled.cli.score", "say how likely a language model finds a text"),
    ("info",): ("unrolled.cli.info", "show a model's sizes, parameters, equations and plan"),
    ("plot",): ("unrolled.cli.plot", "draw how a run went"),
    ("inspect",): ("unrolled.cli.inspect", "show what a model remembers, forgets and learned"),
    ("experiment",): ("unrolled.cli.experiment", "put claims about recurrent networks to the test"),
    ("cells",): ("unrolled.cli.cells", "show the cells with their equations"),
    ("export", "c"): ("unrolled.cli.export_c", "write a language model's step as plain C"),
}

WRONG_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and gives the exit status: 0, or 2 where the input was wrong.

    Args:
        arguments: The words after ``unrolled``; those of this process where None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    if debug:
        words.remove("--debug")
    # A terminal that lacks a character is no reason to fail.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _command(words)
    except UnrolledError as error:
        if debug:
            raise
        print(f"unrolled: error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        if debug:
            raise
        print("unrolled: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough. Python would complain again on closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        print(
            f"unrolled: error: {problem}. This should not happen: the same command with --debug "
            "shows where it comes from",
            file=sys.stderr,
        )
        return 1


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else WRONG_INPUT
    if words == ["--version"]:
        print(f"unrolled {metadata.version('unrolled')}")
        return 0
    for command, (module, _) in COMMANDS.items():
        if tuple(words[: len(command)]) == command:
            name, _, given = module.partition(":")
            return _imported(name)(words[len(command) :], *filter(None, [given]))
    begun = [command for command in COMMANDS if command[0] == words[0]]
    if begun and (len(words) == 1 or words[1] in ("-h", "--help")):
        print(_overview(begun))
        return 0 if len(words) > 1 else WRONG_INPUT
    asked = " ".join(words[:2] if begun else words[:1])
    known = [" ".join(command) for command in COMMANDS]
    close = difflib.get_close_matches(asked, known, 1)
    advice = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    print(f"unrolled: error: there is no command {asked!r}: {advice}", file=sys.stderr)
    return WRONG_INPUT


def _imported(module: str) -> Callable[..., int]:
    try:
        return import_module(module).run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "unrolled":
            raise
        raise UnrolledError(
            f"the command line needs {error.name}, which is not installed: "
            "pip install 'unrolled[cli]'"
        ) from error


def _overview(commands: Sequence[tuple[str, ...]] = tuple(COMMANDS)) -> str:
    width = max(len(" ".join(command)) for command in commands)
    lines = [
        f"  unrolled {' '.join(command):{width}}  {COMMANDS[command][1]}" for command in commands
    ]
    return "\n".join(
        [
            "Recurrent networks compiled from their equations.",
            "",
            *lines,
            "",
            "Each command has --help, and --debug shows a traceback where one fails.",
        ]
    )
