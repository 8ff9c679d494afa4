"""A board for every flasher, an image to write, and stand-ins for tools that need hardware."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from toolchain.board import Board, boards_dir, find_board
from toolchain.flashing import AnyFlasher

MakeBoard = Callable[..., Board]


@pytest.fixture(scope="session")
def make_board() -> MakeBoard:
    """A board that is flashed as the given `[flasher]` table says."""
    board = find_board("netduinoplus2", boards_dir())
    adapter: TypeAdapter[Any] = TypeAdapter(AnyFlasher)

    def make(**table: object) -> Board:
        return board.model_copy(
            update={"name": "shelf", "flasher": adapter.validate_python(table), "emulator": None}
        )

    return make


IMAGE = bytes(range(256)) * 5 + b"the end"
"""More than a page, not a multiple of one."""


def elf32(machine: int, address: int, code: bytes) -> bytes:
    """A linked ELF file of one segment and the sections that tools want to see."""
    names = b"\0.text\0.shstrtab\0"
    header, program, section = 52, 32, 40
    text_at = header + program
    names_at = text_at + len(code)
    sections_at = -(-(names_at + len(names)) // 4) * 4
    return b"".join(
        [
            b"\x7fELF\x01\x01\x01".ljust(16, b"\0"),
            struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, address, header, sections_at, 0, header,
                        program, 1, section, 3, 2),
            struct.pack("<8I", 1, text_at, address, address, len(code), len(code), 5, 4),
            code,
            names.ljust(sections_at - names_at, b"\0"),
            bytes(section),
            struct.pack("<10I", 1, 1, 6, address, text_at, len(code), 0, 0, 4, 0),
            struct.pack("<10I", 7, 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
        ]
    )  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A built firmware: ELF and, beside it, the raw image."""
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "firmware.elf").write_bytes(elf32(40, 0x0800_0000, IMAGE))
    (folder / "firmware.bin").write_bytes(IMAGE)
    return folder / "firmware.elf"


@pytest.fixture
def riscv_image(tmp_path: Path) -> Path:
    """A firmware for an ESP32-C3, in the RAM from which its ROM runs it."""
    elf = tmp_path / "riscv.elf"
    elf.write_bytes(elf32(243, 0x4038_0000, IMAGE + b"!"))
    elf.with_suffix(".bin").write_bytes(IMAGE + b"!")
    return elf


StandIn = Callable[[str, str, int], Path]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a program first on PATH that says a text, keeps its arguments, and ends with a code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(program: str, says: str, code: int) -> Path:
        (folder / f"{program}.txt").write_text(says)
        path = folder / program
        path.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\n'
            f"cat {folder}/{program}.txt\nexit {code}\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return folder / "arguments"

    return make
