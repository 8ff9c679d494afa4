from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain.board import Board, Qemu
from toolchain.device.link import Link, open_link
from toolchain.device.qemu import QemuBoard
from toolchain.device.session import Session
from toolchain.errors import EmulatorDied, FlashError, ToolMissing


def emulating(board: Board, machine: str) -> Board:
    return board.model_copy(update={"emulator": Qemu(kind="qemu", machine=machine)})


def read_line(link: Link) -> bytes | None:
    return link.read_line(10.0)


def test_a_flashed_board_runs_its_image_from_the_first_word(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    with QemuBoard(netduino) as board:
        board.flash(echo_elf)
        with open_link(board.port, 115_200) as link:
            board.start()
            assert read_line(link) == b"echo here"
            link.write(b"a line\n")
            assert read_line(link) == b"a line"


def test_a_second_host_may_connect_after_the_first(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    with QemuBoard(netduino) as board:
        board.flash(echo_elf)
        with open_link(board.port, 115_200) as link:
            board.start()
            # Bytes that come before the firmware has switched its UART on are lost.
            assert read_line(link) == b"echo here"
        for words in (b"second", b"third"):
            with open_link(board.port, 115_200) as link:
                link.write(words + b"\n")
                assert read_line(link) == words


def test_a_board_may_be_flashed_twice_before_it_starts(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    with QemuBoard(netduino) as board:
        board.flash(echo_elf)
        board.flash(echo_elf)


def test_several_boards_run_at_once(netduino: Board, qemu: str, echo_elf: Path) -> None:
    with QemuBoard(netduino) as one, QemuBoard(netduino) as two:
        assert one.port != two.port
        for board in (one, two):
            board.flash(echo_elf)
            with open_link(board.port, 115_200) as link:
                board.start()
                assert read_line(link) == b"echo here"


def test_the_emulator_ends_with_its_block(
    netduino: Board, qemu: str, bench: SimpleNamespace
) -> None:
    with QemuBoard(netduino) as board:
        process_id = board.process_id
        assert bench.is_running(process_id)

    assert not bench.is_running(process_id)


def test_an_exception_leaves_no_emulator(
    netduino: Board, qemu: str, bench: SimpleNamespace
) -> None:
    assert not bench.is_running(bench.interrupt_in_block(QemuBoard(netduino)))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_no_emulator_is_left_when_the_tool_is_ended(
    qemu: str, name: str, bench: SimpleNamespace
) -> None:
    process_id = bench.end_parent_of(
        QemuBoard, "netduinoplus2", name, first="board.stub.registers()"
    )
    assert bench.wait_until_gone(process_id)


def test_an_emulator_killed_in_mid_session_is_named(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    with QemuBoard(netduino) as board:
        board.flash(echo_elf)
        with Session(open_link(board.port, 115_200), alive=board.alive) as session:
            board.start()
            os.kill(board.process_id, signal.SIGKILL)
            with pytest.raises(EmulatorDied) as caught:
                session.hello()

    assert str(caught.value) == (
        "netduinoplus2: the emulator ended by itself (killed by SIGKILL). It said nothing. "
        "Try again; if it stays, qemu-system-arm -d unimp,guest_errors shows why."
    )
    assert caught.value.exit_code == 4


def test_an_emulator_killed_while_flashing_is_named(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    with QemuBoard(netduino) as board:
        os.kill(board.process_id, signal.SIGKILL)
        with pytest.raises(EmulatorDied, match="killed by SIGKILL"):
            board.flash(echo_elf)


def test_an_emulator_that_refuses_to_start_is_quoted(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    unknown = emulating(netduino, "netduino9000")
    with QemuBoard(unknown) as board, pytest.raises(EmulatorDied) as caught:
        board.flash(echo_elf)

    message = str(caught.value)
    assert message.startswith("netduinoplus2: the emulator ended by itself (exit code 1). It said:")
    assert "unsupported machine type" in message
    assert "\n" not in message


def test_a_missing_emulator_names_its_package(netduino: Board) -> None:
    with pytest.raises(ToolMissing) as caught, QemuBoard(netduino, program="qemu-system-none"):
        pass

    assert str(caught.value) == (
        "qemu-system-none: not installed, and netduinoplus2 is emulated by it. Run: "
        "sudo apt install qemu-system-arm; or name a real board with --port."
    )
    assert caught.value.exit_code == 3


def test_an_image_that_is_not_where_the_core_looks_is_refused(
    netduino: Board, qemu: str, link_echo: Callable[[int], Path]
) -> None:
    moved = netduino.model_copy(
        update={
            "memory": tuple(
                region.model_copy(update={"origin": region.origin + 0x1_0000, "bytes": 65_536})
                if region.kind == "flash"
                else region
                for region in netduino.memory
            )
        }
    )
    with QemuBoard(moved) as board, pytest.raises(FlashError) as caught:
        board.flash(link_echo(0x0801_0000))

    assert str(caught.value) == (
        "netduinoplus2: starts at 0x00000000 instead of 0x08010008. The vectors are not where "
        "the core looks for them: check the flash region's origin in the profile."
    )


def test_a_board_is_flashed_before_it_starts_and_inside_its_block(
    netduino: Board, qemu: str, echo_elf: Path
) -> None:
    board = QemuBoard(netduino)
    with pytest.raises(RuntimeError, match="flash before start"):
        board.flash(echo_elf)
    with board:
        board.flash(echo_elf)
        board.start()
        with pytest.raises(RuntimeError, match="flash before start"):
            board.flash(echo_elf)


def test_a_board_without_an_emulator_is_not_emulated(netduino: Board) -> None:
    bare = netduino.model_copy(update={"emulator": None})

    with pytest.raises(ValueError, match="netduinoplus2 has no emulator"):
        QemuBoard(bare)


def test_messages_of_the_emulator_stay_on_one_line(netduino: Board, qemu: str) -> None:
    unknown = emulating(netduino, "none\nsuch")
    with QemuBoard(unknown) as board, pytest.raises(EmulatorDied) as caught:
        board.stub.registers()

    assert re.search(r"[\r\n]", str(caught.value)) is None
