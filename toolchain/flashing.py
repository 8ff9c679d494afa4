"""How a board is flashed and recognized, as its profile says it: `[flasher]` and `usb`.

Data only; `toolchain.device.flashers` knows the tools.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from toolchain.settings import Settings

Address = Annotated[int, Field(ge=0, lt=1 << 32)]
Word = Annotated[str, StringConstraints(pattern=r"^[^\s-]\S*$")]
"""An argument of a command: no space, and never taken for an option."""

UsbId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
"""`vid:pid`, lower-case hex, as lsusb prints it."""

Reset = Literal["none", "dtr", "rts-dtr", "touch-1200", "probe"]
"""How a board is restarted around flashing.

`none`: the flasher does it, or a person. `dtr`: a pulse on DTR, wired to reset, afterwards.
`rts-dtr`: the two transistors of Espressif's boards, afterwards. `touch-1200`: opening the port at
1200 baud starts the boot loader, beforehand. `probe`: the debug probe does it.
"""


class UsbDevice(Settings):
    """What the board looks like on USB: a row of `usb`."""

    id: UsbId
    what: str
    """`USB-serial adapter on the board`, `boot loader`, `debug probe`."""
    console: bool = True
    """Whether our firmware is talked to through it; else it is only good for flashing."""


class FlasherSettings(Settings):
    """What every `[flasher]` table may say."""

    reset: Reset = "none"

    @model_validator(mode="after")
    def _only_a_probe_resets_by_probe(self) -> FlasherSettings:
        if self.reset == "probe" and not isinstance(self, ProbeSettings):
            raise ValueError('reset = "probe" needs a debug probe; this flasher has none.')
        return self


class ProbeSettings(FlasherSettings):
    """A flasher that reaches the chip through a debug probe."""

    reset: Reset = "probe"


class OpenOcd(ProbeSettings):
    """OpenOCD, any probe."""

    kind: Literal["openocd"]
    interface: Word | None = None
    """The probe's configuration, such as `interface/cmsis-dap.cfg`. Absent: `target` names one."""
    target: Word
    """The chip's, such as `target/nrf51.cfg`; or the board's: `board/sifive-hifive1.cfg`."""
    transport: Literal["swd", "jtag"] | None = None
    """Absent: the probe's first choice, which for a J-Link is JTAG."""
    speed_khz: int | None = Field(default=None, ge=1)


class PyOcd(ProbeSettings):
    """pyOCD, any CMSIS-DAP, ST-LINK or J-Link probe."""

    kind: Literal["pyocd"]
    target: Word
    """A name of `pyocd list --targets`."""
    speed_khz: int | None = Field(default=None, ge=1)


class StFlash(ProbeSettings):
    """st-flash of stlink-tools, for ST-LINK probes."""

    kind: Literal["st-flash"]
    address: Address | None = None
    """Absent: where the profile's flash begins."""


class JLink(ProbeSettings):
    """J-Link Commander, for SEGGER's probes."""

    kind: Literal["jlink"]
    device: Word
    """The chip, as SEGGER calls it, such as `nRF51822_xxAA`."""
    interface: Literal["SWD", "JTAG"] = "SWD"
    speed_khz: int = Field(default=4000, ge=5)


class EspTool(FlasherSettings):
    """esptool, over the serial port; it works the reset lines itself."""

    kind: Literal["esptool"]
    chip: Word
    """As esptool calls it, such as `esp32c3`."""
    image: Literal["esp", "raw"] = "esp"
    """`esp`: wrapped into the format that the chip's ROM loads into RAM. `raw`: as it is, for chips
    whose ROM starts it in flash ("direct boot")."""
    offset: Address = 0
    """From the start of flash; where the chip's ROM looks for an image."""
    baud: int = Field(default=460_800, ge=9600)


class AvrDude(FlasherSettings):
    """Avrdude, over the serial port to a boot loader, or with a programmer."""

    kind: Literal["avrdude"]
    part: Word
    """As avrdude calls it, such as `m328p`."""
    programmer: Word = "arduino"
    baud: int | None = Field(default=None, ge=300)
    """Absent: the programmer's own."""
    bootloader: bool = True
    """Whether a boot loader does the work: it needs the port, and cannot erase the whole chip."""


class Bossac(FlasherSettings):
    """Bossac, for the SAM-BA boot loader of Microchip's SAM."""

    kind: Literal["bossac"]
    reset: Reset = "touch-1200"
    offset: Address = 0
    """From the start of flash: the boot loader's size."""


class DfuUtil(FlasherSettings):
    """dfu-util, for boot loaders of ST's DfuSe kind."""

    kind: Literal["dfu-util"]
    id: UsbId
    """The boot loader's."""
    alt: int = Field(default=0, ge=0, le=255)
    """The interface's alternate setting: which memory."""
    address: Address | None = None
    """Absent: where the profile's flash begins."""


class Uf2(FlasherSettings):
    """No tool: a UF2 file, copied onto the drive that the boot loader shows."""

    kind: Literal["uf2"]
    family: Address
    """The chip's number in https://github.com/microsoft/uf2/blob/master/utils/uf2families.json."""
    label: Word
    """The drive's, such as `RPI-RP2`."""


class PicoTool(FlasherSettings):
    """Picotool, for Raspberry Pi's RP2040 and RP2350 in BOOTSEL mode."""

    kind: Literal["picotool"]


AnyFlasher = Annotated[
    OpenOcd | PyOcd | StFlash | JLink | EspTool | AvrDude | Bossac | DfuUtil | Uf2 | PicoTool,
    Field(discriminator="kind"),
]
