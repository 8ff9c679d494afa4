"""The exact command line of every flasher: what `--dry-run` prints, and what runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.board import Board, boards_dir, find_board
from toolchain.device.flashers.catalog import FLASHERS, plan, write_image
from toolchain.errors import BoardError, FlashError
from toolchain.install import find_tool

MakeBoard = Callable[..., Board]
ELF = Path("out/firmware.elf")

# [flasher] table, port, the commands.
COMMANDS = [
    (
        {"kind": "openocd", "interface": "interface/cmsis-dap.cfg", "target": "target/nrf51.cfg"},
        None,
        "openocd -f interface/cmsis-dap.cfg -f target/nrf51.cfg "
        "-c 'program {out/firmware.elf} verify reset exit'",
    ),
    (
        {
            "kind": "openocd",
            "interface": "interface/jlink.cfg",
            "target": "target/stm32f4x.cfg",
            "transport": "swd",
            "speed_khz": 500,
            "reset": "none",
        },
        None,
        "openocd -f interface/jlink.cfg -c 'transport select swd' -f target/stm32f4x.cfg "
        "-c 'adapter speed 500' -c 'program {out/firmware.elf} verify exit'",
    ),
    (
        {"kind": "pyocd", "target": "nrf51"},
        None,
        "pyocd load --no-wait --target nrf51 out/firmware.elf",
    ),
    (
        {"kind": "pyocd", "target": "nrf51", "speed_khz": 500, "reset": "none"},
        None,
        "pyocd load --no-wait --target nrf51 --frequency 500k --no-reset out/firmware.elf",
    ),
    (
        {"kind": "st-flash"},
        None,
        "st-flash --reset write out/firmware.bin 0x08000000",
    ),
    (
        {"kind": "st-flash", "address": 0x0800_4000, "reset": "none"},
        None,
        "st-flash write out/firmware.bin 0x08004000",
    ),
    (
        {"kind": "jlink", "device": "nRF51822_xxAA"},
        None,
        f"{FLASHERS['jlink'].program} -NoGui 1 -ExitOnError 1 -device nRF51822_xxAA -if SWD "
        "-speed 4000 -autoconnect 1 -CommandFile out/firmware.jlink",
    ),
    (
        {"kind": "openocd", "target": "board/sifive-hifive1.cfg"},
        None,
        "openocd -f board/sifive-hifive1.cfg -c 'program {out/firmware.elf} verify reset exit'",
    ),
    (
        {"kind": "esptool", "chip": "esp32c3", "image": "raw"},
        "/dev/ttyACM0",
        "esptool --chip esp32c3 --port /dev/ttyACM0 --baud 460800 --before default-reset "
        "--after hard-reset write-flash 0x0 out/firmware.bin",
    ),
    (
        {"kind": "esptool", "chip": "esp32c3"},
        "/dev/ttyACM0",
        "esptool --chip esp32c3 elf2image --output out/firmware.esp.bin out/firmware.elf\n"
        "esptool --chip esp32c3 --port /dev/ttyACM0 --baud 460800 --before default-reset "
        "--after hard-reset write-flash 0x0 out/firmware.esp.bin",
    ),
    (
        {"kind": "avrdude", "part": "m328p", "baud": 115_200},
        "/dev/ttyACM0",
        "avrdude -p m328p -c arduino -P /dev/ttyACM0 -b 115200 -D -U flash:w:out/firmware.bin:r",
    ),
    (
        {"kind": "avrdude", "part": "m2560", "programmer": "wiring"},
        "socket://localhost:4000",
        "avrdude -p m2560 -c wiring -P net:localhost:4000 -D -U flash:w:out/firmware.bin:r",
    ),
    (
        {"kind": "avrdude", "part": "m328p", "programmer": "usbasp", "bootloader": False},
        None,
        "avrdude -p m328p -c usbasp -U flash:w:out/firmware.bin:r",
    ),
    (
        {"kind": "bossac", "offset": 0x2000},
        "/dev/ttyACM0",
        "bossac --info --erase --write --verify --reset --offset=0x2000 --port=/dev/ttyACM0 "
        "out/firmware.bin",
    ),
    (
        {"kind": "dfu-util", "id": "0483:df11"},
        None,
        "dfu-util --device 0483:df11 --alt 0 --dfuse-address 0x08000000:leave "
        "--download out/firmware.bin",
    ),
    (
        {"kind": "uf2", "family": 0xE48BFF56, "label": "RPI-RP2"},
        None,
        "cp out/firmware.uf2 RPI-RP2:",
    ),
    ({"kind": "picotool"}, None, "picotool load --verify --execute out/firmware.elf"),
]


@pytest.mark.parametrize(
    ("table", "port", "commands"), COMMANDS, ids=[case[0]["kind"] for case in COMMANDS]
)
def test_the_commands_are_these(
    make_board: MakeBoard, table: dict[str, object], port: str | None, commands: str
) -> None:
    steps = plan(make_board(**table), ELF, port)

    assert "\n".join(map(str, steps)) == commands


def test_every_flasher_is_here() -> None:
    assert {case[0]["kind"] for case in COMMANDS} == set(FLASHERS)


def test_commander_takes_its_orders_from_a_script(make_board: MakeBoard) -> None:
    (step,) = plan(make_board(kind="jlink", device="STM32F405RG"), ELF, None)

    assert step.script == (
        Path("out/firmware.jlink"),
        'r\nh\nloadfile "out/firmware.bin" 0x08000000\nr\ng\nexit\n',
    )


def test_the_shipped_boards_are_flashed_like_this() -> None:
    def command(name: str) -> str:
        (step,) = plan(find_board(name, boards_dir()), ELF, None)
        return str(step)

    assert command("netduinoplus2") == (
        "dfu-util --device 0483:df11 --alt 0 --dfuse-address 0x08000000:leave "
        "--download out/firmware.bin"
    )
    assert command("stm32vldiscovery") == "st-flash --reset write out/firmware.bin 0x08000000"


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "esptool", "chip": "esp32c3"},
        {"kind": "avrdude", "part": "m328p"},
        {"kind": "bossac"},
    ],
    ids=lambda table: table["kind"],
)
def test_a_flasher_that_needs_a_port_asks_for_it(
    make_board: MakeBoard, table: dict[str, object]
) -> None:
    with pytest.raises(BoardError) as caught:
        plan(make_board(**table), ELF, None)

    assert str(caught.value) == f"shelf: {table['kind']} writes over a serial port. Name it: --port"
    assert caught.value.exit_code == 2


def test_a_board_without_a_flasher_is_refused(make_board: MakeBoard) -> None:
    board = make_board(kind="picotool").model_copy(update={"flasher": None})

    with pytest.raises(BoardError) as caught:
        plan(board, ELF, None)

    assert str(caught.value) == (
        "shelf: its profile has no [flasher]. Write the image with the board's own tool, then run: "
        "shelfcast validate --port PORT"
    )


@pytest.mark.parametrize("absent", ["firmware.elf", "firmware.bin"])
def test_an_image_that_was_not_built_is_refused(
    make_board: MakeBoard, image: Path, absent: str
) -> None:
    path = image.with_name(absent)
    path.unlink()

    with pytest.raises(FlashError) as caught:
        write_image(make_board(kind="picotool"), image)

    assert str(caught.value) == f"{path}: no such file. Build it: shelfcast build --board shelf"


# What the real tools, where they are installed, say to our command when no board is there. Those
# that take the first probe they find are not among them: somebody's board could hang on it.
WITHOUT_BOARD = [
    ({"kind": "dfu-util", "id": "ffff:fffe"}, "dfu-util finds no board in its boot loader. "),
    ({"kind": "bossac"}, "bossac finds no boot loader at /dev/ttyNOT. "),
    (
        {"kind": "avrdude", "part": "m328p"},
        "avrdude cannot open the port /dev/ttyNOT: No such file or directory. ",
    ),
]


@pytest.mark.parametrize(
    ("table", "said"), WITHOUT_BOARD, ids=[case[0]["kind"] for case in WITHOUT_BOARD]
)
def test_the_real_tool_takes_the_command_and_finds_no_board(
    make_board: MakeBoard, image: Path, table: dict[str, str], said: str
) -> None:
    program = FLASHERS[table["kind"]].program
    if find_tool(program) is None:
        pytest.skip(f"{program} is not installed")

    with pytest.raises(FlashError) as caught:
        write_image(make_board(**table), image, port="/dev/ttyNOT")

    assert str(caught.value).startswith(f"shelf: {said}")


def test_the_real_esptool_takes_the_commands_and_finds_no_port(
    make_board: MakeBoard, riscv_image: Path
) -> None:
    if find_tool("esptool") is None:
        pytest.skip("esptool is not installed")

    with pytest.raises(FlashError) as caught:
        write_image(make_board(kind="esptool", chip="esp32c3"), riscv_image, port="/dev/ttyNOT")

    assert str(caught.value).startswith("shelf: esptool cannot open /dev/ttyNOT: ")
