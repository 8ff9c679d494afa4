"""Our program around simavr: compiled when needed, programmed, connected, and gone with us."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from strict_c import WARNINGS
from tflite_writer import Recipe

from toolchain.board import Board, Simavr, boards_dir, find_board
from toolchain.device.link import open_link
from toolchain.device.session import Session
from toolchain.device.simavr import SOURCE, SimavrBoard, compile_runner
from toolchain.errors import EmulatorDied, FlashError, ToolMissing
from toolchain.graph.types import Graph

SMALL = Recipe(hidden=(4,), steps=3)

BuildFirmware = Callable[[Recipe, Board], tuple[Graph, Path]]


@pytest.fixture(scope="session")
def uno() -> Board:
    board = find_board("arduino-uno", boards_dir())
    try:
        compile_runner(board.name)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    return board


def test_it_is_compiled_once(uno: Board, tmp_path: Path) -> None:
    first = compile_runner("x", folder=tmp_path)
    made = first.stat().st_mtime_ns
    assert compile_runner("x", folder=tmp_path) == first
    assert first.stat().st_mtime_ns == made
    assert list(tmp_path.iterdir()) == [first]


def test_it_compiles_without_a_warning(uno: Board, tmp_path: Path) -> None:
    command = ["cc", "-std=c99", "-O2", *WARNINGS, "-c", str(SOURCE)]
    command += ["-o", str(tmp_path / "runner.o")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_a_missing_compiler_is_named_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing) as caught:
        compile_runner("arduino-uno", folder=tmp_path, which=lambda _name: None)
    message = str(caught.value)
    assert message.startswith(
        "cc: not installed, and arduino-uno is emulated by a program made with it. Run: "
    )
    assert message.endswith("; or name a real board with --port.")
    assert caught.value.exit_code == 3


def test_missing_headers_are_named_with_their_package(tmp_path: Path) -> None:
    blind = tmp_path / "cc"
    real = shutil.which("cc")
    if real is None:
        pytest.skip("there is no C compiler")
    blind.write_text(f'#!/bin/sh\nexec {real} -nostdinc "$@"\n')
    blind.chmod(0o755)
    with pytest.raises(ToolMissing, match="not installed, and arduino-uno is emulated by"):
        compile_runner("arduino-uno", folder=tmp_path, which=lambda _name: str(blind))


def test_a_client_may_come_back(uno: Board, build_firmware: BuildFirmware) -> None:
    _, elf = build_firmware(SMALL, uno)
    with SimavrBoard(uno) as board:
        board.flash(elf)
        board.start()
        for _ in range(3):
            with Session(open_link(board.port, 115_200), alive=board.alive) as session:
                assert session.hello().board == "arduino-uno"


def test_a_long_line_arrives_whole_while_a_forecast_runs(
    uno: Board, build_firmware: BuildFirmware
) -> None:
    # More than the receiver, its interrupt's queue and the emulator's buffer hold together.
    _, elf = build_firmware(Recipe(hidden=(16,), steps=28), uno)
    with SimavrBoard(uno) as board:
        board.flash(elf)
        with open_link(board.port, 115_200) as link:
            board.start()
            link.write(b"run\n" + b"".join(b"load %d 0102030405\n" % i for i in range(20)))
            link.write(b"input 0 24\n")
            lines = [link.read_line(10.0) or b"" for _ in range(24)]
    assert lines[2].startswith(b"ok run out=")
    assert all(line.startswith(b"ok load bytes=5 ") for line in lines[3:23])
    assert lines[23].startswith(b"ok input hex=" + b"01" * 20 + b"02030405 ")


def test_an_emulator_killed_in_mid_session_is_named(
    uno: Board, build_firmware: BuildFirmware
) -> None:
    _, elf = build_firmware(SMALL, uno)
    with SimavrBoard(uno) as board:
        board.flash(elf)
        with Session(open_link(board.port, 115_200), alive=board.alive) as session:
            board.start()
            session.hello()
            os.kill(board.process_id, signal.SIGKILL)
            with pytest.raises(EmulatorDied) as caught:
                session.hello()
    assert str(caught.value) == (
        "arduino-uno: the emulator ended by itself (killed by SIGKILL). It said nothing. "
        "Try again; if it stays, check mcu of [emulator] in the profile."
    )


def test_a_chip_that_simavr_does_not_know_is_named(
    uno: Board, build_firmware: BuildFirmware
) -> None:
    other = uno.model_copy(update={"emulator": Simavr(kind="simavr", mcu="atmega9")})
    with SimavrBoard(other) as board, pytest.raises(EmulatorDied, match="'atmega9' not known"):
        board.flash(build_firmware(SMALL, uno)[1])


def test_an_image_outside_the_memory_is_refused(uno: Board, build_firmware: BuildFirmware) -> None:
    _, elf = build_firmware(SMALL, uno)
    small = tuple(
        region.model_copy(update={"bytes": 4_096}) if region.kind == "flash" else region
        for region in uno.memory
    )
    with (
        SimavrBoard(uno.model_copy(update={"memory": small})) as board,
        pytest.raises(FlashError, match="outside its memory"),
    ):
        board.flash(elf)


def test_a_board_is_flashed_before_it_starts_and_inside_its_block(
    uno: Board, build_firmware: BuildFirmware
) -> None:
    _, elf = build_firmware(SMALL, uno)
    board = SimavrBoard(uno)
    with pytest.raises(RuntimeError, match="flash before start"):
        board.flash(elf)
    with board:
        board.flash(elf)
        board.start()
        with pytest.raises(RuntimeError, match="flash before start"):
            board.flash(elf)


def test_the_emulator_ends_when_its_control_does(uno: Board) -> None:
    # Without the kernel's help, which only Linux gives.
    program = compile_runner(uno.name)
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as serial:
        command = [program, "atmega328p", "16000000", str(theirs.fileno()), str(serial.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(), serial.fileno()))
        endless_loop = struct.pack("<H", 0xCFFF)
        ours.sendall(b"W" + struct.pack("<II", 0, 2) + endless_loop + b"G")
        theirs.close()
        time.sleep(0.1)
        assert process.poll() is None
        ours.close()
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_emulator_is_left_when_the_tool_is_ended(
    uno: Board, name: str, bench: SimpleNamespace
) -> None:
    process_id = bench.end_parent_of(SimavrBoard, "arduino-uno", name, first="board.alive()")
    assert bench.wait_until_gone(process_id)


def test_an_exception_leaves_no_emulator(uno: Board, bench: SimpleNamespace) -> None:
    assert not bench.is_running(bench.interrupt_in_block(SimavrBoard(uno)))
