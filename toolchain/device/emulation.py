"""Which emulator a board has."""

from __future__ import annotations

from toolchain.board import Board, Rp2040js, Simavr
from toolchain.device.emulator import EmulatedBoard
from toolchain.device.qemu import QemuBoard
from toolchain.device.rp2040js import Rp2040jsBoard
from toolchain.device.simavr import SimavrBoard
from toolchain.progress import Progress, silent


def emulate(board: Board, *, progress: Progress = silent) -> EmulatedBoard:
    """Return the emulator of `board`, not yet started; `progress` is told what it installs."""
    if isinstance(board.emulator, Simavr):
        return SimavrBoard(board)
    if isinstance(board.emulator, Rp2040js):
        return Rp2040jsBoard(board, say=lambda words: progress(0.0, words))
    return QemuBoard(board)
