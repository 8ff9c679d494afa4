"""What several rooms' tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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


SMALL_PROJECT = """\
name = "small"

[data]
source = "synthetic"
validation_days = 30
test_days = 30

[network]
hidden = [6]
window = 14
epochs = 2
batch_size = 256
learning_rate = 0.02

[compression]
representative_windows = 64

[validation]
windows = 60
state_windows = 4
sequences = 3
"""


@dataclass(frozen=True)
class Shell:
    """Runs the installed command, as its user does."""

    folder: Path

    @property
    def program(self) -> Path:
        return Path(sys.executable).with_name("shelfcast")

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start the command in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            [str(self.program), *map(str, arguments)],
            cwd=self.folder,
            # Its children can be told from those of other tests by it.
            env={**os.environ, "SHELFCAST_TEST": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in an empty folder."""
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small project was deployed once. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "shelfcast.toml").write_text(SMALL_PROJECT)
    result = Shell(folder).run("deploy")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def deployed_copy(deployed: Path, tmp_path: Path) -> Shell:
    """A shell in a folder of one's own, in which the small project is deployed."""
    folder = tmp_path / "deployed"
    shutil.copytree(deployed, folder)
    return Shell(folder)
