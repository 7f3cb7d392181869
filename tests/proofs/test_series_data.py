"""The public series are what their descriptions say."""

from pathlib import Path

from proofs.series_data import co2, sunspots, write
from unrolled.data.frequency import Frequency
from unrolled.data.readers.reading import Reading
from unrolled.data.rows import find_rows
from unrolled.data.series import Columns, frequency, read_series


def test_the_series():
    years, months = sunspots(), co2()
    assert (len(years), years[0], years[-1]) == (309, ("1700", 5.0), ("2008", 2.9))
    assert (len(months), months[0], months[-1][0]) == (526, ("1958-03", 316.1), "2001-12")


def test_the_files_are_read_back_as_they_were(tmp_path: Path):
    steps = (Frequency(12, "months"), Frequency(1, "months"))
    for path, points, step in zip(write(tmp_path), (sunspots(), co2()), steps, strict=True):
        (found,), _ = read_series(find_rows(str(path), Reading()), Columns())
        assert found.values.tolist() == [value for _, value in points]
        assert frequency([found]) == step
