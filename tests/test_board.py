from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import (
    Board,
    boards_dir,
    find_board,
    read_board,
    read_boards,
    read_cores,
    shared_files,
    without_storage,
)
from toolchain.errors import BoardError, nearest

CORES = """\
[core.cortex-m3]
compiler = "arm-none-eabi-"
packages = ["gcc-arm-none-eabi"]
flags = ["-mcpu=cortex-m3"]
startup = "cortex_m/startup.c"
linker_script = "cortex_m.ld.j2"

[core.cortex-m4]
compiler = "arm-none-eabi-"
packages = ["gcc-arm-none-eabi"]
flags = ["-mcpu=cortex-m4"]
startup = "cortex_m/startup.c"
linker_script = "cortex_m.ld.j2"
"""

PROFILE = """\
name = "shelf"
title = "Shelf"
vendor = "Acme"
mcu = "STM32F100RB"
core = "cortex-m3"
tier = 1
clock_hz = 24_000_000
cycle_counter = "SysTick"
stack_bytes = 1024
line_bytes = 256

[[memory]]
name = "flash"
kind = "flash"
origin = 0x0800_0000
bytes = 131_072

[[memory]]
name = "sram"
kind = "ram"
origin = 0x2000_0000
bytes = 8_192

[uart]
peripheral = "USART1"
base = 0x4001_3800
tx = "PA9"
rx = "PA10"

[flasher]
kind = "openocd"
interface = "interface/stlink.cfg"
target = "target/stm32f1x.cfg"

[[usb]]
id = "0483:3744"
what = "ST-LINK/V1"

[emulator]
kind = "qemu"
machine = "stm32vldiscovery"

[defines]
BOARD_HSE_HZ = 8_000_000
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalog of one board."""
    (tmp_path / "cores.toml").write_text(CORES)
    family = tmp_path / "family"
    family.mkdir()
    (family / "port.c").write_text("")
    (family / "shelf.toml").write_text(PROFILE)
    return tmp_path


@pytest.fixture
def refusal(folder: Path) -> Callable[[str, str], str]:
    """Replace a part of the profile; return what is said about it, without the file's name."""

    def refuse(old: str, new: str) -> str:
        assert PROFILE.count(old) == 1
        path = folder / "family" / "shelf.toml"
        path.write_text(PROFILE.replace(old, new))
        with pytest.raises(BoardError) as caught:
            read_board(path, read_cores(folder))
        assert caught.value.exit_code == 2
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refuse


