"""Tune both rules on the days before, measure them on the days after, compare at equal service."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backtest.market import Market
from toolchain.backtest.simulation import Life, SensorRule, Totals, fixed_rule, live
from toolchain.errors import InputError
from toolchain.progress import Progress, silent
from toolchain.shelf.forecast import ShelfModel
from toolchain.shelf.settings import Settings

SERVICE = 0.95
"""Where the rules are compared."""
ENOUGH = 0.10
"""Less average stock than this and the forecast is worth a sensor: what this project promises."""
AIMS = (0.80, 0.85, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
"""Fill rates that each shelf's parameters are tuned for: a point of the curve each."""
_SAFETY = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40)
"""Quarters of a day that sensors are tried with, as far as the model looks."""
_COVER = 0.5
"""Days of mean demand between two reorder points that are tried."""
_GAPS = 16
"""Order-up-to quantities per reorder point: 0.75 to 2 lead times of mean demand above it, which
has those that order as often as a sensor does well inside."""


@dataclass(frozen=True)
class Point:
    """All shelves together, tuned for one aim, on the measured days."""

    aim: float
    fill_rate: float
    """Units sold of units asked for."""
    days_served: float
    """Share of days, over all shelves, on which nobody left without."""
    average_stock: float
    """Units on a shelf at the end of a day."""
    stock_outs: int
    """Days with unmet demand, over all shelves."""
    orders: int
    """For the sensors: `restock` alerts."""


@dataclass(frozen=True)
class Equal:
    """Both rules at the same service."""

    measure: str
    """`fill_rate` or `days_served`."""
    service: float
    sensor_stock: float | None
    fixed_stock: float | None
    """None: the curve does not reach this service."""

    @property
    def saved(self) -> float | None:
        """The share of the fixed rule's stock that the sensor does without."""
        if self.sensor_stock is None or not self.fixed_stock:
            return None
        return 1 - self.sensor_stock / self.fixed_stock


