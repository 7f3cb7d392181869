"""What is no cell is refused with the user's own line, what was expected, came, and what to do.

``golden/errors/*.txt`` hold steps with the whole message that each gets; after a change of wording,
``pytest tests/core/test_errors.py --update-golden`` writes the messages anew: read the diff as a
first-time user would.
"""

from __future__ import annotations

import linecache
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from unrolled import CellError, cell, naive, param, recurrence, state
from unrolled.cells import elman_output, gru, lstm

FOLDER = Path(__file__).parent.parent / "golden" / "errors"
FILES = ("signatures", "sizes", "traced", "returned")
NAMES = {"cell": cell, "math": math, "np": np, "param": param, "state": state, "torch": torch}


@dataclass(frozen=True)
class Case:
    """A step's source and the message it gets, in which ``step.py`` stands for the file."""

    title: str
    source: str
    message: str

    def __str__(self) -> str:
        return f"=== {self.title}\n{self.source}---\n{self.message}\n"


def cases(name: str) -> list[Case]:
    _, *blocks = re.split(r"^=== ", (FOLDER / f"{name}.txt").read_text("utf-8"), flags=re.MULTILINE)
    found: list[Case] = []
    for block in blocks:
        title, body = block.split("\n", 1)
        source, message = body.split("---\n", 1)
        found.append(Case(title, source, message.strip("\n")))
    return found


def trace(source: str, path: str) -> None:
    """Define the step and trace it at D = 3, H = 4."""
    names: dict[str, Any] = dict(NAMES)
    exec(compile(source, path, "exec"), names)
    step = names["step"]
    step.graph(step.resolve_sizes(3, 4))


def message_of(source: str, path: Path) -> str:
    """What the author of a step sees."""
    path.write_text(source, "utf-8")
    linecache.checkcache()
    with pytest.raises(CellError) as caught:
        trace(source, str(path))
    return str(caught.value).replace(str(path), "step.py")


def without_carets(message: str) -> list[str]:
    return [line for line in message.splitlines() if line.strip(" ^")]


def every_case() -> Iterator[Any]:
    for name in FILES:
        for case in cases(name):
            yield pytest.param(case, id=f"{name}: {case.title}")


@pytest.mark.parametrize("case", list(every_case()))
def test_message(case: Case, tmp_path: Path) -> None:
    message = message_of(case.source, tmp_path / "step.py")
    if sys.version_info >= (3, 11):
        assert message == case.message
    else:  # the interpreter knows no columns: whole lines are marked
        assert without_carets(message) == without_carets(case.message)


def test_every_message_has_a_line_a_caret_and_advice() -> None:
    for name in FILES:
        for case in cases(name):
            first, source, carets, advice = case.message.split("\n", 3)
            assert re.match(r"step\.py:\d+: ", first), case.title
            assert source.strip() in case.source, case.title
            assert set(carets.strip()) == {"^"}, case.title
            assert advice.startswith("  "), case.title