def test_a_profile_becomes_a_value(folder: Path) -> None:
    board = find_board("shelf", folder)
    assert board.family == "family"
    assert (board.flash.name, board.flash.bytes, board.flash.end) == ("flash", 131_072, 0x0802_0000)
    assert (board.ram.name, board.ram.bytes) == ("sram", 8_192)
    assert board.uart.baud == 115_200
    assert board.emulator is not None
    assert board.emulator.icount_shift == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'vendor = "Acme"',
            'vendor = "Acme"\ncolour = "red"',
            "colour: unknown key; did you mean core? Known: core, clock_hz, cycle_counter, "
            "defines, emulator, errata, family, flasher, line_bytes, mcu, memory, name, notes, "
            "power, stack_bytes, storage, tier, title, uart, usb, vendor.",
        ),
        (
            "stack_bytes = 1024",
            "stack_byte = 1024",
            "stack_bytes: missing; it has no default. (1 more mistake after it.)",
        ),
        (
            'machine = "stm32vldiscovery"',
            'machine = "stm32vldiscovery"\nicount = 6',
            "emulator.icount: unknown key; did you mean icount_shift? Known: icount_shift, "
            "counter_hz, kind, machine, system.",
        ),
        (
            'kind = "ram"',
            'kind = "ram"\nsize = 1',
            "memory.1.size: unknown key; Known: bytes, kind, name, origin.",
        ),
        ('mcu = "STM32F100RB"\n', "", "mcu: missing; it has no default."),
        (
            "clock_hz = 24_000_000",
            'clock_hz = "24 MHz"',
            "clock_hz: Input should be a valid integer (got '24 MHz').",
        ),
        (
            "clock_hz = 24_000_000",
            "clock_hz = 2.4e7",
            "clock_hz: Input should be a valid integer (got 24000000.0).",
        ),
        (
            "clock_hz = 24_000_000",
            "clock_hz = 0",
            "clock_hz: Input should be greater than or equal to 1 (got 0).",
        ),
        ("tier = 1", "tier = 3", "tier: Input should be 1 or 2 (got 3)."),
        (
            "line_bytes = 256",
            "line_bytes = 64",
            "line_bytes: Input should be greater than or equal to 96 (got 64).",
        ),
        (
            "line_bytes = 256",
            "line_bytes = 65_536",
            "line_bytes: Input should be less than or equal to 4096 (got 65536).",
        ),
        (
            "stack_bytes = 1024",
            "stack_bytes = 100",
            "stack_bytes: Input should be greater than or equal to 256 (got 100).",
        ),
        (
            "stack_bytes = 1024",
            "stack_bytes = 8192",
            "file: stack_bytes = 8,192 does not fit 8,192 bytes of RAM.",
        ),
        (
            'kind = "ram"',
            'kind = "rom"',
            "memory.1.kind: Input should be 'flash', 'constants', 'ram' or 'other' (got 'rom').",
        ),
        ('kind = "ram"', 'kind = "other"', 'memory: exactly one region has kind = "ram".'),
        (
            "[uart]",
            "".join(
                f'[[memory]]\nname = "view{n}"\nkind = "constants"\n'
                f"origin = 0x{n}000_0000\nbytes = 16\n\n"
                for n in (3, 4)
            )
            + "[uart]",
            'memory: at most one region has kind = "constants".',
        ),
        ('kind = "flash"', 'kind = "ram"', 'memory: exactly one region has kind = "flash".'),
        ('name = "sram"', 'name = "flash"', 'memory: two regions have the name "flash".'),
        (
            "origin = 0x2000_0000",
            "origin = 0x0801_0000",
            "memory: flash (0x08000000..0x08020000) overlaps sram (from 0x08010000).",
        ),
        (
            "origin = 0x2000_0000",
            "origin = 0xffff_ff00",
            "memory: sram ends at 0x100001f00, past 32-bit addresses.",
        ),
        (
            "origin = 0x2000_0000",
            "origin = 0x1_0000_0000",
            "memory.1.origin: Input should be less than 4294967296 (got 4294967296).",
        ),
        (
            "bytes = 8_192",
            "bytes = 0",
            "memory.1.bytes: Input should be greater than or equal to 1 (got 0).",
        ),
        (
            'name = "shelf"',
            'name = "Shelf One"',
            "name: String should match pattern '^[a-z0-9][a-z0-9-]*$' (got 'Shelf One').",
        ),
        ('name = "shelf"', 'name = "shelf2"', 'name: "shelf2" differs from the file\'s name.'),
        (
            'core = "cortex-m3"',
            'core = "cortex-m44"',
            'core: unknown core "cortex-m44"; ' + nearest("cortex-m44", read_cores(boards_dir())),
        ),
        (
            '[emulator]\nkind = "qemu"\nmachine = "stm32vldiscovery"\n',
            "",
            "file: tier 1 needs an [emulator]: a tier is earned by running.",
        ),
        (
            'kind = "qemu"',
            'kind = "renode"',
            'emulator: unknown kind "renode"; Known: qemu, rp2040js, simavr.',
        ),
        (
            'kind = "openocd"',
            'kind = "opencd"',
            'flasher: unknown kind "opencd"; did you mean openocd? Known: openocd, avrdude, '
            "bossac, dfu-util, esptool, jlink, picotool, pyocd, st-flash, uf2.",
        ),
        ('kind = "openocd"\n', "", "flasher: its kind is missing."),
        (
            'target = "target/stm32f1x.cfg"\n',
            "",
            "flasher.target: missing; it has no default.",
        ),
        (
            'kind = "openocd"',
            'kind = "openocd"\nspeed = 500',
            "flasher.speed: unknown key; did you mean speed_khz? Known: speed_khz, interface, "
            "kind, reset, target, transport.",
        ),
        (
            'kind = "openocd"',
            'kind = "openocd"\nreset = "button"',
            "flasher.reset: Input should be 'none', 'dtr', 'rts-dtr', 'touch-1200' or 'probe' "
            "(got 'button').",
        ),
        (
            'interface = "interface/stlink.cfg"',
            'interface = "-c shutdown"',
            r"flasher.interface: String should match pattern '^[^\s-]\S*$' (got '-c shutdown').",
        ),
        (
            'kind = "openocd"\ninterface = "interface/stlink.cfg"\ntarget = "target/stm32f1x.cfg"',
            'kind = "picotool"\nreset = "probe"',
            'flasher: reset = "probe" needs a debug probe; this flasher has none.',
        ),
        (
            'id = "0483:3744"',
            'id = "0483:374B"',
            "usb.0.id: String should match pattern '^[0-9a-f]{4}:[0-9a-f]{4}$' (got '0483:374B').",
        ),
        (
            "BOARD_HSE_HZ = 8_000_000",
            "hse = 8_000_000",
            "defines: hse is not a macro of board.h: they look like BOARD_HSE_HZ.",
        ),
        (
            "BOARD_HSE_HZ = 8_000_000",
            "BOARD_CLOCK_HZ = 8_000_000",
            "defines: BOARD_CLOCK_HZ is rendered from a key of its own.",
        ),
        (
            "BOARD_HSE_HZ = 8_000_000",
            "BOARD_HSE_HZ = -1",
            "defines: BOARD_HSE_HZ = -1 does not fit 32 bits without a sign.",
        ),
        (
            'title = "Shelf"',
            "title = Shelf",
            "not TOML: Invalid value (at line 2, column 9).",
        ),
    ],
)
def test_a_wrong_profile_is_refused_in_one_line(
    refusal: Callable[[str, str], str], old: str, new: str, message: str
) -> None:
    assert refusal(old, new) == message


