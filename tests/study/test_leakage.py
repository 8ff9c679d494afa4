"""What has not happened yet changes nothing: neither what is forecast before it, nor what is
trained, nor what is picked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from toolchain.demand.references import REFERENCES
from toolchain.demand.sales import Sales
from toolchain.demand.synthetic import synthetic_sales
from toolchain.demand.windows import Dataset, prepare
from toolchain.network.candidate import INTEGER_FILE, MODEL_FILE, Candidate, train_candidate
from toolchain.project import Data, Network
from toolchain.study.worker import cut_for

DATA = Data(source="synthetic", validation_days=40, test_days=50)
NETWORK = Network(window=14, features=("units", "weekday", "month"), max_windows=1_000)


def shuffled_from(sales: Sales, row: int) -> Sales:
    """Put the days from `row` on into another order, for each series another one."""
    units = sales.units.copy()
    np.random.default_rng(3).permuted(units[:, row:], axis=1, out=units[:, row:])
    assert not np.array_equal(units, sales.units)
    return replace(sales, units=units)


def prepared(sales: Sales) -> Dataset:
    return prepare(sales, DATA, NETWORK)


@pytest.mark.parametrize("before_last", [50, 30, 2])
def test_windows_and_simple_rules_know_nothing_of_later_days(before_last):
    sales = synthetic_sales(1)
    row = len(sales.dates) - before_last
    one, other = prepared(sales), prepared(shuffled_from(sales, row))

    assert np.array_equal(one.scaling.offset, other.scaling.offset)
    assert np.array_equal(one.scaling.scale, other.scaling.scale)
    for mine, theirs in (
        (one.train, other.train), (one.validation, other.validation), (one.test, other.test)
    ):  # fmt: skip
        known = mine.days <= sales.dates[row]
        assert known.any()
        assert np.array_equal(mine.inputs[known], theirs.inputs[known])
        for name, forecast in REFERENCES.items():
            same = forecast(one.sales, mine)[known] == forecast(other.sales, theirs)[known]
            assert same.all(), name
    assert np.array_equal(one.train.targets, other.train.targets)
    assert np.array_equal(one.validation.targets, other.validation.targets)


def test_the_test_would_notice_a_window_that_sees_its_own_day():
    """The same comparison fails one day too late: it is no test that cannot fail."""
    sales = synthetic_sales(1)
    row = len(sales.dates) - 30
    one, other = prepared(sales), prepared(shuffled_from(sales, row))
    late = one.test.days == sales.dates[row] + np.timedelta64(1, "D")

    assert not np.array_equal(one.test.inputs[late], other.test.inputs[late])


@pytest.mark.full
@pytest.mark.parametrize(
    "change",
    [{}, {"structure": "blocks", "sparsity": 0.5, "aware": True}],
    ids=["plain", "mixture"],
)
def test_the_same_models_are_trained_whatever_the_test_days_hold(tmp_path, change):
    candidate = Candidate(
        hidden=(8,), features=("units", "weekday"), window=14, epochs=2, batch_size=256, **change
    )
    sales = synthetic_sales(1)
    first_test_day = len(sales.dates) - DATA.test_days
    for name, days in (("one", sales), ("other", shuffled_from(sales, first_test_day))):
        (tmp_path / name).mkdir()
        train_candidate(cut_for(prepared(days), candidate), candidate, 1, tmp_path / name)

    one, other = tmp_path / "one", tmp_path / "other"
    assert (one / INTEGER_FILE).read_bytes() == (other / INTEGER_FILE).read_bytes()
    assert (one / MODEL_FILE).read_bytes() == (other / MODEL_FILE).read_bytes()
    history = [json.loads((folder / "history.json").read_text()) for folder in (one, other)]
    assert history[0] == history[1]
