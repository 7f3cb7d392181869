"""The table of peers: who is measured beside us, on which cells, at which points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.grid import FEW, GRID, QUICK, UNROLLED_64, Point, chosen
from benchmarks.peers import compiled_loop, jax_scan, loop, onnx_runtime, ours, torch_nn
from benchmarks.peers.contestant import Build
from benchmarks.problems import CUSTOM, DROP_IN, MODES, Mode

__all__ = ["OURS", "PEERS", "Case", "Peer", "cases"]


@dataclass(frozen=True)
class Peer:
    """One peer: how it is built, from which packages beside torch, and its points by cell."""

    name: str
    title: str
    build: Build
    packages: tuple[str, ...]
    modes: tuple[Mode, ...]
    full: Mapping[str, tuple[Point, ...]]
    quick: Mapping[str, tuple[Point, ...]]


OURS: Build = ours.build

_ONNX = tuple(onnx_runtime.NODES)

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "torch.nn",
            "`torch.nn.RNN`, `GRU`, `LSTM`",
            torch_nn.build,
            (),
            MODES,
            dict.fromkeys(DROP_IN, GRID),
            dict.fromkeys(DROP_IN, QUICK),
        ),
        Peer(
            "loop",
            "a plain PyTorch loop over time",
            loop.build,
            (),
            MODES,
            dict.fromkeys(CUSTOM, GRID),
            dict.fromkeys(CUSTOM, QUICK),
        ),
        Peer(
            "compile",
            "`torch.compile` of that loop",
            compiled_loop.build,
            (),
            MODES,
            dict.fromkeys(CUSTOM, UNROLLED_64),
            {},
        ),
        Peer(
            "jax",
            "`jax.lax.scan` under `jax.jit`",
            jax_scan.build,
            ("jax",),
            MODES,
            dict.fromkeys(DROP_IN, GRID) | dict.fromkeys(CUSTOM, FEW),
            dict.fromkeys((*DROP_IN, *CUSTOM), QUICK),
        ),
        Peer(
            "onnxruntime",
            "ONNX Runtime",
            onnx_runtime.build,
            ("onnx", "onnxruntime"),
            ("inference",),
            dict.fromkeys(_ONNX, GRID),
            dict.fromkeys(_ONNX, QUICK),
        ),
    )
}
"""By name, in the documentation's order."""


@dataclass(frozen=True)
class Case:
    """What is timed in one set of alternating turns: ours and each of these peers."""

    cell: str
    mode: Mode
    point: Point
    peers: tuple[str, ...]


def cases(
    quick: bool,
    peers: Sequence[str] = (),
    cells: Sequence[str] = (),
    modes: Sequence[Mode] = (),
    points: Sequence[str] = (),
) -> tuple[Case, ...]:
    """All that a run measures, under filters of which an empty one lets all through.

    ``torch.compile`` comes last: its workers stay in memory.

    ``points`` are clauses as :func:`benchmarks.grid.chosen` takes them.
    """
    wanted = [p for p in PEERS.values() if not peers or p.name in peers]
    found: list[Case] = []
    for cell in (*DROP_IN, *CUSTOM):
        if cells and cell not in cells:
            continue
        at = {p.name: (p.quick if quick else p.full).get(cell, ()) for p in wanted}
        # In the grid's order, each point once.
        for point in chosen(dict.fromkeys(p for of_peer in at.values() for p in of_peer), points):
            for mode in modes or MODES:
                here = tuple(p.name for p in wanted if point in at[p.name] and mode in p.modes)
                if here:
                    found.append(Case(cell, mode, point, here))
    return tuple(sorted(found, key=lambda case: "compile" in case.peers))
