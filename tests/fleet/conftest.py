"""A model on a shelf, and the device that holds it, in Python."""

from __future__ import annotations

import pytest
from tflite_writer import Recipe
from twin_device import TwinDevice

from toolchain.shelf.forecast import ShelfModel, shelf_model

WORDS = ("milk-3", "24.5", "8", "2", "1", "1")


@pytest.fixture
def model(make_graph) -> ShelfModel:
    """A small model."""
    graph = make_graph(Recipe(hidden=(4,), steps=5, features=3))
    return shelf_model(graph, ("units", "weekday"), horizon=6)


@pytest.fixture
def device(model) -> TwinDevice:
    """A shelf as it leaves the factory."""
    return TwinDevice(model)
