"""Bossac: Microchip's SAM chips, through SAM-BA. Manual: https://github.com/shumatech/BOSSA."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import Bossac
from toolchain.install import Source


def steps(settings: Bossac, target: Target) -> tuple[Command, ...]:
    """Erase, write, compare, restart."""
    actions = ("--info", "--erase", "--write", "--verify", "--reset")
    places = (f"--offset=0x{settings.offset:x}", f"--port={target.port or ''}")
    return (Command(("bossac", *actions, *places, str(target.binary))),)


FLASHER = Flasher(
    kind="bossac",
    program="bossac",
    source=Source(
        apt=("bossa-cli",), brew=("bossa",), vendor="https://github.com/shumatech/BOSSA/releases"
    ),
    steps=steps,
    needs_port=lambda _: True,
    version=("--help",),
    complaints=(
        Complaint(
            r"Permission denied",
            "bossac may not use the port. Run: sudo usermod -aG dialout $USER, then log out and "
            "in again.",
        ),
        Complaint(
            r"No device found on ([^\s.]+)",
            "bossac finds no boot loader at {0}. Press reset twice, quickly: the port may then "
            "have another name, which shelfcast ports shows.",
        ),
        Complaint(
            r"Device unsupported",
            "bossac does not know the chip at the port. Check that the right board is connected.",
        ),
        Complaint(
            r"Verify failed",
            "bossac wrote the image and reads back something else. Try again; if it stays, is the "
            "flash locked? bossac --unlock opens it.",
        ),
        Complaint(
            r"exceeds flash size",
            "the image is too large behind the boot loader. Check offset of [flasher] in the "
            "profile.",
        ),
        Complaint(
            r"Flash offset is invalid",
            "bossac refuses the offset: it is no multiple of the flash's page. Check offset of "
            "[flasher] in the profile.",
        ),
        Complaint(
            r"SAM-BA operation failed",
            "the boot loader stopped answering bossac. Press reset twice, quickly, and try again.",
        ),
    ),
)
