from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from strict_c import SANITIZERS, WARNINGS
from tflite_writer import Recipe, write_forecaster

from toolchain.board import Board, Storage, boards_dir, find_board, read_cores
from toolchain.device.protocol import Answer, decode_answer, encode_request
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image
from toolchain.firmware.profile import usual_profile
from toolchain.firmware.render import render
from toolchain.graph.tflite_file import load_graph
from toolchain.shelf.forecast import ShelfModel, shelf_model

HERE = Path(__file__).parent
HOST_PORT = HERE.parent / "engine" / "host_port.c"
STORAGE = Storage(
    kind="flash", origin=0x080F_F000, bytes=4_096, erase_cycles=10_000, source="a test"
)

Words = tuple[str, ...]
CUT = 42


@dataclass(frozen=True)
class HostShelf:
    """The shelf application with one model in it, compiled for the host."""

    program: Path
    model: ShelfModel
    storage: Path
    """The file that stands for flash."""

    def talk(self, requests: Sequence[Words], **environment: str) -> tuple[list[Answer], bool]:
        """Boot, send requests; return what was answered, and whether the power was cut."""
        lines = [encode_request(i + 1, *words) for i, words in enumerate(requests)]
        result = subprocess.run(
            [self.program],
            input=b"".join(lines),
            capture_output=True,
            check=False,
            env={**os.environ, "STORAGE": str(self.storage), **environment},
        )
        assert result.returncode in (0, CUT), result.stderr.decode()[-2000:]
        came = [line for line in result.stdout.splitlines(keepends=True) if line.startswith(b"@")]
        whole = [line for line in came if line.endswith(b"\n")]
        return [decode_answer(line) for line in whole], result.returncode == CUT

    def ask(self, *words: str) -> Answer:
        """Boot, and ask one thing."""
        return self.talk([words])[0][0]


@pytest.fixture(scope="session")
def compile_shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HostShelf]:
    """Compile the shelf application for the host, under the sanitizers, once each."""
    compiled: dict[str, HostShelf] = {}

    def make(
        recipe: Recipe,
        features: tuple[str, ...] = ("units",),
        method: str = "window",
        *,
        storage: bool = True,
        profile: str = "speed",
        sanitized: bool = True,
        sensor: str = "",
    ) -> HostShelf:
        key = f"{recipe} {features} {method} {storage} {profile} {sanitized} {sensor}"
        folder = tmp_path_factory.mktemp("shelf")
        if key not in compiled:
            compiled[key] = _compile(
                recipe, features, method, folder, storage, profile, sanitized, sensor
            )
        known = compiled[key]
        return HostShelf(known.program, known.model, folder / "storage")

    return make


def _compile(recipe, features, method, folder, storage, profile, sanitized, sensor) -> HostShelf:
    (folder / "model.tflite").write_bytes(write_forecaster(recipe))
    graph = load_graph(folder / "model.tflite")
    model = shelf_model(graph, features, method)
    update: Mapping[str, object] = {"storage": STORAGE if storage else None}
    board = find_board("netduinoplus2", boards_dir()).model_copy(update=update)
    core = read_cores(boards_dir())[board.core].model_copy(update={"kernel": "portable"})
    sources = folder / "sources"
    render(graph, board, core, boards_dir(), sources, profile, model)
    if sensor:
        (sources / "app" / "mine.c").write_text(sensor)
    folders = [sources, sources / "app", sources / "engine"]
    files = [file for place in folders for file in sorted(place.glob("*.c"))]
    command = ["cc", "-std=gnu99", "-O1", *WARNINGS, *(SANITIZERS if sanitized else ())]
    command += [f"-I{place}" for place in folders]
    result = subprocess.run(
        [*command, *files, HOST_PORT, HERE / "storage.c", "-o", folder / "shelf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return HostShelf(folder / "shelf", model, folder / "storage")


FEATURES = ("units", "weekday", "month")
RECIPE = Recipe(hidden=(16,), features=5)


@dataclass(frozen=True)
class Built:
    """A shelf's firmware for a board."""

    board: Board
    image: Image
    model: ShelfModel


@pytest.fixture(scope="session")
def build_shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """Build the shelf application for a board, once each."""
    known: dict[str, Built] = {}

    def make(name: str, method: str = "window") -> Built:
        if f"{name} {method}" not in known:
            board = find_board(name, boards_dir())
            core = read_cores(boards_dir())[board.core]
            if shutil.which(f"{core.compiler}gcc") is None:
                pytest.skip(f"{core.compiler}gcc is not installed")
            folder = tmp_path_factory.mktemp(name)
            (folder / "model.tflite").write_bytes(write_forecaster(RECIPE))
            graph = load_graph(folder / "model.tflite")
            model = shelf_model(graph, FEATURES, method)
            sources = folder / "sources"
            render(graph, board, core, boards_dir(), sources, usual_profile(board), model)
            known[f"{name} {method}"] = Built(board, build(sources, board, core), model)
        return known[f"{name} {method}"]

    return make
