"""Flashing a board that is plugged in, from its boot loader to its port afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from toolchain.board import Board
from toolchain.device.hardware import flash_board
from toolchain.device.ports import FoundPort
from toolchain.errors import BoardError, FlashError, PortError, ToolMissing
from toolchain.flashing import Bossac, DfuUtil, StFlash, UsbDevice

APP = FoundPort("/dev/ttyACM0", "2341:804d", "S1", "1-2")
LOADER = FoundPort("/dev/ttyACM1", "2341:004d", None, "1-2")
ADAPTER = FoundPort("/dev/ttyUSB0", "0403:6001", "A9", "1-4")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "firmware.elf").write_bytes(b"elf")
    (tmp_path / "firmware.bin").write_bytes(b"bin")
    return tmp_path / "firmware.elf"


class Bench:
    """A board on USB, a tool that flashes it, and the order in which things happened."""

    def __init__(self, folder: Path, before: Sequence[FoundPort]) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.before = before
        self.touched: Sequence[FoundPort] | None = None
        self.flashed: Sequence[FoundPort] | None = None
        self.code = 0
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def list_ports(self) -> tuple[FoundPort, ...]:
        """What is there depends on what was done: the tool leaves a note when it ran."""
        if (self.folder / "arguments").exists() and self.flashed is not None:
            return tuple(self.flashed)
        if any("1200" in event for event in self.events) and self.touched is not None:
            return tuple(self.touched)
        return tuple(self.before)

    def open(self, port: str, **settings: Any) -> Bench:
        """Keep what is done to the lines; whether the port opens at all is looked at first."""
        if "write_timeout" in settings:
            return Bench(self.folder, [])
        self.events.append(f"open {port} at {settings['baudrate']}")
        return self

    dtr = property(None, lambda self, value: self.events.append(f"dtr {value}"))
    rts = property(None, lambda self, value: self.events.append(f"rts {value}"))

    def close(self) -> None:
        self.events.append("close")

    def which(self, program: str) -> str:
        tool = self.folder / program
        tool.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" >{self.folder}/arguments\n'
            f"echo File downloaded successfully\nexit {self.code}\n"
        )
        tool.chmod(0o755)
        return str(tool)

    @property
    def arguments(self) -> list[str]:
        return (self.folder / "arguments").read_text().splitlines()

    def flash(self, board: Board, elf: Path, port: str, told: list[Any] | None = None) -> str:
        return flash_board(
            board, elf, port,
            (lambda fraction, words: told.append((fraction, words))) if told is not None
            else (lambda fraction, words: None),
            which=self.which, list_ports=self.list_ports, open_serial=self.open,
            sleep=self.sleep, clock=lambda: self.now,
        )  # fmt: skip


@pytest.fixture
def sam(netduino: Board) -> Board:
    flasher = Bossac(kind="bossac", offset=0x2000)
    return netduino.model_copy(update={"name": "sam", "flasher": flasher})


def test_a_board_on_its_own_usb_is_followed_to_its_boot_loader_and_back(
    sam: Board, image: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, [ADAPTER, APP])
    bench.touched = [ADAPTER, LOADER]
    back = FoundPort("/dev/ttyACM5", "2341:804d", "S1", "1-2")
    bench.flashed = [ADAPTER, back]
    told: list[tuple[float, str]] = []

    assert bench.flash(sam, image, "/dev/ttyACM0", told) == "/dev/ttyACM5"
    assert bench.events == ["open /dev/ttyACM0 at 1200", "dtr False", "close"]
    assert "--port=/dev/ttyACM1" in bench.arguments
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_a_boot_loader_that_does_not_come_is_noticed(
    sam: Board, image: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, [APP])
    bench.touched = []

    with pytest.raises(PortError, match="went away after the boot loader was called and did not"):
        bench.flash(sam, image, "/dev/ttyACM0")


def test_a_boot_loader_that_runs_already_is_not_called(
    sam: Board, image: Path, tmp_path: Path
) -> None:
    usb = (UsbDevice(id="2341:004d", what="boot loader", console=False),)
    bench = Bench(tmp_path, [LOADER])
    bench.flashed = [APP]

    assert bench.flash(sam.model_copy(update={"usb": usb}), image, "/dev/ttyACM1") == APP.device
    assert bench.events == []


def test_the_boards_program_runs_on_when_the_tool_is_missing(
    sam: Board, image: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, [APP])
    with pytest.raises(ToolMissing, match=r"^bossac: not installed, and sam is flashed with it"):
        flash_board(
            sam, image, "/dev/ttyACM0", which=lambda program: None, list_ports=bench.list_ports,
            open_serial=bench.open,
        )  # fmt: skip
    assert bench.events == []


def test_a_port_on_an_adapter_is_there_all_the_time(
    netduino: Board, image: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, [ADAPTER])

    assert bench.flash(netduino, image, "/dev/ttyUSB0") == "/dev/ttyUSB0"
    assert bench.events == []
    assert bench.arguments[:2] == ["--device", "0483:df11"]


def test_a_port_that_is_no_usb_device_is_used_as_it_is(
    netduino: Board, image: Path, tmp_path: Path
) -> None:
    assert Bench(tmp_path, []).flash(netduino, image, "socket://x:1") == "socket://x:1"


def test_a_link_to_a_port_is_followed(netduino: Board, image: Path, tmp_path: Path) -> None:
    device = tmp_path / "ttyACM9"
    device.write_text("")
    link = tmp_path / "by-id"
    link.symlink_to(device)
    bench = Bench(tmp_path, [FoundPort(str(device), "1:2", None, "1-9")])
    bench.flashed = [FoundPort("/dev/ttyACM2", "1:2", None, "1-9")]

    assert bench.flash(netduino, image, str(link)) == "/dev/ttyACM2"


def test_a_reset_over_the_port_comes_after_the_flasher(
    netduino: Board, image: Path, tmp_path: Path
) -> None:
    flasher = DfuUtil(kind="dfu-util", id="0483:df11", reset="rts-dtr")
    bench = Bench(tmp_path, [ADAPTER])

    bench.flash(netduino.model_copy(update={"flasher": flasher}), image, "/dev/ttyUSB0")

    assert bench.events == [
        "open /dev/ttyUSB0 at 115200", "dtr False", "rts True", "rts False", "close",
    ]  # fmt: skip


def test_a_failed_flasher_leaves_the_board_alone(
    netduino: Board, image: Path, tmp_path: Path
) -> None:
    flasher = StFlash(kind="st-flash")
    bench = Bench(tmp_path, [ADAPTER])
    bench.code = 1

    with pytest.raises(FlashError, match=r"^netduinoplus2: st-flash failed with exit code 1"):
        bench.flash(netduino.model_copy(update={"flasher": flasher}), image, "/dev/ttyUSB0")
    assert bench.events == []


def test_a_board_nobody_can_flash_is_refused_at_once(
    netduino: Board, image: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, [APP])

    with pytest.raises(BoardError, match=r"^netduinoplus2: its profile has no \[flasher\]"):
        bench.flash(netduino.model_copy(update={"flasher": None}), image, "/dev/ttyACM0")
    assert bench.events == []
