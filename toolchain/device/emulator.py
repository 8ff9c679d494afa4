"""What every emulator is: a program of ours that ends with us, and boards that have one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import IO

from toolchain.board import Board
from toolchain.device.gdbstub import Segment
from toolchain.errors import EmulatorDied, FlashError

_LOCAL = "127.0.0.1"
_SHOWN_LINES = 3

# Runs between us and the emulator: asks the kernel to end it when we end, however we end, and
# becomes it. (preexec_fn of subprocess could do that, too, but not safely beside threads.)
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(parent):
    sys.exit("the parent ended before the emulator started")
os.execv(command[0], command)
"""


class EmulatorProcess:
    """The process of an emulator. On Linux it ends even when this process is killed.

    (To Linux the parent is the thread that started it: that thread has to outlive it.)
    """

    def __init__(self, board: str, advice: str) -> None:
        """Prepare; `advice` is what helps when it ends by itself on `board`, again and again."""
        self._board = board
        self._advice = advice
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def id(self) -> int:
        """The number of the process."""
        return self._running().pid

    def start(self, command: list[str], descriptors: tuple[int, ...]) -> None:
        """Run `command`, an absolute path first, with the open files it is to have."""
        if sys.platform == "linux":
            wrapper = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
            command = wrapper + command
        # A file, not a pipe: nobody has to read it for the emulator to go on.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=descriptors,
            # Ctrl-C in a terminal goes to its whole process group; the emulator is ours to end.
            start_new_session=True,
        )

    def alive(self) -> None:
        """Raise when the emulator is not running any more.

        Raises:
            EmulatorDied: with how it ended, and what it said.
        """
        code = self._running().poll()
        if code is None:
            return
        raise EmulatorDied(
            f"{self._board}: the emulator ended by itself ({_how(code)}). {self._last_words()} "
            f"Try again; if it stays, {self._advice}."
        )

    def close(self) -> None:
        """End the emulator; closing twice is harmless."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the emulator is not started: use it in a with block")
        return self._process

    def _last_words(self) -> str:
        """Return the last lines the emulator printed, as a sentence."""
        if self._output is None:
            return "It said nothing."
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()][-_SHOWN_LINES:]
        return f"It said: {' | '.join(said)}." if said else "It said nothing."


def check_fits(segments: tuple[Segment, ...], board: Board) -> None:
    """Refuse what lies outside the board's memory; an emulator would take it, and fail later.

    Raises:
        FlashError: names the address, and the regions there are.
    """
    for segment in segments:
        if not any(
            region.origin <= segment.address and segment.end <= region.end
            for region in board.memory
        ):
            regions = ", ".join(
                f"{region.name} 0x{region.origin:08x}..0x{region.end:08x}"
                for region in board.memory
            )
            raise FlashError(
                f"{board.name}: the image puts {len(segment.data):,} bytes at "
                f"0x{segment.address:08x}..0x{segment.end:08x}, outside its memory ({regions}). "
                "Was it built for another board? Build it again: shelfcast build."
            )


def listen() -> socket.socket:
    """Listen on a port of this machine that is free now."""
    return socket.create_server((_LOCAL, 0))


def _how(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
