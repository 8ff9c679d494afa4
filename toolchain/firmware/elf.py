"""Read what a linked firmware occupies: the ELF file is the truth about flash and RAM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from toolchain.errors import FlashError, ToolError

STACK_SECTION = ".stack"
"""What the linker script keeps free for the stack; not counted as static RAM."""

Memory = Literal["flash", "ram"]


@dataclass(frozen=True)
class Symbol:
    """A function or a variable; initialized variables count as `ram`, with a copy in flash."""

    name: str
    address: int
    bytes: int
    memory: Memory


@dataclass(frozen=True)
class Section:
    """A part of the image as the linker laid it out."""

    name: str
    address: int
    bytes: int
    memory: Memory


@dataclass(frozen=True)
class Segment:
    """Bytes that a flasher writes, from `address` on."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """First address after the segment."""
        return self.address + len(self.data)


@dataclass(frozen=True)
class Image:
    """A linked firmware."""

    path: Path
    """The ELF file."""
    entry: int
    flash_bytes: int
    """From the first byte written to the last: code, constants, initial values, alignment."""
    ram_bytes: int
    """Variables, without the stack."""
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    """Largest first."""
    segments: tuple[Segment, ...]
    """Lowest address first."""

    def largest(self, count: int, memory: Memory = "flash") -> tuple[Symbol, ...]:
        """Return the symbols that occupy most of a memory, largest first."""
        return tuple(symbol for symbol in self.symbols if symbol.memory == memory)[:count]

    def bytes_of(self, *prefixes: str, memory: Memory = "flash") -> int:
        """Sum the symbols whose names start with one of `prefixes`, such as `model_`."""
        return sum(
            symbol.bytes
            for symbol in self.symbols
            if symbol.memory == memory and symbol.name.startswith(prefixes)
        )

    def symbol_at(self, address: int) -> Symbol | None:
        """Return the function or variable that `address` lies in, such as a fault's `pc`."""
        for symbol in self.symbols:
            if symbol.address <= address < symbol.address + symbol.bytes:
                return symbol
        return None


def read_image(path: Path) -> Image:
    """Read a linked ELF file.

    Raises:
        ToolError: it is absent, or not an ELF file with segments to load.
    """
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            segments = _segments(elf)
            sections = tuple(_sections(elf))
            symbols = _symbols(elf)
            entry: int = elf["e_entry"]
    except FileNotFoundError as cause:
        raise ToolError(f"{path}: no such file. `shelfcast build` makes it.") from cause
    except (ELFError, OSError) as cause:
        raise ToolError(f"{path}: not an ELF file: {cause}.") from cause
    if not segments:
        raise ToolError(f"{path}: has nothing to load. Build it again: shelfcast build.")
    return Image(
        path=path,
        entry=entry,
        flash_bytes=max(part.end for part in segments) - segments[0].address,
        ram_bytes=sum(
            section.bytes
            for section in sections
            if section.memory == "ram" and section.name != STACK_SECTION
        ),
        sections=sections,
        symbols=symbols,
        segments=segments,
    )


def read_segments(path: Path) -> tuple[Segment, ...]:
    """Read what a flasher writes, lowest address first, from an image that anybody linked.

    Raises:
        FlashError: absent, no ELF, or nothing to load.
    """
    try:
        with path.open("rb") as stream:
            segments = _segments(ELFFile(stream))
    except FileNotFoundError as cause:
        raise FlashError(f"{path}: no such file. Build it first: shelfcast build.") from cause
    except (OSError, ELFError) as cause:
        raise FlashError(f"{path}: not an ELF image: {cause}. Build it again.") from cause
    if not segments:
        raise FlashError(f"{path}: nothing in it is to be loaded. Build it again.")
    return segments


def read_object_symbols(path: Path) -> tuple[Symbol, ...]:
    """Read the functions and variables of an object file that is not linked yet, largest first."""
    with path.open("rb") as stream:
        return _symbols(ELFFile(stream))


def read_arm_attributes(path: Path) -> dict[str, int]:
    """Read what an object or image for Arm demands of its core: attributes and their values."""
    with path.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".ARM.attributes")
        if section is None:
            return {}
        return {
            attribute.tag: attribute.value
            for part in section.iter_subsections()
            for whole in part.iter_subsubsections()
            for attribute in whole.iter_attributes()
            if isinstance(attribute.value, int)
        }


def _segments(elf: Any) -> tuple[Segment, ...]:
    """List the file's part of every loaded segment, at its load address; lowest first."""
    found = [
        Segment(part["p_paddr"], part.data())
        for part in elf.iter_segments("PT_LOAD")
        if part["p_filesz"]
    ]
    return tuple(sorted(found, key=lambda segment: segment.address))


def _sections(elf: Any) -> list[Section]:
    """List the sections that occupy memory."""
    return [
        Section(part.name, part["sh_addr"], part["sh_size"], _memory(part))
        for part in elf.iter_sections()
        if part["sh_flags"] & SH_FLAGS.SHF_ALLOC and part["sh_size"] > 0
    ]


def _symbols(elf: Any) -> tuple[Symbol, ...]:
    table = elf.get_section_by_name(".symtab")
    found = []
    for symbol in table.iter_symbols() if table is not None else ():
        index = symbol["st_shndx"]
        if symbol["st_size"] == 0 or not isinstance(index, int):
            continue
        section = elf.get_section(index)
        if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC:
            continue
        # Bit 0 of a function's address says that it is Thumb code.
        thumb = symbol["st_info"]["type"] == "STT_FUNC" and elf["e_machine"] == "EM_ARM"
        address = symbol["st_value"] & ~1 if thumb else symbol["st_value"]
        found.append(Symbol(symbol.name, address, symbol["st_size"], _memory(section)))
    return tuple(sorted(found, key=lambda symbol: (-symbol.bytes, symbol.name, symbol.address)))


def _memory(section: Any) -> Memory:
    return "ram" if section["sh_flags"] & SH_FLAGS.SHF_WRITE else "flash"
