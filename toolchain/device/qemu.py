"""A board that QEMU emulates: the same image, a serial port, a flasher, and time that counts."""

from __future__ import annotations

import shutil
import socket
import struct
import sys
from pathlib import Path
from types import TracebackType

from toolchain.board import Board, Qemu
from toolchain.device.emulator import EmulatorProcess, check_fits, listen
from toolchain.device.gdbstub import GdbStub, read_segments
from toolchain.errors import FlashError, ToolMissing

QEMU = "qemu-system-arm"

_SP, _PC = 13, 15
"""Registers, by gdb's numbers for ARM."""
_RISCV_PC = 32
_RISCV_ROM_STEPS = 8
"""Instructions that QEMU's reset code may take until it is in the image; sifive_e takes two."""
_PACKAGES = {"arm": "qemu-system-arm", "riscv32": "qemu-system-misc"}
"""Debian's package with the emulator, by `system`."""


def qemu_program(emulator: Qemu) -> str:
    """Return the command that emulates boards of this kind."""
    return f"qemu-system-{emulator.system}"


class QemuBoard:
    """An emulated board, from power-on until its `with` block ends.

    It is powered but stopped; `flash` writes an image, `start` lets it run. The emulator ends with
    the block, with an exception, with Ctrl-C, and on Linux even when this process is killed. (To
    Linux the parent is the thread that entered the block: that thread has to outlive it.)
    """

    def __init__(self, board: Board, *, program: str | None = None, counting: bool = True) -> None:
        """Prepare to emulate `board`.

        Args:
            board: a profile with an emulator.
            program: the emulator's command; None: QEMU's, for the board's `system`.
            counting: time counts instructions, and every run takes the same; else it is the host's.
        """
        if not isinstance(board.emulator, Qemu):
            raise ValueError(f"{board.name} has no emulator in QEMU")
        self._board = board
        self._program = program or qemu_program(board.emulator)
        self._system = board.emulator.system
        self._machine = ["-M", board.emulator.machine]
        if counting:
            self._machine += ["-icount", f"shift={board.emulator.icount_shift}"]
        self._process = EmulatorProcess(
            board.name, f"{self._program} -d unimp,guest_errors shows why"
        )
        self._stub: GdbStub | None = None
        self._port = ""

    def __enter__(self) -> QemuBoard:
        try:
            with listen() as console, listen() as debug:
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
        return self._process.id

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
            stub.command("system_reset")
            if self._system == "riscv32":
                self._expect_riscv_entry()
            else:
                self._expect_arm_vectors()
        except FlashError as cause:
            raise FlashError(f"{self._board.name}: {cause}") from cause

    def _expect_arm_vectors(self) -> None:
        """Check that the core read its stack pointer and entry from our vectors."""
        stack_pointer, entry = struct.unpack("<2I", self.stub.read(self._board.flash.origin, 8))
        registers = self.stub.registers()
        if registers[_SP] != stack_pointer & ~3 or registers[_PC] != entry & ~1:
            raise FlashError(
                f"starts at 0x{registers[_PC]:08x} instead of "
                f"0x{entry & ~1:08x}. The vectors are not where the core looks for them: check the "
                "flash region's origin in the profile."
            )

    def _expect_riscv_entry(self) -> None:
        """Check that the emulator's reset code jumps to our image, and reset once more."""
        entry = self._board.flash.origin
        seen = []
        for _ in range(_RISCV_ROM_STEPS):
            seen.append(self.stub.registers(_RISCV_PC + 1)[_RISCV_PC])
            if seen[-1] == entry:
                self.stub.command("system_reset")
                return
            self.stub.step()
        raise FlashError(
            f"starts at 0x{seen[-1]:08x} instead of 0x{entry:08x}. The image is not where the core "
            "looks for it: check the flash region's origin in the profile."
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
        self._process.alive()

    def close(self) -> None:
        """End the emulator; closing twice is harmless."""
        if self._stub is not None:
            self._stub.close()
            self._stub = None
        self._process.close()

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
                f"sudo apt install {_PACKAGES[self._system]}; or name a real board with --port."
            )
        # Handing over sockets instead of port numbers: nobody else can take the port in between.
        command = [path, *self._machine, "-nodefaults", "-display", "none", "-monitor", "none"]
        for name, listener in (("console", console), ("debug", debug)):
            options = f"id={name},fd={listener.fileno()},server=on,wait=off,nodelay=on"
            command += ["-chardev", f"socket,{options}"]
        command += ["-serial", "chardev:console", "-gdb", "chardev:debug", "-S"]
        self._process.start(command, (console.fileno(), debug.fileno()))
