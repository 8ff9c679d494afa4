from __future__ import annotations

import numpy as np
from tflite_writer import Recipe, write_forecaster

from toolchain.network.forecasts import save_host_forecasts
from toolchain.verdict.validation import load_host_forecasts


def test_a_model_that_litert_does_not_run_has_no_forecasts_of_it(tmp_path) -> None:
    model, path = tmp_path / "model.tflite", tmp_path / "forecasts.npz"
    model.write_bytes(write_forecaster(Recipe(hidden=(6,), steps=5)))

    save_host_forecasts(path, None, model, np.zeros((3, 5, 1), np.float32))

    stored = load_host_forecasts(path)
    assert (stored.float_, stored.litert) == (None, None)


def test_a_model_of_the_converter_has_one_forecast_a_window(converted, trained, tmp_path) -> None:
    path = tmp_path / "forecasts.npz"

    save_host_forecasts(path, None, converted, trained.validation.inputs)

    stored = load_host_forecasts(path)
    assert stored.float_ is None
    assert stored.litert is not None
    assert stored.litert.shape == (len(trained.validation.inputs),)
