"""What stands in the blanks of a form: earlier values, new parameters, captured constants.

To know the shape of each value, a drawn cell is run on one example of real tensors while it is
written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LITERALS = ("0.5", "-1.5", "0.25", "2", "1")
SIZES = (1, 3, 5, 7)
SEVERAL = SIZES[1:]
REALS = (torch.float64, torch.float32)

Choose = Callable[[Sequence[Any]], Any]

MAIN = ("x", "v", "w", "o", "m")
"""The blanks that are filled first; ``ABOUT`` says whose shape another blank depends on."""

ABOUT = {
    "y": "x", "z": "x", "r": "x", "c": "x", "e": "x", "u": "v", "t": "v", "n": "v", "i": "v",
    "A": "v", "B": "v", "R": "v", "S": "v", "Q": "v", "C": "v", "a": "w", "rest": "w", "k": "m",
    "L": "m", "M": "m", "G": "A", "b": "A",
}  # fmt: skip


@dataclass(eq=False)
class Value:
    """A value of the step: its name, one example of it, and whether only parameters reach it."""

    name: str
    example: Tensor
    fixed: bool = False
    read: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.example.shape)

    @property
    def real(self) -> bool:
        """Whether it is a number, not a condition."""
        return self.example.dtype in REALS


class Blanks:
    """The values that a cell has so far, and the parameters and constants that it declares."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.sizes: dict[str, int] = {name: choose(SIZES) for name in ("D", "H", "P")}
        self.values: list[Value] = []
        self.parameters: list[str] = []
        self.constants: list[str] = []
        self._random = torch.Generator().manual_seed(0)

    @property
    def examples(self) -> dict[str, Tensor]:
        """One example of each value, by name."""
        return {v.name: v.example for v in self.values}

    def new(self, name: str, shape: tuple[int, ...], fixed: bool = False) -> Value:
        """A value within ±1 that no line computes."""
        example = 2 * torch.rand(shape, generator=self._random, dtype=torch.float64) - 1
        self.values.append(Value(name, example, fixed))
        return self.values[-1]

    def parameter(self, shape: tuple[int, ...]) -> Value:
        """A new parameter of the cell."""
        name = f"{'bWQ'[len(shape) - 1]}{len(self.parameters)}"
        self.parameters.append(f"{name}=param({', '.join(map(self._size, shape))})")
        return self.new(name, shape, fixed=True)

    def _size(self, length: int) -> str:
        sizes = self.sizes.items()
        named = [f'"{name}"' for name, size in sizes if size == length]
        named += [f'"{n}*{name}"' for n in (2, 3) for name, size in sizes if n * size == length]
        named += ['"D+H"'] if length == self.sizes["D"] + self.sizes["H"] else []
        return self.choose((*named, str(length)))

    def constant(self, shape: tuple[int, ...]) -> Value:
        """A tensor that the step captures: short numbers, none of them 0."""
        value = self.new(f"K{len(self.constants)}", shape, fixed=True)
        value.example = torch.round(8 * value.example) / 8 + 0.0625
        data = value.example.tolist()
        self.constants.append(f"{value.name} = torch.tensor({data}, dtype=torch.float64)")
        return value

    def pick(self, fits: Callable[[Value], bool], *made: Callable[[], Value | str]) -> str:
        """The name of a value that fits, or something made anew."""
        found = [v for v in self.values if fits(v) and not v.name.startswith("K")]
        chosen = self.choose((*found, *made))
        if not isinstance(chosen, Value):
            chosen = chosen()
        return chosen.name if isinstance(chosen, Value) else str(chosen)

    def operands(self, text: str) -> list[Value]:
        """The values that lines of the cell name."""
        words = set(re.findall(r"\w+", text))
        return [v for v in self.values if v.name in words]

    @contextmanager
    def attempt(self) -> Generator[Callable[[], None]]:
        """Gives a function that undoes what has been added since."""
        before = list(self.values), list(self.parameters), list(self.constants)

        def undo() -> None:
            self.values, self.parameters, self.constants = before

        yield undo

    def fill(self, text: str, name: str) -> str:
        """The text with its blanks filled in."""
        wanted = {blank for blank in re.findall(r"\{(\w+)\}", text) if blank != "name"}
        wanted |= {ABOUT[blank] for blank in wanted if blank in ABOUT}
        wanted |= {ABOUT[blank] for blank in wanted if blank in ABOUT}
        filled = {"name": name}
        for blank in (*MAIN, *ABOUT):
            if blank in wanted:
                filled[blank] = self._main(blank) if blank in MAIN else self._other(blank, filled)
        return re.sub(r"\{(\w+)\}", lambda found: filled[found[1]], text)

    def vector(self, least: int = 1) -> str:
        """A vector of so many entries or more."""
        return self.pick(
            lambda v: v.real and len(v.shape) == 1 and v.shape[0] >= least,
            lambda: self.parameter((self.choose(SEVERAL),)),
        )

    def _main(self, blank: str) -> str:
        if blank == "x":
            return self.pick(lambda v: v.real)
        if blank == "m":
            return self.pick(
                lambda v: v.real and len(v.shape) == 2,
                lambda: self.parameter((self.choose(SIZES), self.choose(SIZES))),
            )
        return self.vector(least=2 if blank == "w" else 1)

    def _other(self, blank: str, filled: dict[str, str]) -> str:
        subject = filled[ABOUT[blank]]
        shape = tuple(self.examples[subject].shape)
        match blank:
            case "n":
                return str(shape[0])
            case "rest":
                return str(shape[0] - 1)
            case "i":
                return str(self.choose(range(-shape[0], shape[0])))
            case "k":
                return self._alike(shape[-1:])
            case "b":
                return self._alike(shape[:1])
            case "z" | "r" | "u" | "t" | "a":
                return self._alike(shape)
            case "y":
                return self._broadcasting(shape)
            case "c" | "e":
                return self._condition(shape, subject, captured=blank == "e")
            case "C":
                joined = shape[0] + self.examples[filled["o"]].shape[0]
                return self._matrix(blank, (joined,))
            case _:
                return self._matrix(blank, shape)

    def _alike(self, shape: tuple[int, ...]) -> str:
        parameter = (lambda: self.parameter(shape),) if 1 <= len(shape) <= 3 else ()
        same = lambda v: v.real and v.shape == shape
        return self.pick(same, lambda: self.constant(shape), *parameter)

    def _broadcasting(self, shape: tuple[int, ...]) -> str:
        def fits(v: Value) -> bool:
            single = v.example.numel() == 1 and len(v.shape) <= len(shape)
            return v.real and (v.shape == shape or single)

        return self.pick(fits, *((lambda n=n: n) for n in LITERALS))

    def _condition(self, shape: tuple[int, ...], subject: str, captured: bool) -> str:
        mask = (lambda: f"({self.constant(shape).name} > 0)",) if captured else ()
        return self.pick(
            lambda v: not v.real and v.shape == shape,
            lambda: f"({subject} > {self._alike(shape)})",
            lambda: f"({subject} <= {self.choose(LITERALS)})",
            *mask,
        )

    def _matrix(self, blank: str, shape: tuple[int, ...]) -> str:
        """A matrix of parameters alone, one of whose axes must fit a value of this shape."""
        free = self.choose(SEVERAL if blank == "B" else SIZES)
        rows, columns = shape[0], shape[-1]
        wanted = {
            "R": (rows, free), "M": (columns, free), "S": (rows, rows), "Q": (2, free, columns),
            "L": (free, rows), "G": (free, rows),
        }.get(blank, (free, columns))  # fmt: skip
        free_axis = {"R": 1, "M": 1, "Q": 1, "S": None}.get(blank, 0)

        def fits(v: Value) -> bool:
            if not (v.real and v.fixed and len(v.shape) == len(wanted)):
                return False
            pairs = enumerate(zip(v.shape, wanted, strict=True))
            alike = all(axis == free_axis or have == want for axis, (have, want) in pairs)
            return alike and (blank != "B" or v.shape[0] > 1)

        # Mostly one that is there, or a new one; a captured matrix now and then.
        new = (lambda: self.parameter(wanted),) * 3
        return self.pick(fits, *new, lambda: self.constant(wanted))
