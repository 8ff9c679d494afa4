from __future__ import annotations

import numpy as np
import pytest

from toolchain.demand.sales import Sales, best_sellers
from toolchain.errors import DataError

DAYS = np.datetime64("2020-01-01", "D") + np.arange(4).astype("timedelta64[D]")


def sales(units: list[list[float]]) -> Sales:
    return Sales(DAYS, tuple("abcdef"[: len(units)]), np.array(units, dtype=np.float64))


def test_best_sellers_are_chosen_without_the_days_held_out() -> None:
    kept = best_sellers(sales([[1, 1, 1, 1], [5, 5, 0, 0], [0, 0, 99, 99]]), 2, before_last=2)
    assert kept.names == ("a", "b")
    assert kept.units.tolist() == [[1, 1, 1, 1], [5, 5, 0, 0]]


def test_best_sellers_keep_the_order_of_the_series_and_the_first_of_equals() -> None:
    kept = best_sellers(sales([[1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1]]), 2, before_last=1)
    assert kept.names == ("a", "b")


def test_best_sellers_keep_all_when_there_are_fewer() -> None:
    assert best_sellers(sales([[1, 1, 1, 1]]), 5, before_last=1).names == ("a",)


@pytest.mark.parametrize(
    ("dates", "names", "units", "message"),
    [
        (
            DAYS.astype("datetime64[s]"),
            ("a",),
            np.zeros((1, 4)),
            "sales: dates are datetime64[s], not one row of datetime64[D].",
        ),
        (
            DAYS,
            ("a", "b"),
            np.zeros((1, 4)),
            "sales: units have the shape (1, 4), but there are 2 series and 4 days.",
        ),
        (
            DAYS[::-1],
            ("a",),
            np.zeros((1, 4)),
            "sales: dates do not increase from each day to the next.",
        ),
        (DAYS, ("a", "a"), np.zeros((2, 4)), "sales: two series have the same name."),
        (DAYS, ("a",), -np.ones((1, 4)), "sales: units are negative or not finite."),
        (DAYS, ("a",), np.full((1, 4), np.nan), "sales: units are negative or not finite."),
    ],
)
def test_impossible_sales_are_refused(
    dates: np.ndarray, names: tuple[str, ...], units: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError) as error:
        Sales(dates, names, units)
    assert str(error.value) == message
