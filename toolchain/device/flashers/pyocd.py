"""pyOCD: CMSIS-DAP, ST-LINK and J-Link probes. Manual: https://pyocd.io/docs.

It compares nothing after writing; the session finds out by the model's CRC.
"""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import PyOcd
from toolchain.install import Source


def steps(settings: PyOcd, target: Target) -> tuple[Command, ...]:
    """Write the ELF file; it restarts the chip itself."""
    argv = ["pyocd", "load", "--no-wait", "--target", settings.target]
    if settings.speed_khz:
        argv += ["--frequency", f"{settings.speed_khz}k"]
    if settings.reset != "probe":
        argv.append("--no-reset")
    return (Command((*argv, str(target.elf))),)


FLASHER = Flasher(
    kind="pyocd",
    program="pyocd",
    source=Source(pip="pyocd", vendor="https://pyocd.io"),
    steps=steps,
    complaints=(
        Complaint(
            r"LIBUSB_ERROR_ACCESS|Access denied|insufficient permissions|Permission denied",
            "pyocd may not use the probe. Add its udev rules "
            "(https://github.com/pyocd/pyOCD/tree/main/udev) and plug the probe in again.",
        ),
        Complaint(
            r"No connected debug probes|No target device available",
            "pyocd finds no probe. Check the probe's USB cable.",
        ),
        Complaint(
            r"Target type (\S+) not recognized",
            "pyocd does not know the target {0}. Run: pyocd pack install {0}",
        ),
        Complaint(
            r"No ACK|no device connected|Unable to connect|not responding|Memory transfer fault",
            "pyocd reaches the probe but not the chip. Check that the board has power and the "
            "wires SWDIO, SWCLK and ground; hold reset while it starts.",
        ),
        Complaint(
            r"no memory region defined for address (0x[0-9a-f]+)"
            r"|attempt to program invalid flash address",
            "pyocd's target has no flash where the image lies. Check target of [flasher] in the "
            "profile.",
        ),
        Complaint(
            r"flash (?:program|erase)[^\n]*fail|FlashFailure|FlashProgramFailure|FlashEraseFailure",
            "pyocd could not write the flash. Is it write-protected? Try again with "
            "speed_khz = 500 in the profile.",
        ),
    ),
)
