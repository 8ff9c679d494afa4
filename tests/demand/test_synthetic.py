from __future__ import annotations

import numpy as np

from toolchain.demand.synthetic import FIRST_DAY, WEEKDAY, synthetic_sales


def test_the_same_seed_gives_the_same_sales() -> None:
    assert np.array_equal(synthetic_sales(3).units, synthetic_sales(3).units)
    assert not np.array_equal(synthetic_sales(3).units, synthetic_sales(4).units)


def test_sales_are_whole_units_of_the_asked_shape() -> None:
    sales = synthetic_sales(1, series=3, days=100)
    assert sales.units.shape == (3, 100)
    assert np.array_equal(sales.units, np.round(sales.units))


def test_weekdays_sell_as_their_pattern_says() -> None:
    assert FIRST_DAY.astype(object).weekday() == 0
    units = synthetic_sales(1, series=200, days=728).units.mean(axis=0)
    by_weekday = units.reshape(-1, 7).mean(axis=0) / units.mean()
    assert np.allclose(by_weekday, WEEKDAY / WEEKDAY.mean(), atol=0.03)


def test_some_days_are_stock_outs_and_some_are_promotions() -> None:
    units = synthetic_sales(1).units
    assert 0.002 < np.mean(units == 0) < 0.03
    assert np.all(units.max(axis=1) > 1.5 * units.mean(axis=1))
