"""Windows in units of their own past, compared with a plain loop over each window."""

import numpy as np
import pytest
import torch

from unrolled.models.scaling import Scaling, least_past, scaled

SCALINGS: tuple[Scaling, ...] = ("last", "seasonal", "mean")


def plain(past: np.ndarray, horizon: int, scaling: Scaling, season: int):
    """Inputs, anchor and unit of one window."""
    t = len(past)
    if scaling == "mean":
        unit = sum(abs(v) for v in past) / t
        return [v / unit for v in past], [0.0] * horizon, unit
    if scaling == "last":
        unit = sum(abs(past[i] - past[i - 1]) for i in range(1, t)) / (t - 1)
        return [(v - past[-1]) / unit for v in past], [past[-1]] * horizon, unit
    changes = [past[i] - past[i - season] for i in range(season, t)]
    unit = sum(map(abs, changes)) / len(changes)
    anchor = [past[t - season + k % season] for k in range(horizon)]
    return [c / unit for c in changes], anchor, unit


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("season", [1, 3, 5])
def test_each_window_is_as_a_plain_loop_has_it(scaling: Scaling, season: int):
    draw = np.random.default_rng(season)
    lengths = torch.tensor([9, 6, least_past(scaling, season)])
    values = torch.from_numpy(draw.normal(size=(9, 3)))
    found = scaled(values, lengths, 7, scaling, season)
    for b, n in enumerate(lengths.tolist()):
        inputs, anchor, unit = plain(values[:n, b].numpy(), 7, scaling, season)
        k = int(found.lengths[b])
        assert k == len(inputs)
        # A mean of at most 9 numbers, a difference and a division.
        eps = 16 * float(np.finfo(float).eps)
        np.testing.assert_allclose(found.inputs[:k, b], inputs, rtol=eps, atol=eps)
        assert not found.inputs[k:, b].any()
        np.testing.assert_allclose(found.anchor[:, b], anchor, rtol=eps, atol=eps)
        np.testing.assert_allclose(found.scale[b], unit, rtol=eps, atol=eps)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_what_stands_behind_the_end_is_not_read(scaling: Scaling):
    values = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([8, 12])
    other = values.clone()
    other[8:, 0] = torch.nan
    for one, two in zip(
        vars(scaled(values, lengths, 4, scaling, 3)).values(),
        vars(scaled(other, lengths, 4, scaling, 3)).values(),
        strict=True,
    ):
        assert torch.equal(one, two)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_past_that_does_not_change_has_no_unit_and_goes_on(scaling: Scaling):
    values = torch.zeros(8, 1) if scaling == "mean" else torch.full((8, 1), 5.0)
    found = scaled(values, torch.tensor([8]), 3, scaling, 2)
    assert found.scale.tolist() == [0]
    assert not found.inputs.any()
    assert torch.equal(found.anchor, values[:3])


@pytest.mark.parametrize("scaling", ["last", "seasonal"])
@pytest.mark.parametrize(("factor", "shift"), [(1.0, 1000.0), (4.0, 0.0), (0.25, -64.0)])
def test_level_and_unit_of_a_series_do_not_matter(scaling: Scaling, factor: float, shift: float):
    # Multiples of 1/8: shifts and factors of powers of two round nothing.
    whole = torch.randint(-64, 64, (10, 2), generator=torch.Generator().manual_seed(1))
    values, lengths = whole.double() / 8, torch.tensor([10, 7])
    one = scaled(values, lengths, 5, scaling, 3)
    other = scaled(values * factor + shift, lengths, 5, scaling, 3)
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.scale * factor, other.scale)
    assert torch.equal(one.anchor * factor + shift, other.anchor)
