"""A board as data: `boards/<family>/<name>.toml`; what its core needs: `boards/cores.toml`."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolchain.errors import BoardError, nearest
from toolchain.flashing import AnyFlasher, UsbDevice
from toolchain.resources import resource_dir
from toolchain.settings import Settings, read_toml

# What board.h says without being told under [defines].
_RENDERED_MACROS = (
    "BOARD_NAME",
    "BOARD_CLOCK_HZ",
    "BOARD_STACK_BYTES",
    "BOARD_LINE_BYTES",
    "BOARD_UART_BASE",
    "BOARD_UART_BAUD",
    "BOARD_STORAGE_KIND",
    "BOARD_STORAGE_BASE",
    "BOARD_STORAGE_BYTES",
)

Address = Annotated[int, Field(ge=0, lt=1 << 32)]


class Core(Settings):
    """What compiling and linking for a core takes: a table of `boards/cores.toml`."""

    compiler: str
    """Prefix of the compiler's programs, such as `arm-none-eabi-`."""
    packages: tuple[str, ...]
    """Debian packages that bring the compiler and its C library."""
    cxx_packages: tuple[str, ...] = ()
    """Those that bring its C++ library, for the runtime tflm; none: Debian has none."""
    flags: tuple[str, ...]
    port_flags: tuple[str, ...] = ()
    """Further ones for the port and the start-up code, where interrupts are handled."""
    kernel: str = "portable"
    """Which LSTM kernel: a name of `toolchain.firmware.kernels.KERNELS`."""
    startup: str
    """The core's own start-up and fault code, relative to `boards/`."""
    standard: Literal["c99", "gnu99"] = "c99"
    """gnu99: C99 and the address space that a separate flash needs."""
    call_graph: bool = True
    """The compiler writes who calls whom, with `-fcallgraph-info`."""
    return_bytes: int = 0
    """What a call stores, where the compiler's frames leave it out."""
    longest_array_bytes: int | None = None
    """The most bytes that the compiler gives to one array; None: more than any board has."""
    near_bytes: int | None = None
    """How much of flash a pointer to a constant reaches; None: all."""
    interrupt_stack_bytes: int = Field(default=0, ge=0)
    """What the core itself stores when an interrupt begins."""
    cycles_per_instruction: tuple[float, float] | None = None
    """Fewest and most that the engine's instructions take on average: docs/fit.md has the
    sources. Equal where the emulator counts cycles."""
    libc_startup: bool = False
    """The C library's vectors and start-up code run before our own."""
    link_flags: tuple[str, ...] = ("--specs=nano.specs",)
    """For linking alone, such as what chooses the C library."""
    linker_script: str
    """Template of the linker script, relative to `firmware_templates/`."""

    @property
    def counts_cycles(self) -> bool:
        """Say whether its emulator counts cycles, and a kernel's cost is in them."""
        low, high = self.cycles_per_instruction or (0.0, 1.0)
        return low == high


class Cores(Settings):
    """The whole of `boards/cores.toml`."""

    core: dict[str, Core]


class Family(Settings):
    """What a family takes besides its own folder: a table of `boards/families.toml`."""

    shared: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[ch]$")], ...]
    """C files of `boards/shared`."""


class Families(Settings):
    """The whole of `boards/families.toml`."""

    family: dict[str, Family]


class Region(Settings):
    """A range of addresses the linker may fill."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["flash", "constants", "ram", "other"]
    """`flash` holds the image, `ram` data and stack; `other` is shown but never linked into.
    `constants` is the flash once more, at the addresses where the core reads data from it."""
    origin: Address
    bytes: int = Field(ge=1)

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.origin + self.bytes


class Uart(Settings):
    """The serial port the console speaks through."""

    peripheral: str
    base: Address
    baud: int = Field(default=115_200, ge=300)
    tx: str
    rx: str
    """Pins, as the board's schematic calls them."""


