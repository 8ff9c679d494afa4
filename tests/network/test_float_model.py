from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolchain.errors import DataError, ModelError
from toolchain.network.float_model import forecast_float


def test_forecasts_do_not_depend_on_the_windows_beside_them(trained) -> None:
    inputs = trained.validation.inputs

    together = forecast_float(trained.model, inputs)

    assert together.shape == (40,)
    assert together.dtype == np.float32
    # Not to the last bit: sums over a batch of another size may be grouped differently.
    np.testing.assert_allclose(forecast_float(trained.model, inputs[7:9]), together[7:9], atol=1e-6)


def test_no_windows_give_no_forecasts(trained) -> None:
    assert forecast_float(trained.model, np.empty((0, 6, 2), np.float32)).shape == (0,)


def test_windows_of_another_shape_are_refused(trained) -> None:
    with pytest.raises(ModelError) as error:
        forecast_float(trained.model, np.zeros((3, 28, 1), np.float32))

    assert str(error.value) == (
        f"{trained.model}: forecasts from windows of 6 steps x 2 features, not 28 x 1. Train "
        "again with the project's window and features."
    )


def test_inputs_that_are_not_finite_are_refused(trained) -> None:
    inputs = np.zeros((3, 6, 2), np.float32)
    inputs[1, 0, 0] = np.nan

    with pytest.raises(DataError, match=r"^inputs: 1 of 3 windows hold NaN or infinity"):
        forecast_float(trained.model, inputs)


def test_a_model_that_is_absent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.h5"

    with pytest.raises(ModelError) as error:
        forecast_float(path, np.zeros((1, 6, 2), np.float32))

    assert str(error.value) == f"{path}: no such file. `shelfcast train` makes it."


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.h5"
    path.write_bytes(b"PK\x03\x04keras 3")

    with pytest.raises(ModelError) as error:
        forecast_float(path, np.zeros((1, 6, 2), np.float32))

    assert str(error.value) == (
        f"{path}: not a Keras 2 model in HDF5 format: its first bytes are 504b03046b657261, not "
        "894844460d0a1a0a. `shelfcast train` writes one."
    )


def test_a_truncated_model_is_refused(trained, tmp_path: Path) -> None:
    path = tmp_path / "float.h5"
    path.write_bytes(trained.model.read_bytes()[:3000])

    with pytest.raises(ModelError) as error:
        forecast_float(path, np.zeros((1, 6, 2), np.float32))

    assert str(error.value).startswith(f"{path}: not a Keras 2 model that can be read: ")
    assert str(error.value).endswith(" Run `shelfcast train` again.")
    assert "\n" not in str(error.value)
