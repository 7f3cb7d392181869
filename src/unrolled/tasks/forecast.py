"""Forecasting: series in time, a model that learns quantiles of what follows, how it is judged.

The loss is the pinball loss of all quantiles (Koenker and Bassett, "Regression quantiles", 1978),
in units of each window's own past, as the model sees it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.data.batch import Batch
from unrolled.data.fingerprint import fingerprint
from unrolled.data.frequency import Frequency
from unrolled.data.series import Series, frequency
from unrolled.data.series_layout import Layout
from unrolled.data.series_windows import WindowBatches, Windows
from unrolled.errors import DataError
from unrolled.models.forecaster import Forecaster
from unrolled.models.forecaster_config import ForecasterConfig
from unrolled.models.modes import evaluating
from unrolled.tasks.forecast_data import (
    ForecastData,
    Parts,
    least_training,
    problem_in_evaluation,
    problem_in_training,
    read,
    usable,
    windows,
)
from unrolled.tasks.forecast_report import compare, report
from unrolled.tasks.forecast_shown import shown
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.report import Report
from unrolled.train.task import Task

_AT_ONCE = 256


def loss(model: Forecaster, batch: Batch) -> Tensor:
    """Twice the pinball loss, the mean over quantiles, summed over all values ahead: a scalar.

    That of the median alone is the absolute error.  A window whose past is constant adds nothing:
    it has no unit.
    """
    forecast, scale = model.of_batch(batch)
    quantiles = torch.tensor(model.config.quantiles, dtype=forecast.dtype, device=forecast.device)
    target = batch.values["target"].T.unsqueeze(-1)
    error = (target - forecast) / torch.where(scale > 0, scale, torch.inf).unsqueeze(-1)
    return 2 * torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1).sum().float()


def count(batch: Batch) -> int:
    """The number of values ahead."""
    return batch.values["target"].numel()


def task(training: Windows, validation: Windows | None, batch_size: int, seed: int) -> Task:
    """What a run learns from windows.

    Args:
        training: To learn from.
        validation: To validate on, or None.
        batch_size: The windows of a batch.
        seed: Where their order starts.
    """

    def validate(model: Forecaster) -> dict[str, float]:
        assert validation is not None
        total, n = 0.0, 0
        with evaluating(model), torch.no_grad():
            for batch in WindowBatches(validation, _AT_ONCE, None).batches():
                total += float(loss(model, batch.to(model.device)))
                n += count(batch)
        return {"loss": total / n}

    return Task(
        WindowBatches(training, batch_size, seed),
        lambda model, batch, state: (loss(model, batch), None),
        count,
        validate if validation is not None else None,
    )


def prepare(
    words: Sequence[str], data: ForecastData, config: ForecasterConfig, train: Any, cache: Cache
) -> Prepared:
    """A run that learns from the series of these files.

    Args:
        words: Files, directories or globs.
        data: How they are read and divided.
        config: The model.
        train: Whose ``batch_size`` and ``seed`` are read.
        cache: Not used: series are held in memory, 8 bytes a value.

    Raises:
        DataError: where the series can't be used.
        ModelError: where the configuration doesn't fit.
    """
    found, columns = read(words, data, data.columns)
    step = frequency(found)
    config = config.resolved(1 if step is None else step.season)
    series, left_out = usable(
        found, data.skip_bad, lambda one: problem_in_training(one, data, config)
    )
    parts = [Parts.of(len(one), data) for one in series]
    layout = Layout.fitted(series, [p.training for p in parts], columns, step, data.calendar)
    torch.manual_seed(train.seed)
    model = Forecaster(config, layout)
    least = least_training(config)
    training = windows(series, layout, config, [(least, p.training) for p in parts])
    validation = None
    if data.validation is not None:
        validation = _held(model, [data.validation], data, data.validation_fraction)
    elif data.validation_fraction:
        between = [(p.training, p.validation) for p in parts]
        validation = windows(series, layout, config, between)
    test: Windows | None = None
    if data.test is not None:
        test = _held(model, [data.test], data, data.test_fraction)
    elif data.test_fraction:
        ends = [(p.validation, len(one)) for p, one in zip(parts, series, strict=True)]
        test = windows(series, layout, config, ends, data.stride)
    judged = test or validation
    return Prepared(
        model,
        task(training, validation, train.batch_size, train.seed),
        (*_facts(series, step, config, training), *left_out),
        fingerprint(
            {
                "columns": [columns, step],
                "series": series,
                # Those without data of their own are of the same series.
                "validation part": validation if data.validation else None,
                "test part": test if data.test else None,
            }
        ),
        None if judged is None else lambda model: _report(model, judged, data),
    )


def evaluate(model: Forecaster, words: Sequence[str], data: ForecastData) -> Report:
    """The report of a model on the last part of each series of these files.

    Raises:
        DataError: where the series can't be used, or are not of the model's columns.
    """
    held = _held(model, words, data, data.test_fraction)
    return _report(model, held, data)


def _held(model: Forecaster, words: Sequence[str], data: ForecastData, fraction: float) -> Windows:
    """Windows of the last part of each series, of files that the model was not prepared with."""
    trained = model.layout.columns
    given = {k: v for k, v in vars(data.columns).items() if v}
    columns = replace(trained, **given)
    if (columns.known, columns.past) != (trained.known, trained.past):
        raise DataError(
            f"the model reads the known columns {', '.join(trained.known) or 'none'} and the past "
            f"columns {', '.join(trained.past) or 'none'}: name no others"
        )
    found, _ = read(words, data, columns)
    model.layout.check(frequency(found))
    series, _ = usable(
        found, data.skip_bad, lambda one: problem_in_evaluation(one, fraction, model.config)
    )
    parts = [(len(one) - round(len(one) * fraction), len(one)) for one in series]
    return windows(series, model.layout, model.config, parts, data.stride)


def _report(model: Forecaster, judged: Windows, data: ForecastData) -> Report:
    n, horizon = len(judged), model.config.horizon
    on = f"{n:,} origins in {len(judged.series):,} series, {horizon} steps ahead each"
    compared = compare(model, judged, data.smoothing)
    made = report(compared, model.config.quantiles, on)
    picture = shown(model, judged, compared.forecasts["model"])
    return replace(made, details={**made.details, "forecast": picture})


def _facts(
    series: Sequence[Series], step: Frequency | None, config: ForecasterConfig, training: Windows
) -> tuple[str, ...]:
    lengths = sorted(len(one) for one in series)
    between = (
        f"{lengths[0]:,}" if lengths[0] == lengths[-1] else f"{lengths[0]:,} to {lengths[-1]:,}"
    )
    every = "without time stamps" if step is None else f"a value every {step}"
    return (
        f"data: {len(series):,} series of {between} values, {every}; a season has {config.season}",
        f"training: {len(training):,} windows of up to {config.context} values, {config.horizon} "
        "ahead",
    )


@dataclass(frozen=True)
class ForecastPrediction:
    """How predictions are made.

    Attributes:
        horizon: How many steps ahead; 0 takes what the model was trained for.
    """

    horizon: int = 0


def predict(
    model: Forecaster, lines: Iterable[str], prediction: ForecastPrediction
) -> Iterator[dict[str, Any]]:
    """A forecast for each line.

    A line is a series: numbers that commas or spaces separate, or JSON with ``values`` and, as the
    model needs them, ``times``, ``known`` and ``past`` (``Forecaster.forecast``).
    """
    for line in lines:
        try:
            given = _series_of(line)
            found = model.forecast(
                given["values"],
                prediction.horizon or None,
                times=given.get("times"),
                known=given.get("known"),
                past=given.get("past"),
            )
        except DataError as error:
            yield {"error": str(error)}
            continue
        named = {f"{q:g}": found[:, i].tolist() for i, q in enumerate(model.config.quantiles)}
        yield {"forecast": named["0.5"], "quantiles": named}


def _series_of(line: str) -> dict[str, Any]:
    text = line.strip()
    try:
        given = json.loads(text) if text[:1] in ("{", "[") else text.replace(",", " ").split()
    except ValueError as error:
        raise DataError(f"this is no JSON: {error}") from error
    fields = cast("dict[str, Any]", given) if isinstance(given, dict) else {"values": given}
    unknown = sorted(fields.keys() - {"values", "times", "known", "past"})
    if unknown or "values" not in fields:
        raise DataError(
            f"a series has values, times, known and past, and this one has {', '.join(fields)}"
        )
    try:
        fields["values"] = [float(v) for v in fields["values"]]
        for name in ("known", "past"):
            if name in fields:
                columns = cast("dict[str, Any]", fields[name])
                fields[name] = {k: [float(v) for v in c] for k, c in columns.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a series is numbers, and this one is not: {error}") from error
    return fields


KIND = Kind(
    name="forecast",
    summary="forecast series: quantiles of the next values, several series, covariates",
    reads="Series are CSV, TSV, JSON lines or Parquet files with a column of values; columns of "
    "times, of the series' names and of covariates are options.",
    example="sales.csv --value sold --time day --horizon 14",
    model=Forecaster,
    data=ForecastData,
    config=ForecasterConfig,
    defaults={"epochs": 50, "learning_rate": 1e-2, "evaluate_every": 50, "log_every": 50},
    prepare=cast("Callable[..., Prepared]", prepare),
    evaluate=cast("Callable[..., Report]", evaluate),
    prediction=ForecastPrediction,
    predict=cast("Callable[..., Iterator[dict[str, Any]]]", predict),
)