class Qemu(Settings):
    """A board that QEMU emulates: its time counts instructions."""

    kind: Literal["qemu"]
    system: Literal["arm", "riscv32"] = "arm"
    """Which QEMU: `qemu-system-arm`, `qemu-system-riscv32`."""
    machine: str
    icount_shift: int = Field(default=6, ge=0, le=10)
    """Virtual nanoseconds per instruction are 2**icount_shift: time counts instructions."""
    counter_hz: int | None = Field(default=None, ge=1)
    """What the emulated counter behind `port_ticks` runs at, where that is not `clock_hz`: QEMU's
    mcycle counts virtual nanoseconds."""

    def instructions(self, ticks: float, clock_hz: int) -> float:
        """Return the instructions that an emulated clock of `clock_hz` counted as `ticks`.

        >>> Qemu(kind="qemu", machine="x", icount_shift=6).instructions(64, 1_000_000)
        1000.0
        """
        return ticks * 1e9 / ((self.counter_hz or clock_hz) * 2**self.icount_shift)

    def cycles(self, _ticks: float) -> None:
        """Return nothing: an instruction here takes no number of cycles."""


class Simavr(Settings):
    """An AVR that simavr emulates: every instruction takes the cycles it takes on the chip."""

    kind: Literal["simavr"]
    mcu: str
    """As simavr calls it, such as `atmega328p`."""

    def instructions(self, _ticks: float, _clock_hz: int) -> None:
        """Return nothing: cycles are counted, not instructions."""

    def cycles(self, ticks: float) -> float:
        """Return the cycles that an emulated clock counted as `ticks`: as many."""
        return ticks


class Rp2040js(Settings):
    """rp2040js, for boards with an RP2040."""

    kind: Literal["rp2040js"]
    icount_shift: int = Field(default=6, ge=0, le=10)
    """Virtual nanoseconds per instruction are 2**icount_shift, as with QEMU."""

    def instructions(self, ticks: float, clock_hz: int) -> float:
        """Return the instructions that an emulated clock of `clock_hz` counted as `ticks`."""
        return ticks * 1e9 / (clock_hz * 2**self.icount_shift)

    def cycles(self, _ticks: float) -> None:
        """Return nothing: its cycles know no flash and no cache, so they are not told."""


class Storage(Settings):
    """Where the shelf's state outlives a power cut: two slots, each half of it, written in turn."""

    kind: Literal["flash", "eeprom"]
    """`flash` is cut off the end of the region that holds the image; `eeprom` is apart from it."""
    origin: Address
    bytes: int = Field(ge=64, le=65_536)
    erase_cycles: int = Field(ge=1)
    """What a cell endures at least."""
    source: str
    """Document and section."""


Emulator = Annotated[Qemu | Simavr | Rp2040js, Field(discriminator="kind")]
"""How to run the board without the board."""


class Power(Settings):
    """What the chip draws while it computes, as a document says it; the board draws more."""

    active_ma: float = Field(gt=0)
    """Milliamperes of the core running from flash at `clock_hz`."""
    volts: float = Field(gt=0)
    sleep_ua: float | None = Field(default=None, ge=0)
    """Microamperes while the chip waits for its clock to wake it; absent: nobody has said."""
    source: str
    """Document and table, and the conditions there."""