def test_an_unknown_board_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(BoardError) as caught:
        find_board("shelv", folder)
    assert str(caught.value).startswith(
        'unknown board "shelv"; did you mean shelf? Known: shelf, arduino-mega2560, '
    )


def test_a_family_without_port_is_refused(folder: Path) -> None:
    (folder / "family" / "port.c").unlink()
    with pytest.raises(BoardError) as caught:
        find_board("shelf", folder)
    assert str(caught.value) == f"{folder / 'family'}: has no port.c, which every family needs."


def test_every_shared_file_is_some_familys_and_every_table_a_familys() -> None:
    families = {path.parent.name for path in boards_dir().glob("*/port.c")}
    tables = tomllib.loads((boards_dir() / "families.toml").read_text())["family"]
    assert set(tables) <= families
    named = {file for family in tables for file in shared_files(boards_dir(), family)}
    assert named == set((boards_dir() / "shared").iterdir())


def test_a_family_without_a_table_shares_nothing(folder: Path) -> None:
    assert shared_files(folder, "family") == ()
    assert shared_files(boards_dir(), "avr") == ()


def test_a_table_of_ones_own_wins_over_the_one_that_ships(folder: Path) -> None:
    (folder / "families.toml").write_text(
        '[family.stm32f1]\nshared = ["own.c", "cortex_m_port.h"]\n[family.mps2]\nshared = []\n'
    )
    (folder / "shared").mkdir()
    (folder / "shared" / "own.c").write_text("")
    assert shared_files(folder, "stm32f1") == (
        folder / "shared" / "own.c",
        boards_dir() / "shared" / "cortex_m_port.h",
    )
    assert shared_files(folder, "mps2") == ()
    assert shared_files(folder, "nrf51") == shared_files(boards_dir(), "nrf51")


def test_a_shared_file_of_ones_own_wins_over_the_one_that_ships(folder: Path) -> None:
    (folder / "shared").mkdir()
    (folder / "shared" / "cortex_m_port.c").write_text("")
    shared = boards_dir() / "shared"
    assert shared_files(folder, "mps2") == (
        shared / "cortex_m_port.h",
        folder / "shared" / "cortex_m_port.c",
    )


