"""Tell models from projects, and float models from integer ones, by name alone."""

from __future__ import annotations

from pathlib import Path

SAVED_MODEL = "saved_model.pb"
_FLOAT = (".keras", ".h5", ".hdf5")


def is_float(path: Path) -> bool:
    """Tell a Keras file or SavedModel folder, which is to be rebuilt and quantized."""
    return path.suffix.lower() in _FLOAT or (path / SAVED_MODEL).exists()


def is_model(path: Path) -> bool:
    """Tell a model from a project: .tflite and what `is_float` knows."""
    return path.suffix.lower() == ".tflite" or is_float(path)
