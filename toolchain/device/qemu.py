"""A board that QEMU emulates: the same image, a serial port, a flasher, and time that counts."""

from __future__ import annotations

import shutil
import struct

from toolchain.board import Board, Qemu
from toolchain.device.emulator import GdbBoard
from toolchain.errors import FlashError, ToolMissing

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


class QemuBoard(GdbBoard):
    """A board in QEMU."""

    def __init__(self, board: Board, *, program: str | None = None, counting: bool = True) -> None:
        """Prepare to emulate `board`.

        Args:
            board: a profile with an emulator.
            program: the emulator's command; None: QEMU's, for the board's `system`.
            counting: time counts instructions, and every run takes the same; else it is the host's.
        """
        if not isinstance(board.emulator, Qemu):
            raise ValueError(f"{board.name} has no emulator in QEMU")
        self._program = program or qemu_program(board.emulator)
        self._system = board.emulator.system
        self._machine = ["-M", board.emulator.machine]
        if counting:
            self._machine += ["-icount", f"shift={board.emulator.icount_shift}"]
        super().__init__(board, f"{self._program} -d unimp,guest_errors shows why")

    def _reset(self) -> None:
        self.stub.command("system_reset")
        if self._system == "riscv32":
            self._expect_riscv_entry()
        else:
            self._expect_arm_vectors()

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

    def _command(self, console: int, debug: int) -> list[str]:
        path = shutil.which(self._program)
        if path is None:
            raise ToolMissing(
                f"{self._program}: not installed, and {self._board.name} is emulated by it. Run: "
                f"sudo apt install {_PACKAGES[self._system]}; or name a real board with --port."
            )
        command = [path, *self._machine, "-nodefaults", "-display", "none", "-monitor", "none"]
        for name, listener in (("console", console), ("debug", debug)):
            options = f"id={name},fd={listener},server=on,wait=off,nodelay=on"
            command += ["-chardev", f"socket,{options}"]
        return [*command, "-serial", "chardev:console", "-gdb", "chardev:debug", "-S"]
