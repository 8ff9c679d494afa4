"""Demand to simulate: whole units on consecutive days, some to tune on, the last to measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.windows import Dataset
from toolchain.errors import DataError
from toolchain.graph.units import MAX_FIXED, to_fixed
from toolchain.shelf.forecast import Scaling
from toolchain.shelf.shelf import ABSURD

YEAR = 365
_MOST = MAX_FIXED >> 16


@dataclass(frozen=True, eq=False)
class Market:
    """What customers of each shelf ask for, and what its sensor was set up with."""

    names: tuple[str, ...]
    days: NDArray[np.int64]
    """(days,) since 1970-01-01, consecutive."""
    demand: NDArray[np.int64]
    """(series, days), whole units."""
    known: NDArray[np.int64]
    """(series, steps): the days before the first one."""
    mean: NDArray[np.float64]
    """(series,) units a day before the measured days: the fixed rule's only forecast."""
    scaling: Scaling
    """Of the training days, as the model saw it."""
    warm_up: int
    """Days at the beginning that nobody counts: the first stock is arbitrary."""
    measured: int
    """Days at the end that are measured; those between are tuned on."""

    @property
    def tuning(self) -> slice:
        """The days on which parameters are chosen."""
        return slice(self.warm_up, len(self.days) - self.measured)

    @property
    def test(self) -> slice:
        """The days that are only measured."""
        return slice(len(self.days) - self.measured, len(self.days))


def make_market(dataset: Dataset, *, days: int = YEAR, series: int | None = None) -> Market:
    """Take the held-out days, `days` of them at most, and up to a year before them.

    A day without a row was a closed one: nothing is asked for, and the sensor is told so.

    Args:
        dataset: its test days are measured, the days before them are for tuning.
        days: that are measured, the last ones.
        series: keep this many, those with the highest sales on the training days.

    Raises:
        DataError: too few days before the held-out ones, or units that a shelf cannot count.
    """
    sales = dataset.sales
    first, last = sales.dates[0], sales.dates[-1]
    held_out = int((last - dataset.test.days.min()).astype(int)) + 1
    measured, steps = min(days, held_out), dataset.steps
    count = int((last - first).astype(int)) + 1
    total = min(count - steps, measured + YEAR + steps)
    if total - measured < 2 * steps:
        raise DataError(
            f"{count} days of sales: a window of {steps} known days, {steps} to warm up, "
            f"{steps} to tune on and {measured} to measure are needed. Ask for fewer --days."
        )
    order = np.argsort(-dataset.scaling.offset, kind="stable")
    kept = np.sort(order[:series])
    every = np.zeros((len(kept), count), np.int64)
    places = (sales.dates - first).astype(int)
    every[:, places] = np.floor(sales.units[kept] + 0.5).astype(np.int64)
    demand = every[:, -total:]
    offset, scale = dataset.scaling.offset[kept], dataset.scaling.scale[kept]
    names = tuple(sales.names[index] for index in kept)
    _check(names, demand, offset, scale)
    return Market(
        names=names,
        days=np.arange(total) + (int(last.astype(int)) - total + 1),
        demand=demand,
        known=every[:, -total - steps : -total],
        mean=demand[:, steps : total - measured].mean(axis=1),
        scaling=Scaling(
            np.array([to_fixed(float(value)) for value in offset], np.int64),
            np.array([max(to_fixed(float(value)), 1) for value in scale], np.int64),
        ),
        warm_up=steps,
        measured=measured,
    )


def _check(
    names: tuple[str, ...],
    demand: NDArray[np.int64],
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    """Refuse what a shelf would refuse."""
    for name, units, mean, deviation in zip(names, demand, offset, scale, strict=True):
        top = int(units.max())
        if top >= mean + ABSURD * deviation:
            raise DataError(
                f"{name}: sold {top:,} units on a day, more than {ABSURD} deviations above its "
                f"mean of {mean:.1f}: a shelf takes that for a mistake. Leave the series out."
            )
        # Twice the horizon: what is on the shelf and what is on its way.
        if units.mean() * 28 > _MOST:
            raise DataError(
                f"{name}: sells {units.mean():,.0f} units a day; a shelf counts up to {_MOST:,}, "
                "four weeks of it. Count in cases instead of units."
            )
