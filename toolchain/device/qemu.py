"""A board that QEMU emulates: the same image, a serial port, a flasher, and time that counts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

from toolchain.board import Board
from toolchain.device.gdbstub import GdbStub, Segment, read_segments
from toolchain.errors import EmulatorDied, FlashError, ToolMissing

QEMU = "qemu-system-arm"

_LOCAL = "127.0.0.1"
_SP, _PC = 13, 15
"""Registers, by gdb's numbers for ARM."""
_SHOWN_LINES = 3

# Runs between us and QEMU: asks the kernel to end QEMU when we end, however we end, and becomes
# QEMU. (subprocess's preexec_fn could do it too, but not safely beside TensorFlow's threads.)
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(parent):
    sys.exit("the parent ended before the emulator started")
os.execv(command[0], command)
"""


class QemuBoard:
    """An emulated board, from power-on until its `with` block ends.

    It is powered but stopped; `flash` writes an image, `start` lets it run. The emulator ends with
    the block, with an exception, with Ctrl-C, and on Linux even when this process is killed. (To
    Linux the parent is the thread that entered the block: that thread has to outlive it.)
    """

    def __init__(self, board: Board, *, program: str = QEMU, counting: bool = True) -> None:
        """Prepare to emulate `board`.

        Args:
            board: a profile with an emulator.
            program: the emulator's command.
            counting: time counts instructions, and every run takes the same; else it is the host's.
        """
        if board.emulator is None:
            raise ValueError(f"{board.name} has no emulator")
        self._board = board
        self._program = program
        self._machine = ["-M", board.emulator.machine]
        if counting:
            self._machine += ["-icount", f"shift={board.emulator.icount_shift}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._stub: GdbStub | None = None
        self._port = ""

    def __enter__(self) -> QemuBoard:
        try:
            with _listen() as console, _listen() as debug:
                self._launch(console, debug)
                host, port = console.getsockname()
                self._port = f"socket://{host}:{port}"
                # A listening socket takes connections before QEMU gets around to it: there is
                # nothing to wait for, and the answer to the first packet shows that it is up.
                connection = socket.create_connection(debug.getsockname(), timeout=10)
                self._stub = GdbStub(connection, self.alive)
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
        return self._running().pid

    @property
    def stub(self) -> GdbStub:
        """The way into the board's memory, until it starts."""
        if self._stub is None:
            raise RuntimeError("the board is not stopped: flash before start, in a with block")
        return self._stub

    def flash(self, elf: Path) -> None:
        """Write an image, read every byte back, and put the board where a reset leaves it.

        Raises:
            FlashError: the image is none, is too large, or did not arrive intact.
            EmulatorDied: it ended.
        """
        segments = read_segments(elf)
        check_fits(segments, self._board)
        stub = self.stub
        try:
            for segment in segments:
                stub.write(segment)
            for segment in segments:
                stub.verify(segment)
            # The core reads its stack pointer and entry from the vectors when it is reset.
            stub.command("system_reset")
            stack_pointer, entry = struct.unpack("<2I", stub.read(self._board.flash.origin, 8))
            registers = stub.registers()
        except FlashError as cause:
            raise FlashError(f"{self._board.name}: {cause}") from cause
        if registers[_SP] != stack_pointer & ~3 or registers[_PC] != entry & ~1:
            raise FlashError(
                f"{self._board.name}: starts at 0x{registers[_PC]:08x} instead of "
                f"0x{entry & ~1:08x}. The vectors are not where the core looks for them: check the "
                "flash region's origin in the profile."
            )

    def start(self) -> None:
        """Let the board run."""
        self.stub.resume()
        self._stub = None

    def alive(self) -> None:
        """Raise when the emulator is not running any more.

        Raises:
            EmulatorDied: with how it ended, and what it said.
        """
        code = self._running().poll()
        if code is None:
            return
        raise EmulatorDied(
            f"{self._board.name}: the emulator ended by itself ({_how(code)}). "
            f"{self._last_words()} Try again; if it stays, "
            f"{self._program} -d unimp,guest_errors shows why."
        )

    def close(self) -> None:
        """End the emulator; closing twice is harmless."""
        if self._stub is not None:
            self._stub.close()
            self._stub = None
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None

    def _launch(self, console: socket.socket, debug: socket.socket) -> None:
        """Start the emulator on two sockets that are listening already."""
        if sys.platform == "win32":
            raise ToolMissing(
                f"{self._board.name}: emulated boards need Linux or macOS. Use WSL, or name a real "
                "board with --port."
            )
        path = shutil.which(self._program)
        if path is None:
            raise ToolMissing(
                f"{self._program}: not installed, and {self._board.name} is emulated by it. Run: "
                "sudo apt install qemu-system-arm; or name a real board with --port."
            )
        # Handing over sockets instead of port numbers: nobody else can take the port in between.
        command = [path, *self._machine, "-nodefaults", "-display", "none", "-monitor", "none"]
        for name, listener in (("console", console), ("debug", debug)):
            options = f"id={name},fd={listener.fileno()},server=on,wait=off,nodelay=on"
            command += ["-chardev", f"socket,{options}"]
        command += ["-serial", "chardev:console", "-gdb", "chardev:debug", "-S"]
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
            pass_fds=(console.fileno(), debug.fileno()),
            # Ctrl-C in a terminal goes to its whole process group; the emulator is ours to end.
            start_new_session=True,
        )

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
    """Refuse what lies outside the board's memory; QEMU would take it, and abort later.

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
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
