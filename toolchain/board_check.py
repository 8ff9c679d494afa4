"""Check a board from its profile to a running forecast, with a network made up for the purpose."""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolchain.board import Board, Core
from toolchain.device.running import open_device
from toolchain.firmware.build import build
from toolchain.firmware.render import render
from toolchain.graph.types import Dense, Graph, Lstm, Operator, Quantization
from toolchain.graph.verify import verify
from toolchain.progress import Progress, part, silent
from toolchain.verdict.plan import make_plan
from toolchain.verdict.replay import replay

_STEPS, _HIDDEN, _WINDOWS, _TRACED = 12, 8, 20, 3


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
    graph = sample_graph()
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


def sample_graph() -> Graph:
    """Make up a small network: LSTM, last step, one output. The same every time."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        return rng.integers(-127, 128, shape).astype(np.int8)

    source = Quantization(0.02, 3)
    hidden = Quantization(0.0078, -5)
    target = Quantization(0.01, 7)
    lstm = Lstm(
        index=0,
        input_weights=weights(4, _HIDDEN, 1),
        recurrent_weights=weights(4, _HIDDEN, _HIDDEN),
        bias=rng.integers(-20_000, 20_001, (4, _HIDDEN)).astype(np.int32),
        input_weight_scales=(0.004, 0.005, 0.006, 0.003),
        recurrent_weight_scales=(0.005, 0.003, 0.004, 0.006),
        input=source,
        hidden=hidden,
        cell_scale_power=-12,
        cell_clip=10.0,
    )
    dense = Dense(
        index=1,
        weights=weights(1, _HIDDEN),
        bias=np.zeros(1, np.int32),
        weight_scales=(0.005,),
        input=hidden,
        output=target,
        activation="none",
    )
    content = b"".join(
        array.tobytes()
        for array in (lstm.input_weights, lstm.recurrent_weights, lstm.bias, dense.weights)
    )
    graph = Graph(
        steps=_STEPS,
        features=1,
        input=source,
        output=target,
        whole_sequence=False,
        lstms=(lstm,),
        denses=(dense,),
        operators=(
            Operator(0, "LSTM", (1, _STEPS, 1), (1, _HIDDEN), hidden,
                     _STEPS * 4 * _HIDDEN * (_HIDDEN + 1), len(content)),
        ),
        crc32=zlib.crc32(content),
        sha256=hashlib.sha256(content).hexdigest(),
        file_bytes=len(content),
    )  # fmt: skip
    verify(graph, "the network of the check")
    return graph