def test_a_shared_file_that_does_not_exist_is_refused_with_the_nearest(folder: Path) -> None:
    path = folder / "families.toml"
    path.write_text('[family.family]\nshared = ["pl11.c"]\n')
    with pytest.raises(BoardError) as caught:
        find_board("shelf", folder)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(
        f"{path}: family.family.shared: there is no shared/pl11.c; did you mean pl011.c? "
        "Known: pl011.c, cortex_m_port.c, cortex_m_port.h, "
    )


def test_a_shared_file_of_another_folder_is_refused(folder: Path) -> None:
    path = folder / "families.toml"
    path.write_text('[family.family]\nshared = ["../family/port.c"]\n')
    with pytest.raises(BoardError) as caught:
        find_board("shelf", folder)
    assert str(caught.value).startswith(f"{path}: family.family.shared")


def test_an_absent_profile_is_refused(folder: Path) -> None:
    path = folder / "family" / "other.toml"
    with pytest.raises(BoardError, match=f"^{re.escape(str(path))}: no such file.$"):
        read_board(path, read_cores(folder))


def test_a_core_with_an_unknown_key_is_refused_with_the_known_ones(folder: Path) -> None:
    path = folder / "cores.toml"
    path.write_text(CORES.replace('compiler = "arm-none-eabi-"', 'compilers = "arm"', 1))
    with pytest.raises(BoardError) as caught:
        read_cores(folder)
    assert str(caught.value) == (
        f"{path}: core.cortex-m3.compiler: missing; it has no default. (1 more mistake after it.)"
    )
    path.write_text(CORES.replace("[core.cortex-m4]", '[core.cortex-m4]\nflag = "-O3"'))
    with pytest.raises(BoardError) as caught:
        read_cores(folder)
    assert str(caught.value) == (
        f"{path}: core.cortex-m4.flag: unknown key; did you mean flags? Known: flags, "
        "call_graph, compiler, cxx_packages, cycles_per_instruction, interrupt_stack_bytes, "
        "kernel, libc_startup, link_flags, linker_script, longest_array_bytes, near_bytes, "
        "packages, port_flags, return_bytes, standard, startup."
    )


def test_boards_are_listed_by_name(folder: Path) -> None:
    other = PROFILE.replace('name = "shelf"', 'name = "aisle"')
    (folder / "family" / "aisle.toml").write_text(other)
    names = [board.name for board in read_boards(folder)]
    assert names == sorted(names)
    assert {"aisle", "shelf", "netduinoplus2"} <= set(names), "those that ship are there too"


def test_a_profile_of_ones_own_wins_over_one_that_ships(folder: Path) -> None:
    own = PROFILE.replace('name = "shelf"', 'name = "netduinoplus2"')
    (folder / "family" / "netduinoplus2.toml").write_text(own)
    assert find_board("netduinoplus2", folder).family == "family"


@pytest.mark.parametrize("board", read_boards(boards_dir()), ids=lambda board: board.name)
def test_the_files_that_a_shipped_board_needs_are_there(board: Board) -> None:
    core = read_cores(boards_dir())[board.core]
    assert (boards_dir() / core.startup).is_file()
    assert (boards_dir().parent / "firmware_templates" / core.linker_script).is_file()
    # The procedure call standard wants the stack at multiples of 8.
    assert board.ram.end % 8 == 0
    assert board.stack_bytes % 8 == 0


STORAGE = {
    "kind": "flash",
    "origin": 0x0003_F000,
    "bytes": 4_096,
    "erase_cycles": 20_000,
    "source": "a data sheet",
}


def test_storage_in_flash_is_its_end_and_is_kept_from_the_image():
    board = find_board("microbit", boards_dir())

    assert board.storage is not None
    assert without_storage(board).flash.end == board.storage.origin
    assert without_storage(without_storage(board)) == without_storage(board)


def test_storage_apart_from_flash_takes_nothing_of_it():
    board = find_board("arduino-uno", boards_dir())

    assert board.storage is not None
    assert without_storage(board) == board


@pytest.mark.parametrize("origin", [0x0003_E000, 0x0000_0000])
def test_storage_elsewhere_in_flash_is_refused(origin):
    board = find_board("microbit", boards_dir())
    values = {**board.model_dump(), "storage": {**STORAGE, "origin": origin}}

    with pytest.raises(ValueError, match="is not the end of flash"):
        Board.model_validate(values)
