"""Cells whose pictures the tests look at: the textbook's, composed ones, and odd ones of a user."""

from typing import Any

import torch
from torch import Tensor

import unrolled
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.combinators import (
    layer_norm,
    project,
    residual,
    rms_norm,
    with_activation,
    zoneout,
)
from unrolled.ir import Graph

W, V, U = (unrolled.param("H", "D"), unrolled.param("H", "D"), unrolled.param("H", "H"))
B = unrolled.param("H")


@unrolled.cell
def delayed(x: Tensor, h: Tensor, old: Tensor, *, W: Tensor = W) -> Any:
    """A state that is what another was a step before."""
    new = torch.tanh(W @ x + 0.5 * h - 0.25 * old)
    return 2 * new, (new, h)


@unrolled.cell
def twins(x: Tensor, h: Tensor, g: Tensor, *, W: Tensor = W) -> Any:
    """Two states that are one value, and gates put out by name."""
    gate = torch.sigmoid(W @ x + 0.5 * h - 0.25 * g)
    new = gate * h
    return new, (new, new), {"gate": gate}


@unrolled.cell
def two_products(
    x: Tensor, h: Tensor, *, W: Tensor = W, V: Tensor = V, U: Tensor = U, b: Tensor = B
) -> Tensor:
    """A sum in the loop with two terms that are known before it, and a square."""
    return torch.tanh(torch.relu(W @ x) + torch.sin(V @ x) + U @ h + b) ** 2


@unrolled.cell
def choosing(x: Tensor, h: Tensor, *, W: Tensor = W, U: Tensor = U, b: Tensor = B) -> Tensor:
    """Ops with operands that are told apart, of numbers, parameters and values."""
    v = W @ x
    u = U @ h
    chosen = torch.where(u > v, u / (1 + v.abs()), torch.maximum(u, b))
    soft = torch.softmax(chosen, -1)
    return torch.where(h < 0.5, soft - u, b.exp() * soft).clamp(-1, 1)


@unrolled.cell
def long_names(
    x: Tensor,
    the_state_of_the_whole_network: Tensor,
    *,
    a_matrix_with_a_very_long_name: Tensor = W,
    gain: Tensor = B,
) -> Tensor:
    """Names that are longer than boxes usually are."""
    candidate_before_it_is_squashed = a_matrix_with_a_very_long_name @ x
    return torch.tanh(candidate_before_it_is_squashed + gain * the_state_of_the_whole_network)


@unrolled.cell
def still(x: Tensor, h: Tensor) -> Any:
    """Nothing is computed: the output is the input, and the state stays."""
    return x, (h,)


@unrolled.cell
def swapping(x: Tensor, h: Tensor, c: Tensor) -> Any:
    """Two states that change places."""
    return torch.tanh(x), (c, h)


@unrolled.cell
def deep(x: Tensor, h: Tensor, *, W: Tensor = W, U: Tensor = U) -> Tensor:
    """A long chain, and a state that is read all along it."""
    v = W @ x
    for _ in range(12):
        v = torch.tanh(U @ v + h)
    return v


OWN = {
    cell.name: cell
    for cell in (
        delayed,
        twins,
        two_products,
        choosing,
        long_names,
        still,
        deep,
        swapping,
        zoneout(layer_norm(CELLS["lstm"]), h=0.1, c=0.1),
        residual(rms_norm(CELLS["gru"])),
        project(layer_norm(CELLS["gru_full"]), "P"),
        with_activation(CELLS["lstm_peephole"], tanh=torch.relu),
    )
}
ALL: dict[str, Cell] = {**CELLS, **OWN}


def graph_of(name: str) -> Graph:
    """The equations of one of them, with an input as long as the state where it needs that."""
    cell = ALL[name].evaluated
    sizes = cell.example_sizes()
    alike = any(part in name for part in ("residual", "deep", "still", "swapping"))
    return cell.graph({**sizes, "D": sizes["H"]} if alike else sizes)
