"""A board that rp2040js emulates under Node.js: same image, serial port, time that counts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from toolchain.board import Board, Rp2040js
from toolchain.device.emulator import GdbBoard
from toolchain.errors import FlashError, ToolMissing
from toolchain.files import cache_dir

NODE = "node"
NPM = "npm"
PACKAGE = "rp2040js@1.4.1"
PACKAGES_VARIABLE = "SHELFCAST_RP2040JS"
"""Names a folder whose `node_modules` has rp2040js, instead of the one in the user's cache."""
BOOT2_BYTES = 256

_FILES = Path(__file__).resolve().parent / "node"
_UARTS = {0x4003_4000: 0, 0x4003_8000: 1}
_INSTALL_TIMEOUT_S = 300.0

Which = Callable[[str], str | None]
Say = Callable[[str], None]


def _silent(_words: str) -> None:
    """Report to nobody."""


def packages_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder whose `node_modules` has rp2040js, once it is installed."""
    if named := environment.get(PACKAGES_VARIABLE):
        return Path(named)
    return cache_dir(environment) / PACKAGE.replace("@", "-")


def is_installed(folder: Path) -> bool:
    """Tell whether `folder` has rp2040js."""
    return (folder / "node_modules" / "rp2040js" / "package.json").is_file()


def install(folder: Path | None = None, *, which: Which = shutil.which, say: Say = _silent) -> Path:
    """Have npm install rp2040js, exactly as it is locked, unless it is there; return the folder.

    Raises:
        ToolMissing: there is no npm, or it failed; the message has the command that installs it.
    """
    folder = packages_dir() if folder is None else folder
    if is_installed(folder):
        return folder
    remedy = f"Run: npm install --prefix {folder} {PACKAGE}"
    npm = which(NPM)
    if npm is None:
        raise ToolMissing(
            f"rp2040js: not installed, and there is no npm to install it. Run: sudo apt install "
            f"npm && npm install --prefix {folder} {PACKAGE}"
        )
    say(f"installing {PACKAGE} in {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(_FILES / name, made / name)
            _run_npm([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], made, remedy)
            try:
                made.rename(folder)
            except OSError:
                if not is_installed(folder):  # else another process was faster
                    raise
    except OSError as cause:
        raise ToolMissing(f"rp2040js: cannot be installed: {cause}. {remedy}") from cause
    return folder


def _run_npm(command: list[str], folder: Path, remedy: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise ToolMissing(
            f"rp2040js: npm did not install it within {_INSTALL_TIMEOUT_S:.0f} s. {remedy}"
        ) from cause
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if line.startswith("npm error")]
        reason = " | ".join(line.removeprefix("npm error").strip() for line in errors[:2])
        raise ToolMissing(
            f"rp2040js: npm could not install it (exit code {done.returncode}: "
            f"{reason or 'no reason given'}). {remedy}"
        )


class Rp2040jsBoard(GdbBoard):
    """A board in rp2040js."""

    def __init__(
        self,
        board: Board,
        *,
        program: str = NODE,
        packages: Path | None = None,
        which: Which = shutil.which,
        say: Say = _silent,
    ) -> None:
        """Prepare to emulate `board`.

        Args:
            board: a profile whose emulator is rp2040js.
            program: the command of Node.js.
            packages: the folder whose `node_modules` has rp2040js; None: in the user's cache,
                where npm installs it when it is absent.
            which: finds programs.
            say: told about an installation.
        """
        if not isinstance(board.emulator, Rp2040js):
            raise ValueError(f"{board.name} is not emulated by rp2040js")
        super().__init__(board, f"see {_FILES / 'rp2040_runner.mjs'}")
        self._emulator = board.emulator
        self._program = program
        self._packages = packages
        self._which = which
        self._say = say

    def _reset(self) -> None:
        check_boot2(self.stub.read(self._board.flash.origin, BOOT2_BYTES))
        self.stub.command("system_reset")

    def _command(self, console: int, debug: int) -> list[str]:
        node = self._which(self._program)
        if node is None:
            raise ToolMissing(
                f"{self._program}: not installed, and {self._board.name} is emulated with it. Run: "
                "sudo apt install nodejs npm; or name a real board with --port."
            )
        packages = install(self._packages, which=self._which, say=self._say)
        return [
            node,
            str(_FILES / "rp2040_runner.mjs"),
            str(packages.resolve() / "package.json"),
            str(debug),
            str(console),
            str(_UARTS[self._board.uart.base]),
            str(2**self._emulator.icount_shift),
        ]


def boot2_checksum(boot2: bytes) -> int:
    """Return the checksum that an RP2040's ROM wants at the end of boot stage 2.

    Source: RP2040 Datasheet, 2.8.1.3.1: CRC-32 of all but the last four bytes, polynomial
    0x04c11db7, from 0xffffffff, nothing reflected, nothing inverted.
    """
    crc = 0xFFFF_FFFF
    for byte in boot2[: BOOT2_BYTES - 4]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return crc


def check_boot2(boot2: bytes) -> None:
    """Do what the chip's ROM does before it starts an image.

    Raises:
        FlashError: the checksum is wrong; the ROM would wait on USB for another image.
    """
    computed, found = boot2_checksum(boot2), int.from_bytes(boot2[BOOT2_BYTES - 4 :], "little")
    if computed != found:
        raise FlashError(
            f"boot stage 2, the first {BOOT2_BYTES} bytes, has the checksum 0x{found:08x} instead "
            f"of 0x{computed:08x}: the chip would not start it. Build the image again: "
            "shelfcast build."
        )
