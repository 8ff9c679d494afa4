"""One small network, trained and converted once for all tests of the room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from toolchain.demand.sales import Sales
from toolchain.demand.windows import Dataset, Scaling, Windows, prepare
from toolchain.network.float_model import forecast_float
from toolchain.network.quantization import quantize, representative
from toolchain.network.training import History, train
from toolchain.project import Data, Network

STEPS, FEATURES = 6, 2

SCALING = Scaling(np.zeros(3), np.full(3, 10.0))


def cut_windows(count: int, *, seed: int = 1) -> Windows:
    """Cut windows from a noisy wave: enough to learn, and different for each seed."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 2 * np.pi, count)
    phase = start[:, None] + np.arange(STEPS + 1) * 0.9
    wave = np.sin(phase) + rng.normal(0, 0.1, phase.shape)
    inputs = np.stack([wave[:, :-1], np.cos(phase[:, 1:])], axis=-1).astype(np.float32)
    days = np.datetime64("2024-01-01") + np.arange(count)
    series = (np.arange(count) % 3).astype(np.int32)
    return Windows(inputs, wave[:, -1].astype(np.float32), series, days)


@dataclass(frozen=True)
class Trained:
    train: Windows
    validation: Windows
    network: Network
    folder: Path
    history: History
    said: tuple[tuple[float, str], ...]

    @property
    def model(self) -> Path:
        return self.folder / "float.h5"


@pytest.fixture
def cut() -> Callable[..., Windows]:
    return cut_windows


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two LSTM layers of different sizes: a mix-up of them cannot go unseen."""
    windows, validation = cut_windows(240), cut_windows(40, seed=2)
    network = Network(
        window=STEPS, hidden=(5, 4), epochs=4, batch_size=16, learning_rate=0.1, seed=3
    )
    folder = tmp_path_factory.mktemp("trained")
    said: list[tuple[float, str]] = []
    history = train(
        windows, validation, network, folder, lambda *words: said.append(words),
        scaling=SCALING,
    )  # fmt: skip
    return Trained(windows, validation, network, folder, history, tuple(said))


@pytest.fixture(scope="session")
def samples(trained: Trained) -> np.ndarray:
    forecasts = forecast_float(trained.model, trained.train.inputs)
    return representative(trained.train, 32, 1, forecasts)


@pytest.fixture(scope="session")
def converted(trained: Trained, samples: np.ndarray) -> Path:
    """The trained network as an INT8 .tflite, by way of the real child process."""
    out = trained.folder / "model.tflite"
    quantize(trained.model, samples, out)
    return out


def sell_waves(*, noise: float, days: int = 200, seed: int = 1) -> Sales:
    """Sell in three shops along a wave of nine days, each at its own level."""
    rng = np.random.default_rng(seed)
    day = np.arange(days)
    level = np.array([[400.0], [900.0], [150.0]])
    wave = 1 + 0.4 * np.sin(2 * np.pi * day / 9) + rng.normal(0, noise, (3, days))
    dates = np.datetime64("2024-01-01") + day
    return Sales(dates, ("a", "b", "c"), np.maximum(0, np.round(level * wave)))


def cut_waves(sales: Sales) -> Dataset:
    """Cut windows of nine days, units and weekday."""
    data = Data(source="none", validation_days=25, test_days=25)
    return prepare(sales, data, Network(window=9, features=("units", "weekday")))


@pytest.fixture(scope="session")
def sell() -> Callable[..., Sales]:
    return sell_waves


@pytest.fixture(scope="session")
def cut_sales() -> Callable[[Sales], Dataset]:
    return cut_waves
