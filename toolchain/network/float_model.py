"""Read and run a float Keras model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import DataError, ModelError
from toolchain.files import write_atomically

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BATCH = 2048  # bounds the memory for intermediate states, changes no result


def forecast_float(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Forecast windows (windows, steps, features) with the model at `path`: (windows,), scaled.

    Raises:
        ModelError: no model, or one of another shape.
        DataError: an input is not finite.
    """
    refuse_not_finite(inputs, "inputs")
    model = load_model(path)
    _, steps, features = model.input_shape
    if inputs.ndim != 3 or inputs.shape[1:] != (steps, features):
        raise ModelError(
            f"{path}: forecasts from windows of {steps} steps x {features} features, not "
            f"{' x '.join(map(str, inputs.shape[1:]))}. Train again with the project's window and "
            "features."
        )
    return predict(model, inputs)


def predict(model: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a Keras model over windows (windows, steps, features): (windows,), scaled."""
    if len(inputs) == 0:
        return np.empty(0, dtype=np.float32)
    outputs = model.predict(inputs, batch_size=_BATCH, verbose=0)
    forecasts: NDArray[np.float32] = np.asarray(outputs, dtype=np.float32)[:, 0]
    return forecasts


def load_model(path: Path) -> Any:
    """Read a Keras 2 model from an HDF5 file, for forecasting only.

    Raises:
        ModelError: absent, not HDF5, or not a Keras 2 model.
    """
    refuse_not_hdf5(path)
    from toolchain.network.backend import keras, quiet

    try:
        with quiet():
            return keras.models.load_model(path, compile=False)
    except Exception as cause:  # h5py and Keras raise whatever the damage leads to
        raise ModelError(
            f"{path}: not a Keras 2 model that can be read: {first_line(cause)} "
            "Run `shelfcast train` again."
        ) from cause


def save_model(model: Any, path: Path) -> None:
    """Write a Keras model as HDF5, whole or not at all."""
    from toolchain.network.backend import quiet

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".save.", dir=path.parent) as folder, quiet():
        written = Path(folder, "model.h5")
        model.save(os.fspath(written), include_optimizer=False, save_format="h5")
        write_atomically(path, written.read_bytes())


def refuse_not_hdf5(path: Path) -> None:
    """Refuse a file that cannot be a Keras model, without loading TensorFlow.

    Raises:
        ModelError: absent, or not HDF5.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(HDF5_SIGNATURE))
    except FileNotFoundError as cause:
        raise ModelError(f"{path}: no such file. `shelfcast train` makes it.") from cause
    except OSError as cause:
        raise ModelError(f"{path}: cannot be read: {cause.strerror}.") from cause
    if start != HDF5_SIGNATURE:
        raise ModelError(
            f"{path}: not a Keras 2 model in HDF5 format: its first bytes are "
            f"{start.hex() or 'missing'}, not {HDF5_SIGNATURE.hex()}. `shelfcast train` writes one."
        )


def refuse_not_finite(values: NDArray[np.floating], name: str) -> None:
    """Refuse NaN and infinity: they would silently become a model.

    Raises:
        DataError: names the first window that holds one.
    """
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if bad.size:
        raise DataError(
            f"{name}: {bad.size:,} of {len(values):,} windows hold NaN or infinity, the first is "
            f"window {bad[0]:,}. Look at the sales file and data.fill."
        )


def first_line(cause: BaseException) -> str:
    """Say in one line what an exception of another library says, ending in a full stop."""
    lines = str(cause).strip().splitlines()
    words = lines[0].strip() if lines else type(cause).__name__
    return words if words.endswith((".", "!", "?")) else f"{words}."