def test_golden_messages_can_be_written_anew(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for name in FILES:
        path = FOLDER / f"{name}.txt"
        intro = path.read_text("utf-8").split("=== ")[0]
        found = [
            Case(c.title, c.source, message_of(c.source, tmp_path / "step.py")) for c in cases(name)
        ]
        text = intro + "\n".join(map(str, found))
        if request.config.getoption("--update-golden"):
            path.write_text(text, "utf-8")
        elif sys.version_info >= (3, 11):
            assert text == path.read_text("utf-8")


# --- what is bound --------------------------------------------------------------------------------


def bound_message(c: unrolled.Cell, **values: Any) -> str:
    with pytest.raises(CellError) as caught:
        c.bind(**values)
    return caught.value.problem + "\n" + caught.value.hint


def test_binding_an_unknown_name() -> None:
    assert bound_message(lstm, nonlinearity="relu") == (
        "cell lstm has nothing called nonlinearity to bind\n"
        "options: none; parameters: W_ih, W_hh, b_ih, b_hh"
    )


def test_binding_a_parameter_to_a_tensor() -> None:
    assert bound_message(gru, b_ih=torch.zeros(12)) == (
        "cell gru: parameter b_ih bound to a Tensor, expected a number\n"
        "a parameter is held at one number; give tensors with the other parameters"
    )


# --- recurrence's arguments -----------------------------------------------------------------------

X = torch.zeros(2, 3, 5)
H = torch.zeros(3, 4)
GRU = {
    "W_ih": torch.zeros(12, 5),
    "W_hh": torch.zeros(12, 4),
    "b_ih": torch.zeros(12),
    "b_hh": torch.zeros(12),
}

ARGUMENTS: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "no cell": (
        (torch.tanh, X, (H,), GRU),
        TypeError,
        "expected a cell, got <built-in method tanh of type object at …>: "
        "decorate the step function with @unrolled.cell",
    ),
    "a missing parameter": (
        (gru, X, (H,), {k: v for k, v in GRU.items() if k not in ("W_hh", "b_hh")}),
        TypeError,
        "cell gru has the parameters W_ih, W_hh, b_ih, b_hh; missing: W_hh, b_hh",
    ),
    "an unknown parameter": (
        (gru, X, (H,), {**GRU, "bias": torch.zeros(4)}),
        TypeError,
        "cell gru has the parameters W_ih, W_hh, b_ih, b_hh; not one: bias",
    ),
    "no states": (
        (gru, X, (), GRU),
        ValueError,
        "cell gru has 1 state(s) (h), got 0",
    ),
    "a state too many": (
        (gru, X, (H, H), GRU),
        ValueError,
        "cell gru has 1 state(s) (h), got 2",
    ),
    "a lone state": (
        (gru, X, H, GRU),
        TypeError,
        "state must be a tuple with one tensor [B, size] per state, (h,) and not h; got Tensor",
    ),
    "a state that is no tensor": (
        (gru, X, (None,), GRU),
        TypeError,
        "h must be a tensor, got NoneType",
    ),
    "a parameter that is no tensor": (
        (gru, X, (H,), {**GRU, "b_hh": 0.0}),
        TypeError,
        "b_hh must be a tensor, got float",
    ),
    "an array as input": (
        (gru, X.numpy(), (H,), GRU),
        TypeError,
        "x must be a tensor, got ndarray",
    ),
    "one example without a batch": (
        (gru, X[0], (H,), GRU),
        ValueError,
        "x must be [T, B, D], got the shape [3, 5]",
    ),
    "integers": (
        (gru, X.long(), (H,), GRU),
        TypeError,
        "x is torch.int64: expected torch.float32 or torch.float64; convert with x.float()",
    ),
    "half precision": (
        (gru, X.half(), (H,), GRU),
        TypeError,
        "x is torch.float16: expected torch.float32 or torch.float64; convert with x.float()",
    ),
    "a state of another type": (
        (gru, X, (H.double(),), GRU),
        TypeError,
        "h is torch.float64 and x is torch.float32: convert one to the other",
    ),
    "a parameter of another type": (
        (gru, X, (H,), {**GRU, "b_ih": GRU["b_ih"].double()}),
        TypeError,
        "b_ih is torch.float64 and x is torch.float32: convert one to the other",
    ),
    "a state on another device": (
        (gru, X, (H.to("meta"),), GRU),
        ValueError,
        "h is on meta and x on cpu: move one to the other",
    ),
    "a parameter on another device": (
        (gru, X, (H,), {**GRU, "W_hh": GRU["W_hh"].to("meta")}),
        ValueError,
        "W_hh is on meta and x on cpu: move one to the other",
    ),
    "a state of another batch": (
        (gru, X, (torch.zeros(2, 4),), GRU),
        ValueError,
        "state h must be [B, H] = [3, 4], got [2, 4]",
    ),
    "a state without a batch": (
        (gru, X, (torch.zeros(4),), GRU),
        ValueError,
        "state h must be [B, H] = [3, 4], got [4]",
    ),
    "a state of no dimension": (
        (gru, X, (torch.tensor(0.0),), GRU),
        ValueError,
        "cell gru: h has the length H at H=0, expected 1 or more",
    ),
    "an input of another length": (
        (gru, torch.zeros(2, 3, 6), (H,), GRU),
        ValueError,
        "parameter W_ih is [3*H, D] = [12, 6] at D=6, H=4, got [12, 5]",
    ),
    "a parameter of another shape": (
        (gru, X, (H,), {**GRU, "W_hh": torch.zeros(4, 12)}),
        ValueError,
        "parameter W_hh is [3*H, H] = [12, 4] at D=5, H=4, got [4, 12]",
    ),
    "a parameter of other dimensions": (
        (gru, X, (H,), {**GRU, "b_hh": torch.zeros(12, 1)}),
        ValueError,
        "parameter b_hh is [3*H] = [12] at D=5, H=4, got [12, 1]",
    ),
    "a size that nothing says": (
        (
            elman_output,
            X,
            (H,),
            {
                "W_xh": torch.zeros(4, 5),
                "W_hh": torch.zeros(4, 4),
                "b_h": torch.zeros(4),
                "W_hy": torch.tensor(0.0),
                "b_y": torch.tensor(0.0),
            },
        ),
        ValueError,
        "cell elman_output: the size O does not follow from the shapes of x, h, "
        "W_xh, W_hh, b_h, W_hy, b_y: one of them does not fit its declaration",
    ),
    "an unknown backend": (
        (gru, X, (H,), GRU, "fortran"),
        ValueError,
        "backend 'fortran': expected auto or one of cpu, cpu_invariant, reference",
    ),
}


