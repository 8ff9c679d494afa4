"""Cut sales into the windows a network sees, scaled, and split by time.

One row of a window is one step: what is known at the end of day d, to forecast day d + 1. It holds
the units of day d and, as features that need no forecast, the calendar of day d + 1. The last
step's calendar is that of the day being forecast.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolchain.demand.sales import Sales
from toolchain.errors import DataError, RunError
from toolchain.files import write_atomically
from toolchain.project import Data, Feature, Network

# Scaled inputs are clipped to this many standard deviations from the mean, in training and in
# deployment alike: the INT8 input scale follows the widest input, so that a single day 12
# deviations above the mean would take half of the resolution from all others. On the Complete
# Journey, whose widest input is 8.6, clipping changes the error by less than 0.1%.
INPUT_LIMIT = 4.0

EXPANDED: dict[Feature, tuple[str, ...]] = {
    "units": ("units",),
    "weekday": ("weekday_sin", "weekday_cos"),
    "month": ("month_sin", "month_cos"),
}

CIRCLES: dict[Feature, int] = {"weekday": 7, "month": 12}
"""Places on the circle of a calendar feature; Monday and January are at angle 0."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """How units become the network's numbers, per series: scaled = (units - offset) / scale."""

    offset: NDArray[np.float64]
    """(series,), the mean over the training days."""

    scale: NDArray[np.float64]
    """(series,), the standard deviation over the training days; never 0."""

    def scaled(self, series: ArrayLike, units: ArrayLike) -> NDArray[np.float64]:
        """Scale units of `series`, which broadcasts against `units`."""
        which = np.asarray(series)
        result: NDArray[np.float64] = (np.asarray(units) - self.offset[which]) / self.scale[which]
        return result

    def inputs(self, series: ArrayLike, units: ArrayLike) -> NDArray[np.float64]:
        """Scale units as the network sees them: clipped to `INPUT_LIMIT`."""
        return np.clip(self.scaled(series, units), -INPUT_LIMIT, INPUT_LIMIT)


@dataclass(frozen=True, eq=False)
class Windows:
    """Inputs and targets, ordered by series, then by day."""

    inputs: NDArray[np.float32]
    """(windows, steps, features), oldest step first."""

    targets: NDArray[np.float32]
    """(windows,), scaled, not clipped."""

    series: NDArray[np.int32]
    """(windows,), index into the names of the sales."""

    days: NDArray[np.datetime64]
    """(windows,), datetime64[D], the day being forecast."""

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Dataset:
    """All that training and validation need to know about the sales."""

    sales: Sales
    scaling: Scaling
    features: tuple[str, ...]
    """Names along the last axis of the inputs."""

    train: Windows
    validation: Windows
    test: Windows

    @property
    def steps(self) -> int:
        """Days in a window."""
        return int(self.test.inputs.shape[1])

    def to_units(self, series: ArrayLike, scaled: ArrayLike) -> NDArray[np.float64]:
        """Turn scaled forecasts into units; less than nothing cannot be sold, so never below 0."""
        which = np.asarray(series)
        numbers = np.asarray(scaled, dtype=np.float64)
        units: NDArray[np.float64] = np.maximum(
            0.0, numbers * self.scaling.scale[which] + self.scaling.offset[which]
        )
        return units

    def actual_units(self, windows: Windows) -> NDArray[np.float64]:
        """Return what was sold on the days that `windows` forecast, (windows,)."""
        return self.sales.units[windows.series, np.searchsorted(self.sales.dates, windows.days)]


def prepare(sales: Sales, data: Data, network: Network) -> Dataset:
    """Scale, cut and split.

    The last `data.test_days` days are forecast by the test windows, the `data.validation_days`
    before them by the validation windows, all earlier ones by the training windows; inputs may
    reach back into an earlier split. With `network.max_windows`, the training windows are a
    seeded sample of that many.

    Raises:
        DataError: too few days for the window and the splits.
    """
    days = len(sales.dates)
    need = network.window + 1 + data.validation_days + data.test_days
    if days < need:
        raise DataError(
            f"{data.source}: {days} days of sales, but {need} are needed: a window of "
            f"{network.window}, 1 to train on, {data.validation_days} to validate and "
            f"{data.test_days} to test. Shorten network.window, data.validation_days or "
            "data.test_days."
        )
    test = days - data.test_days
    validation = test - data.validation_days
    scaling = _fit(sales.units[:, :validation])
    chosen = _all_windows(sales, range(network.window, validation))
    if network.max_windows is not None and network.max_windows < len(chosen[0]):
        draw = np.random.default_rng(network.seed)
        kept = np.sort(draw.choice(len(chosen[0]), network.max_windows, replace=False))
        chosen = (chosen[0][kept], chosen[1][kept])
    features = tuple(name for feature in network.features for name in EXPANDED[feature])
    cut = _Cutter(sales, scaling, features, network.window)
    return Dataset(
        sales,
        scaling,
        features,
        train=cut(*chosen),
        validation=cut(*_all_windows(sales, range(validation, test))),
        test=cut(*_all_windows(sales, range(test, days))),
    )


