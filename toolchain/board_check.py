"""Check a board from its profile to a running forecast, with a network made up for the purpose."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolchain.board import Board, Core
from toolchain.device.running import open_device
from toolchain.firmware.build import build
from toolchain.firmware.render import render
from toolchain.graph.sample import Shape, sample_graph
from toolchain.progress import Progress, part, silent
from toolchain.verdict.plan import make_plan
from toolchain.verdict.replay import replay

_SHAPE = Shape(hidden=(8,), steps=12)
_WINDOWS, _TRACED = 20, 3


@dataclass(frozen=True)
class BoardCheck:
    """What a check showed."""

    board: Board
    flash_bytes: int
    ram_bytes: int
    ran: bool
    """It has an emulator, and ran there."""
    windows: int
    mismatches: int
    """Windows with an output that differs from the host's."""
    state_values: int
    state_mismatches: int

    @property
    def passed(self) -> bool:
        """Nothing differs."""
        return not (self.mismatches or self.state_mismatches)


def check_board(board: Board, core: Core, boards: Path, progress: Progress = silent) -> BoardCheck:
    """Render, build and, where there is an emulator, run a small network on `board`.

    Raises:
        ToolError: the tool chain failed.
        DoesNotFit: flash or RAM is too small.
        DeviceError: the firmware does not answer.
    """
    graph = sample_graph(_SHAPE)
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as folder:
        sources = Path(folder, "sources")
        render(graph, board, core, boards, sources)
        image = build(sources, board, core, progress=part(progress, 0.0, 0.5))
        if board.emulator is None:
            return BoardCheck(board, image.flash_bytes, image.ram_bytes, False, 0, 0, 0, 0)
        plan = make_plan(
            np.zeros(_WINDOWS, np.int32), windows=None, state_windows=_TRACED, sequences=1
        )
        inputs = np.random.default_rng(1).integers(
            -128, 128, (_WINDOWS, graph.steps, graph.features), dtype=np.int8
        )
        with open_device(board, image.path, model_crc=graph.crc32) as session:
            heard = replay(session, graph, inputs, plan, part(progress, 0.5, 1.0))
        return BoardCheck(
            board=board,
            flash_bytes=image.flash_bytes,
            ram_bytes=image.ram_bytes,
            ran=True,
            windows=_WINDOWS,
            mismatches=heard.mismatches + heard.sequence_mismatches,
            state_values=heard.values_compared,
            state_mismatches=heard.state_mismatches,
        )
