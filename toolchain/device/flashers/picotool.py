"""Picotool: RP2040 and RP2350 in BOOTSEL mode. Manual: https://github.com/raspberrypi/picotool."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import PicoTool
from toolchain.install import Source


def steps(_: PicoTool, target: Target) -> tuple[Command, ...]:
    """Write the ELF file, compare, start it."""
    return (Command(("picotool", "load", "--verify", "--execute", str(target.elf))),)


FLASHER = Flasher(
    kind="picotool",
    program="picotool",
    # Debian 12 has no package of it.
    source=Source(
        brew=("picotool",), vendor="https://github.com/raspberrypi/pico-sdk-tools/releases"
    ),
    steps=steps,
    version=("version",),
    complaints=(
        Complaint(
            r"in BOOTSEL mode, but picotool was unable to\s+connect|Unable to connect to device",
            "picotool may not use the board. Add its udev rules "
            "(https://github.com/raspberrypi/picotool/tree/master/udev) and plug it in again.",
        ),
        Complaint(
            r"No accessible [^\n]+ in BOOTSEL mode",
            "picotool finds no board in BOOTSEL mode. Hold BOOTSEL while plugging it in, and try "
            "again.",
        ),
        Complaint(
            r"device contents did not match the file",
            "picotool wrote the image and reads back something else. Try again; if it stays, the "
            "flash is worn.",
        ),
        Complaint(
            r"Unknown command: load",
            "this picotool was built without USB. Get another one: "
            "https://github.com/raspberrypi/pico-sdk-tools/releases",
        ),
        Complaint(
            r"too big to fit in flash size (0x[0-9a-f]+)",
            "the image is larger than the board's flash of {0} bytes. Is it the right board?",
        ),
        Complaint(
            r"does not contain a valid RP2|not a valid executable|invalid memory range",
            "picotool does not take the image for one of its chips. Build it again: "
            "shelfcast build.",
        ),
    ),
)
