from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import Board
from toolchain.device.flashers.catalog import write_image
from toolchain.device.flashers.drive import copy_image, find_drive, mount_points
from toolchain.device.uf2 import decode
from toolchain.errors import FlashError
from toolchain.firmware.elf import read_segments

MakeBoard = Callable[..., Board]

INFO = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A mounted drive of a Pico in BOOTSEL mode."""
    root = tmp_path / "media" / "RPI-RP2"
    root.mkdir(parents=True)
    (root / "INFO_UF2.TXT").write_text(INFO)
    return root


def restart_when_written(drive: Path, name: str) -> threading.Thread:
    """Do what the boot loader does: take the file, and let the drive go."""

    def watch() -> None:
        deadline = time.monotonic() + 5
        while not (drive / name).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        shutil.copy(drive / name, drive.parent.parent / "taken")
        shutil.rmtree(drive)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_the_board_gets_the_whole_image_for_its_family(
    make_board: MakeBoard, image: Path, drive: Path, tmp_path: Path
) -> None:
    board = make_board(kind="uf2", family=0xE48BFF56, label="RPI-RP2")
    told: list[tuple[float, str]] = []
    thread = restart_when_written(drive, "firmware.uf2")
    write_image(
        board,
        image,
        roots=lambda: [tmp_path, drive],
        progress=lambda fraction, words: told.append((fraction, words)),
    )
    thread.join()

    taken = decode((tmp_path / "taken").read_bytes())
    (segment,) = read_segments(image)
    assert taken.family == 0xE48BFF56
    assert taken.segments[0].address == segment.address
    assert taken.segments[0].data[: len(segment.data)] == segment.data
    assert told[-1] == (1.0, "the board took the image and restarted")


def test_a_drive_is_known_by_its_board_id_too(drive: Path, tmp_path: Path) -> None:
    renamed = drive.rename(tmp_path / "E")

    assert find_drive("RPI-RP2", lambda: [renamed]) == renamed


def test_no_drive_says_how_to_get_one(make_board: MakeBoard, image: Path, tmp_path: Path) -> None:
    other = tmp_path / "ITSYBOOT"
    other.mkdir()
    (other / "INFO_UF2.TXT").write_text("UF2 Bootloader v1\nBoard-ID: SAMD21-Itsy\n")
    board = make_board(kind="uf2", family=1, label="RPI-RP2")

    with pytest.raises(FlashError) as caught:
        write_image(board, image, roots=lambda: [tmp_path, other])

    assert str(caught.value) == (
        f"shelf: no drive RPI-RP2 is there, but {other} (SAMD21-Itsy). Hold the boot button while "
        "plugging the board in or press reset twice, quickly; if the system does not mount drives "
        "by itself, mount it."
    )
    assert caught.value.exit_code == 3


def test_a_drive_that_takes_its_time_is_waited_for(drive: Path) -> None:
    looks = iter([[], [], [drive]])

    assert find_drive("RPI-RP2", lambda: next(looks), patience_s=5) == drive


def test_two_drives_are_not_guessed_between(drive: Path, tmp_path: Path) -> None:
    second = tmp_path / "media" / "RPI-RP21"
    shutil.copytree(drive, second)

    with pytest.raises(FlashError) as caught:
        find_drive("RPI-RP2", lambda: [drive, second])

    assert str(caught.value) == (
        f"more than one drive RPI-RP2 is there: {drive}, {second}. Unplug all but one."
    )


def test_a_drive_that_stays_has_ignored_the_image(drive: Path) -> None:
    with pytest.raises(FlashError) as caught:
        copy_image(b"x" * 512, "firmware.uf2", drive, taken_s=0.2)

    assert str(caught.value) == (
        f"{drive} took the image, but the board did not restart within 0.2 s: its boot loader "
        "ignored the image. Check family of [flasher] in the profile."
    )


def test_a_drive_that_cannot_be_written_is_named(drive: Path) -> None:
    (drive / "firmware.uf2").mkdir()

    with pytest.raises(FlashError) as caught:
        copy_image(b"x", "firmware.uf2", drive)

    assert str(caught.value) == (
        f"cannot write {drive / 'firmware.uf2'}: is a directory. Plug the board in again, holding "
        "its boot button."
    )


def test_mount_points_may_have_spaces(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /media/me/MY\\040PICO vfat rw 0 0\n")

    assert mount_points(mounts) == [Path("/"), Path("/media/me/MY PICO")]
