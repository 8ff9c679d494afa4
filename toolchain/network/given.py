"""The windows that somebody else's model is quantized with and tried on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.windows import INPUT_LIMIT, load_dataset
from toolchain.errors import DataError, ModelError
from toolchain.files import write_atomically
from toolchain.network.float_model import first_line, refuse_not_finite
from toolchain.run import RunFolder

RANDOM_WINDOWS = 256
_COMPARED = 256
"""Windows of a project that a rebuilt network is compared on, spread evenly."""


def load_windows(path: Path) -> NDArray[np.float32]:
    """Read windows (windows, steps, features) from a .npy file; nothing in it is run.

    Raises:
        DataError: absent, not such an array, or not finite.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as cause:
        raise DataError(f"{path}: no such file.") from cause
    except (OSError, ValueError, EOFError) as cause:
        raise DataError(
            f"{path}: not a NumPy file of numbers: {first_line(cause)} Write it with np.save."
        ) from cause
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype.kind not in "fiu":
        shape = getattr(values, "shape", "no single shape")
        raise DataError(
            f"{path}: holds {shape}; numbers of shape (windows, steps, features) are needed."
        )
    if len(values) == 0:
        raise DataError(f"{path}: holds no window; at least 1 is needed, some hundred are better.")
    windows = values.astype(np.float32)
    refuse_not_finite(windows, str(path))
    return windows


def take_windows(
    model: Path, steps: int | None, features: int, given: Path | None, run: RunFolder
) -> str:
    """Put windows for a model without a project into its run folder; say in words which.

    Those given once are kept until others are given.

    Raises:
        DataError: they cannot be read.
        ModelError: the model reads windows of another shape.
    """
    kept = run.given_windows if run.given_windows.exists() else None
    source = given or kept
    if source is not None:
        windows = load_windows(source)
        _refuse(model, steps, features, windows.shape[1:], str(source))
        if given is not None:
            _save(run.given_windows, windows)
        return f"{len(windows):,} representative windows"
    if steps is None:
        raise ModelError(
            f"{model}: reads windows of any length. Give some of the length that the device is to "
            "read: --representative WINDOWS.npy"
        )
    drawn = np.random.default_rng(1).normal(0, 1, (RANDOM_WINDOWS, steps, features))
    _save(run.random_windows, np.clip(drawn, -INPUT_LIMIT, INPUT_LIMIT).astype(np.float32))
    return (
        f"{RANDOM_WINDOWS} RANDOM windows: good for sizes and parity, not for accuracy; "
        "give yours with --representative WINDOWS.npy"
    )


def refuse_other_windows(path: Path, steps: int | None, features: int, dataset: Path) -> None:
    """Refuse a model that does not read the windows of a project.

    Raises:
        ModelError: names both shapes.
    """
    windows = load_dataset(dataset)
    shape = windows.test.inputs.shape[1:]
    _refuse(path, steps, features, shape, f"the project ({', '.join(windows.features)})")


def some_windows(path: Path) -> NDArray[np.float32]:
    """Return windows to compare two networks on: held-out ones of a dataset, or those given."""
    windows = held_out(path)
    places = np.unique(np.linspace(0, len(windows) - 1, _COMPARED).astype(int))
    return windows[places]


def held_out(path: Path) -> NDArray[np.float32]:
    """Return the windows that a device is tried on, from a dataset or an .npy file."""
    return load_windows(path) if path.suffix == ".npy" else load_dataset(path).test.inputs


def _refuse(
    model: Path, steps: int | None, features: int, shape: tuple[int, ...], words: str
) -> None:
    if shape[1] != features or steps not in (None, shape[0]):
        raise ModelError(
            f"{model}: reads windows of {'any number of' if steps is None else steps} steps x "
            f"{features}; those of {words} are {shape[0]} steps x {shape[1]}. Set network.window "
            "and network.features to what the model was trained with, or give it such windows."
        )


def _save(path: Path, windows: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, windows)
    write_atomically(path, buffer.getvalue())
