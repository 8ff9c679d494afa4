"""Every board of the catalog; those with an emulator run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tflite_writer import Recipe, write_forecaster

from toolchain.board import Board, Core, boards_dir, find_board, read_boards, read_cores
from toolchain.device.emulation import EmulatedBoard, emulate
from toolchain.device.link import Link, open_link
from toolchain.errors import ToolMissing
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image
from toolchain.firmware.kernel import Profile
from toolchain.firmware.render import render
from toolchain.graph.tflite_file import load_graph
from toolchain.graph.types import Graph

BOARDS = read_boards(boards_dir())


@dataclass(frozen=True)
class Firmware:
    """An image, and what it was made from."""

    board: Board
    core: Core
    graph: Graph
    sources: Path
    image: Image


@dataclass(frozen=True)
class Running:
    """A board that runs, and the line to it."""

    emulator: EmulatedBoard
    link: Link

    def line(self) -> bytes:
        """Wait for the next line that is not empty."""
        while True:
            line = self.link.read_line(10.0)
            assert line is not None, "silence"
            if line:
                return line


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test every board, or every board that can run here."""
    if "any_board" in metafunc.fixturenames:
        names = [board.name for board in BOARDS]
        metafunc.parametrize("any_board", names, scope="session")
    if "emulated_board" in metafunc.fixturenames:
        names = [board.name for board in BOARDS if board.tier == 1]
        metafunc.parametrize("emulated_board", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def emulated_board(request: pytest.FixtureRequest) -> str:
    """Return the name of a board whose emulator is installed."""
    try:
        with emulate(find_board(request.param, boards_dir())):
            return request.param
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def build_firmware(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Firmware]:
    """Build a forecaster for a board, once each; with another main.c when one is given."""
    built: dict[str, Firmware] = {}

    def make(
        name: str,
        recipe: Recipe,
        main: str | None = None,
        *,
        profile: Profile = "speed",
        kernel: str | None = None,
    ) -> Firmware:
        board = find_board(name, boards_dir())
        core = read_cores(boards_dir())[board.core]
        if kernel is not None:
            core = core.model_copy(update={"kernel": kernel})
        if shutil.which(f"{core.compiler}gcc") is None:
            pytest.skip(f"{core.compiler}gcc is not installed")
        key = f"{name} {recipe} {main} {profile} {kernel}"
        if key not in built:
            folder = tmp_path_factory.mktemp(name)
            (folder / "model.tflite").write_bytes(write_forecaster(recipe))
            graph = load_graph(folder / "model.tflite")
            sources = folder / "sources"
            render(graph, board, core, boards_dir(), sources, profile)
            if main is not None:
                (sources / "app" / "main.c").write_text(main)
            built[key] = Firmware(board, core, graph, sources, build(sources, board, core))
        return built[key]

    return make


@pytest.fixture(scope="session")
def run_board() -> Callable[[Firmware], Iterator[Running]]:
    """Run a firmware on its board's emulator, from power-on."""

    @contextmanager
    def run(firmware: Firmware) -> Iterator[Running]:
        with emulate(firmware.board) as emulator:
            emulator.flash(firmware.image.path)
            with open_link(emulator.port, firmware.board.uart.baud) as link:
                emulator.start()
                yield Running(emulator, link)

    return run
