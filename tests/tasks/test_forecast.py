"""The task: from files to windows, what is learned, the report, predictions, what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from unrolled.data.series_windows import WindowBatches
from unrolled.errors import DataError
from unrolled.models.forecaster import Forecaster
from unrolled.models.forecaster_config import ForecasterConfig
from unrolled.tasks import forecast_report
from unrolled.tasks.forecast import KIND, ForecastData, ForecastPrediction, count, loss
from unrolled.tasks.kind import Cache, Prepared

TRAIN = SimpleNamespace(batch_size=8, seed=0)
CONFIG = ForecasterConfig("gru", 8, season=6, horizon=3, context=18)


def wave(n: int = 120, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    return 10 + 3 * np.sin(2 * np.pi * np.arange(n) / 6) + 0.3 * noise


def file_of(tmp_path: Path, columns: dict[str, Any], name: str = "a.csv") -> str:
    lines = [
        ",".join(columns),
        *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    return str(tmp_path / name)


def prepared(
    file: str, data: ForecastData | None = None, config: ForecasterConfig = CONFIG
) -> Prepared:
    torch.manual_seed(0)
    return KIND.prepare([file], data or ForecastData(smoothing=False), CONFIG, TRAIN, Cache(Path()))


def learn(run: Prepared, steps: int) -> None:
    optimizer = torch.optim.Adam(run.model.parameters(), lr=0.01)
    done = 0
    while done < steps:
        for batch in run.task.training.batches(done):
            total, _ = run.task.loss(run.model, batch, None)
            optimizer.zero_grad()
            (total / run.task.count(batch)).backward()
            torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
            optimizer.step()
            done += 1


def test_a_loop_by_hand_learns_to_do_better_than_the_last_season(tmp_path: Path):
    run = prepared(file_of(tmp_path, {"value": wave()}), ForecastData())
    assert run.task.validate is not None
    before = run.task.validate(run.model)["loss"]
    learn(run, 200)
    assert run.task.validate(run.model)["loss"] < before
    assert run.report is not None
    report = run.report(run.model)
    assert report.on == "22 origins in 1 series, 3 steps ahead each"
    by_name = {figure.name: figure for figure in report.figures}
    assert list(by_name) == [
        "MASE",
        "MASE relative to exponential smoothing",
        "weighted quantile loss",
        "weighted quantile loss relative to exponential smoothing",
        "distance of the coverage from 80%",
    ]
    assert by_name["MASE"].value < (by_name["MASE"].baseline or 0)
    assert all(f.low <= f.value <= f.high for f in report.figures)
    json.dumps(report.to_dict())


def test_parts_follow_each_other_in_time_and_targets_stay_inside(tmp_path: Path):
    run = prepared(file_of(tmp_path, {"id": ["a"] * 50 + ["b"] * 100, "value": wave(150)}))
    at = cast(WindowBatches, run.task.training).windows.origins
    for which, n in ((0, 32), (1, 64)):  # 80 % of 80 % of 50 and of 100
        places = at[at[:, 0] == which, 1]
        assert (places.min(), places.max()) == (6, n - 3)
    assert run.facts[0] == (
        "data: 2 series of 50 to 100 values, without time stamps; a season has 6"
    )


def test_what_is_held_out_changes_nothing_that_is_learned_from(tmp_path: Path):
    values, promo = wave(100), np.random.default_rng(1).normal(size=100)
    data = ForecastData(known=("promo",), smoothing=False)
    one = prepared(file_of(tmp_path, {"value": values, "promo": promo}), data)
    values[64:], promo[64:] = 1e6, -1e6
    other = prepared(file_of(tmp_path, {"value": values, "promo": promo}, "b.csv"), data)
    assert one.model.layout == other.model.layout
    for x, y in zip(one.task.training.batches(0), other.task.training.batches(0), strict=True):
        assert torch.equal(x.sequences["values"].data, y.sequences["values"].data)
        assert torch.equal(x.sequences["covariates"].data, y.sequences["covariates"].data)
        assert all(torch.equal(x.values[name], y.values[name]) for name in x.values)
    assert one.fingerprint != other.fingerprint


def test_the_loss_is_a_sum_over_values_in_units_of_the_past(tmp_path: Path):
    run = prepared(file_of(tmp_path, {"value": wave()}))
    batch = next(iter(run.task.training.batches(0)))
    with torch.no_grad():
        found, scale = run.model.of_batch(batch)
    expected = 0.0
    for b in range(batch.size):
        for k in range(3):
            for i, q in enumerate(CONFIG.quantiles):
                error = float(batch.values["target"][b, k] - found[k, b, i]) / float(scale[b])
                expected += 2 * max(q * error, (q - 1) * error) / 9
    assert count(batch) == 3 * batch.size
    np.testing.assert_allclose(loss(run.model, batch).item(), expected, rtol=1e-6)


def test_baselines_stand_on_the_same_origins(tmp_path: Path):
    run = prepared(file_of(tmp_path, {"value": wave(60)}))
    training = cast(WindowBatches, run.task.training).windows
    judged = training.part(training.origins[:, 1] >= 12)
    compared = forecast_report.compare(run.model, judged, False)
    values = judged.series[0].values
    for row, (_, origin) in enumerate(judged.origins):
        np.testing.assert_array_equal(compared.target[row], values[origin : origin + 3])
        naive = compared.forecasts["seasonal-naive"][row, :, 4]
        np.testing.assert_allclose(naive, values[origin - 6 : origin - 3])


def test_the_report_holds_the_last_forecasts_of_a_few_series(tmp_path: Path):
    names = [name for name in "abcdef" for _ in range(60)]
    columns = {"time": list(range(60)) * 6, "id": names, "value": wave(360)}
    run = prepared(file_of(tmp_path, columns))
    assert run.report is not None
    found = run.report(run.model).details["forecast"]
    assert json.loads(json.dumps(found)) == found
    assert found["value"] == "value (unit of the data)"
    assert found["time"] == "time (a value every 1 step)"
    assert [one["name"] for one in found["series"]] == ["a", "b", "c", "d"]
    for number, one in enumerate(found["series"]):
        values = wave(360)[60 * number : 60 * number + 60]
        # Of 12 held-out values the last three times three, and two seasons before these.
        np.testing.assert_array_equal(one["observed"], values[51 - 12 :])
        assert one["times"] == [str(time) for time in range(39, 60)]
        assert [window["start"] for window in one["windows"]] == [12, 15, 18]
        for window in one["windows"]:
            own = run.model.forecast(
                values[: 39 + window["start"]], times=range(39 + window["start"])
            )
            given = np.stack([window["quantiles"][f"{q:g}"] for q in CONFIG.quantiles], 1)
            # A batch and a window alone differ by float32's rounding, in units of about 3.
            np.testing.assert_allclose(given, own, rtol=1e-5)


def test_forecasts_further_apart_than_the_horizon_do_not_overlap(tmp_path: Path):
    data = ForecastData(smoothing=False, stride=2, test_fraction=0.1)
    run = prepared(file_of(tmp_path, {"value": wave(60)}), data)
    assert run.report is not None
    (one,) = run.report(run.model).details["forecast"]["series"]
    # Origins 54 and 56, which overlap: the last one stays.
    assert [window["start"] for window in one["windows"]] == [12]
    assert one["times"][0] == "45"


def test_without_statsmodels_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forecast_report, "has_statsmodels", lambda: False)
    run = prepared(file_of(tmp_path, {"value": wave()}), ForecastData())
    assert run.report is not None
    report = run.report(run.model)
    assert report.tables["notes"] == (
        "exponential smoothing is not compared with: it needs statsmodels, which "
        "pip install 'unrolled[forecast]' brings"
    )
    assert "exponential smoothing" not in report.details["methods"]


def test_evaluate_takes_the_columns_of_the_model(tmp_path: Path):
    given = {"sales": wave(), "promo": wave(seed=1)}
    data = ForecastData(value="sales", known=("promo",), smoothing=False)
    file = file_of(tmp_path, given)
    run = prepared(file, data)
    assert run.report is not None
    assert KIND.evaluate(run.model, [file], ForecastData(smoothing=False)) == run.report(run.model)
    other = file_of(tmp_path, {"sales": wave()}, "b.csv")
    with pytest.raises(DataError) as caught:
        KIND.evaluate(run.model, [other], ForecastData())
    assert str(caught.value) == f"{other} has no column 'promo': it has sales"
    with pytest.raises(DataError) as caught:
        KIND.evaluate(run.model, [file], ForecastData(known=("sales",)))
    assert str(caught.value) == (
        "the model reads the known columns promo and the past columns none: name no others"
    )


def test_lines_are_forecast_in_order(tmp_path: Path):
    model: Forecaster = prepared(file_of(tmp_path, {"value": wave()})).model
    values = wave(30).tolist()
    lines = [json.dumps({"values": values}), "x", " ".join(map(str, values)), '{"v": 1}', "{"]
    first, second, third, fourth, fifth = KIND.predict(model, lines, ForecastPrediction(2))
    assert first == third
    assert (
        first["forecast"] == first["quantiles"]["0.5"] == model.forecast(values, 2)[:, 4].tolist()
    )
    assert second == {
        "error": "a series is numbers, and this one is not: could not convert string to float: 'x'"
    }
    assert fourth == {"error": "a series has values, times, known and past, and this one has v"}
    assert fifth["error"].startswith("this is no JSON: ")


BAD: list[tuple[dict[str, Any], ForecastData, str]] = [
    (
        {"value": [5] * 60},
        ForecastData(),
        "the series is constant: its first 38 values are all 5, which leaves nothing to learn; "
        "leave it out",
    ),
    (
        {"value": range(12)},
        ForecastData(),
        "the series is too short: 8 of its 12 values are for training, and a past of 6 with a "
        "horizon of 3 needs 9",
    ),
    (
        {"id": ["b"] * 60, "value": range(60)},
        ForecastData(test_fraction=0.03),
        "series 'b' is too short: its test part has 2 of its 60 values and the horizon is 3: take "
        "a shorter horizon or a larger fraction",
    ),
]


@pytest.mark.parametrize(("columns", "data", "problem"), BAD, ids=["constant", "short", "part"])
def test_what_can_not_be_learned_from_is_said(
    tmp_path: Path, columns: dict[str, Any], data: ForecastData, problem: str
):
    with pytest.raises(DataError) as caught:
        prepared(file_of(tmp_path, columns), data)
    assert str(caught.value) == problem


def test_series_that_can_not_be_used_are_left_out_and_said(tmp_path: Path):
    columns = {"id": ["a"] * 60 + ["b"] * 5, "value": wave(65)}
    run = prepared(file_of(tmp_path, columns), ForecastData(skip_bad=1, smoothing=False))
    assert run.facts[2:] == (
        "left out: series 'b' is too short: 3 of its 5 values are for training, and a past of 6 "
        "with a horizon of 3 needs 9",
    )