@dataclass(frozen=True, eq=False)
class Backtest:
    """What came of it."""

    market: Market
    lead: int
    sensor: tuple[Point, ...]
    fixed: tuple[Point, ...]
    equal: tuple[Equal, ...]
    """By fill rate first, then by days."""
    rows: tuple[dict[str, Any], ...]
    """Per series, both rules tuned for `SERVICE`, on the measured days."""

    @property
    def passed(self) -> bool:
        """Whether the stock at equal fill rate is lower by what is promised."""
        saved = self.equal[0].saved
        return saved is not None and saved >= ENOUGH

    @property
    def sentence(self) -> str:
        """Say what the forecast is worth."""
        equal = self.equal[0]
        at = f"at {equal.service:.0%} of the demand served"
        if equal.saved is None:
            return f"No comparison {at}: one of the rules never comes there on these days."
        if equal.saved <= 0:
            return (
                f"The forecast is not worth it here: {at} the sensors hold {-equal.saved:.1%} "
                "more stock than a fixed reorder point."
            )
        than = "" if self.passed else f", less than the {ENOUGH:.0%} it should be"
        return (
            f"{at.capitalize()} the sensors hold {equal.saved:.1%} less stock than a fixed "
            f"reorder point{than}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what other programs may rely on; units, and shares from 0 to 1."""
        market = self.market
        return {
            "series": len(market.names),
            "lead_days": self.lead,
            "tuned_days": market.tuning.stop - market.tuning.start,
            "measured_days": market.measured,
            "first_measured": str(np.datetime64(int(market.days[market.test.start]), "D")),
            "last_measured": str(np.datetime64(int(market.days[-1]), "D")),
            "equal": [{**vars(one), "saved": one.saved} for one in self.equal],
            "sensor": [vars(point) for point in self.sensor],
            "fixed": [vars(point) for point in self.fixed],
            "rows": list(self.rows),
            "promised": ENOUGH,
            "sentence": self.sentence,
            "verdict": "pass" if self.passed else "fail",
        }


def backtest(
    model: ShelfModel, market: Market, *, lead: int, progress: Progress = silent
) -> Backtest:
    """Compare sensors with fixed reorder points on the market's measured days.

    Both rules are tuned the same way, shelf by shelf, on the days before: of the parameters that
    came to the aim, those with the least average stock. The fixed rule may not order more often
    than the sensor did on those days, or it would win stock by paying for deliveries.

    Raises:
        InputError: the model does not look as far ahead as the lead time.
    """
    if not 1 <= lead <= model.horizon:
        raise InputError(
            f"--lead {lead}: the model looks 1 to {model.horizon} days ahead, and has to see the "
            "whole lead time."
        )
    count = len(market.names)
    most = 4 * (model.horizon - lead)
    quarters = np.array([quarter for quarter in _SAFETY if quarter <= most])
    safety = np.tile(quarters, count)
    shelf = np.repeat(np.arange(count), len(quarters))
    settings = tuple(
        Settings(f"s{one}", int(market.scaling.mean[one]), int(market.scaling.deviation[one]),
                 lead, int(quarter), 0)
        for one, quarter in zip(shelf, safety, strict=True)
    )  # fmt: skip
    sensors = SensorRule(model, market, shelf, settings, progress)
    sensed = live(market, shelf, _stock_for(market, shelf, lead + safety / 4), lead, sensors)

    covers = np.arange(0.5 * lead, 1.5 * lead + 6, _COVER)
    gaps = np.linspace(0.75 * lead, 2.0 * lead, _GAPS)
    grid = np.array([(cover, gap) for cover in covers for gap in gaps])
    days, gap = np.tile(grid, (count, 1)).T
    place = np.repeat(np.arange(count), len(grid))
    point = np.floor(market.mean[place] * days + 0.5).astype(np.int64)
    up_to = point + np.maximum(np.floor(market.mean[place] * gap + 0.5), 1).astype(np.int64)
    fixed = live(market, place, _stock_for(market, place, days), lead, fixed_rule(point, up_to))

    of_sensor, of_fixed = _Grid(sensed, count), _Grid(fixed, count)
    picked = {aim: of_sensor.pick(aim) for aim in AIMS}
    rivals = {aim: of_fixed.pick(aim, of_sensor.tuning.orders[picked[aim]]) for aim in AIMS}
    curves = (
        tuple(_point(aim, of_sensor.test.of(picked[aim])) for aim in AIMS),
        tuple(_point(aim, of_fixed.test.of(rivals[aim])) for aim in AIMS),
    )
    return Backtest(
        market,
        lead,
        *curves,
        equal=tuple(_equal(name, *curves) for name in ("fill_rate", "days_served")),
        rows=tuple(
            {
                "series": name,
                "sensor": {"safety_days": safety[a] / 4, **_row(of_sensor.test, a)},
                "fixed": {"reorder_point": int(point[b]), "order_up_to": int(up_to[b]),
                          **_row(of_fixed.test, b)},
            }
            for name, a, b in zip(market.names, picked[SERVICE], rivals[SERVICE], strict=True)
        ),
    )  # fmt: skip


def _stock_for(
    market: Market, shelf: NDArray[np.int64], days: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return a first stock: what a shelf sells in `days`, and as much again as a lead time."""
    return np.ceil(market.mean[shelf] * days).astype(np.int64)


class _Grid:
    """Lanes of each shelf with every parameter, in the order shelf, parameter."""

    def __init__(self, life: Life, shelves: int) -> None:
        self.tuning, self.test = life.tuning, life.test
        self._shape = (shelves, -1)

    def pick(self, aim: float, most_orders: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return each shelf's lane of the least stock that came to the aim while it was tuned.

        Where none did: the one that came nearest, with the least stock among equals. `most_orders`
        (shelves,) binds where the aim can be had with as many.
        """
        tuning = self.tuning
        rate = _rate(tuning).reshape(self._shape)
        stock = tuning.stock.reshape(self._shape).astype(np.float64)
        fine = rate >= aim
        fine |= ~fine.any(axis=1, keepdims=True) & (rate == rate.max(axis=1, keepdims=True))
        if most_orders is not None:
            orders = tuning.orders.reshape(self._shape)
            few = fine & (orders <= most_orders[:, None])
            fewest = np.where(fine, orders, orders.max() + 1).min(axis=1, keepdims=True)
            fine = np.where(few.any(axis=1, keepdims=True), few, fine & (orders == fewest))
        best = np.where(fine, stock, np.inf).argmin(axis=1)
        lanes: NDArray[np.int64] = np.arange(rate.shape[0]) * rate.shape[1] + best
        return lanes


def _rate(totals: Totals) -> NDArray[np.float64]:
    """Return the fill rates; 1 where nobody asked for anything."""
    return np.where(totals.asked > 0, totals.sold / np.maximum(totals.asked, 1), 1.0)


def _point(aim: float, chosen: Totals) -> Point:
    shelf_days = chosen.days * len(chosen.sold)
    return Point(
        aim=aim,
        fill_rate=float(chosen.sold.sum() / chosen.asked.sum()),
        days_served=float(1 - chosen.out.sum() / shelf_days),
        average_stock=float(chosen.stock.sum() / shelf_days),
        stock_outs=int(chosen.out.sum()),
        orders=int(chosen.orders.sum()),
    )


def _row(totals: Totals, lane: int) -> dict[str, float | int]:
    return {
        "fill_rate": float(_rate(totals)[lane]),
        "stock_outs": int(totals.out[lane]),
        "average_stock": float(totals.stock[lane] / totals.days),
        "orders": int(totals.orders[lane]),
    }


def _equal(name: str, sensor: tuple[Point, ...], fixed: tuple[Point, ...]) -> Equal:
    service: Callable[[Point], float] = lambda point: float(getattr(point, name))  # noqa: E731
    return Equal(name, SERVICE, *(_stock_at(SERVICE, curve, service) for curve in (sensor, fixed)))


def _stock_at(
    wanted: float, curve: tuple[Point, ...], service: Callable[[Point], float]
) -> float | None:
    """Interpolate the average stock at a service, between the points beside it."""
    for low, high in itertools.pairwise(curve):
        below, above = service(low), service(high)
        if below <= wanted <= above and below < above:
            share = (wanted - below) / (above - below)
            return low.average_stock + share * (high.average_stock - low.average_stock)
    return None
