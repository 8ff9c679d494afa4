"""UF2: the boot loader shows a drive, and runs what is copied onto it. No tool is needed."""

from __future__ import annotations

from toolchain.device.flashers.tool import Copy, Flasher, Target
from toolchain.flashing import Uf2
from toolchain.install import Source


def steps(settings: Uf2, target: Target) -> tuple[Copy, ...]:
    """Make a UF2 file of the image and copy it onto the drive."""
    return (Copy(target.elf.with_suffix(".uf2"), settings.family, settings.label),)


FLASHER = Flasher(kind="uf2", program="", source=Source(), steps=steps, version=())
