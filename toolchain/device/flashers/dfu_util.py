"""dfu-util: USB boot loaders, ST's in ROM among them. Manual: https://dfu-util.sourceforge.net."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import DfuUtil
from toolchain.install import Source


def steps(settings: DfuUtil, target: Target) -> tuple[Command, ...]:
    """Write the raw image to its address, then leave the boot loader for it."""
    address = target.origin if settings.address is None else settings.address
    where = ("--device", settings.id, "--alt", str(settings.alt))
    place = ("--dfuse-address", f"0x{address:08x}:leave")
    return (Command(("dfu-util", *where, *place, "--download", str(target.binary))),)


FLASHER = Flasher(
    kind="dfu-util",
    program="dfu-util",
    source=Source(
        apt=("dfu-util",), brew=("dfu-util",), vendor="https://dfu-util.sourceforge.net/releases"
    ),
    steps=steps,
    # Some boot loaders leave before they acknowledge it, which older versions count as an error.
    proof=r"File downloaded successfully",
    complaints=(
        Complaint(
            r"LIBUSB_ERROR_ACCESS|Permission denied",
            "dfu-util may not use the boot loader. Its udev rules come with the package; run: "
            "sudo usermod -aG plugdev $USER, log out and in, and plug the board in again.",
        ),
        Complaint(
            r"No DFU capable USB device available",
            "dfu-util finds no board in its boot loader. Hold the boot button while plugging it "
            "in or pressing reset, and try again.",
        ),
        Complaint(
            r"More than one DFU capable USB device found",
            "dfu-util finds more than one board in its boot loader. Unplug all but one.",
        ),
        Complaint(
            r"Programmed memory failed verification|Memory erase check failed",
            "the boot loader wrote the image and reads back something else. Try again; if it "
            "stays, the flash is worn or write-protected.",
        ),
        Complaint(
            r"Page at (0x[0-9a-f]+) (?:is not writeable|can not be erased)"
            r"|Last page at (0x[0-9a-f]+) is not writeable",
            "the boot loader has no writable flash at {0}{1}. Check alt and address of [flasher] "
            "in the profile, and that it is the right board.",
        ),
        Complaint(
            r"File is not targeted for use by this device|does not match device",
            "the board in its boot loader is another one than the profile says.",
        ),
        Complaint(
            r"dfuERROR|Error during|Lost device|Error sending|USB communication error",
            "the boot loader stopped answering dfu-util. Bring it into its boot loader again, "
            "without a USB hub in between, and try again.",
        ),
    ),
)