class Board(Settings):
    """A board profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    vendor: str
    mcu: str
    core: str
    tier: Literal[1, 2]
    """1: its firmware runs in the tests, under emulation. 2: built there, never run."""
    clock_hz: int = Field(ge=1)
    """Frequency of the core, and of the counter behind `port_ticks`."""
    memory: tuple[Region, ...]
    stack_bytes: int = Field(ge=256)
    """What must stay free for the stack; less is refused at link time."""
    line_bytes: int = Field(default=512, ge=96, le=4096)
    """The longest request line the console takes, newline included."""
    uart: Uart
    flasher: AnyFlasher | None = None
    """Absent: nobody flashes this board, it is only emulated."""
    usb: tuple[UsbDevice, ...] = ()
    """What it looks like on USB."""
    emulator: Emulator | None = None
    defines: dict[str, int] = {}
    """Constants for the family's port.c, such as `BOARD_HSE_HZ`: macros of board.h."""
    cycle_counter: str
    """What `port_ticks` reads on the chip, such as `DWT CYCCNT`."""
    power: Power | None = None
    """Absent: nobody has given figures, and nothing is computed from them."""
    storage: Storage | None = None
    """Absent: no driver, and a shelf's state is lost at power-off."""
    errata: tuple[str, ...] = ()
    """Faults of the chip that the port works around, or that its user meets."""
    notes: tuple[str, ...] = ()

    family: str = ""
    """The folder the profile lies in; filled in when it is read."""

    @field_validator("memory")
    @classmethod
    def _regions_are_apart(cls, memory: tuple[Region, ...]) -> tuple[Region, ...]:
        for kind in ("flash", "ram"):
            if sum(region.kind == kind for region in memory) != 1:
                raise ValueError(f'exactly one region has kind = "{kind}".')
        if sum(region.kind == "constants" for region in memory) > 1:
            raise ValueError('at most one region has kind = "constants".')
        names = [region.name for region in memory]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two regions have the name "{name}".')
        ordered = sorted(memory, key=lambda region: region.origin)
        for low, high in itertools.pairwise(ordered):
            if low.end > high.origin:
                raise ValueError(
                    f"{low.name} (0x{low.origin:08x}..0x{low.end:08x}) overlaps "
                    f"{high.name} (from 0x{high.origin:08x})."
                )
        for region in memory:
            if region.end > 1 << 32:
                raise ValueError(f"{region.name} ends at 0x{region.end:x}, past 32-bit addresses.")
        return memory

    @field_validator("defines")
    @classmethod
    def _defines_are_macros_of_their_own(cls, defines: dict[str, int]) -> dict[str, int]:
        for name, value in defines.items():
            if not re.fullmatch(r"BOARD_[A-Z0-9_]+", name):
                raise ValueError(f"{name} is not a macro of board.h: they look like BOARD_HSE_HZ.")
            if name in _RENDERED_MACROS:
                raise ValueError(f"{name} is rendered from a key of its own.")
            if not 0 <= value < 1 << 32:
                raise ValueError(f"{name} = {value} does not fit 32 bits without a sign.")
        return defines

    @model_validator(mode="after")
    def _storage_is_the_end_of_the_flash(self) -> Board:
        storage, flash = self.storage, self.flash
        if storage is not None and storage.kind == "flash":
            end = storage.origin + storage.bytes
            if not (flash.origin < storage.origin and end == flash.end):
                raise ValueError(
                    f"storage 0x{storage.origin:08x}..0x{end:08x} is not the end of {flash.name} "
                    f"(0x{flash.origin:08x}..0x{flash.end:08x})."
                )
        return self

    @model_validator(mode="after")
    def _stack_fits_and_tier_is_earned(self) -> Board:
        if self.stack_bytes >= self.ram.bytes:
            raise ValueError(
                f"stack_bytes = {self.stack_bytes:,} does not fit {self.ram.bytes:,} bytes of RAM."
            )
        if self.tier == 1 and self.emulator is None:
            raise ValueError("tier 1 needs an [emulator]: a tier is earned by running.")
        return self

    @property
    def flash(self) -> Region:
        """The region that holds the image."""
        return next(region for region in self.memory if region.kind == "flash")

    @property
    def constants(self) -> Region | None:
        """Where the core reads data from flash, when it's not where it fetches instructions."""
        return next((region for region in self.memory if region.kind == "constants"), None)

    @property
    def ram(self) -> Region:
        """The region that holds data and stack."""
        return next(region for region in self.memory if region.kind == "ram")


