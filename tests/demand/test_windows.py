from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from toolchain.demand.sales import Sales
from toolchain.demand.windows import (
    INPUT_LIMIT,
    Dataset,
    Scaling,
    load_dataset,
    prepare,
    save_dataset,
)
from toolchain.errors import DataError, RunError
from toolchain.project import Data, Network

DATA = Data(source="sales.csv", validation_days=10, test_days=20)
NETWORK = Network(window=7, features=("units", "weekday", "month"))


def with_units(sales: Sales, units: np.ndarray) -> Sales:
    return Sales(sales.dates, sales.names, units)


def same(one: Dataset, other: Dataset) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        and getattr(a, name).dtype == getattr(b, name).dtype
        for a, b in (
            (one.train, other.train),
            (one.validation, other.validation),
            (one.test, other.test),
        )
        for name in ("inputs", "targets", "series", "days")
    )


def test_windows_are_split_by_the_day_they_forecast(small: Sales) -> None:
    dataset = prepare(small, DATA, NETWORK)
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [
        2 * (80 - 30 - 7),
        2 * 10,
        2 * 20,
    ]
    assert set(dataset.train.days) == set(small.dates[7:50])
    assert set(dataset.validation.days) == set(small.dates[50:60])
    assert set(dataset.test.days) == set(small.dates[60:])


def test_windows_are_ordered_by_series_then_by_day(small: Sales) -> None:
    test = prepare(small, DATA, NETWORK).test
    assert test.series.tolist() == [0] * 20 + [1] * 20
    assert np.array_equal(test.days, np.tile(small.dates[60:], 2))


def test_arrays_have_the_types_that_the_network_and_the_device_need(small: Sales) -> None:
    test = prepare(small, DATA, NETWORK).test
    assert test.inputs.shape == (40, 7, 5)
    assert test.targets.shape == test.series.shape == test.days.shape == (40,)
    assert [str(array.dtype) for array in (test.inputs, test.targets, test.series, test.days)] == [
        "float32",
        "float32",
        "int32",
        "datetime64[D]",
    ]


def test_a_step_holds_a_day_and_the_calendar_of_the_next(small: Sales) -> None:
    dataset = prepare(small, DATA, NETWORK)
    assert dataset.features == ("units", "weekday_sin", "weekday_cos", "month_sin", "month_cos")
    assert dataset.steps == 7
    window = dataset.test.inputs[20 + 3]  # second series, forecasts row 63
    weekday = np.array([day.astype(object).weekday() for day in small.dates[57:64]])
    month = np.array([day.astype(object).month - 1 for day in small.dates[57:64]])
    units = dataset.scaling.inputs(1, small.units[1, 56:63])
    expected = [
        units,
        np.sin(2 * np.pi * weekday / 7),
        np.cos(2 * np.pi * weekday / 7),
        np.sin(2 * np.pi * month / 12),
        np.cos(2 * np.pi * month / 12),
    ]
    assert np.allclose(window, np.stack(expected, axis=1), atol=1e-6)


def test_features_follow_the_order_of_the_project(small: Sales) -> None:
    network = Network(window=7, features=("units", "month", "weekday"))
    assert prepare(small, DATA, network).features == (
        "units",
        "month_sin",
        "month_cos",
        "weekday_sin",
        "weekday_cos",
    )


@pytest.mark.parametrize("changed", range(51, 80))
def test_later_sales_change_nothing_in_earlier_windows(small: Sales, changed: int) -> None:
    units = small.units.copy()
    units[:, changed:] = units[:, changed:] * 3 + 500
    before = prepare(small, DATA, NETWORK)
    after = prepare(with_units(small, units), DATA, NETWORK)
    assert np.array_equal(before.scaling.offset, after.scaling.offset)
    assert np.array_equal(before.scaling.scale, after.scaling.scale)
    for one, other in (
        (before.train, after.train),
        (before.validation, after.validation),
        (before.test, after.test),
    ):
        # The window that forecasts the changed day has seen only the days before it.
        seen = one.days <= small.dates[changed]
        assert np.array_equal(one.inputs[seen], other.inputs[seen])
        known = one.days < small.dates[changed]
        assert np.array_equal(one.targets[known], other.targets[known])


def test_windows_do_see_the_day_before(small: Sales) -> None:
    units = small.units.copy()
    units[:, 65] += 1
    before = prepare(small, DATA, NETWORK).test
    after = prepare(with_units(small, units), DATA, NETWORK).test
    differ = np.any(before.inputs != after.inputs, axis=(1, 2))
    assert set(before.days[differ]) == set(small.dates[66:73])


def test_scaling_is_the_mean_and_deviation_of_the_training_days(small: Sales) -> None:
    scaling = prepare(small, DATA, NETWORK).scaling
    assert np.allclose(scaling.offset, small.units[:, :50].mean(axis=1))
    assert np.allclose(scaling.scale, small.units[:, :50].std(axis=1))


