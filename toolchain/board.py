"""A board as data: `boards/<family>/<name>.toml`; what its core needs: `boards/cores.toml`."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolchain.errors import BoardError, nearest
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
)

Address = Annotated[int, Field(ge=0, lt=1 << 32)]


class Core(Settings):
    """What compiling and linking for a core takes: a table of `boards/cores.toml`."""

    compiler: str
    """Prefix of the compiler's programs, such as `arm-none-eabi-`."""
    packages: tuple[str, ...]
    """Debian packages that bring the compiler and its C library."""
    flags: tuple[str, ...]
    startup: str
    """The core's own start-up and fault code, relative to `boards/`."""
    linker_script: str
    """Template of the linker script, relative to `firmware_templates/`."""


class Cores(Settings):
    """The whole of `boards/cores.toml`."""

    core: dict[str, Core]


class Region(Settings):
    """A range of addresses the linker may fill."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Literal["flash", "ram", "other"]
    """`flash` holds the image, `ram` data and stack; `other` is shown but never linked into."""
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


class Emulator(Settings):
    """How to run the board without the board."""

    kind: Literal["qemu"]
    machine: str
    icount_shift: int = Field(default=6, ge=0, le=10)
    """Virtual nanoseconds per instruction are 2**icount_shift: time counts instructions."""

    def instructions(self, ticks: float, clock_hz: int) -> float:
        """Return the instructions that an emulated clock of `clock_hz` counted as `ticks`.

        >>> Emulator(kind="qemu", machine="x", icount_shift=6).instructions(64, 1_000_000)
        1000.0
        """
        return ticks * 1e9 / (clock_hz * 2**self.icount_shift)


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
    flasher: str
    emulator: Emulator | None = None
    defines: dict[str, int] = {}
    """Constants for the family's port.c, such as `BOARD_HSE_HZ`: macros of board.h."""
    notes: tuple[str, ...] = ()

    family: str = ""
    """The folder the profile lies in; filled in when it is read."""

    @field_validator("memory")
    @classmethod
    def _regions_are_apart(cls, memory: tuple[Region, ...]) -> tuple[Region, ...]:
        for kind in ("flash", "ram"):
            if sum(region.kind == kind for region in memory) != 1:
                raise ValueError(f'exactly one region has kind = "{kind}".')
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
    def ram(self) -> Region:
        """The region that holds data and stack."""
        return next(region for region in self.memory if region.kind == "ram")


def boards_dir() -> Path:
    """Return the folder of the boards that ship with the tool."""
    return resource_dir("boards")


def read_cores(folder: Path) -> dict[str, Core]:
    """Read what each core needs from `folder/cores.toml`."""
    return read_toml(folder / "cores.toml", Cores, BoardError).core


def read_board(path: Path, cores: dict[str, Core]) -> Board:
    """Read one profile.

    Raises:
        BoardError: the profile is wrong; the message names file, key and reason.
    """
    board = read_toml(path, Board, BoardError)
    if board.name != path.stem:
        raise BoardError(f'{path}: name: "{board.name}" differs from the file\'s name.')
    if board.core not in cores:
        raise BoardError(f'{path}: core: unknown core "{board.core}"; {nearest(board.core, cores)}')
    if not (path.parent / "port.c").is_file():
        raise BoardError(f"{path.parent}: has no port.c, which every family needs.")
    return board.model_copy(update={"family": path.parent.name})


def read_boards(folder: Path) -> tuple[Board, ...]:
    """Read every profile below `folder`, sorted by name."""
    cores = read_cores(folder)
    boards = [read_board(path, cores) for path in sorted(folder.glob("*/*.toml"))]
    return tuple(sorted(boards, key=lambda board: board.name))


def find_board(name: str, folder: Path) -> Board:
    """Return the board called `name`.

    Raises:
        BoardError: there is none; the message names the nearest.
    """
    paths = {path.stem: path for path in folder.glob("*/*.toml")}
    if name not in paths:
        raise BoardError(f'unknown board "{name}"; {nearest(name, paths)}')
    return read_board(paths[name], read_cores(folder))
