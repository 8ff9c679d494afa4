from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolchain.errors import ModelError
from toolchain.graph.reference import run
from toolchain.graph.tflite_file import load_graph
from toolchain.network.litert import forecast_litert


@pytest.fixture(scope="session")
def windows(trained, converted) -> np.ndarray:
    return load_graph(converted).input.quantize(trained.validation.inputs)


def test_a_forecast_does_not_depend_on_the_windows_before_it(converted, windows) -> None:
    forecasts = forecast_litert(converted, windows)

    assert forecasts.shape == (40, 1)
    assert forecasts.dtype == np.int8
    assert np.array_equal(forecast_litert(converted, windows[::-1]), forecasts[::-1])


def test_forecasts_are_within_steps_of_the_reference(converted, windows) -> None:
    exact = run(load_graph(converted), windows).outputs.astype(int)

    assert np.abs(forecast_litert(converted, windows) - exact).max() <= 3


def test_nothing_is_printed(converted, windows, capfd) -> None:
    forecast_litert(converted, windows[:2])

    assert capfd.readouterr() == ("", "")


def test_windows_of_another_shape_are_refused(converted) -> None:
    with pytest.raises(ModelError) as error:
        forecast_litert(converted, np.zeros((3, 28, 1), np.int8))

    assert (
        str(error.value) == f"{converted}: reads int8 windows of 6 x 2, not int8 windows of 28 x 1."
    )


def test_windows_that_are_not_quantized_are_refused(converted) -> None:
    with pytest.raises(ModelError, match=r"reads int8 windows of 6 x 2, not float32 windows"):
        forecast_litert(converted, np.zeros((3, 6, 2), np.float32))


def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"nonsense" * 9)

    with pytest.raises(ModelError) as error:
        forecast_litert(path, np.zeros((1, 6, 2), np.int8))

    assert str(error.value).startswith(f"{path}: not a .tflite that LiteRT runs: ")
