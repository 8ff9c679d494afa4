"""esptool: Espressif's chips. Manual: https://docs.espressif.com/projects/esptool."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import EspTool
from toolchain.install import Source


def steps(settings: EspTool, target: Target) -> tuple[Command, ...]:
    """Wrap the ELF file into the format that the chip's ROM loads, unless raw, then write it.

    The options are those of esptool 5.
    """
    raw = settings.image == "raw"
    image = target.binary if raw else target.elf.with_suffix(".esp.bin")
    chip = ("esptool", "--chip", settings.chip)
    wrap = Command((*chip, "elf2image", "--output", str(image), str(target.elf)))
    link = ("--port", target.port or "", "--baud", str(settings.baud))
    resets = ("--before", "default-reset", "--after", "hard-reset")
    write = Command((*chip, *link, *resets, "write-flash", f"0x{settings.offset:x}", str(image)))
    return (write,) if raw else (wrap, write)


FLASHER = Flasher(
    kind="esptool",
    program="esptool",
    source=Source(pip="'esptool>=5'", vendor="https://github.com/espressif/esptool"),
    steps=steps,
    needs_port=lambda _: True,
    version=("version",),
    complaints=(
        Complaint(
            r"invalid choice: '(?:elf2image|write-flash)'|invalid choice: 'default-reset'",
            "this esptool is older than version 5. Run: pip install --upgrade 'esptool>=5'",
        ),
        Complaint(
            r"Permission denied",
            "esptool may not use the port. Run: sudo usermod -aG dialout $USER, then log out and "
            "in again.",
        ),
        Complaint(
            r"Could not open (.+?), the port is busy or doesn't exist",
            "esptool cannot open {0}: it is busy or absent. Close the program that holds it; "
            "shelfcast ports lists what is plugged in.",
        ),
        Complaint(
            r"This chip is (\S+), not ([^\n.]+?)\. Wrong",
            "the board at the port has an {0}, the profile says {1}. Is it the right port? "
            "shelfcast ports lists what is plugged in.",
        ),
        Complaint(
            r"Wrong boot mode detected",
            "the chip started its old program instead of its boot loader. Hold BOOT, press reset, "
            "let go of BOOT, and try again.",
        ),
        Complaint(
            r"Failed to connect to|No serial data received|Timed out waiting for packet",
            "esptool gets no answer from the chip. Hold BOOT, press reset, let go of BOOT, and "
            "try again; check the cable and the port.",
        ),
        Complaint(
            r"MD5 of file does not match|Digest mismatch",
            "esptool wrote the image and reads back something else. Try again with a lower baud in "
            "the profile; check the board's power.",
        ),
        Complaint(
            r"does not appear to be an Xtensa or an RISCV ELF|Image type .* doesn't match",
            "the image is not for an Espressif chip. Build it again: shelfcast build.",
        ),
    ),
)
