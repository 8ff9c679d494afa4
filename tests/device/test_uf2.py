from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.device.uf2 import Contents, decode, encode
from toolchain.errors import FlashError
from toolchain.firmware.elf import Segment

RP2040 = 0xE48BFF56


def test_a_block_has_every_field_where_the_format_says() -> None:
    data = encode([Segment(0x1000_0000, b"\x01\x02" * 128), Segment(0x1000_0200, b"\x03")], RP2040)

    assert len(data) == 2 * 512
    second = data[512:]
    assert second[:4] == b"UF2\n"
    assert struct.unpack_from("<8I", second) == (
        0x0A324655,
        0x9E5D5157,
        0x2000,  # a family is named
        0x1000_0200,
        256,
        1,  # of
        2,
        RP2040,
    )
    assert second[32:34] == b"\x03\xff"
    assert second[32 + 256 : 508] == bytes(220)
    assert second[508:] == b"\x30\x6f\xb1\x0a"


def test_blocks_are_whole_pages_in_order() -> None:
    data = encode([Segment(0x310, b"b"), Segment(0x10F, b"aa")], 1)

    addresses = [struct.unpack_from("<I", data, at + 12)[0] for at in range(0, len(data), 512)]
    assert addresses == [0x100, 0x300]


@given(
    start=st.integers(0, 0x1000),
    parts=st.lists(st.binary(min_size=1, max_size=700), min_size=1, max_size=4),
    gaps=st.lists(st.integers(0, 1000), min_size=4, max_size=4),
    family=st.integers(0, 2**32 - 1),
)
def test_what_goes_in_comes_out(
    start: int, parts: list[bytes], gaps: list[int], family: int
) -> None:
    segments, address = [], start
    for part, gap in zip(parts, gaps, strict=False):
        segments.append(Segment(address, part))
        address += len(part) + gap

    read = decode(encode(segments, family))

    memory = {
        segment.address + index: byte
        for segment in read.segments
        for index, byte in enumerate(segment.data)
    }
    assert read.family == family
    for segment in segments:
        found = bytes(memory.pop(segment.address + index) for index in range(len(segment.data)))
        assert found == segment.data
    assert set(memory.values()) <= {0xFF}, "all else stays erased"


def test_blocks_that_are_not_for_flash_are_skipped() -> None:
    data = bytearray(encode([Segment(0, b"x" * 512)], 1))
    struct.pack_into("<I", data, 8, 0x2001)

    assert decode(bytes(data)) == Contents(1, (Segment(256, b"x" * 256),))


def test_a_file_without_family_is_read() -> None:
    data = bytearray(encode([Segment(0, b"x" * 256)], 1))
    struct.pack_into("<I", data, 8, 0)

    assert decode(bytes(data)).family is None


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (512, 7, "UF2 block 1 of 2: has not the magic numbers of a UF2 block."),
        (1020, 7, "UF2 block 1 of 2: has not the magic numbers of a UF2 block."),
        (512 + 20, 0, "UF2 block 1 of 2: says that it is block 0 of 2."),
        (512 + 24, 3, "UF2 block 1 of 2: says that it is block 1 of 3."),
        (512 + 16, 477, "UF2 block 1 of 2: 477 bytes of data do not fit a block of 512."),
        (512 + 28, 2, "UF2 block 1 of 2: is for another family of chips than the first."),
    ],
)
def test_a_damaged_file_is_refused(at: int, value: int, message: str) -> None:
    data = bytearray(encode([Segment(0, b"x" * 512)], 1))
    struct.pack_into("<I", data, at, value)

    with pytest.raises(FlashError) as caught:
        decode(bytes(data))

    assert str(caught.value) == message


@pytest.mark.parametrize("size", [0, 511, 513])
def test_half_a_block_is_no_file(size: int) -> None:
    with pytest.raises(FlashError) as caught:
        decode(bytes(size))

    assert str(caught.value) == f"not a UF2 file: {size} bytes are not whole blocks of 512."
