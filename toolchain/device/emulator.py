"""What all emulated boards share: a process that ends with us, and a life in a `with` block."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from toolchain.board import Board
from toolchain.device.gdbstub import GdbStub
from toolchain.endings import signal_name
from toolchain.errors import EmulatorDied, FlashError, ToolMissing
from toolchain.firmware.elf import Segment, read_segments

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


class EmulatedBoard(ABC):
    """An emulated board, from power-on until its `with` block ends.

    It is powered but stopped; `flash` writes an image, `start` lets it run. The emulator ends with
    the block, with an exception, with Ctrl-C, and on Linux even when this process is killed. (To
    Linux the parent is the thread that entered the block: that thread has to outlive it.)
    """

    def __init__(self, board: Board, advice: str) -> None:
        """Prepare to emulate `board`; `advice` helps when the emulator ends by itself."""
        self._board = board
        self._process = EmulatorProcess(board.name, advice)
        self._port = ""

    def __enter__(self) -> Self:
        if sys.platform == "win32":
            raise ToolMissing(
                f"{self._board.name}: emulated boards need Linux or macOS. Use WSL, or name a real "
                "board with --port."
            )
        try:
            # Handing over a socket instead of a port number: nobody can take it in between.
            with _listen() as console:
                host, port = console.getsockname()
                self._port = f"socket://{host}:{port}"
                self._power_on(console)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> str:
        """`socket://host:port` of the board's serial port, for `open_link`."""
        return self._port

    @property
    def process_id(self) -> int:
        """The emulator's process."""
        return self._process.id

    def flash(self, elf: Path) -> None:
        """Write an image, read every byte back, and put the board where a reset leaves it.

        Raises:
            FlashError: the image is none, is too large, did not arrive intact, or is not one that
                the board would start.
            EmulatorDied: it ended.
        """
        segments = read_segments(elf)
        check_fits(segments, self._board)
        self._write(segments)

    @abstractmethod
    def start(self) -> None:
        """Let the board run."""

    def alive(self) -> None:
        """Raise when the emulator is not running any more.

        Raises:
            EmulatorDied: with how it ended, and what it said.
        """
        self._process.alive()

    def close(self) -> None:
        """End the emulator; closing twice is harmless."""
        self._process.close()

    @abstractmethod
    def _power_on(self, console: socket.socket) -> None:
        """Start the emulator, whose board's serial port is the listening `console`; stopped."""

    @abstractmethod
    def _write(self, segments: tuple[Segment, ...]) -> None:
        """Write what lies in the board's memory, read it back, and leave the board as reset."""


class GdbBoard(EmulatedBoard):
    """An emulated board that is flashed through the emulator's gdb stub."""

    def __init__(self, board: Board, advice: str) -> None:
        """Prepare to emulate `board`; `advice` helps when the emulator ends by itself."""
        super().__init__(board, advice)
        self._stub: GdbStub | None = None

    @property
    def stub(self) -> GdbStub:
        """The way into the board's memory, until it starts."""
        if self._stub is None:
            raise not_stopped()
        return self._stub

    def start(self) -> None:
        """Let the board run."""
        self.stub.resume()
        self._stub = None

    def close(self) -> None:
        """End the emulator; closing twice is harmless."""
        if self._stub is not None:
            self._stub.close()
            self._stub = None
        super().close()

    @abstractmethod
    def _command(self, console: int, debug: int) -> list[str]:
        """Return the emulator's command, given the descriptors of two listening sockets."""

    @abstractmethod
    def _reset(self) -> None:
        """Reset the board, and check that it will start from what was written.

        Raises:
            FlashError: it will not; the message lacks the board's name.
        """

    def _power_on(self, console: socket.socket) -> None:
        with _listen() as debug:
            descriptors = (console.fileno(), debug.fileno())
            self._process.start(self._command(*descriptors), descriptors)
            # A listening socket takes connections before the emulator gets around to it: there is
            # nothing to wait for, and the answer to the first packet shows that it is up.
            connection = socket.create_connection(debug.getsockname(), timeout=10)
            self._stub = GdbStub(connection, self.alive)

    def _write(self, segments: tuple[Segment, ...]) -> None:
        stub = self.stub
        try:
            for segment in segments:
                stub.write(segment)
            for segment in segments:
                stub.verify(segment)
            self._reset()
        except FlashError as cause:
            raise FlashError(f"{self._board.name}: {cause}") from cause


def not_stopped() -> RuntimeError:
    """Return the error of who flashes or starts a board that is off, or runs already."""
    return RuntimeError("the board is not stopped: flash before start, in a with block")


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


def _listen() -> socket.socket:
    """Listen on a port of this machine that is free now."""
    return socket.create_server((_LOCAL, 0))


def _how(code: int) -> str:
    """Say how a process ended."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
