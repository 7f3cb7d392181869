"""Every op in C: the table is covered, and infinities, NaN, zeros and kinks are torch's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from c_programs import Exported, library
from function_table import ONE_OPERAND, PRODUCTS, REDUCTIONS, SHAPES, TWO_OPERANDS, Call, labelled
from unrolled import Recurrent, cell, param
from unrolled.builder import Builder
from unrolled.interop.c.arrange import MOVES
from unrolled.interop.c.bound import MONOTONE, Near, rounded
from unrolled.interop.c.network import Layer, Network, read
from unrolled.interop.c.prepare import REFUSED
from unrolled.interop.c.program import Program, build
from unrolled.interop.c.samples import sample
from unrolled.interop.c.source import header, source
from unrolled.interop.c.spelling import HELPERS, SPELLING
from unrolled.interop.c.spelling import REDUCTIONS as BY_ROWS
from unrolled.interop.c.views import VIEWS
from unrolled.interpret import evaluate
from unrolled.ir import Equation, Graph, Output, Var
from unrolled.ops import TABLE

N = 6
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 3.0, -3.0, 1e4, -1e4, 0.5]
CONVERSIONS = ("double-1", "to-3")  # to float64, which is another precision
ELEMENTWISE = {
    label: f
    for label, f in (labelled(ONE_OPERAND) | labelled(TWO_OPERANDS)).items()
    if label not in CONVERSIONS
}
OVER_AXES = labelled(REDUCTIONS) | labelled(PRODUCTS) | labelled(SHAPES)


def test_every_op_of_the_table_is_written_or_refused() -> None:
    written = {*SPELLING, *BY_ROWS, *MOVES, *VIEWS}
    assert written | set(REFUSED) == set(TABLE)
    assert not written & set(REFUSED)
    assert set(SPELLING) - {"reshape"} == {n for n, row in TABLE.items() if row.elementwise}


def test_every_op_that_is_written_has_a_bound() -> None:
    """An elementwise op of which the analysis has no rule would be a KeyError at export."""
    for name, row in TABLE.items():
        if row.elementwise and row.arity is not None:
            kinds = {"conditions": ("bool",) * 3, "choice": ("bool", "real", "real")}
            dtypes = kinds.get(row.takes, ("real",) * 3)[: row.arity]
            args = [
                torch.full((2,), 0.5, dtype=torch.float64).to(
                    torch.bool if d == "bool" else torch.float64
                )
                for d in dtypes
            ]
            variables = tuple(Var(f"a{k}", (2,)) for k in range(row.arity))
            e = Equation(Var("out", (2,)), name, variables, (("exponent", 1.5),))
            near = rounded(e, [Near(a, torch.zeros(2, dtype=torch.float64)) for a in args])
            assert near.error.shape == (2,)
            assert (near.error < 1e-5).all()
    assert {n for n in MONOTONE if TABLE[n].cost != "costly"} == set()


def program_of(calls: dict[str, Call], name: str) -> Program:
    """One step that makes all the calls, each of them an output."""

    def step(x, h, *, W=param("H", "H")):  # type: ignore[no-untyped-def]
        return W @ h, (x,), {f"out{k}": f(x, h, W) for k, f in enumerate(calls.values())}

    torch.manual_seed(1)
    network = read(Recurrent(cell(step), N, N), None, None)
    return build(network, name, tuple(f"out{k}" for k in range(len(calls))))


def loaded(program: Program, folder: Path, *options: str) -> Exported:
    (folder / f"{program.name}.h").write_text(header(program, False))
    (folder / f"{program.name}.c").write_text(source(program, False))
    built = library([folder / f"{program.name}.c"], folder / f"{program.name}.so", *options)
    return Exported(built, program)


def pairs() -> list[tuple[Tensor, Tensor]]:
    """All pairs of the special numbers, N at a time."""
    both = torch.cartesian_prod(*[torch.tensor(SPECIAL)] * 2).reshape(-1, N, 2)
    return [(row[:, 0].contiguous(), row[:, 1].contiguous()) for row in both]


def one_odd() -> list[tuple[Tensor, Tensor]]:
    """Ordinary numbers with an infinity or NaN in h, at each place."""
    chance = torch.Generator().manual_seed(0)
    found: list[tuple[Tensor, Tensor]] = []
    for k in range(3 * N):
        x, h = (torch.rand(N, generator=chance) + 0.1 for _ in range(2))
        h[k % N] = (math.inf, -math.inf, math.nan)[k // N]
        found.append((x, h))
    return found


CASES = {"elementwise": (ELEMENTWISE, pairs), "axes": (OVER_AXES, one_odd)}


@pytest.mark.parametrize("case", CASES)
def test_special_numbers_are_torchs(case: str, tmp_path: Path) -> None:
    """The same NaN, the same infinities, and numbers that rounding explains."""
    calls, points = CASES[case]
    program = program_of(calls, case)
    exported = loaded(program, tmp_path)
    layer = program.network.layers[0]
    for x, h in points():
        exported.states = h
        outputs = exported.step(x)
        _, _, extras = evaluate(layer.graph, x, (h,), dict(layer.parameters))
        for k, label in enumerate(calls):
            torch.testing.assert_close(
                outputs[1 + k], extras[f"out{k}"].float().reshape(-1), rtol=1e-3, atol=1e-3,
                equal_nan=True, msg=lambda m, label=label, x=x, h=h: f"{label} at {x}, {h}: {m}",
            )  # fmt: skip


def test_sigmoid_is_right_at_both_ends(tmp_path: Path) -> None:
    @cell
    def gate(x, h):  # type: ignore[no-untyped-def]
        return torch.sigmoid(x), (h,)

    exported = loaded(build(read(Recurrent(gate, 8, 8), None, None), "gate", ()), tmp_path)
    x = torch.tensor([-math.inf, -1000.0, -104.0, -88.0, 88.0, 1000.0, math.inf, math.nan])
    (y,) = exported.step(x)
    exact = torch.sigmoid(x.double())
    # 12 roundings of the helper, as the bound has it; and half a step of the subnormal numbers.
    assert ((y - exact).abs() <= 12 * 2.0**-24 * exact + 2.0**-149)[:-1].all()
    assert y[-1].isnan()


@pytest.mark.parametrize("op", ["place", "place apart", "put", "put rows", "reshape", "take rows"])
def test_ops_that_no_trace_makes(op: str, tmp_path: Path) -> None:
    """The ops of derivatives, and moves over two axes, in equations made by hand."""
    x, h, p = (
        Var("x", (4,), "input"), Var("h", (12,), "state"),
        Var("p", (2, 3), "parameter", per_step=False),
    )  # fmt: skip
    b = Builder("xhp")
    table = b.emit("reshape", h, shape=(4, 3))
    match op:
        case "place":
            y = b.emit("place", x, axis=-1, start=1, stop=5, step=1, size=7)
        case "place apart":
            y = b.emit("place", x, axis=-1, start=0, stop=8, step=2, size=9)
        case "put":
            y = b.emit("put", x, axis=-1, indices=(4, 0, 0, 2), size=5)
        case "put rows":
            wide = b.emit("put", table, axis=-2, indices=(1, 1, 0, 2), size=3)
            y = b.emit("reshape", b.emit("transpose", wide), shape=(9,))
        case "reshape":
            y = b.emit("reshape", b.emit("transpose", b.emit("mul", table, table)), shape=(12,))
        case _:
            y = b.emit("reshape", b.emit("take", table, axis=-2, indices=(3, 3, 0)), shape=(9,))
    y = b.emit("cat", y, b.emit("reshape", p, shape=(6,)), axis=-1)
    after = b.emit("mul", h, 0.5)
    graph = Graph(
        "made", (x,), (h,), (p,), (), (), tuple(b.equations), (after,), (Output("y", y),)
    )  # fmt: skip
    layer = Layer("l0", graph, {"p": torch.rand(2, 3)}, (torch.rand(12),))
    program = build(Network("made", (layer,)), "made", ())
    exported, samples = loaded(program, tmp_path), sample(program)
    for t, (x_t, r) in enumerate(zip(samples.x, samples.results, strict=True)):
        found = torch.cat([*exported.step(x_t), exported.states]).double()
        assert ((found - r.expected).abs() <= r.bound).all(), t
        assert (r.bound < 1e-6).all()


def test_sums_over_all_steps_are_refused() -> None:
    assert REFUSED.keys() == {"total", "total_outer"}
    assert {n for n, row in TABLE.items() if row.cost == "total"} == REFUSED.keys()


def test_helpers_are_written_only_where_they_are_called(tmp_path: Path) -> None:
    @cell
    def plain(x, h):  # type: ignore[no-untyped-def]
        return x + h

    text = source(build(read(Recurrent(plain, 3, 3), None, None), "plain", ()), False)
    assert not any(f"static float {name}(" in text for name in HELPERS)
