from __future__ import annotations

import numpy as np
import pytest

from toolchain.demand.metrics import measure
from toolchain.demand.references import REFERENCES, naive, seasonal_naive, weekday_mean
from toolchain.demand.sales import Sales, best_sellers
from toolchain.demand.windows import Windows, prepare
from toolchain.project import Data, Network


def forecast_of(sales: Sales, *days: str) -> Windows:
    when = np.array(days, dtype="datetime64[D]")
    none = np.zeros(len(when), dtype=np.float32)
    return Windows(none.reshape(-1, 1, 1), none, none.astype(np.int32), when)


@pytest.fixture
def counting() -> Sales:
    """One series that sells 0, 1, 2, ... from Friday 2021-01-01 on."""
    dates = np.datetime64("2021-01-01", "D") + np.arange(40).astype("timedelta64[D]")
    return Sales(dates, ("all",), np.arange(40, dtype=np.float64)[None])


def test_references_look_at_the_days_they_name(counting: Sales) -> None:
    window = forecast_of(counting, "2021-02-01")  # row 31
    assert naive(counting, window).tolist() == [30]
    assert seasonal_naive(counting, window).tolist() == [24]
    assert weekday_mean(counting, window).tolist() == [(24 + 17 + 10 + 3) / 4]


def test_an_absent_day_does_not_shift_the_weekdays(counting: Sales) -> None:
    there = counting.dates != np.datetime64("2021-01-25")
    sales = Sales(counting.dates[there], counting.names, counting.units[:, there])
    window = forecast_of(sales, "2021-02-01", "2021-01-26")
    assert naive(sales, window).tolist() == [30, 23]
    assert seasonal_naive(sales, window).tolist() == [17, 18]
    assert weekday_mean(sales, window).tolist() == [(17 + 10 + 3) / 3, (18 + 11 + 4) / 3]


def test_the_first_week_is_forecast_by_the_day_before(counting: Sales) -> None:
    window = forecast_of(counting, "2021-01-04")
    assert [reference(counting, window).tolist() for reference in REFERENCES.values()] == [
        [2],
        [2],
        [2],
    ]


def test_references_do_not_see_the_day_they_forecast_nor_later_ones(small: Sales) -> None:
    data = Data(source="small", validation_days=10, test_days=20)
    test = prepare(small, data, Network()).test
    at = small.dates == test.days[5]
    later = np.flatnonzero(small.dates >= test.days[5])
    units = small.units.copy()
    units[:, later] += 1000
    changed = Sales(small.dates, small.names, units)
    same = np.isin(test.days, small.dates[at])
    for reference in REFERENCES.values():
        assert np.array_equal(reference(small, test)[same], reference(changed, test)[same])


def test_complete_journey_errors_with_the_categories_chosen_before_the_test(
    journey: Sales,
) -> None:
    data = Data(source="complete_journey")
    dataset = prepare(best_sellers(journey, 50, data.test_days), data, Network())
    actual = dataset.actual_units(dataset.test)
    errors = {
        name: round(measure(actual, reference(dataset.sales, dataset.test)).mae, 2)
        for name, reference in REFERENCES.items()
    }
    assert errors == {"naive": 21.81, "seasonal_naive": 24.43, "weekday_mean": 19.31}
