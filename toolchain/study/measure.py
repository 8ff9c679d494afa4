"""What a model costs on a board: built for it, and run on its emulator where it has one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolchain.board import Board
from toolchain.demand.windows import Dataset
from toolchain.device.running import open_device
from toolchain.errors import VerdictError
from toolchain.firmware.elf import Image, read_object_symbols
from toolchain.firmware.footprint import footprint
from toolchain.graph.tflite_file import load_graph
from toolchain.graph.types import Oracle
from toolchain.verdict.plan import make_plan
from toolchain.verdict.replay import replay

WINDOWS = 6
"""Replayed on the emulator: enough to see that it forecasts what the host does."""


@dataclass(frozen=True)
class Cost:
    """Bytes, and work for one forecast from a whole window. None: nobody obtained it."""

    weight_bytes: int
    """Weights, biases, scales, indices and layer descriptions."""
    table_bytes: int
    """Sigmoid and tanh."""
    engine_bytes: int
    """The code that reads the two."""
    image_bytes: int
    """The whole firmware, with its console and the board's port."""
    ram_bytes: int
    """Variables of the whole firmware, without the stack."""
    stack_bytes: int | None
    """Stack used while forecasting, on the emulator."""
    instructions: int | None
    cycles: int | None
    windows: int
    """Forecasts of the emulator that equalled the host's, bit for bit."""

    @property
    def flash_bytes(self) -> int:
        """What a firmware of any kind would spend on this model."""
        return self.weight_bytes + self.table_bytes + self.engine_bytes


def measure_cost(
    model: Path, dataset: Dataset, board: Board, image: Image, oracle: Oracle = "double"
) -> Cost:
    """Take stock of a built firmware, and run it on validation days.

    Args:
        model: the .tflite in the firmware.
        dataset: windows as the model reads them.
        board: the board; without an emulator, nothing is run.
        image: the firmware.
        oracle: which TFLite Micro it equals.

    Raises:
        VerdictError: the board forecasts something else than the host.
        DeviceError: the firmware does not answer.
        ToolMissing: the emulator is not installed.
    """
    sizes = footprint(image)
    stack = instructions = cycles = None
    windows = 0
    if board.emulator is not None:
        graph = load_graph(model, oracle)
        inputs = graph.input.quantize(dataset.validation.inputs)
        plan = make_plan(dataset.validation.series, windows=WINDOWS, state_windows=1, sequences=1)
        with open_device(board, image.path, model_crc=graph.crc32) as session:
            heard = replay(session, graph, inputs, plan)
        if not heard.exact:
            raise VerdictError(
                f"{model}: {board.name} does not forecast what the host does: {heard.divergence} "
                f"Look closer: shelfcast validate --board {board.name}"
            )
        ticks = float(np.mean(heard.ticks))
        stack, windows = heard.stack_used, len(heard.windows)
        instructions = _rounded(board.emulator.instructions(ticks, heard.clock_hz))
        cycles = _rounded(board.emulator.cycles(ticks))
    return Cost(
        weight_bytes=sizes.weight_bytes,
        table_bytes=sizes.table_bytes,
        engine_bytes=engine_bytes(image),
        image_bytes=sizes.flash_bytes,
        ram_bytes=sizes.ram_bytes,
        stack_bytes=stack,
        instructions=instructions,
        cycles=cycles,
        windows=windows,
    )


def engine_bytes(image: Image) -> int:
    """Sum up the code and the constants that the engine's object files brought into an image."""
    objects = sorted((image.path.parent / "engine").rglob("*.o"))
    names = {symbol.name for path in objects for symbol in read_object_symbols(path)}
    return sum(
        symbol.bytes
        for symbol in image.symbols
        if symbol.memory == "flash" and symbol.name in names
    )


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
