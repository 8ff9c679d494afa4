"""OpenOCD: any probe, any chip it has a configuration for. Manual: https://openocd.org/doc."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import OpenOcd
from toolchain.install import Source


def steps(settings: OpenOcd, target: Target) -> tuple[Command, ...]:
    """Write the ELF file, compare, restart."""
    argv = ["openocd"]
    if settings.interface:
        argv += ["-f", settings.interface]
    if settings.transport:
        argv += ["-c", f"transport select {settings.transport}"]
    argv += ["-f", settings.target]
    if settings.speed_khz:
        argv += ["-c", f"adapter speed {settings.speed_khz}"]
    restart = " reset" if settings.reset == "probe" else ""
    # Braces keep Tcl from reading the path.
    argv += ["-c", f"program {{{target.elf}}} verify{restart} exit"]
    return (Command(tuple(argv)),)


FLASHER = Flasher(
    kind="openocd",
    program="openocd",
    source=Source(apt=("openocd",), brew=("open-ocd",), vendor="https://openocd.org"),
    steps=steps,
    complaints=(
        Complaint(
            r"LIBUSB_ERROR_ACCESS|insufficient permissions|Permission denied",
            "openocd may not use the probe. Its udev rules come with the package; run: "
            "sudo usermod -aG plugdev $USER, log out and in, and plug the probe in again.",
        ),
        Complaint(
            r"Can't find (\S+\.cfg)",
            "openocd has no file {0}. Check interface and target of [flasher] in the profile; "
            "they lie in openocd's scripts folder.",
        ),
        Complaint(
            r"Verify Failed|\bverify failed|checksum mismatch",
            "openocd wrote the image and reads back something else. Is the flash write-protected, "
            "or the chip another one? Try again with speed_khz = 500 in the profile.",
        ),
        Complaint(
            r"UNEXPECTED idcode: (0x[0-9a-f]+)|Cannot identify target as (?:an? )?([^\n]+)",
            "openocd finds another chip than the profile says. Check that the right board is "
            "connected.",
        ),
        Complaint(
            r"open failed|unable to find a matching CMSIS-DAP device|No J-Link device found"
            r"|unable to open \w+ device|no device found|Cannot find .* Interface",
            "openocd finds no probe. Check the probe's USB cable, and interface of [flasher] in "
            "the profile.",
        ),
        Complaint(
            r"init mode failed|Error connecting DP|DAP .*no response|target not examined"
            r"|examination failed|unable to connect to the target",
            "openocd reaches the probe but not the chip. Check that the board has power and the "
            "wires SWDIO, SWCLK and ground; hold reset while it starts.",
        ),
        Complaint(
            r"no flash bank found for address (0x[0-9a-f]+)",
            "openocd knows no flash at {0}. Check target of [flasher] in the profile.",
        ),
    ),
)
