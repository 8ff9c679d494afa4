from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from toolchain.demand.windows import INPUT_LIMIT, Scaling
from toolchain.network.descent import Descent, Forecaster, descend
from toolchain.network.float_model import load_model, predict
from toolchain.network.training import Lesson, other_levels


def test_forecasts_are_those_of_keras(trained) -> None:
    model = load_model(trained.model)

    ours = Forecaster(trained.train.inputs)(model.get_weights())

    assert ours == pytest.approx(predict(model, trained.train.inputs), abs=2e-6)


def test_a_last_block_that_is_not_full_is_forecast_too(trained, monkeypatch) -> None:
    weights = load_model(trained.model).get_weights()
    whole = Forecaster(trained.train.inputs[:40])(weights)

    monkeypatch.setattr("toolchain.network.descent._PREDICTED", 16)
    parts = Forecaster(trained.train.inputs[:40])(weights)

    assert parts.shape == (40,)
    assert parts == pytest.approx(whole, abs=1e-6)


def test_the_rate_falls_to_nothing_and_a_mask_holds(trained) -> None:
    weights = load_model(trained.model).get_weights()
    masks = [np.ones_like(array) for array in weights]
    masks[1][2:4] = 0
    seen: list[tuple[float, list[np.ndarray]]] = []
    asked = []

    def pruner(done: float, weights: list[np.ndarray]) -> list[np.ndarray] | None:
        asked.append(done)
        return masks if len(asked) == 2 else None

    descend(
        weights,
        trained.train.inputs,
        trained.train.targets,
        Descent(epochs=6, batch_size=48, learning_rate=0.01, seed=1),
        lambda number, loss, weights: seen.append((loss, weights)) or number == 5,
        pruner=pruner,
    )

    assert len(seen) == 5  # stopped
    assert asked[-1] == 25 / 30
    assert not any(weights[1][2:4].any() for _, weights in seen)
    assert all(weights[1][:2].all() for _, weights in seen)
    moves = [
        np.abs(after[0] - before[0]).mean() for (_, before), (_, after) in itertools.pairwise(seen)
    ]
    assert moves[-1] < moves[0] / 3


def test_other_levels_multiply_units_and_leave_the_calendar(trained) -> None:
    scaling = Scaling(np.array([100.0, 50.0, 20.0]), np.array([10.0, 25.0, 40.0]))
    lesson = Lesson(trained.train, trained.validation, scaling)
    chosen = np.array([0, 5, 100, 101, 239])
    vary = other_levels(lesson, 0.3)
    assert vary is not None

    windows, targets = vary(np.random.default_rng(1), chosen)

    offset = scaling.offset[trained.train.series[chosen]]
    scale = scaling.scale[trained.train.series[chosen]]
    sold = trained.train.targets[chosen] * scale + offset
    factor = (targets * scale + offset) / sold
    assert np.all(np.abs(np.log(factor)) <= 0.3)
    assert len(np.unique(np.round(factor, 3))) == 5
    before = trained.train.inputs[chosen]
    wanted = (before[:, :, 0] * scale[:, None] + offset[:, None]) * factor[:, None]
    wanted = np.clip((wanted - offset[:, None]) / scale[:, None], -INPUT_LIMIT, INPUT_LIMIT)
    assert windows[:, :, 0] == pytest.approx(wanted, abs=1e-4)
    assert np.array_equal(windows[:, :, 1], before[:, :, 1])


def test_levels_stay_without_a_range_or_a_scale(trained) -> None:
    lesson = Lesson(trained.train, trained.validation, Scaling(np.ones(3), np.ones(3)))

    assert other_levels(lesson, 0.0) is None
    assert other_levels(dataclasses.replace(lesson, scaling=None), 0.3) is None
