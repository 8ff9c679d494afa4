"""Sales that nobody made: for tests, and for looking around without data."""

from __future__ import annotations

import numpy as np

from toolchain.demand.sales import Sales

FIRST_DAY = np.datetime64("2022-01-03", "D")  # a Monday

# Share of an average day, Monday to Sunday, as in a grocery.
WEEKDAY = np.array([0.86, 0.84, 0.89, 0.95, 1.10, 1.28, 1.08])
PROMOTION_CHANCE = 0.012  # that one starts on a given day, per series
PROMOTION_DAYS = 6
STOCK_OUT_CHANCE = 0.004
STOCK_OUT_DAYS = 2


def synthetic_sales(seed: int, *, series: int = 12, days: int = 728) -> Sales:
    """Draw Poisson sales around level x weekday x season x growth.

    On top come promotions (more is sold for some days) and stock-outs (nothing is sold for some
    days, whatever the demand). Seasons and weekday patterns differ a little between the series.
    The same seed, shape and numpy version give the same sales.
    """
    draw = np.random.default_rng(seed)
    dates = FIRST_DAY + np.arange(days).astype("timedelta64[D]")
    day = np.arange(days)
    weekday = day % 7  # FIRST_DAY is a Monday
    level = draw.uniform(15, 90, (series, 1))
    pattern = WEEKDAY * draw.uniform(0.92, 1.08, (series, 7))
    swing = draw.uniform(0.05, 0.3, (series, 1))
    peak = draw.uniform(0, 365.25, (series, 1))
    season = 1 + swing * np.cos(2 * np.pi * (day - peak) / 365.25)
    growth = draw.uniform(0.97, 1.12, (series, 1)) ** (day / 365.25)
    lift = 1 + draw.uniform(0.4, 1.0, (series, 1)) * _runs(
        draw, (series, days), PROMOTION_CHANCE, PROMOTION_DAYS
    )
    stocked = 1 - _runs(draw, (series, days), STOCK_OUT_CHANCE, STOCK_OUT_DAYS)
    demand = level * pattern[:, weekday] * season * growth * lift
    units = draw.poisson(demand).astype(np.float64) * stocked
    return Sales(dates, tuple(f"shelf {index + 1}" for index in range(series)), units)


def _runs(
    draw: np.random.Generator, shape: tuple[int, int], chance: float, length: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Draw starts with `chance` per day and make each a run of `length` ones among zeros."""
    starts = draw.random(shape) < chance
    inside = np.zeros(shape)
    for after in range(length):
        inside[:, after:] = np.maximum(inside[:, after:], starts[:, : shape[1] - after])
    return inside
