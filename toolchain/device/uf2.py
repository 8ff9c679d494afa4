"""UF2: an image cut into blocks that each say where they go.

Source of every number: https://github.com/microsoft/uf2, README.md, "File format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from toolchain.errors import FlashError
from toolchain.firmware.elf import Segment

BLOCK_BYTES = 512
PAYLOAD_BYTES = 256
"""Right for every boot loader: the page of those that cannot buffer one."""

_MAGIC = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_NOT_MAIN_FLASH = 0x0000_0001
_FAMILY_PRESENT = 0x0000_2000
_HEADER = struct.Struct("<8I")
_ERASED = b"\xff"


@dataclass(frozen=True)
class Contents:
    """What a UF2 file holds."""

    family: int | None
    segments: tuple[Segment, ...]
    """By address; adjacent blocks are one."""


def encode(segments: Iterable[Segment], family: int) -> bytes:
    """Return a UF2 file that writes `segments`, which must not overlap, for chips of `family`.

    Every block is a whole, aligned page of 256 bytes; what no segment fills stays erased.
    """
    pages: dict[int, bytearray] = {}
    for segment in segments:
        for index, byte in enumerate(segment.data):
            address = segment.address + index
            page = address - address % PAYLOAD_BYTES
            pages.setdefault(page, bytearray(_ERASED * PAYLOAD_BYTES))[address - page] = byte
    blocks = []
    for number, (address, payload) in enumerate(sorted(pages.items())):
        header = _HEADER.pack(
            *_MAGIC, _FAMILY_PRESENT, address, PAYLOAD_BYTES, number, len(pages), family
        )
        padding = bytes(BLOCK_BYTES - _HEADER.size - PAYLOAD_BYTES - 4)
        blocks.append(header + payload + padding + struct.pack("<I", _MAGIC_END))
    return b"".join(blocks)


def decode(data: bytes) -> Contents:
    """Read a UF2 file as a boot loader does, but refuse what one would silently skip.

    Raises:
        FlashError: a block is damaged, missing, double, or of another family than the first.
    """
    if not data or len(data) % BLOCK_BYTES:
        raise FlashError(f"not a UF2 file: {len(data):,} bytes are not whole blocks of 512.")
    count = len(data) // BLOCK_BYTES
    family: int | None = None
    segments: list[Segment] = []
    for number in range(count):
        block = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        first, second, flags, address, size, own, total, block_family = _HEADER.unpack_from(block)
        (end,) = struct.unpack_from("<I", block, BLOCK_BYTES - 4)
        where = f"UF2 block {number} of {count}"
        if (first, second, end) != (*_MAGIC, _MAGIC_END):
            raise FlashError(f"{where}: has not the magic numbers of a UF2 block.")
        if (own, total) != (number, count):
            raise FlashError(f"{where}: says that it is block {own} of {total}.")
        if size > BLOCK_BYTES - _HEADER.size - 4:
            raise FlashError(f"{where}: {size} bytes of data do not fit a block of 512.")
        if flags & _NOT_MAIN_FLASH:
            continue
        here = block_family if flags & _FAMILY_PRESENT else None
        if segments and here != family:
            raise FlashError(f"{where}: is for another family of chips than the first.")
        family = here
        payload = block[_HEADER.size : _HEADER.size + size]
        if segments and segments[-1].end == address:
            segments[-1] = Segment(segments[-1].address, segments[-1].data + payload)
        else:
            segments.append(Segment(address, payload))
    return Contents(family, tuple(segments))