def without_storage(board: Board) -> Board:
    """Return the board whose flash ends where its storage begins: what a shelf's image may fill."""
    if board.storage is None or board.storage.kind != "flash":
        return board
    left = board.storage.origin - board.flash.origin
    memory = tuple(
        region.model_copy(update={"bytes": min(region.bytes, left)})
        if region.kind == "flash"
        else region
        for region in board.memory
    )
    return board.model_copy(update={"memory": memory})


def boards_dir() -> Path:
    """Return the folder of the boards that ship with the tool."""
    return resource_dir("boards")


def in_boards(folder: Path, name: str) -> Path:
    """Return the file or folder `name` of `folder`, or the one that ships with the tool.

    A folder of one's own thus needs nothing but what is new in it.
    """
    own = folder / name
    return own if own.exists() else boards_dir() / name


def read_cores(folder: Path) -> dict[str, Core]:
    """Read what each core needs: the `cores.toml` that ships, and the one in `folder`."""
    cores: dict[str, Core] = {}
    for place in dict.fromkeys((boards_dir(), folder)):
        if place == boards_dir() or (place / "cores.toml").exists():
            cores |= read_toml(place / "cores.toml", Cores, BoardError).core
    return cores


def shared_files(folder: Path, family: str) -> tuple[Path, ...]:
    """Return the shared C files of a family: tables and files in `folder` win over those that ship.

    Raises:
        BoardError: a file is neither in `folder` nor among those that ship.
    """
    for place in dict.fromkeys((folder, boards_dir())):
        path = place / "families.toml"
        if place == boards_dir() or path.exists():
            families = read_toml(path, Families, BoardError).family
            if family in families:
                files = tuple(in_boards(folder, f"shared/{it}") for it in families[family].shared)
                _require(files, folder, f"{path}: family.{family}.shared")
                return files
    return ()


def _require(files: tuple[Path, ...], folder: Path, subject: str) -> None:
    for file in files:
        if not file.is_file():
            places = (folder, boards_dir())
            known = {other.name for place in places for other in place.glob("shared/*.[ch]")}
            raise BoardError(
                f"{subject}: there is no shared/{file.name}; {nearest(file.name, known)}"
            )


def read_board(path: Path, cores: dict[str, Core]) -> Board:
    """Read one profile, `<folder>/<family>/<name>.toml`.

    Raises:
        BoardError: the profile is wrong; the message names file, key and reason.
    """
    board = read_toml(path, Board, BoardError)
    if board.name != path.stem:
        raise BoardError(f'{path}: name: "{board.name}" differs from the file\'s name.')
    if board.core not in cores:
        raise BoardError(f'{path}: core: unknown core "{board.core}"; {nearest(board.core, cores)}')
    family = path.parent.name
    if not in_boards(path.parents[1], f"{family}/port.c").is_file():
        raise BoardError(f"{path.parent}: has no port.c, which every family needs.")
    shared_files(path.parents[1], family)
    return board.model_copy(update={"family": family})


def read_boards(folder: Path) -> tuple[Board, ...]:
    """Read every profile of `folder` and those that ship with the tool, sorted by name."""
    cores = read_cores(folder)
    return tuple(read_board(path, cores) for _, path in sorted(_profiles(folder).items()))


def find_board(name: str, folder: Path) -> Board:
    """Return the board called `name`, from `folder` or from those that ship with the tool.

    Raises:
        BoardError: there is none; the message names the nearest.
    """
    paths = _profiles(folder)
    if name not in paths:
        raise BoardError(f'unknown board "{name}"; {nearest(name, paths)}')
    return read_board(paths[name], read_cores(folder))


def _profiles(folder: Path) -> dict[str, Path]:
    """List the profiles by name; one in `folder` wins over one that ships."""
    return {path.stem: path for place in (boards_dir(), folder) for path in place.glob("*/*.toml")}
