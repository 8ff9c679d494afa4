"""st-flash of stlink-tools: ST's own probes. Manual: https://github.com/stlink-org/stlink."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import StFlash
from toolchain.install import Source


def steps(settings: StFlash, target: Target) -> tuple[Command, ...]:
    """Write the raw image to its address; it compares by itself."""
    address = target.origin if settings.address is None else settings.address
    restart = ("--reset",) if settings.reset == "probe" else ()
    return (Command(("st-flash", *restart, "write", str(target.binary), f"0x{address:08x}")),)


FLASHER = Flasher(
    kind="st-flash",
    program="st-flash",
    source=Source(
        apt=("stlink-tools",), brew=("stlink",), vendor="https://github.com/stlink-org/stlink"
    ),
    steps=steps,
    complaints=(
        Complaint(
            r"Could not open USB device .*\(access error\)|LIBUSB_ERROR_ACCESS|access error"
            r"|Permission denied",
            "st-flash may not use the ST-LINK. Its udev rules come with the package; plug the "
            "ST-LINK in again, or run: sudo usermod -aG plugdev $USER, and log out and in.",
        ),
        Complaint(
            r"Couldn't find any ST-Link devices|Failed to find an stlink v1|No ST-Link detected",
            "st-flash finds no ST-LINK. Check its USB cable, and that no debugger holds it. An "
            "ST-LINK/V1 must be kept from Linux's disk driver: "
            "sudo modprobe -r usb-storage && sudo modprobe usb-storage quirks=483:3744:i",
        ),
        Complaint(
            r"Verification of flash failed at offset: (\d+)",
            "st-flash wrote the image and reads back something else at offset {0}. Is the flash "
            "write-protected? Erase it and try again: st-flash erase",
        ),
        Complaint(
            r"unknown chip id! (\S+)",
            "st-flash finds the chip {0}, which it does not know. Check the board's power and the "
            "SWD wires, and that it is the board of the profile.",
        ),
        Complaint(
            r"Could not find chip id|Failed to connect to target|Can ?not connect to target"
            r"|Failed to enter SWD mode|Failed to halt the core",
            "st-flash reaches the ST-LINK but not the chip. Check that the board has power and "
            "the SWD wires, hold reset while it starts.",
        ),
        Complaint(
            r"Failed to unlock flash|Flash unlock failed",
            "st-flash cannot unlock the flash: it is read-protected. Erase the whole chip: "
            "st-flash erase",
        ),
    ),
)