def save_dataset(path: Path, dataset: Dataset) -> None:
    """Write a dataset as one .npz; the same dataset gives the same bytes.

    Windows are stored as the series and the day they forecast, and cut again when loaded.
    """
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    arrays: dict[str, NDArray[np.generic]] = {
        "dates": dataset.sales.dates,
        "names": np.array(dataset.sales.names, dtype=np.str_),
        "units": dataset.sales.units,
        "offset": dataset.scaling.offset,
        "scale": dataset.scaling.scale,
        "features": np.array(dataset.features, dtype=np.str_),
        "steps": np.array(dataset.steps),
    }
    for name, windows in splits.items():
        arrays[f"{name}_series"] = windows.series
        arrays[f"{name}_days"] = windows.days
    # Not np.savez: it promises nothing about timestamps inside the archive.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
    write_atomically(path, buffer.getvalue())


def load_dataset(path: Path) -> Dataset:
    """Read what `save_dataset` wrote.

    Raises:
        RunError: absent, or not a dataset.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        sales = Sales(arrays["dates"], tuple(map(str, arrays["names"])), arrays["units"])
        scaling = Scaling(arrays["offset"], arrays["scale"])
        features = tuple(map(str, arrays["features"]))
        cut = _Cutter(sales, scaling, features, int(arrays["steps"]))
        splits = {}
        for name in ("train", "validation", "test"):
            rows = np.searchsorted(sales.dates, arrays[f"{name}_days"])
            splits[name] = cut(arrays[f"{name}_series"], np.asarray(rows))
    except FileNotFoundError as cause:
        raise RunError(f"{path}: no such file. `shelfcast train` makes it.") from cause
    except (
        DataError,
        EOFError,
        IndexError,
        KeyError,
        OSError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
    ) as cause:
        raise RunError(
            f"{path}: not a dataset of this version. Run `shelfcast train` again."
        ) from cause
    return Dataset(sales, scaling, features, **splits)


def _fit(units: NDArray[np.float64]) -> Scaling:
    """Fit the scaling to the training days, units (series, training days)."""
    offset = units.mean(axis=1)
    # A series that never changes: any scale does, and 1 keeps its forecasts in units. Its standard
    # deviation may be rounding noise instead of 0.
    changes = units.max(axis=1) > units.min(axis=1)
    return Scaling(offset, np.where(changes, units.std(axis=1), 1.0))


def _all_windows(sales: Sales, rows: range) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """List series and row of every day in `rows`, by series, then by day."""
    count = len(sales.names)
    series = np.repeat(np.arange(count, dtype=np.int32), len(rows))
    return series, np.tile(np.arange(rows.start, rows.stop, dtype=np.int64), count)


@dataclass(frozen=True, eq=False)
class _Cutter:
    """Cuts windows that end before given rows of given series."""

    sales: Sales
    scaling: Scaling
    features: tuple[str, ...]
    steps: int

    def __call__(self, series: NDArray[np.int32], rows: NDArray[np.int64]) -> Windows:
        steps = rows[:, None] - self.steps + np.arange(self.steps)  # (windows, steps)
        calendar = _calendar(self.sales.dates)
        every = np.arange(len(self.sales.names))[:, None]
        units = self.scaling.inputs(every, self.sales.units).astype(np.float32)
        inputs = np.empty((*steps.shape, len(self.features)), dtype=np.float32)
        for index, name in enumerate(self.features):
            if name == "units":
                inputs[:, :, index] = units[series[:, None], steps]
            else:
                inputs[:, :, index] = calendar[name][steps + 1]
        sold = self.sales.units[series, rows]
        targets = self.scaling.scaled(series, sold).astype(np.float32)
        return Windows(inputs, targets, series.astype(np.int32), self.sales.dates[rows])


def circle(places: int) -> NDArray[np.float64]:
    """Return sine and cosine of evenly spaced places on a circle, (places, 2)."""
    angle = 2 * np.pi * np.arange(places) / places
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _calendar(dates: NDArray[np.datetime64]) -> dict[str, NDArray[np.float64]]:
    """Place each day on the circles of the week and of the year, (days,) per feature.

    The year's circle has twelve places, one per month.
    """
    places = {
        "weekday": (dates.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
        "month": dates.astype("datetime64[M]").astype(np.int64) % 12,
    }
    return {
        name: values
        for feature, count in CIRCLES.items()
        for name, values in zip(EXPANDED[feature], circle(count)[places[feature]].T, strict=True)
    }
