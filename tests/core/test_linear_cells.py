"""Linear cells on the reference backend: scanned and walked, they are the same recurrence."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from linear_cases import (
    LINEAR,
    Case,
    D,
    H,
    assert_same,
    case,
    derivatives,
    forgetful,
    signed,
    two_states,
    unbounded,
)
from unrolled import Recurrent, cell, cells, lower, naive, param, recurrence
from unrolled.backends import method, reference, scanned
from unrolled.cell import Cell

each_cell = pytest.mark.parametrize("of", LINEAR, ids=lambda c: c.name)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all sequences that are scanned."""
    seen: list[int] = []
    scan = scanned.scan

    def noted(a: Tensor, b: Tensor, first: Tensor, new: Tensor | None = None) -> Tensor:
        seen.append(len(a))
        return scan(a, b, first, new)

    monkeypatch.setattr(scanned, "scan", noted)
    return seen


def walked(c: Case, monkeypatch: pytest.MonkeyPatch, order: int = 2) -> list[Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(reference, "scans", lambda sizes, width, device: False)
        return derivatives(c, c.run(backend="reference"), order)


def options(steps: int, *names: str) -> dict[str, Any]:
    resets = torch.rand(steps, 5, generator=torch.Generator().manual_seed(2)) < 0.2
    resets[0] = torch.tensor([True, True, True, False, False])
    every = {
        "lengths": torch.tensor([steps - 9, 0, steps, 1, steps]), "resets": resets, "reverse": True
    }  # fmt: skip
    return {name: every[name] for name in names}


FORMS = (
    (), ("reverse",), ("lengths",), ("lengths", "reverse"), ("resets",), ("resets", "reverse"),
    ("lengths", "resets"), ("lengths", "resets", "reverse"),
)  # fmt: skip


@each_cell
@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_scanned_is_walked(
    of: Cell, form: tuple[str, ...], scans: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    c = case(of, 41, 5, **options(41, *form))
    expected = walked(c, monkeypatch)
    assert not scans
    assert_same(c, derivatives(c, c.run(backend="reference")), expected)
    assert scans


@each_cell
@pytest.mark.parametrize("steps", [1, 2, 7, 16, 17, 33])
def test_any_length_is_the_plain_loop(
    of: Cell, steps: int, monkeypatch: pytest.MonkeyPatch, scans: list[int]
) -> None:
    monkeypatch.setattr(reference, "scans", lambda sizes, width, device: True)
    c = case(of, steps, 3)
    expected = derivatives(c, c.run(naive.recurrence), order=1)
    assert_same(c, derivatives(c, c.run(backend="reference"), order=1), expected)
    assert scans


@pytest.mark.parametrize("of", [cells.mingru, signed, two_states], ids=lambda c: c.name)
def test_five_thousand_steps(
    of: Cell, monkeypatch: pytest.MonkeyPatch, scans: list[int]
) -> None:  # fmt: skip
    c = case(of, 5000, 2)
    assert_same(
        c, derivatives(c, c.run(backend="reference"), 1), walked(c, monkeypatch, order=1)
    )  # fmt: skip
    assert set(scans) == {5000}


def test_further_outputs_and_residuals(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a plan wants of a step, also values of the loop and states before it."""
    for of, names in ((signed, ("y", "before")), (two_states, ("both", "y", "h", "c"))):
        c = case(of, 20, 3)
        graph = of.graph(of.resolve_sizes(D, H), torch.float64)
        kernel = reference.ReferenceKernel(lower(graph, names, (of.input, *of.parameters)))
        given = (c.x, c.states, c.parameters, True)
        runs: list[dict[str, Tensor]] = []
        for scan in (True, False):
            monkeypatch.setattr(reference, "scans", lambda *_, scan=scan: scan)
            run = kernel.forward(*given)
            runs.append(run.outputs | run.residuals | dict(zip("ab", run.states, strict=False)))
        assert runs[0].keys() == runs[1].keys()
        assert_same(c, list(runs[0].values()), list(runs[1].values()))


@pytest.mark.parametrize("form", [(), ("lengths", "resets", "reverse")], ids="-".join)
@pytest.mark.parametrize("of", [signed, forgetful], ids=lambda c: c.name)
def test_numerical_derivatives(of: Cell, form: tuple[str, ...], scans: list[int]) -> None:
    c = case(of, 17, 5 if form else 1, 2, **options(17, *form))
    n = len(c.states)

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        states, fresh = rest[:n], rest[n : 2 * n] if form else ()
        names = dict(zip(c.parameters, rest[(2 if form else 1) * n :], strict=True))
        return Case(of, x, states, fresh, names, c.options).run(backend="reference")

    assert torch.autograd.gradcheck(run, c.leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, c.leaves, fast_mode=True)
    assert scans


# Torch's own decompositions for forward mode are made by torch.jit.script, which is deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@each_cell
@pytest.mark.parametrize("uneven", [False, True], ids=["even", "uneven"])
def test_transforms(of: Cell, uneven: bool, scans: list[int]) -> None:
    """``vmap`` over sequences of their own, and forward mode, each against one at a time."""
    c = case(of, 20, 6)
    parts = c.x.detach().unflatten(1, (3, 2)).movedim(1, 0)
    resets = torch.zeros(20, 2, dtype=torch.bool)
    resets[7] = True
    how: dict[str, Any] = {"lengths": [11, 20], "resets": resets, "reverse": True} if uneven else {}

    def run(x: Tensor) -> Tensor:
        states = tuple(s.detach()[:2] for s in c.states)
        given = {n: p.detach() for n, p in c.parameters.items()}
        return recurrence(of, x, states, given, "reference", **how)[0]

    found = torch.func.vmap(run)(parts)
    assert_same(c, [found], [torch.stack([run(x) for x in parts])])
    gradient = torch.func.grad(lambda x: run(x).square().sum())
    assert_same(
        c,
        [torch.func.vmap(gradient)(parts)],
        [torch.stack([gradient(x) for x in parts])],
    )
    tangent = torch.ones_like(parts[0])
    forward = torch.func.jvp(run, (parts[0],), (tangent,))[1]
    pull = torch.func.vjp(run, parts[0])[1]
    assert_same(c, [(pull(torch.ones_like(forward))[0] * tangent).sum()], [forward.sum()])
    assert scans


def test_checkpoints(monkeypatch: pytest.MonkeyPatch, scans: list[int]) -> None:
    c = case(two_states, 60, 3)
    found = derivatives(c, c.run(backend="reference", checkpoint=25), order=1)
    assert set(scans) == {25}
    assert_same(c, found, walked(c, monkeypatch, order=1))


def test_other_backends_scan_where_torch_differentiates(scans: list[int]) -> None:
    """Forward mode, whatever backend was asked for."""
    c = case(cells.mingru, 20, 2)

    def run(x: Tensor) -> Tensor:
        given = {n: p.detach() for n, p in c.parameters.items()}
        return recurrence(c.of, x, tuple(s.detach() for s in c.states), given)[0]

    x = c.x.detach()
    with torch.no_grad():
        torch.func.vmap(run)(torch.stack((x, x)))
    assert scans == [20]


@each_cell
def test_other_devices(of: Cell, scans: list[int]) -> None:
    """Where the numbers of a step are no hindrance, as on a device that keeps no numbers."""
    c = case(of, 20, 5, 512, lengths=[20, 20, 20, 9, 1])
    given = [t.detach().to("meta") for t in c.states]
    parameters = {n: p.detach().to("meta").requires_grad_() for n, p in c.parameters.items()}
    x = c.x.detach().to("meta")
    for options in ({}, c.options):
        y, final = recurrence(of, x, given, parameters, "reference", **options)
        assert {t.device.type for t in (y, *final)} == {"meta"}
        assert y.shape == (20, 5, 512)
        torch.autograd.grad(y.sum(), list(parameters.values()), allow_unused=True)
    assert set(scans) == {20, 70}


def test_nothing_passes_a_reset() -> None:
    """Not even what is no number, and no cotangent of what comes after gets to be one."""
    c = case(cells.mingru, 32, 2)
    resets = torch.zeros(32, 2, dtype=torch.bool)
    resets[20] = True
    x = c.x.detach().clone()
    x[5] = torch.nan
    spoilt = Case(c.of, x.requires_grad_(), c.states, c.fresh, c.parameters, {"resets": resets})
    y, final = spoilt.run(backend="reference")
    assert y[5:20].isnan().all()
    assert y[:5].isfinite().all()
    assert y[20:].isfinite().all()
    d_x, d_fresh = torch.autograd.grad(final.sum(), (x, *c.fresh))
    assert d_x[20:].isfinite().all()
    assert d_fresh.isfinite().all()


# --- which method -----------------------------------------------------------------------------


def test_the_rule() -> None:
    least, most = method.STEPS, method.NUMBERS_ON_CPU
    assert method.scans((1,) * least, most, "cpu")
    assert not method.scans((1,) * (least - 1), most, "cpu")
    assert not method.scans((1,) * least, most + 1, "cpu")
    assert not method.scans((2,) * least, most // 2 + 1, "cpu")
    assert method.scans((8,) * 2 + (0,) * (least - 2), most, "cpu")
    assert method.scans((2,) * least, most, "cuda")
    assert not method.scans((0,) * least, most, "cpu")
    assert not method.scans((), most, "cpu")


@pytest.mark.parametrize(
    ("of", "steps", "batch", "hidden", "scanned_steps"),
    [
        (cells.mingru, 16, 2, H, [16, 16]),
        (cells.mingru, 15, 2, H, []),
        (cells.mingru, 16, 2, 512, [16, 16]),
        (cells.mingru, 16, 2, 513, []),
        (unbounded, 40, 2, H, []),
        (cells.gru, 40, 2, H, []),
        (two_states, 40, 2, H, [40, 40, 40, 40]),
        (forgetful, 40, 2, H, [40, 40]),
    ],
)
def test_what_is_scanned(
    of: Cell, steps: int, batch: int, hidden: int, scanned_steps: list[int], scans: list[int]
) -> None:
    """A sequence of one width in each direction; states that forget need no scan."""
    c = case(of, steps, batch, hidden)
    sum(r.sum() for r in c.run(backend="reference")).backward()  # type: ignore[union-attr]
    assert scans == scanned_steps


def test_packed_sequences_are_scanned_end_to_end(scans: list[int]) -> None:
    c = case(cells.mingru, 41, 5, **options(41, "lengths"))
    c.run(backend="reference")
    assert scans == [int(c.options["lengths"].sum())]


def test_a_linear_cell_whose_factors_may_be_large_is_right_where_a_scan_would_overflow() -> None:
    x = torch.full((2000, 1, 1), 10.0, dtype=torch.float64)
    x[1000:] = 0.1
    W, h = torch.ones(1, 1).double(), torch.zeros(1, 1).double()

    @cell
    def growing(x, h, *, W=param("H", "D")):
        return (W @ x) * h

    x = torch.cat((x[:1000], x))
    y, _ = recurrence(growing, x, (h,), {"W": W}, "reference")
    assert not y.any()
    assert scanned.scan(x, torch.zeros_like(x), h).isnan().any()


def test_lengths_that_vmap_hides() -> None:
    """They are masked step by step, in either direction."""
    layer = Recurrent(
        cells.mingru, 4, 5, backend="reference", dtype=torch.float64, bidirectional=True
    )
    x = torch.randn(3, 20, 2, 4, dtype=torch.float64)
    lengths = torch.tensor([[20, 3], [7, 0], [1, 19]])
    y, state = torch.func.vmap(lambda x, n: layer(x, lengths=n))(x, lengths)
    for k in range(3):
        expected, final = layer(x[k], lengths=lengths[k])
        torch.testing.assert_close(y[k], expected)
        torch.testing.assert_close(state[0][k], final[0])
