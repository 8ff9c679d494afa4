from __future__ import annotations

import numpy as np
import pytest

from toolchain.demand.metrics import measure


def test_measures_are_what_their_names_say() -> None:
    accuracy = measure([10, 20, 0], [12, 16, 3])
    assert accuracy.mae == pytest.approx(3.0)
    assert accuracy.rmse == pytest.approx(np.sqrt((4 + 16 + 9) / 3))
    assert accuracy.wape_percent == pytest.approx(30.0)
    assert accuracy.mape_percent == pytest.approx(20.0)  # of the two days with sales
    assert accuracy.smape_percent == pytest.approx(100 * (4 / 22 + 8 / 36 + 2) / 3)
    assert accuracy.bias == pytest.approx(1 / 3)


def test_a_perfect_forecast_has_no_error() -> None:
    accuracy = measure([3, 0], [3, 0])
    assert (accuracy.mae, accuracy.rmse, accuracy.smape_percent, accuracy.bias) == (0, 0, 0, 0)


def test_percentages_of_nothing_sold_are_absent() -> None:
    accuracy = measure([0, 0], [1, 2])
    assert accuracy.wape_percent is None
    assert accuracy.mape_percent is None
    assert accuracy.smape_percent == pytest.approx(200)


def test_float32_forecasts_are_summed_in_double() -> None:
    forecast = np.full(1_000_000, 0.1, dtype=np.float32)
    assert measure(np.zeros(1_000_000), forecast).mae == pytest.approx(float(np.float32(0.1)))


@pytest.mark.parametrize(
    ("actual", "forecast", "message"),
    [
        ([1, 2], [1], r"cannot compare forecasts \(1,\) with sales \(2,\)\."),
        ([], [], r"cannot compare forecasts \(0,\) with sales \(0,\)\."),
        ([1], [np.nan], r"cannot measure: a forecast or a sale is not finite\."),
    ],
)
def test_what_cannot_be_compared_is_refused(
    actual: list[float], forecast: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure(actual, forecast)
