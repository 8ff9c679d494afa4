"""RISC-V boards in QEMU: what differs from ARM when one is flashed and reset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import Board, boards_dir, find_board
from toolchain.device.qemu import QemuBoard, qemu_program
from toolchain.errors import FlashError, ToolMissing


@pytest.fixture
def hifive() -> Board:
    """A profile of a RISC-V board."""
    board = find_board("hifive1", boards_dir())
    assert board.emulator is not None
    assert board.emulator.kind == "qemu"
    if shutil.which(qemu_program(board.emulator)) is None:
        pytest.skip(f"{qemu_program(board.emulator)} is not installed")
    return board


@pytest.fixture
def link_waiting(tmp_path: Path) -> Callable[[int], Path]:
    """Write the ELF file of a program at an address that jumps to itself."""

    # ELF header, one program header, `j .`: Tool Interface Standard, ELF 1.2, chapter 1.
    def make(address: int) -> Path:
        header = (0x464C457F, 0x00010101, 0, 0, 0x00F30002, 1, address, 52, 0, 0)
        counts = (0x00200034, 0x00280001, 0)
        segment = (1, 84, address, address, 4, 4, 5, 4)
        words = (*header, *counts, *segment, 0x0000006F)
        path = tmp_path / "waiting.elf"
        path.write_bytes(b"".join(word.to_bytes(4, "little") for word in words))
        return path

    return make


def test_the_reset_code_jumps_to_the_image_and_is_run_again_at_the_start(
    hifive: Board, link_waiting: Callable[[int], Path]
) -> None:
    with QemuBoard(hifive) as board:
        before = board.stub.registers(33)[32]
        board.flash(link_waiting(hifive.flash.origin))
        assert board.stub.registers(33)[32] == before
        assert before != hifive.flash.origin
        board.stub.step()
        assert board.stub.registers(33)[32] == before + 4


def test_an_image_the_reset_code_does_not_jump_to_is_refused(
    hifive: Board, link_waiting: Callable[[int], Path]
) -> None:
    revision_b = find_board("hifive1-revb", boards_dir())
    wrong = hifive.model_copy(update={"memory": revision_b.memory})
    # A jump to itself, so that the core stays where the reset code sends it.
    with QemuBoard(wrong) as board, pytest.raises(FlashError) as caught:
        board.flash(link_waiting(revision_b.flash.origin))
    said = str(caught.value)
    assert said.startswith("hifive1: starts at 0x")
    assert said.endswith(
        " instead of 0x20010000. The image is not where the core looks for it: check the flash "
        "region's origin in the profile."
    )


def test_a_missing_emulator_names_the_package_of_its_system(hifive: Board) -> None:
    with pytest.raises(ToolMissing) as caught, QemuBoard(hifive, program="qemu-system-none"):
        pass
    assert str(caught.value) == (
        "qemu-system-none: not installed, and hifive1 is emulated by it. Run: "
        "sudo apt install qemu-system-misc; or name a real board with --port."
    )


def test_the_counter_of_the_emulator_converts_to_instructions(hifive: Board) -> None:
    assert hifive.emulator is not None
    assert hifive.emulator.instructions(1000, hifive.clock_hz) == 1000.0
