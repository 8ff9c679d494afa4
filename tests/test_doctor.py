from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import Board, boards_dir, find_board
from toolchain.doctor import Diagnosis, Finding, examine
from toolchain.install import Source, how_to_install, manager

Which = Callable[[str], str | None]


@pytest.fixture
def board() -> Board:
    return find_board("netduinoplus2", boards_dir())


@pytest.fixture
def tools(tmp_path: Path) -> Callable[..., Which]:
    """Programs that say a version; those named are missing."""

    def make(*missing: str, c_library: bool = True) -> Which:
        # Written once, before any thread: a child that another thread starts meanwhile would hold
        # the file open, and what is open for writing cannot be run.
        scripts = {}
        for broken in (False, True):
            scripts[broken] = tmp_path / f"says-a-version-{int(broken)}"
            text = f'case "$*" in *-E*) exit {int(broken)};; esac'
            scripts[broken].write_text(f"#!/bin/sh\n{text}\necho ${{0##*/}} version 1.2.3-4\n")
            scripts[broken].chmod(0o755)

        def which(program: str) -> str | None:
            if program in missing:
                return None
            path = tmp_path / program
            with contextlib.suppress(FileExistsError):
                path.symlink_to(scripts[program.startswith("arm-") and not c_library])
            return str(path)

        return which

    return make


def finding(diagnosis: Diagnosis, name: str) -> Finding:
    (found,) = [item for item in diagnosis.findings if item.name == name]
    return found


def test_a_complete_machine_is_healthy(board: Board, tools: Callable[..., Which]) -> None:
    diagnosis = examine(board, boards_dir(), which=tools())

    assert diagnosis.healthy
    assert diagnosis.remedy == ""
    assert diagnosis.to_text().endswith("netduinoplus2: all it needs is here.")
    found = finding(diagnosis, "qemu-system-arm")
    assert found.needed
    assert found.detail.startswith("1.2.3-4 /")


def test_what_the_board_needs_is_asked_for_in_one_command(
    board: Board, tools: Callable[..., Which]
) -> None:
    which = tools("arm-none-eabi-gcc", "qemu-system-arm")
    diagnosis = examine(board, boards_dir(), which=which, platform="linux")

    assert not diagnosis.healthy
    assert diagnosis.remedy == (
        "sudo apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
    )
    assert diagnosis.to_text().endswith(
        "netduinoplus2: needs arm-none-eabi-gcc, qemu-system-arm. Run: sudo apt install "
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
    )


def test_a_compiler_without_its_c_library_is_missing(
    board: Board, tools: Callable[..., Which]
) -> None:
    diagnosis = examine(board, boards_dir(), which=tools(c_library=False))

    compiler = finding(diagnosis, "arm-none-eabi-gcc")
    assert (compiler.found, compiler.detail) == (False, "without its C library")
    assert not diagnosis.healthy


def test_a_flasher_is_needed_only_by_a_board_without_emulator(
    board: Board, tools: Callable[..., Which]
) -> None:
    which = tools("dfu-util")
    bare = board.model_copy(update={"emulator": None, "tier": 2})

    assert examine(board, boards_dir(), which=which).healthy
    diagnosis = examine(bare, boards_dir(), which=which, platform="linux", groups=lambda: ["root"])
    assert not diagnosis.healthy
    assert diagnosis.remedy == "sudo apt install dfu-util"
    assert not finding(diagnosis, "qemu-system-arm").needed


@pytest.mark.skipif(sys.platform != "linux", reason="groups of Linux")
def test_a_user_outside_the_group_is_told_to_join(
    board: Board, tools: Callable[..., Which]
) -> None:
    if any(Path("/dev").glob("ttyACM*")) or any(Path("/dev").glob("ttyUSB*")):
        pytest.skip("a real port is plugged in, and decides")
    bare = board.model_copy(update={"emulator": None})

    outside = examine(bare, boards_dir(), which=tools(), groups=lambda: ["users"])
    inside = examine(bare, boards_dir(), which=tools(), groups=lambda: ["dialout", "uucp"])

    assert outside.remedy == "sudo usermod -aG dialout $USER, then log out and in again"
    assert finding(outside, "permission").detail == "not in the group dialout"
    assert inside.healthy


def test_a_program_that_does_not_start_is_shown_as_it_is(
    board: Board, tmp_path: Path, tools: Callable[..., Which]
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("")
    which = tools()
    diagnosis = examine(
        board, boards_dir(), which=lambda name: str(broken) if name == "openocd" else which(name)
    )

    assert finding(diagnosis, "openocd").detail == f"does not start; {broken}"


def test_json_carries_all_of_it(board: Board, tools: Callable[..., Which]) -> None:
    diagnosis = examine(board, boards_dir(), which=tools("qemu-system-arm"), platform="linux")
    values = diagnosis.to_json()

    assert values["healthy"] is False
    assert values["remedy"] == "sudo apt install qemu-system-arm"
    assert {
        "group": "emulator",
        "name": "qemu-system-arm",
        "needed": True,
        "found": False,
        "detail": "not installed",
    } in values["rows"]


def test_this_machine_can_be_examined(board: Board) -> None:
    diagnosis = examine(board, boards_dir())

    assert finding(diagnosis, "make").found == (shutil.which("make") is not None)
    assert len(diagnosis.to_text().splitlines()) > len(diagnosis.findings)


MAKE = Source(apt=("make",), brew=("make",), vendor="https://make.example")
PYOCD = Source(pip="pyocd", vendor="https://pyocd.io")
JLINK = Source(vendor="https://segger.example")


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("apt", "sudo apt install make && pip install pyocd; see https://segger.example"),
        ("brew", "brew install make && pip install pyocd; see https://segger.example"),
        ("none", "pip install pyocd; see https://make.example; see https://segger.example"),
    ],
)
def test_one_command_brings_all_that_the_system_has(system: str, words: str) -> None:
    assert how_to_install([MAKE, PYOCD, MAKE, JLINK], system) == words


@pytest.mark.parametrize(
    ("platform", "programs", "system"),
    [
        ("linux", ["apt-get"], "apt"),
        ("linux", ["dnf"], "none"),
        ("darwin", ["brew", "apt-get"], "brew"),
        ("darwin", [], "none"),
        ("win32", [], "none"),
    ],
)
def test_the_package_manager_is_that_of_the_system(
    platform: str, programs: list[str], system: str
) -> None:
    assert manager(lambda name: name if name in programs else None, platform) == system
