from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from strict_c import SANITIZERS, WARNINGS

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.firmware.render import render
from toolchain.graph.types import Graph

HERE = Path(__file__).parent

STRICT = ["-std=c99", "-O1", "-g", *WARNINGS, *SANITIZERS]


@dataclass(frozen=True)
class Computed:
    """What the engine said, in the shapes of `reference.Forecasts`."""

    outputs: np.ndarray
    hidden: tuple[np.ndarray, ...]
    cells: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class HostEngine:
    """The engine with one model in it, compiled for the host."""

    program: Path
    graph: Graph

    def run(self, windows: np.ndarray, *, keep: bool = False) -> Computed:
        command = [str(self.program), *(["keep"] if keep else [])]
        result = subprocess.run(command, input=windows.tobytes(), capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode()[-2000:]
        return self._split(result.stdout, len(windows))

    def _split(self, data: bytes, windows: int) -> Computed:
        graph = self.graph
        step = sum(3 * size for size in graph.hidden_sizes)
        table = np.frombuffer(data, np.uint8).reshape(windows, graph.steps * step + graph.outputs)
        states = table[:, : graph.steps * step].reshape(windows, graph.steps, step)
        hidden, cells, place = [], [], 0
        for size in graph.hidden_sizes:
            hidden.append(states[..., place : place + size].view(np.int8))
            both = np.ascontiguousarray(states[..., place + size : place + 3 * size])
            cells.append(both.view("<i2"))
            place += 3 * size
        return Computed(
            outputs=np.ascontiguousarray(table[:, graph.steps * step :]).view(np.int8),
            hidden=tuple(hidden),
            cells=tuple(cells),
        )


def _compile(arguments: list[str | Path]) -> None:
    result = subprocess.run(["cc", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _render(graph: Graph, folder: Path, harness: str = "harness.c") -> list[str | Path]:
    """Render a graph; return what compiling engine, model and harness takes."""
    boards = boards_dir()
    board = find_board("netduinoplus2", boards)
    core = read_cores(boards)[board.core].model_copy(update={"kernel": "portable"})
    render(graph, board, core, boards, folder)
    data = [folder / "model.c", folder / "tables.c", HERE / harness]
    return ["-I", folder, "-I", folder / "engine", *data, *sorted((folder / "engine").glob("*.c"))]


@pytest.fixture
def compile_engine(tmp_path: Path) -> Callable[[Graph], HostEngine]:
    """Compile a graph with the engine for the host, under the sanitizers."""

    def compile_it(graph: Graph) -> HostEngine:
        arguments = _render(graph, tmp_path / "sources")
        program = tmp_path / "harness"
        _compile([*STRICT, *arguments, "-o", program])
        return HostEngine(program, graph)

    return compile_it


@pytest.fixture
def compile_stream(tmp_path: Path) -> Callable[[Graph], Path]:
    """Compile a graph with the program that streams, under the sanitizers."""

    def compile_it(graph: Graph) -> Path:
        program = tmp_path / "stream"
        _compile([*STRICT, *_render(graph, tmp_path / "sources", "stream.c"), "-o", program])
        return program

    return compile_it


@pytest.fixture
def compile_mutant(tmp_path: Path) -> Callable[[Graph, Callable[[Path], None]], HostEngine]:
    """Compile a graph with a changed engine: warnings and wrap-around are what it is about."""

    def compile_it(graph: Graph, mutate: Callable[[Path], None]) -> HostEngine:
        folder, program = tmp_path / "sources", tmp_path / "mutant"
        arguments = _render(graph, folder)
        mutate(folder)
        _compile(["-std=c99", "-O1", "-w", "-fwrapv", *arguments, "-o", program])
        return HostEngine(program, graph)

    return compile_it
