"""The options of a command: the fields of typed dataclasses, as flags and as YAML keys."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

from docstring_parser import parse_from_object
from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter, Namespace

from unrolled.errors import UserError

T = TypeVar("T")

# What the help shows in place of a value.
_METAVARS: dict[Any, str] = {int: "N", float: "X", int | None: "N", float | None: "X"}
_WRONG_TYPE = re.compile(r'Parser key "(?P<name>\w+)".*?(?:Got|Given) value: (?P<value>.*)')
_UNKNOWN = re.compile(
    r"unrecognized arguments: (?P<flag>-[^\s=]+)|Option '(?P<key>\w+)' is not accepted"
)


class _HelpFormatter(DefaultHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


class Options(ArgumentParser):
    """The parser of one command. An error is a ``UserError`` of one line."""

    def __init__(self, command: str, usage: str, description: str, example: str) -> None:
        super().__init__(
            prog=f"unrolled {command}",
            usage=f"%(prog)s {usage}",
            description=description,
            epilog=f"example: {example} (--debug shows the traceback of an error)",
            formatter_class=_HelpFormatter,
            print_config="--print-config",
        )
        self._hints: dict[str, Any] = {}
        self._switches = {"-h", "--help", "--print-config"}

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """All options: what ``words`` say, before what their ``--config`` says, before defaults.

        Raises:
            UserError: where ``words`` or the file say what can't be.
        """
        return vars(self.parse_args(self._ordered(words)))

    def given(self, words: Sequence[str]) -> dict[str, Any]:
        """The options that ``words`` or their ``--config`` spell out."""
        return vars(self.parse_args(self._ordered(words), defaults=False))

    def value(self, name: str, text: str) -> Any:
        """What ``text`` means for the option called ``name``.

        Raises:
            UserError: where it means nothing.
        """
        if self._hints[name] is bool:
            if text not in ("true", "false"):
                raise UserError(f"{_flag(name)} takes true or false, not {text}")
            return text == "true"
        return self.given([f"{_flag(name)}={text}"])[name]

    def hints(self, kinds: Sequence[type[Any]]) -> dict[str, Any]:
        """The types of the options that are fields of these dataclasses."""
        return {f.name: self._hints[f.name] for kind in kinds for f in dataclasses.fields(kind)}

    def _ordered(self, words: Sequence[str]) -> list[str]:
        """The same with the file first and what is no option last.

        The parser lets the later word win, be it in the file, and takes the words that are no
        option in one place only.
        """
        files: list[str] = []
        positional: list[str] = []
        others: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                positional += rest
                break
            if word == "-" or not word.startswith("-"):
                positional.append(word)
                continue
            alone = "=" in word or word in self._switches or not rest
            group = files if word.partition("=")[0] == "--config" else others
            # Joined, a value may begin with a dash.
            group.append(self._listed(word if alone else f"{word}={rest.pop(0)}"))
        return [*files, *others, "--", *positional] if positional else [*files, *others]

    def _listed(self, word: str) -> str:
        """An option that takes several values, with commas between them, as YAML writes a list."""
        flag, equals, value = word.partition("=")
        hint = self._hints.get(flag.removeprefix("--").replace("-", "_"))
        if not equals or not _takes_several(hint) or value.lstrip().startswith("["):
            return word
        items = [item.strip() for item in value.split(",")] if value.strip() else []
        # In quotes a text such as "yes" or "1" stays a text.
        texts = typing.get_args(hint)[0] is str
        return f"{flag}={json.dumps(items) if texts else f'[{value}]'}"

    def add_fields(self, kind: type[Any], prefix: str = "") -> None:
        """A group with an option for each field of a dataclass; its docstring has the words.

        Args:
            kind: The dataclass. Each field has a default.
            prefix: What stands before the fields' names.
        """
        # A class says what its own fields mean; those that it inherits are said there.
        words = [parse_from_object(base) for base in reversed(kind.__mro__[:-1])]
        help_of = {p.arg_name: p.description for each in words for p in each.params}
        group = self.add_argument_group((words[-1].short_description or kind.__name__).rstrip("."))
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            hint, name = hints[field.name], prefix + field.name
            if hasattr(Namespace, name):
                raise ValueError(f"what is parsed has no room for an option {name!r}: rename it")
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            text = (help_of[field.name] or "").replace("\n", " ").rstrip(".")
            self._hints[name] = hint
            if hint is bool:
                action = ActionYesNo(yes_prefix="", no_prefix="no-")
                self._switches |= {_flag(name), _flag("no_" + name)}
                group.add_argument(_flag(name), action=action, default=default, help=text)
            else:
                metavar = _METAVARS.get(hint)
                shown: dict[str, Any] = {"metavar": metavar} if metavar else {}
                group.add_argument(_flag(name), type=hint, default=default, help=text, **shown)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises a UserError that says in one line what was expected and what came."""
        line = " ".join(message.split())
        wrong = _WRONG_TYPE.search(line)
        if wrong and wrong["name"] in self._hints:
            expected = _type_words(self._hints[wrong["name"]])
            line = f"{_flag(wrong['name'])} takes {expected}, not {wrong['value']}"
        unknown = _UNKNOWN.search(line)
        if unknown:
            asked = unknown["flag"] or unknown["key"]
            known = list(map(_flag, self._hints)) if unknown["flag"] else list(self._hints)
            close = difflib.get_close_matches(asked, known, 1)
            advice = f": did you mean {close[0]}?" if close else ""
            line = f"there is no option {asked}{advice}"
        raise UserError(f"{line}; see {self.prog} --help") from ex


def pick(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """The dataclass ``kind`` with its fields out of ``values``, where they have the prefix."""
    names = [field.name for field in dataclasses.fields(cast("Any", kind))]
    return kind(**{name: values[prefix + name] for name in names})


def _takes_several(hint: Any) -> bool:
    return typing.get_origin(hint) in (tuple, list)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _type_words(hint: Any) -> str:
    options: Sequence[Any] = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(options)
    if _takes_several(hint):
        one = {str: "texts", float: "numbers", int: "whole numbers"}.get(
            options[0], str(options[0])
        )
        return f"{one} with commas between them"
    if type(None) in options:
        return " or ".join(_type_words(option) for option in options)
    return {int: "a whole number", float: "a number", str: "a text", type(None): "null"}.get(
        hint, str(hint)
    )
