"""What the same model would take with TensorFlow Lite Micro: measured code, computed arena.

The code was measured once per core and kernels, in a firmware with the three operators and nothing
else: TensorFlow Lite Micro of 2026-08-20 (commit 90b983c) with its pinned CMSIS-NN (4ab83cc), built
as its makefile does (-Os, kernels -O2, release) by arm-none-eabi-gcc 12.2 with newlib-nano. On the
Cortex-M4 it is without the floating-point unit, as this firmware is. Console and port on top of it
were measured beside that. Cores that nobody measured have no figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.board import Board, Core
from toolchain.device.protocol import line_bytes_for
from toolchain.firmware.arena import Kernels
from toolchain.firmware.render_tflm import arenas
from toolchain.graph.layout import layout_of
from toolchain.graph.types import Graph

_CODE: dict[str, dict[Kernels, int]] = {
    "cortex-m0": {"reference": 52_360, "cmsis_nn": 63_696},
    "cortex-m3": {"reference": 42_600, "cmsis_nn": 51_968},
    "cortex-m4": {"reference": 43_108, "cmsis_nn": 59_076},
}
"""Flash without the model, by core and kernels."""
_STACK: dict[str, dict[Kernels, int]] = {
    "cortex-m0": {"reference": 828, "cmsis_nn": 1_396},
    "cortex-m3": {"reference": 772, "cmsis_nn": 1_260},
    "cortex-m4": {"reference": 772, "cmsis_nn": 1_260},
}
"""The most that setting up or a forecast used of the stack."""
_CONSOLE_FLASH = 6_500
"""Console and port: 6,512 bytes on a stm32vldiscovery."""
_CONSOLE_RAM = 544
"""Variables of the console, the port and the interpreter, without line and window."""
_CONSOLE_STACK = 160
_CONTAINER = 4_250
"""What a .tflite file has beside its constants, where there is no file yet."""


@dataclass(frozen=True)
class TflmPrediction:
    """What a firmware around the interpreter takes, with one of the two sets of kernels."""

    flash_bytes: int
    ram_bytes: int
    """Variables with the arena, without the stack."""
    arena_bytes: int
    stack_bytes: int


def predict_tflm(
    graph: Graph, board: Board, core: Core, *, has_file: bool
) -> dict[Kernels, TflmPrediction] | None:
    """Predict what a model takes with TensorFlow Lite Micro; None on a core nobody measured.

    Args:
        graph: the model.
        board: its profile.
        core: the board's.
        has_file: `graph` comes from a .tflite file; else the size of one is estimated.
    """
    if board.core not in _CODE:
        return None
    layout = layout_of(graph)
    constants = sum(tensor.bytes for tensor in layout.tensors if tensor.kind == "constant")
    file_bytes = graph.file_bytes if has_file else constants + _CONTAINER
    line = line_bytes_for(graph.features, board.line_bytes)
    variables = _CONSOLE_RAM + line + graph.steps * graph.features + graph.outputs
    return {
        kernels: TflmPrediction(
            flash_bytes=_CODE[board.core][kernels] + _CONSOLE_FLASH + file_bytes,
            ram_bytes=variables + arena.bytes,
            arena_bytes=arena.bytes,
            stack_bytes=_STACK[board.core][kernels] + _CONSOLE_STACK,
        )
        for kernels, arena in arenas(layout, core).items()
    }
