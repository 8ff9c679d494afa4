"""The image that the real esptool makes of our ELF file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import Board
from toolchain.device.flashers.catalog import plan

MakeBoard = Callable[..., Board]


@pytest.fixture
def esptool() -> str:
    """The program: of this environment, or of the system."""
    own = Path(sys.executable).with_name("esptool")
    path = str(own) if own.exists() else shutil.which("esptool")
    if path is None:
        pytest.skip("esptool is not installed (pip install 'esptool>=5')")
    return path


def test_its_own_check_finds_the_image_whole(
    make_board: MakeBoard, riscv_image: Path, esptool: str
) -> None:
    wrap, write = plan(make_board(kind="esptool", chip="esp32c3"), riscv_image, "/dev/ttyX")
    subprocess.run([esptool, *wrap.argv[1:]], check=True, capture_output=True)

    made = write.argv[-1]
    result = subprocess.run(
        [esptool, "--chip", "esp32c3", "image-info", made],
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    said = " ".join(result.stdout.split())
    assert "Entry point: 0x40380000" in said
    assert "(valid)" in said, "checksum"
    assert "0x40380000" in said.partition("Segments Information")[2]
    assert riscv_image.with_suffix(".bin").read_bytes() in Path(made).read_bytes()