@pytest.mark.parametrize("title", ARGUMENTS)
def test_arguments_of_recurrence(title: str) -> None:
    arguments, kind, message = ARGUMENTS[title]
    with pytest.raises((kind, CellError)) as caught:
        recurrence(*arguments)
    error = caught.value
    text = error.problem if isinstance(error, CellError) else str(error)
    assert re.sub(r"0x[0-9a-f]+", "…", text) == message


def test_the_plain_loop_counts_states_too() -> None:
    @cell
    def step(x: Any, h: Any) -> Any:
        return x, h

    with pytest.raises(ValueError) as caught:
        naive.recurrence(step, X, (H,), {})
    assert str(caught.value) == "the step returned 2 new state(s), expected 1"


def test_an_error_in_the_step_itself_is_the_users() -> None:
    @cell
    def step(x: Any, h: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        step.graph({"D": 3, "H": 4})


def test_a_helper_of_the_standard_library_is_not_blamed() -> None:
    from functools import reduce

    @cell
    def step(x: Any, h: Any) -> Any:
        return reduce(lambda a, b: torch.tan(a) + b, h.chunk(2))

    with pytest.raises(CellError) as caught:
        step.graph({"D": 3, "H": 4})
    assert caught.value.location is not None
    assert caught.value.location.file == __file__


def test_folders_beside_ours_and_torchs_are_the_users(tmp_path: Path) -> None:
    package = Path(unrolled.__file__).parent
    source = "@cell\ndef step(x, h):\n    return torch.tan(h)\n"
    for file in (f"{package}_mine/step.py", f"{Path(torch.__file__).parent}vision/step.py"):
        with pytest.raises(CellError) as caught:
            trace(source, file)
        assert caught.value.location is not None
        assert (caught.value.location.file, caught.value.location.line) == (file, 3)


def test_an_error_without_its_source_has_file_and_line() -> None:
    with pytest.raises(CellError) as caught:
        trace("@cell\ndef step(x, h):\n    return torch.tan(h)\n", "<console>")
    assert str(caught.value).splitlines() == [
        "<console>:3: tan is not among the functions that a cell can use",
        "  close to it: tanh; write it with other functions, or add it as CONTRIBUTING.md says",
    ]


def test_attributes_can_be_asked_for() -> None:
    seen: list[object] = []

    @cell
    def step(x: Any, h: Any) -> Any:
        seen.extend([hasattr(h, "is_nested"), getattr(h, "names", "none"), hasattr(h, "shape")])
        return h + x.sum()

    step.graph({"D": 3, "H": 4})
    assert seen == [False, "none", True]
