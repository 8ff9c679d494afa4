"""J-Link Commander: SEGGER's probes. Manual: https://kb.segger.com/J-Link_Commander."""

from __future__ import annotations

import sys

from toolchain.device.flashers.tool import Command, Complaint, Flasher, Target
from toolchain.flashing import JLink
from toolchain.install import Source

# Elsewhere `JLink` could be the Java linker, on file systems that ignore case.
PROGRAM = "JLink.exe" if sys.platform == "win32" else "JLinkExe"


def steps(settings: JLink, target: Target) -> tuple[Command, ...]:
    """Write the raw image by a script, which is the only way Commander takes orders."""
    script = target.elf.with_suffix(".jlink")
    orders = ["r", "h", f'loadfile "{target.binary}" 0x{target.origin:08x}']
    orders += ["r", "g"] if settings.reset == "probe" else []
    argv = [PROGRAM, "-NoGui", "1", "-ExitOnError", "1", "-device", settings.device]
    argv += ["-if", settings.interface, "-speed", str(settings.speed_khz), "-autoconnect", "1"]
    return (
        Command((*argv, "-CommandFile", str(script)), (script, "\n".join([*orders, "exit", ""]))),
    )


FLASHER = Flasher(
    kind="jlink",
    program=PROGRAM,
    source=Source(brew=("segger-jlink",), vendor="https://www.segger.com/downloads/jlink"),
    steps=steps,
    version=(),
    # Versions before 6.8 leave with 0 whatever happened.
    proof=r"(?m)^O\.K\.\s*$",
    complaints=(
        Complaint(
            r"Cannot connect to (?:the )?J-Link|Connecting to J-Link via USB\.\.\.\s*FAILED"
            r"|No emulators? connected",
            "J-Link Commander finds no J-Link, or may not use it. Check its USB cable; on Linux, "
            "its udev rules come with SEGGER's package.",
        ),
        Complaint(
            r"Unknown device|is unknown to this (?:software )?version|Specified device",
            "J-Link Commander does not know the device. Check device of [flasher] in the profile "
            "against https://www.segger.com/supported-devices.",
        ),
        Complaint(
            r"VTref\s*=\s*0\.0|Target voltage too low",
            "J-Link Commander measures no voltage at the board. Check its power and VTref.",
        ),
        Complaint(
            r"Cannot connect to (?:the )?target|Failed to attach to CPU|Could not find core",
            "J-Link Commander reaches the J-Link but not the chip. Check the wires SWDIO, SWCLK "
            "and ground, that the board has power, and the device in the profile.",
        ),
        Complaint(
            r"Verif(?:y|ication) failed|Failed to verify|Verify error",
            "J-Link Commander wrote the image and reads back something else. Is the flash "
            "write-protected? Try again with speed_khz = 500 in the profile.",
        ),
        Complaint(
            r"Failed to erase|Failed to program|Error while programming flash|Unspecified error",
            "J-Link Commander could not write the flash. Is it write-protected, or the device in "
            "the profile another one?",
        ),
    ),
)
