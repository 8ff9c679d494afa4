"""Forecasts that need no network: what any network has to beat.

Each forecasts the day of every window from the sales before that day, in units. "The same weekday"
goes by the calendar, so that an absent day does not shift it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.sales import Sales
from toolchain.demand.windows import Windows

Reference = Callable[[Sales, Windows], NDArray[np.float64]]


def naive(sales: Sales, windows: Windows) -> NDArray[np.float64]:
    """Forecast what was sold the day before."""
    rows = np.searchsorted(sales.dates, windows.days)
    return sales.units[windows.series, rows - 1]


def seasonal_naive(sales: Sales, windows: Windows) -> NDArray[np.float64]:
    """Forecast what was sold on the last same weekday."""
    return _mean_of_same_weekdays(sales, windows, 1)


def weekday_mean(sales: Sales, windows: Windows) -> NDArray[np.float64]:
    """Forecast the mean of the last 4 same weekdays."""
    return _mean_of_same_weekdays(sales, windows, 4)


REFERENCES: dict[str, Reference] = {
    "naive": naive,
    "seasonal_naive": seasonal_naive,
    "weekday_mean": weekday_mean,
}


def _mean_of_same_weekdays(sales: Sales, windows: Windows, count: int) -> NDArray[np.float64]:
    """Average the last `count` same weekdays with sales data; fewer where the series is young.

    The first days of a series have none: there, as `naive`.
    """
    forecasts = naive(sales, windows)
    days, which = np.unique(windows.days, return_inverse=True)
    for index, day in enumerate(days):
        before = np.flatnonzero(sales.dates < day)
        same = before[(day - sales.dates[before]).astype(np.int64) % 7 == 0][-count:]
        if len(same):
            chosen = which == index
            series = windows.series[chosen]
            forecasts[chosen] = sales.units[series][:, same].mean(axis=1)
    return forecasts
