"""What several rooms' tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tflite_writer import Recipe, write_forecaster

from toolchain.graph.tflite_file import load_graph
from toolchain.graph.types import Graph


@pytest.fixture
def make_graph(tmp_path: Path) -> Callable[[Recipe], Graph]:
    """Write the forecaster of a recipe and read it back."""

    def make(recipe: Recipe) -> Graph:
        path = tmp_path / "model.tflite"
        path.write_bytes(write_forecaster(recipe))
        return load_graph(path)

    return make


@pytest.fixture
def make_windows() -> Callable[[Graph, int], np.ndarray]:
    """Draw int8 windows, a third of them nothing but extremes."""

    def make(graph: Graph, count: int) -> np.ndarray:
        rng = np.random.default_rng(7)
        windows = rng.integers(-128, 128, (count, graph.steps, graph.features), dtype=np.int8)
        windows[::3] = np.where(windows[::3] > 0, 127, -128)
        return windows

    return make
