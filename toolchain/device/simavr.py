"""An AVR board that simavr emulates: the same image, a serial port, and cycles that are exact."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from toolchain.board import Board, Simavr
from toolchain.device.emulator import EmulatedBoard, not_stopped
from toolchain.errors import FlashError, ToolError, ToolMissing
from toolchain.files import cache_dir
from toolchain.firmware.elf import Segment
from toolchain.install import Source, how_to_install

SOURCE = Path(__file__).resolve().with_name("simavr_runner.c")
"""The emulator: our own program around simavr's library, compiled when it is first used."""
PACKAGES = Source(
    apt=("gcc", "libc6-dev", "libsimavr-dev"),
    brew=("simavr",),
    vendor="https://github.com/buserror/simavr",
)

_CFLAGS = ("-std=c99", "-O2")
_LIBRARIES = ("-lsimavr",)
_COMPILE_S = 60.0
_CONTROL_TIMEOUT_S = 10.0
_DYING_S = 1.0

Which = Callable[[str], str | None]


class SimavrBoard(EmulatedBoard):
    """A board in simavr, flashed through a socket of its own.

    The emulator ends wherever this process ends, however it does: its control socket ends then.
    """

    def __init__(self, board: Board, *, program: Path | None = None) -> None:
        """Prepare to emulate `board`.

        Args:
            board: a profile with a simavr emulator.
            program: the emulator; None: compile our own, unless it is compiled already.
        """
        if not isinstance(board.emulator, Simavr):
            raise ValueError(f"{board.name} is not emulated by simavr")
        super().__init__(board, "check mcu of [emulator] in the profile")
        self._mcu = board.emulator.mcu
        self._program = program
        self._control: socket.socket | None = None
        self._started = False

    def _power_on(self, console: socket.socket) -> None:
        program = compile_runner(self._board.name) if self._program is None else self._program
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_CONTROL_TIMEOUT_S)
        with theirs:
            descriptors = (theirs.fileno(), console.fileno())
            numbers = map(str, (self._board.clock_hz, *descriptors))
            self._process.start([str(program), self._mcu, *numbers], descriptors)

    def _write(self, segments: tuple[Segment, ...]) -> None:
        control = self._stopped()
        try:
            for segment in segments:
                control.sendall(b"W" + _place(segment) + segment.data)
            for segment in segments:
                control.sendall(b"R" + _place(segment))
                found = _receive(control, len(segment.data))
                if found != segment.data:
                    raise FlashError(
                        f"{self._board.name}: {len(segment.data):,} bytes at "
                        f"0x{segment.address:08x} did not arrive intact. Flash again."
                    )
        except OSError as cause:
            raise self._gone(cause) from cause

    def start(self) -> None:
        """Let the board run."""
        try:
            self._stopped().sendall(b"G")
        except OSError as cause:
            raise self._gone(cause) from cause
        self._started = True

    def write_eeprom(self, data: bytes) -> None:
        """Put into the EEPROM, before the start, what another life of the board left there."""
        self._stopped().sendall(b"E" + _place(Segment(0, data)) + data)

    def cut_power(self) -> bytes:
        """End a board that runs, wherever it is; return all that its EEPROM holds then."""
        control = self._control
        if control is None or not self._started:
            raise RuntimeError("the board does not run: start it, in a with block")
        control.sendall(b"X")
        return b"".join(iter(lambda: control.recv(4096), b""))

    def close(self) -> None:
        """End the emulator; closing twice is harmless."""
        super().close()
        if self._control is not None:
            self._control.close()
            self._control = None

    def _stopped(self) -> socket.socket:
        if self._control is None or self._started:
            raise not_stopped()
        return self._control

    def _gone(self, cause: OSError) -> FlashError:
        """Say how the emulator ended; it takes a moment until that can be told."""
        deadline = time.monotonic() + _DYING_S
        while time.monotonic() < deadline:
            self.alive()
            time.sleep(0.01)
        return FlashError(f"{self._board.name}: the emulator does not answer ({cause}). Try again.")


def _receive(control: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = control.recv(count - len(data))
        if not more:
            raise ConnectionResetError("the connection ended")
        data += more
    return data


def _place(segment: Segment) -> bytes:
    return struct.pack("<II", segment.address, len(segment.data))


def compile_runner(
    subject: str, *, folder: Path | None = None, which: Which = shutil.which
) -> Path:
    """Compile the emulator, unless it was before; return its path.

    The file's name tells what it was made from: our source, simavr's headers and the compiler's
    flags. Another version of simavr, whose structures differ, gets a program of its own.

    Args:
        subject: whose emulator it is, for messages.
        folder: where compiled programs are kept; None: `cache_dir()`.
        which: finds programs.

    Raises:
        ToolMissing: no C compiler, or no simavr.
        ToolError: it does not compile.
    """
    compiler = which("cc")
    if compiler is None:
        raise _missing(subject, "cc: not installed")
    program = (folder or cache_dir()) / f"simavr_runner-{_fingerprint(compiler, subject)}"
    if program.is_file():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".simavr.", dir=program.parent) as scratch:
        made = Path(scratch) / "runner"
        _compile(compiler, (str(SOURCE), "-o", str(made), *_LIBRARIES), subject)
        made.replace(program)
    return program


@functools.cache
def _fingerprint(compiler: str, subject: str) -> str:
    """Return what identifies the program: everything its compiler reads."""
    text = _compile(compiler, ("-E", "-P", str(SOURCE)), subject)
    return hashlib.sha256("\n".join([text, *_CFLAGS, *_LIBRARIES]).encode()).hexdigest()[:16]


def _compile(compiler: str, arguments: tuple[str, ...], subject: str) -> str:
    result = subprocess.run(
        [compiler, *_CFLAGS, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMPILE_S, check=False,
        encoding="utf-8", errors="replace", env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if result.returncode == 0:
        return result.stdout
    if "simavr/" in result.stderr or "-lsimavr" in result.stderr:
        raise _missing(subject, "simavr: not installed")
    if "stdio.h" in result.stderr:
        raise _missing(subject, "C library: not installed")
    complaint = next((line for line in result.stderr.splitlines() if "error" in line), "")
    raise ToolError(
        f"{SOURCE.name}: does not compile: {complaint or result.stderr.strip()[-200:]}. "
        f"Check the versions: {how_to_install([PACKAGES])}"
    )


def _missing(subject: str, what: str) -> ToolMissing:
    return ToolMissing(
        f"{what}, and {subject} is emulated by a program made with it. Run: "
        f"{how_to_install([PACKAGES])}; or name a real board with --port."
    )
