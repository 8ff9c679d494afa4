from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tflite_writer import Recipe

from toolchain.board import Board, boards_dir, find_board, read_cores
from toolchain.device.link import Link, open_link
from toolchain.device.rp2040js import (
    PACKAGE,
    Rp2040jsBoard,
    boot2_checksum,
    install,
    packages_dir,
)
from toolchain.device.session import Session
from toolchain.errors import EmulatorDied, FlashError, ToolMissing
from toolchain.firmware.build import build
from toolchain.graph.types import Graph

SMALL = Recipe(hidden=(3,), features=2, steps=3)

BuildFirmware = Callable[[Recipe, Board], tuple[Graph, Path]]


@pytest.fixture(scope="session")
def pico() -> Board:
    board = find_board("pico", boards_dir())
    try:
        with Rp2040jsBoard(board):
            return board
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def elf(pico: Board, build_firmware: BuildFirmware) -> Path:
    return build_firmware(SMALL, pico)[1]


def ask(link: Link, line: bytes) -> bytes:
    link.write(line + b"\n")
    answer = link.read_line(10.0)
    assert answer is not None, "silence"
    return answer


def test_a_flashed_board_runs_its_image_from_the_first_word(pico: Board, elf: Path) -> None:
    with Rp2040jsBoard(pico) as board:
        board.flash(elf)
        with open_link(board.port, 115_200) as link:
            board.start()
            assert link.read_line(10.0) == b"# shelfcast 0.1.0 on pico"


def test_a_second_host_is_served_after_the_first(pico: Board, elf: Path) -> None:
    with Rp2040jsBoard(pico) as board:
        board.flash(elf)
        with open_link(board.port, 115_200) as first:
            board.start()
            assert first.read_line(10.0) is not None
            assert first.read_line(10.0) is not None
            with open_link(board.port, 115_200) as second:
                second.write(b"reset\n")
                assert second.read_line(0.2) is None
                assert ask(first, b"reset").startswith(b"ok reset")
                first.close()
                assert (second.read_line(10.0) or b"").startswith(b"ok reset")


def test_a_host_that_does_not_read_stops_the_board_and_loses_nothing(
    pico: Board, elf: Path
) -> None:
    requests = 4_000
    with Rp2040jsBoard(pico) as board:
        board.flash(elf)
        with open_link(board.port, 115_200) as link:
            board.start()
            assert link.read_line(10.0) is not None
            assert link.read_line(10.0) is not None
            link.write(b"reset\n" * requests)
            time.sleep(0.5)
            for _ in range(requests):
                assert (link.read_line(20.0) or b"").startswith(b"ok reset")


def test_an_image_whose_boot_stage_2_is_damaged_is_refused(
    pico: Board, elf: Path, tmp_path: Path
) -> None:
    data = bytearray(elf.read_bytes())
    start = data.index(bytes.fromhex("0b4b0020"))
    right = boot2_checksum(data[start : start + 256])
    data[start + 6] ^= 4
    wrong = boot2_checksum(data[start : start + 256])
    (tmp_path / "damaged.elf").write_bytes(data)
    with Rp2040jsBoard(pico) as board, pytest.raises(FlashError) as caught:
        board.flash(tmp_path / "damaged.elf")

    assert str(caught.value) == (
        f"pico: boot stage 2, the first 256 bytes, has the checksum 0x{right:08x} instead of "
        f"0x{wrong:08x}: the chip would not start it. Build the image again: shelfcast build."
    )


def test_an_image_of_another_board_is_refused(pico: Board, echo_elf: Path) -> None:
    with Rp2040jsBoard(pico) as board, pytest.raises(FlashError) as caught:
        board.flash(echo_elf)

    assert "outside its memory (flash 0x10000000..0x10200000, sram" in str(caught.value)


