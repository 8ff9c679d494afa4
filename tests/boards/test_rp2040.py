"""Boot stage 2 of the RP2040: the chip's ROM is strict about it, and no emulator would be."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from tflite_writer import Recipe, write_forecaster

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.device import uf2
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image, read_segments
from toolchain.firmware.render import render
from toolchain.graph.tflite_file import load_graph

SOURCE = boards_dir() / "rp2040" / "boot2.c"
FLASH = 0x1000_0000


def crc32(data: bytes) -> int:
    """CRC-32/MPEG-2: as zlib's, but neither reflected nor inverted at the end."""
    remainder = 0xFFFF_FFFF
    for bit in (byte >> shift & 1 for byte in data for shift in range(7, -1, -1)):
        top = remainder >> 31
        remainder = remainder << 1 & 0xFFFF_FFFF
        if top != bit:
            remainder ^= 0x04C1_1DB7
    return remainder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    folder = tmp_path_factory.mktemp("pico")
    board = find_board("pico", boards_dir())
    core = read_cores(boards_dir())[board.core]
    (folder / "model.tflite").write_bytes(write_forecaster(Recipe(hidden=(2,), steps=2)))
    render(load_graph(folder / "model.tflite"), board, core, boards_dir(), folder / "sources")
    return build(folder / "sources", board, core)


@pytest.fixture(scope="module")
def flash(image: Image) -> bytes:
    """What a flasher writes, from the first byte of flash on."""
    data = bytearray()
    for segment in read_segments(image.path):
        assert segment.address == FLASH + len(data), "no holes"
        data += segment.data
    return bytes(data)


def test_the_checksum_is_known_to_be_right() -> None:
    assert crc32(b"123456789") == 0x0376_E6E7


def test_boot_stage_2_is_first_in_flash_with_its_checksum(flash: bytes, image: Image) -> None:
    assert struct.unpack_from("<I", flash, 252) == (crc32(flash[:252]),)
    sections = {section.name: section for section in image.sections}
    assert (sections[".boot"].address, sections[".boot"].bytes) == (FLASH, 256)


def test_the_vectors_are_where_boot_stage_2_looks(flash: bytes, image: Image) -> None:
    stack_pointer, entry = struct.unpack_from("<2I", flash, 256)
    assert stack_pointer == 0x2004_2000
    assert entry == image.entry | 1
    assert image.symbol_at(entry & ~1).name == "startup_reset"


def test_its_machine_code_is_what_its_comments_say(
    flash: bytes, tmp_path: Path, image: Image
) -> None:
    lines = re.findall(r"^ +0x[0-9a-f]{4},.*// (.*)$", SOURCE.read_text(), re.MULTILINE)
    source = [".syntax unified", ".cpu cortex-m0plus", ".thumb", ".align 2", *lines, ""]
    (tmp_path / "boot2.s").write_text("\n".join(source))
    for command in (
        ["arm-none-eabi-as", "boot2.s", "-o", "boot2.o"],
        ["arm-none-eabi-objcopy", "-O", "binary", "boot2.o", "boot2.bin"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    code = (tmp_path / "boot2.bin").read_bytes()
    assert len(code) > 60
    assert flash[:252] == code.ljust(252, b"\0")


def test_its_uf2_file_is_what_the_boot_loader_takes(image: Image, flash: bytes) -> None:
    board = find_board("pico", boards_dir())
    contents = uf2.decode(uf2.encode(read_segments(image.path), board.flasher.family))
    assert contents.family == 0xE48B_FF56
    (segment,) = contents.segments
    assert segment.address == FLASH
    assert segment.data.rstrip(b"\xff") == flash.rstrip(b"\xff")
