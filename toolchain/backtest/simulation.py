"""Run shelves through the days: what is asked for, sold, left, ordered and delivered.

A day: customers ask, what is there is sold, the rest is lost. In the evening the delivery that is
due arrives, the stock is counted, and the rule decides; what it orders arrives `lead` evenings
later. Neither rule sees what was asked for: it sees what was sold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.backtest.market import Market
from toolchain.graph.reference import State
from toolchain.progress import Progress, silent
from toolchain.shelf.decision import Order, decide, outlook
from toolchain.shelf.forecast import (
    Scaling,
    ShelfModel,
    forecast_windows,
    look_ahead,
    samples,
    window_state,
)
from toolchain.shelf.settings import Settings

_FIXED = 16
Decide = Callable[[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""Called each evening with the day's index, what was sold, what is left and what is on its way,
each (lanes,) in whole units; returns what is ordered, 0: nothing."""


@dataclass(frozen=True, eq=False)
class Totals:
    """What some days came to, per lane."""

    days: int
    asked: NDArray[np.int64]
    """Units that customers wanted."""
    sold: NDArray[np.int64]
    out: NDArray[np.int64]
    """Days on which somebody wanted more than there was."""
    stock: NDArray[np.int64]
    """Units at the end of the day, summed over the days."""
    orders: NDArray[np.int64]

    def of(self, lanes: NDArray[np.int64]) -> Totals:
        """Keep some lanes."""
        return Totals(
            self.days,
            self.asked[lanes],
            self.sold[lanes],
            self.out[lanes],
            self.stock[lanes],
            self.orders[lanes],
        )


@dataclass(frozen=True, eq=False)
class Life:
    """What the days to tune on came to, and those that are measured."""

    tuning: Totals
    test: Totals


def live(
    market: Market, series: NDArray[np.int64], start: NDArray[np.int64], lead: int, rule: Decide
) -> Life:
    """Let lanes, each a shelf of one of the market's `series`, live through its days.

    Args:
        market: the demand.
        series: (lanes,) whose demand a lane meets.
        start: (lanes,) whole units on the first morning.
        lead: evenings from an order to its delivery.
        rule: orders.
    """
    count = len(market.days)
    stock = start.copy()
    # By the evening on which it arrives; a place is free again when it has.
    due = np.zeros((lead, len(series)), np.int64)
    on_way = np.zeros(len(series), np.int64)
    spans = (market.tuning, market.test)
    sums = np.zeros((2, 5, len(series)), np.int64)
    for day in range(count):
        asked = market.demand[series, day]
        sold = np.minimum(asked, stock)
        place = day % lead
        stock += due[place] - sold
        on_way -= due[place]
        ordered = rule(day, sold, stock, on_way)
        due[place] = ordered
        on_way += ordered
        for span, total in zip(spans, sums, strict=True):
            if span.start <= day < span.stop:
                total += (asked, sold, asked > sold, stock, ordered > 0)
    return Life(
        *(Totals(span.stop - span.start, *total) for span, total in zip(spans, sums, strict=True))
    )


def fixed_rule(point: NDArray[np.int64], up_to: NDArray[np.int64]) -> Decide:
    """Order up to `up_to` when what is there and on its way is at most `point`, (lanes,) each."""

    def rule(
        _: int, __: NDArray[np.int64], stock: NDArray[np.int64], on_way: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        position = stock + on_way
        return np.where(position <= point, up_to - position, 0)

    return rule


class SensorRule:
    """What the sensors order: the twin's forecasts and decisions, many shelves at once.

    A lane is a shelf with its own safety, hence its own stock-outs, its own sales, and its own
    forecasts. Lanes of a series that sold the same share them.
    """

    def __init__(
        self,
        model: ShelfModel,
        market: Market,
        series: NDArray[np.int64],
        settings: tuple[Settings, ...],
        progress: Progress = silent,
    ) -> None:
        """Set up lanes, (lanes,) series and settings, that have known a window of days."""
        self._model, self._market = model, market
        self._series, self._settings = series, settings
        self._progress = progress
        self._window = market.known[series] << _FIXED
        self._orders: list[Order | None] = [None] * len(series)
        self._horizon = max(one.horizon for one in settings)
        self._state: State | None = None
        if model.method == "stream":
            before = np.full(len(series), market.days[0] - 1)
            self._state = window_state(model, self._window, before, self._scaling(series))

    def __call__(
        self, day: int, sold: NDArray[np.int64], stock: NDArray[np.int64], _: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Order what the alerts of the day say."""
        window = self._window
        window[:, :-1] = window[:, 1:]
        window[:, -1] = sold << _FIXED
        today = int(self._market.days[day])
        forecasts = self._forecast(today).tolist()
        quantities = np.zeros(len(stock), np.int64)
        for lane, (settings, left) in enumerate(zip(self._settings, stock.tolist(), strict=True)):
            left <<= _FIXED
            ahead = outlook(tuple(forecasts[lane][: settings.horizon]), left, settings)
            alert, order = decide(today, left, ahead, self._orders[lane], settings)
            self._orders[lane] = order
            if alert == "restock" and order is not None:
                quantities[lane] = order.quantity >> _FIXED
        self._progress((day + 1) / len(self._market.days), f"day {day + 1}")
        return quantities

    def _forecast(self, today: int) -> NDArray[np.int32]:
        """Forecast for every lane: (lanes, days)."""
        if self._state is not None:
            # A state has seen more than a window: lanes share nothing.
            scaling, last = self._scaling(self._series), np.full(len(self._series), today)
            fed = samples(self._model, self._window[:, -1], last, scaling)
            self._state = self._model.stepper.step(fed, self._state)
            return look_ahead(self._model, self._state, last, scaling, self._horizon)
        # Once for those that sold the same.
        rows = np.column_stack([self._series, self._window])
        unique, place = np.unique(rows, axis=0, return_inverse=True)
        which = unique[:, 0]
        scaling = self._scaling(which)
        last = np.full(len(which), today, np.int64)
        ahead = forecast_windows(self._model, unique[:, 1:], last, scaling, self._horizon)
        return ahead[place.reshape(-1)]

    def _scaling(self, series: NDArray[np.int64]) -> Scaling:
        every = self._market.scaling
        return Scaling(every.mean[series], every.deviation[series])