def test_a_core_that_locks_up_is_named(
    pico: Board, elf: Path, build_firmware: BuildFirmware, tmp_path: Path
) -> None:
    sources = elf.parents[1]
    main = (sources / "app" / "main.c").read_text()
    try:
        # Its fault handler is where nothing is.
        (sources / "app" / "main.c").write_text(
            main.replace(
                "console_start();",
                "console_start();\n*(volatile unsigned *)0xe000ed08u = 0xf0000000u;\n"
                '__asm__ volatile("udf 0");',
            )
        )
        core = read_cores(boards_dir())[pico.core]
        broken = build(sources, pico, core, out=tmp_path / "build").path
    finally:
        (sources / "app" / "main.c").write_text(main)
    with Rp2040jsBoard(pico) as board:
        board.flash(broken)
        with Session(open_link(board.port, 115_200), alive=board.alive) as session:
            board.start()
            with pytest.raises(EmulatorDied) as caught:
                session.hello()

    message = str(caught.value)
    assert message.startswith(
        "pico: the emulator ended by itself (exit code 1). It said: locked up at 0x"
    )
    assert "\n" not in message


def test_an_emulator_killed_in_mid_session_is_named(pico: Board, elf: Path) -> None:
    with Rp2040jsBoard(pico) as board:
        board.flash(elf)
        with Session(open_link(board.port, 115_200), alive=board.alive) as session:
            board.start()
            session.hello()
            os.kill(board.process_id, signal.SIGKILL)
            with pytest.raises(EmulatorDied, match=r"pico: .* \(killed by SIGKILL\)"):
                session.hello()


def test_an_exception_leaves_no_emulator(pico: Board, bench: SimpleNamespace) -> None:
    assert not bench.is_running(bench.interrupt_in_block(Rp2040jsBoard(pico)))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_no_emulator_is_left_when_the_tool_is_ended(
    pico: Board, name: str, bench: SimpleNamespace
) -> None:
    process_id = bench.end_parent_of(
        Rp2040jsBoard, "pico", name, first="board.stub.read(0x10000000, 4)"
    )
    assert bench.wait_until_gone(process_id)


def test_missing_node_names_its_package() -> None:
    board = Rp2040jsBoard(find_board("pico", boards_dir()), program="node-none")
    with pytest.raises(ToolMissing) as caught, board:
        pass

    assert str(caught.value) == (
        "node-none: not installed, and pico is emulated with it. Run: sudo apt install nodejs npm; "
        "or name a real board with --port."
    )


def test_without_npm_the_command_that_installs_rp2040js_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    with pytest.raises(ToolMissing) as caught:
        install(folder, which=lambda _: None)

    assert str(caught.value) == (
        "rp2040js: not installed, and there is no npm to install it. Run: sudo apt install npm && "
        f"npm install --prefix {folder} {PACKAGE}"
    )


def test_npm_that_fails_is_quoted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND'\nexit 7\n")
    npm.chmod(0o755)
    folder = tmp_path / "cache" / "packages"
    with pytest.raises(ToolMissing) as caught:
        install(folder, which=lambda _: str(npm))

    assert str(caught.value) == (
        "rp2040js: npm could not install it (exit code 7: code ENOTFOUND). Run: "
        f"npm install --prefix {folder} {PACKAGE}"
    )
    assert list(folder.parent.iterdir()) == []


def test_what_npm_installed_is_used_from_then_on(tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text(
        "#!/bin/sh\n[ -f package-lock.json ] || exit 1\n"
        "mkdir -p node_modules/rp2040js && echo {} >node_modules/rp2040js/package.json\n"
    )
    npm.chmod(0o755)
    folder = tmp_path / "cache" / "packages"
    told: list[str] = []
    assert install(folder, which=lambda _: str(npm), say=told.append) == folder
    assert told == [f"installing {PACKAGE} in {folder}"]
    assert install(folder, which=lambda _: None, say=told.append) == folder
    assert len(told) == 1


def test_the_packages_lie_in_the_cache_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert packages_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/shelfcast/rp2040js-1.4.1")
    assert packages_dir({"XDG_CACHE_HOME": ""}) == Path.home() / ".cache/shelfcast/rp2040js-1.4.1"
    assert packages_dir({"SHELFCAST_RP2040JS": str(tmp_path)}) == tmp_path


def test_the_lock_file_names_no_registry() -> None:
    import toolchain.device.rp2040js as module

    text = (Path(module.__file__).parent / "node" / "package-lock.json").read_text()
    assert "resolved" not in text
    assert "integrity" in text
