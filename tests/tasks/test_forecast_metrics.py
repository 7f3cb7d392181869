"""Measures and baselines of forecasts, against figures worked out by hand and other libraries'."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss
from statsmodels.tsa.holtwinters import ExponentialSmoothing as HoltWinters

from unrolled.errors import DataError
from unrolled.tasks import forecast_metrics as metrics
from unrolled.tasks.forecast_baselines import ExponentialSmoothing, Form, forms, seasonal_naive

QUANTILES = (0.1, 0.5, 0.9)
TARGET = np.array([[10.0, 20.0], [30.0, 40.0]])
# Off by 2 and 4, by 0 and 10; all but the last within the interval.
FORECAST = np.array([[[8.0, 12, 13], [10, 16, 20]], [[29, 30, 31], [20, 30, 35]]])


def test_figures_by_hand():
    rows = metrics.statistics(TARGET, FORECAST, np.array([2.0, 5.0]), QUANTILES)
    assert rows[:, metrics.ERROR].tolist() == [(2 + 4) / 2, (0 + 10) / 5]
    assert rows[:, metrics.COUNT].tolist() == [2, 2]
    assert rows[:, metrics.WEIGHT].tolist() == [30, 70]
    assert rows[:, metrics.INSIDE].tolist() == [2, 1]
    sums = rows.sum(0)
    assert metrics.mase(sums) == (3 + 2) / 4
    assert metrics.coverage(sums) == 3 / 4
    # 0.1 · (2, 10, 1, 20); 0.5 · (2, 4, 0, 10); 0.1 · (3, 0, 1) and 0.9 · 5 for the last.
    by_quantile = [2 * 3.3 / 100, 2 * 8.0 / 100, 2 * 4.9 / 100]
    np.testing.assert_allclose(metrics.weighted_quantile_loss(sums), np.mean(by_quantile))


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9])
def test_pinball_is_sklearns(q: float):
    draw = np.random.default_rng(0)
    target, forecast = draw.normal(size=50), draw.normal(size=50)
    ours = metrics.pinball(target, forecast[:, None], [q]).mean()
    np.testing.assert_allclose(ours, mean_pinball_loss(target, forecast, alpha=q), rtol=1e-14)


def test_the_unit_of_mase():
    assert metrics.unit(np.array([1.0, 2, 4, 8]), 1) == (1 + 2 + 4) / 3
    assert metrics.unit(np.array([1.0, 2, 4, 8]), 2) == (3 + 6) / 2
    assert metrics.unit(np.array([1.0, 2, 1, 2]), 2) == 1
    with pytest.raises(DataError) as caught:
        metrics.unit(np.ones(5), 2)
    assert str(caught.value) == "MASE needs a training part that is not constant"
    with pytest.raises(DataError) as caught:
        metrics.unit(np.ones(2), 2)
    assert str(caught.value) == "MASE needs more than a season of 2 values, and there are 2"


def test_windows_of_a_group_are_added_up():
    rows = np.arange(8.0).reshape(4, 2)
    assert metrics.blocks(rows, np.array([3, 3, 5, 3])).tolist() == [[8, 11], [4, 5]]


def test_the_interval_that_is_covered():
    assert metrics.interval_of((0.1, 0.5, 0.9)) == (0, 2)
    assert metrics.interval_of((0.05, 0.1, 0.5, 0.9, 0.99)) == (1, 3)
    assert metrics.interval_of((0.05, 0.5)) == (0, 1)
    assert metrics.interval_of((0.5,)) is None


def test_seasonal_naive_repeats_the_last_season_and_widens_with_each():
    values = np.array([1.0, 5, 2, 7, 3, 6])
    found = seasonal_naive(values, 5, 2, QUANTILES)
    np.testing.assert_allclose(found[:, 1], [3, 6, 3, 6, 3])
    spread = np.sqrt((1 + 4 + 1 + 1) / 4)
    z = 1.2815515655446004
    np.testing.assert_allclose(found[0], [3 - z * spread, 3, 3 + z * spread])
    np.testing.assert_allclose(found[4, 2] - 3, z * spread * np.sqrt(3))
    assert (np.diff(found, axis=1) > 0).all()


def test_exponential_smoothing_is_that_of_statsmodels():
    draw = np.random.default_rng(0)
    t = np.arange(60)
    values = 50 + 0.5 * t + 5 * np.sin(2 * np.pi * t / 4) + draw.normal(size=60)
    fitted = ExponentialSmoothing(values[:50], 4)
    assert fitted.form == Form("add", False, "add")
    assert str(fitted.form) == "ETS(A,A,A)"
    found = fitted.forecast(values, 8, QUANTILES)
    other = HoltWinters(values, trend="add", seasonal="add", seasonal_periods=4).fit().forecast(8)
    # Two fits by different criteria: alike to a tenth of the noise's standard deviation or two.
    np.testing.assert_allclose(found[:, 1], other, atol=0.5)
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_array_equal(found, fitted.forecast(values, 8, QUANTILES))


def test_only_forms_that_can_be_fitted_are_tried():
    assert {f.seasonal for f in forms(np.arange(1.0, 40), 4)} == {None, "add", "mul"}
    assert {f.seasonal for f in forms(np.arange(-1.0, 40), 4)} == {None, "add"}
    assert {f.seasonal for f in forms(np.arange(1.0, 9), 4)} == {None}
    assert len(forms(np.arange(1.0, 40), 1)) == 3
