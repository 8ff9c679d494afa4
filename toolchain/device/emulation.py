"""Which emulator a board has."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol

from toolchain.board import Board, Rp2040js, Simavr
from toolchain.device.qemu import QemuBoard
from toolchain.device.rp2040js import Rp2040jsBoard
from toolchain.device.simavr import SimavrBoard
from toolchain.progress import Progress, silent


class EmulatedBoard(Protocol):
    """What all emulated boards can do; in a with block, from power-on until it ends."""

    def __enter__(self) -> EmulatedBoard: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def port(self) -> str:
        """`socket://host:port` of the board's serial port, for `open_link`."""

    @property
    def process_id(self) -> int:
        """The emulator's process."""

    def flash(self, elf: Path) -> None:
        """Write an image, and read every byte back."""

    def start(self) -> None:
        """Let the board run."""

    def alive(self) -> None:
        """Raise when the emulator is not running any more."""


def emulate(board: Board, *, progress: Progress = silent) -> EmulatedBoard:
    """Return the emulator of `board`, not yet started; `progress` is told what it installs."""
    if isinstance(board.emulator, Simavr):
        return SimavrBoard(board)
    if isinstance(board.emulator, Rp2040js):
        return Rp2040jsBoard(board, say=lambda words: progress(0.0, words))
    return QemuBoard(board)
