"""How far forecasts are from what was sold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Accuracy:
    """Errors of a set of forecasts, in sales units where the name has no other."""

    mae: float
    rmse: float

    wape_percent: float | None
    """Sum of absolute errors over the sum of sales; None when nothing was sold."""

    mape_percent: float | None
    """Mean of |error| / sales over the days with sales; None when there are none.

    It rewards forecasting low: read it beside `mae` and `bias`.
    """

    smape_percent: float
    """Mean of 2 |error| / (sales + forecast); 0 where both are 0. At most 200."""

    bias: float
    """Mean of forecast - sales: positive when too much is forecast."""


def measure(actual: ArrayLike, forecast: ArrayLike) -> Accuracy:
    """Compare forecasts with sales, both in units and of the same shape.

    Raises:
        ValueError: different shapes, nothing to compare, or a forecast that is not finite.
    """
    sold = np.asarray(actual, dtype=np.float64)
    guess = np.asarray(forecast, dtype=np.float64)
    if sold.shape != guess.shape or sold.size == 0:
        raise ValueError(f"cannot compare forecasts {guess.shape} with sales {sold.shape}.")
    if not np.all(np.isfinite(sold)) or not np.all(np.isfinite(guess)):
        raise ValueError("cannot measure: a forecast or a sale is not finite.")
    error = guess - sold
    distance = np.abs(error)
    some = sold != 0
    both = np.abs(sold) + np.abs(guess)
    relative = np.divide(2 * distance, both, out=np.zeros_like(both), where=both != 0)
    total = np.abs(sold).sum()
    return Accuracy(
        mae=float(distance.mean()),
        rmse=float(np.sqrt(np.mean(error**2))),
        wape_percent=float(100 * distance.sum() / total) if total else None,
        mape_percent=(
            float(100 * np.mean(distance[some] / np.abs(sold[some]))) if some.any() else None
        ),
        smape_percent=float(100 * relative.mean()),
        bias=float(error.mean()),
    )
