"""Avrdude: AVR chips, through a boot loader or a programmer. Manual: https://avrdudes.github.io."""

from __future__ import annotations

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import AvrDude
from toolchain.install import Source


def steps(settings: AvrDude, target: Target) -> tuple[Command, ...]:
    """Write the raw image from address 0 on; avrdude reads it back by itself."""
    argv = ["avrdude", "-p", settings.part, "-c", settings.programmer]
    if settings.bootloader:
        # What avrdude calls net: is a socket:// everywhere else.
        argv += ["-P", (target.port or "").replace("socket://", "net:")]
    if settings.baud:
        argv += ["-b", str(settings.baud)]
    if settings.bootloader:
        argv.append("-D")
    return (Command((*argv, "-U", f"flash:w:{target.binary}:r")),)


FLASHER = Flasher(
    kind="avrdude",
    program="avrdude",
    source=Source(
        apt=("avrdude",), brew=("avrdude",), vendor="https://github.com/avrdudes/avrdude"
    ),
    steps=steps,
    needs_port=lambda settings: settings.bootloader,
    version=("-?",),
    complaints=(
        Complaint(
            r"Permission denied|set up correct usb port permissions|LIBUSB_ERROR_ACCESS",
            "avrdude may not use the port. Run: sudo usermod -aG dialout $USER, then log out and "
            "in again.",
        ),
        Complaint(
            r"cannot find USB device|could not find USB device",
            "avrdude finds no programmer. Check its USB cable, and programmer of [flasher] in the "
            "profile.",
        ),
        Complaint(
            r"cannot open port ([^:\s]+): ([^\n]+)|can't open device \"([^\"]+)\": ([^\n]+)",
            "avrdude cannot open the port {0}{2}: {1}{3}. Check cable and --port; shelfcast ports "
            "lists what is plugged in.",
        ),
        Complaint(
            r"cannot connect: ([^\n]+)",
            "avrdude cannot connect to the port: {0}. Check the address, and that the serial "
            "server is running.",
        ),
        Complaint(
            r"AVR part (\S+) not found",
            "avrdude does not know the part {0}. Check part of [flasher] in the profile; "
            "avrdude -p ? lists them.",
        ),
        Complaint(
            r"cannot find programmer id (\S+)",
            "avrdude does not know the programmer {0}. Check programmer of [flasher] in the "
            "profile; avrdude -c ? lists them.",
        ),
        # Before the cases below: a wrong chip makes avrdude say them too.
        Complaint(
            r"signature (?:of \S+ )?= (0x[0-9a-f]{6}|[0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2})"
            r"(?s:.*)(?:expected signature for|differs in signature|does not match|"
            r"[Ii]nvalid device signature|double check)",
            "avrdude finds another chip than the profile says: its signature is {0}. Check that "
            "the right board is at the port.",
        ),
        Complaint(
            r"not in sync|programmer is not responding|getsync|timeout|cannot read boot loader",
            "avrdude gets no answer from the boot loader. Check the port and baud of [flasher] in "
            "the profile; press reset and try again.",
        ),
        Complaint(
            r"verification (?:error|mismatch)|content mismatch|verify error",
            "avrdude wrote the image and reads back something else. Try again; if it stays, the "
            "flash is worn or locked.",
        ),
        Complaint(
            r"address 0x[0-9a-f]+ out of range|will not fit|larger than",
            "the image is too large for the part. Check part of [flasher] in the profile.",
        ),
    ),
)