def test_inputs_are_clipped_and_targets_are_not(small: Sales) -> None:
    units = small.units.copy()
    units[0, 70] = 10_000
    dataset = prepare(with_units(small, units), DATA, NETWORK)
    assert dataset.test.inputs.max() == INPUT_LIMIT
    assert dataset.test.targets.max() > 100
    assert dataset.actual_units(dataset.test).max() == 10_000


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_series_that_never_changes_is_scaled_by_one(small: Sales, level: float) -> None:
    units = small.units.copy()
    units[1] = level
    dataset = prepare(with_units(small, units), DATA, NETWORK)
    assert dataset.scaling.scale[1] == 1.0
    which = dataset.test.series == 1
    assert np.all(dataset.test.inputs[which][:, :, 0] == 0)
    assert np.all(dataset.test.targets[which] == 0)
    assert np.all(dataset.to_units(1, np.zeros(3)) == level)


def test_a_constant_fraction_is_not_divided_by_rounding_noise(small: Sales) -> None:
    units = small.units.copy()
    units[1] = 0.1
    dataset = prepare(with_units(small, units), DATA, NETWORK)
    assert dataset.scaling.scale[1] == 1.0


def test_targets_turn_back_into_the_units_sold(small: Sales) -> None:
    dataset = prepare(small, DATA, NETWORK)
    for windows in (dataset.train, dataset.validation, dataset.test):
        actual = dataset.actual_units(windows)
        assert np.allclose(dataset.to_units(windows.series, windows.targets), actual, atol=1e-4)
    assert np.array_equal(dataset.actual_units(dataset.test), small.units[:, 60:].ravel())


@hypothesis.settings(deadline=None)  # a loaded machine is no bug
@hypothesis.given(
    st.floats(0, 1e6),
    st.floats(1e-3, 1e6),
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20),
)
def test_forecasts_in_units_are_never_negative(
    offset: float, scale: float, scaled: list[float]
) -> None:
    dates = np.datetime64("2021-01-01", "D") + np.arange(9).astype("timedelta64[D]")
    flat = prepare(
        Sales(dates, ("a",), np.zeros((1, 9))),
        Data(source="flat", validation_days=1, test_days=1),
        Network(window=2),
    )
    dataset = replace(flat, scaling=Scaling(np.array([offset]), np.array([scale])))
    units = dataset.to_units(np.zeros(len(scaled), dtype=np.int32), np.array(scaled))
    assert np.all(units >= 0)
    assert np.allclose(units, np.maximum(0, np.array(scaled) * scale + offset))


def test_max_windows_takes_a_seeded_sample_of_the_training_windows(small: Sales) -> None:
    whole = prepare(small, DATA, NETWORK)
    settings = NETWORK.model_copy(update={"max_windows": 30})
    sample = prepare(small, DATA, settings)
    assert len(sample.train) == 30
    assert len(sample.test) == len(whole.test)
    assert same(sample, prepare(small, DATA, settings))
    every = {
        (int(s), d): x
        for s, d, x in zip(whole.train.series, whole.train.days, whole.train.inputs, strict=True)
    }
    drawn = list(zip(map(int, sample.train.series), sample.train.days, strict=True))
    assert len(set(drawn)) == 30
    assert drawn == sorted(drawn)
    for key, inputs in zip(drawn, sample.train.inputs, strict=True):
        assert np.array_equal(every[key], inputs)
    other = prepare(small, DATA, settings.model_copy(update={"seed": 2}))
    assert not np.array_equal(sample.train.days, other.train.days)


def test_one_day_to_train_on_is_enough(small: Sales) -> None:
    data = DATA.model_copy(update={"test_days": 80 - 10 - 7 - 1})
    assert len(prepare(small, data, NETWORK).train) == 2


def test_too_few_days_are_refused_with_the_sum(small: Sales) -> None:
    data = DATA.model_copy(update={"test_days": 80 - 10 - 7})
    with pytest.raises(DataError) as error:
        prepare(small, data, NETWORK)
    assert str(error.value) == (
        "sales.csv: 80 days of sales, but 81 are needed: a window of 7, 1 to train on, 10 to "
        "validate and 63 to test. Shorten network.window, data.validation_days or data.test_days."
    )
    assert error.value.exit_code == 2


def test_a_dataset_is_read_as_it_was_written(small: Sales, tmp_path: Path) -> None:
    dataset = prepare(small, DATA, NETWORK.model_copy(update={"max_windows": 30}))
    save_dataset(tmp_path / "dataset.npz", dataset)
    again = load_dataset(tmp_path / "dataset.npz")
    assert same(dataset, again)
    assert again.features == dataset.features
    assert again.sales.names == dataset.sales.names
    assert np.array_equal(again.sales.units, dataset.sales.units)
    assert np.array_equal(again.scaling.scale, dataset.scaling.scale)


def test_the_same_dataset_is_written_as_the_same_bytes(small: Sales, tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        save_dataset(tmp_path / name, prepare(small, DATA, NETWORK))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_absent_dataset_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        load_dataset(tmp_path / "dataset.npz")
    assert str(error.value) == (
        f"{tmp_path}/dataset.npz: no such file. `shelfcast train` makes it."
    )
    assert error.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 broken"])
def test_a_damaged_dataset_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dataset.npz"
    path.write_bytes(content)
    with pytest.raises(RunError) as error:
        load_dataset(path)
    assert str(error.value) == (
        f"{path}: not a dataset of this version. Run `shelfcast train` again."
    )


def test_a_dataset_of_other_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", dates=np.zeros(3))
    with pytest.raises(RunError):
        load_dataset(tmp_path / "other.npz")
