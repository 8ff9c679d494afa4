from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from strict_c import SANITIZERS, WARNINGS
from tflite_writer import Recipe, write_forecaster

from toolchain.board import Board, Core, boards_dir, find_board, read_cores
from toolchain.firmware.render import render
from toolchain.graph.tflite_file import load_graph
from toolchain.graph.types import Graph

HOST_PORT = Path(__file__).parent.parent / "engine" / "host_port.c"

STRICT = ["-std=gnu99", "-O1", "-g", *WARNINGS, *SANITIZERS]


@dataclass(frozen=True)
class Rendered:
    """A folder of sources, and what it was made from."""

    sources: Path
    graph: Graph
    board: Board
    core: Core


@dataclass(frozen=True)
class HostConsole:
    """The console with one model in it, compiled for the host."""

    program: Path
    graph: Graph

    def talk(self, data: bytes) -> list[bytes]:
        """Send bytes; return the lines that came back, without what is said at boot."""
        return self.boot_and_talk(data)[2:]

    def boot_and_talk(self, data: bytes) -> list[bytes]:
        """Send bytes; return every line that came back."""
        result = subprocess.run([self.program], input=data, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode()[-2000:]
        return result.stdout.splitlines()


@pytest.fixture(scope="session")
def arm_gcc() -> str:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    return "arm-none-eabi-gcc"


def _render(recipe: Recipe, board: Board, folder: Path, kernel: str | None = None) -> Rendered:
    (folder / "model.tflite").write_bytes(write_forecaster(recipe))
    graph = load_graph(folder / "model.tflite")
    core = read_cores(boards_dir())[board.core]
    if kernel is not None:
        core = core.model_copy(update={"kernel": kernel})
    render(graph, board, core, boards_dir(), folder / "sources")
    return Rendered(folder / "sources", graph, board, core)


@pytest.fixture
def render_for(tmp_path: Path) -> Callable[..., Rendered]:
    """Render a small forecaster for a board, or for one with other values in its profile."""

    def make(name: str = "stm32vldiscovery", recipe: Recipe | None = None, **values: object):
        board = find_board(name, boards_dir()).model_copy(update=values)
        return _render(recipe or Recipe(hidden=(4,), steps=3), board, tmp_path)

    return make


@pytest.fixture(scope="session")
def compile_console(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., HostConsole]:
    """Compile the console with a forecaster for the host, under the sanitizers, once each."""
    compiled: dict[str, HostConsole] = {}

    def make(recipe: Recipe, line_bytes: int = 96) -> HostConsole:
        key = f"{recipe} {line_bytes}"
        if key not in compiled:
            folder = tmp_path_factory.mktemp("console")
            board = find_board("netduinoplus2", boards_dir()).model_copy(
                update={"line_bytes": line_bytes}
            )
            rendered = _render(recipe, board, folder, kernel="portable")
            sources = [
                *(rendered.sources / "app").glob("*.c"),
                *(rendered.sources / "engine").glob("*.c"),
                *rendered.sources.glob("*.c"),
                HOST_PORT,
            ]
            folders = [rendered.sources / part for part in (".", "app", "engine")]
            command = ["cc", *STRICT, *(f"-I{part}" for part in folders), *map(str, sources)]
            result = subprocess.run(
                [*command, "-o", str(folder / "console")],
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stderr
            compiled[key] = HostConsole(folder / "console", rendered.graph)
        return compiled[key]

    return make
