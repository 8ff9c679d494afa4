from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import Board
from toolchain.device.emulator import check_fits
from toolchain.device.qemu import QemuBoard
from toolchain.errors import FlashError
from toolchain.firmware.elf import Segment, read_segments


def test_the_segments_of_an_image_are_its_bytes_in_flash(echo_elf: Path) -> None:
    vectors, text = read_segments(echo_elf)

    assert vectors.address == 0x0800_0000
    assert vectors.data[:4] == bytes.fromhex("00400020")
    assert text.address == 0x0800_0008
    assert text.data.endswith(b"\x5a" * 3000)


def test_an_absent_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlashError) as caught:
        read_segments(tmp_path / "none.elf")

    assert str(caught.value) == (
        f"{tmp_path}/none.elf: no such file. Build it first: shelfcast build."
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no ELF at all, but long enough" * 9])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.elf"
    path.write_bytes(content)

    with pytest.raises(FlashError, match=re.escape(f"{path}: not an ELF image: ")):
        read_segments(path)


def test_an_image_for_other_memory_is_refused_before_it_is_written(
    netduino: Board, link_echo: Callable[[int], Path]
) -> None:
    with pytest.raises(FlashError) as caught:
        check_fits(read_segments(link_echo(0x0010_0000)), netduino)

    assert str(caught.value) == (
        "netduinoplus2: the image puts 8 bytes at 0x00100000..0x00100008, outside its memory "
        "(flash 0x08000000..0x08100000, sram 0x20000000..0x20020000, "
        "ccm 0x10000000..0x10010000). Was it built for another board? "
        "Build it again: shelfcast build."
    )


def test_an_image_larger_than_the_flash_is_refused(netduino: Board) -> None:
    with pytest.raises(FlashError, match=r"1,048,577 bytes at 0x08000000\.\.0x08100001"):
        check_fits((Segment(0x0800_0000, bytes(1_048_577)),), netduino)


def test_what_was_written_is_read_back(netduino: Board, qemu: str) -> None:
    segment = Segment(0x2000_0123, bytes(range(256)) * 20)
    with QemuBoard(netduino) as board:
        stub = board.stub
        stub.write(segment)
        stub.verify(segment)

        assert stub.read(0x2000_0123, 5120) == segment.data


def test_a_byte_that_did_not_arrive_is_named(netduino: Board, qemu: str) -> None:
    with QemuBoard(netduino) as board:
        stub = board.stub
        stub.write(Segment(0x2000_0000, bytes(5000)))
        stub.write(Segment(0x2000_0F00, b"\x01\x02"))
        with pytest.raises(FlashError) as caught:
            stub.verify(Segment(0x2000_0000, bytes(5000)))

    assert str(caught.value) == (
        "0x20000f00: holds 01 instead of 00; 2 of 5,000 bytes differ. "
        "Flash it again; if it stays, the memory map of the board's profile is wrong."
    )
    assert caught.value.exit_code == 3


def test_an_address_without_memory_is_named(netduino: Board, qemu: str) -> None:
    unmapped = Segment(0x6000_0000, b"abc")
    with (
        QemuBoard(netduino) as board,
        pytest.raises(FlashError, match="0x60000000: cannot be read back"),
    ):
        board.stub.verify(unmapped)


def test_a_command_the_emulator_does_not_know_does_not_hang(netduino: Board, qemu: str) -> None:
    with QemuBoard(netduino) as board:
        board.stub.command("no_such_command")
        assert len(board.stub.registers()) == 16
