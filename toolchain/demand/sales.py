"""Daily sales of several series over the same days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import DataError


@dataclass(frozen=True, eq=False)
class Sales:
    """Units sold per series and day."""

    dates: NDArray[np.datetime64]
    """datetime64[D] (days,), strictly increasing; a day the shop was closed may be absent."""

    names: tuple[str, ...]
    """One per series, each another."""

    units: NDArray[np.float64]
    """(series, days), finite and not negative."""

    def __post_init__(self) -> None:
        if self.dates.dtype != np.dtype("datetime64[D]") or self.dates.ndim != 1:
            raise DataError(f"sales: dates are {self.dates.dtype}, not one row of datetime64[D].")
        if self.units.shape != (len(self.names), len(self.dates)):
            raise DataError(
                f"sales: units have the shape {self.units.shape}, but there are "
                f"{len(self.names)} series and {len(self.dates)} days."
            )
        if np.any(np.diff(self.dates) <= np.timedelta64(0, "D")):
            raise DataError("sales: dates do not increase from each day to the next.")
        if len(set(self.names)) != len(self.names):
            raise DataError("sales: two series have the same name.")
        if not np.all(np.isfinite(self.units)) or np.any(self.units < 0):
            raise DataError("sales: units are negative or not finite.")


def best_sellers(sales: Sales, count: int, before_last: int) -> Sales:
    """Keep the `count` series that sold most before the last `before_last` days.

    The days held out have no say in which series are kept. The order of the series stays; of
    two that sold the same, the earlier is kept.
    """
    sold = sales.units[:, : max(0, len(sales.dates) - before_last)].sum(axis=1)
    kept = np.sort(np.argsort(-sold, kind="stable")[:count])
    return Sales(sales.dates, tuple(sales.names[index] for index in kept), sales.units[kept])
