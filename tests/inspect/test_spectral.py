"""The matrices that are found are the cells' own, and their radii are numpy's."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import unrolled
from linear_rnns import scaled_orthogonal, sequence
from unrolled.cells import CELLS
from unrolled.inspect.spectral import Radius, spectral_radius


@unrolled.cell
def in_one(
    x: Tensor, h: Tensor, *, W: Any = unrolled.param("3*H", "D"),
    U: Any = unrolled.param("3*H", "H"), b: Any = unrolled.param("3*H"),
) -> Tensor:  # fmt: skip
    """One product, which is cut into named gates."""
    z, f, n = (U @ h + W @ x + b).chunk(3)
    return torch.sigmoid(f) * h + torch.sigmoid(z) * torch.tanh(n)


def found(name: str, **options: Any) -> tuple[unrolled.Recurrent, tuple[Radius, ...]]:
    torch.manual_seed(0)
    cell = {"in_one": in_one, **CELLS}[name]
    sizes = {s: 3 for s in cell.size_names() if s not in ("D", "H")}
    layer = unrolled.Recurrent(cell, 2, 4, sizes=sizes, **options)
    return layer, spectral_radius(layer, (sequence(2, 1, 2).float(),)).matrices


def of(layer: unrolled.Recurrent, name: str, rows: slice = slice(None), columns: int = 4) -> Any:
    return getattr(layer, f"{name}_l0").detach().double().numpy()[rows, :columns]


def compare(got: Radius, want: Any) -> None:
    norm = np.linalg.norm(want, 2)
    values, vectors = np.linalg.eig(want)
    # LAPACK changes the matrix by n ε of its norm but for a small factor: a singular value no more
    # (Weyl), an eigenvalue by that times the condition of the eigenvectors (Bauer and Fike).
    change = 10 * len(want) * np.finfo(np.float64).eps * norm
    assert got.radius == pytest.approx(np.abs(values).max(), abs=change * np.linalg.cond(vectors))
    assert got.norm == pytest.approx(norm, abs=change)
    assert got.shape == want.shape


def test_a_scaled_orthogonal_matrix() -> None:
    (only,) = spectral_radius(scaled_orthogonal(0.9), (sequence(2),)).matrices
    assert (only.layer, only.matrix, only.into, only.reads) == ("recurrent l0", "U", "h", "h")
    assert (only.radius, only.norm) == (pytest.approx(0.9), pytest.approx(0.9))


def test_an_lstm_has_four_gates() -> None:
    layer, gates = found("lstm")
    assert [(g.matrix, g.into, g.reads) for g in gates] == [
        (f"W_h{gate}", gate, "h") for gate in "ifgo"
    ]
    for k, gate in enumerate(gates):
        compare(gate, of(layer, "W_hh", slice(4 * k, 4 * k + 4)))


def test_a_product_that_is_cut_is_taken_part_by_part() -> None:
    layer, gates = found("in_one")
    assert [(g.matrix, g.rows, g.into) for g in gates] == [
        ("U", (0, 4), "z"), ("U", (4, 8), "f"), ("U", (8, 12), "n")
    ]  # fmt: skip
    for k, gate in enumerate(gates):
        compare(gate, of(layer, "U", slice(4 * k, 4 * k + 4)))


def test_of_a_concatenated_matrix_the_states_half_is_taken() -> None:
    layer, (only,) = found("elman_concat")
    assert (only.matrix, only.into, only.reads) == ("W_a", "a", "a")
    compare(only, of(layer, "W_a"))


def test_a_transposed_matrix_and_a_product_with_a_reset_state() -> None:
    layer, (only,) = found("elman_rows")
    compare(only, of(layer, "W_hh").T)
    _, gates = found("gru_cho")
    assert [(g.matrix, g.into, g.reads) for g in gates] == [
        ("U_r", "r", "h"), ("U_z", "z", "h"), ("U_h", "h_tilde", "r, h")
    ]  # fmt: skip


def test_what_is_not_square_has_a_norm_and_no_radius() -> None:
    layer, (*gates, projection) = found("lstm_projected")
    assert [g.radius for g in gates] == [None] * 4
    assert projection.shape == (3, 4)
    assert projection.norm == pytest.approx(np.linalg.norm(of(layer, "W_hr"), 2))


@pytest.mark.parametrize("name", ["indrnn", "mingru"])
def test_a_layer_without_a_recurrent_matrix_has_none(name: str) -> None:
    assert found(name)[1] == ()


@pytest.mark.parametrize("name", sorted(CELLS))
def test_every_cell_and_each_direction_is_told(name: str) -> None:
    _, both = found(name, bidirectional=True)
    names = [m.layer for m in both]
    assert names.count("recurrent l0") == names.count("recurrent l0 reverse")
    assert all(m.norm > 0 for m in both)
