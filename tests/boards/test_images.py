"""What a chip does with an image before any of our code runs; tier 2 boards get no other proof."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import pytest
from tflite_writer import Recipe

from toolchain.board import Board, boards_dir, read_boards
from toolchain.firmware.elf import Image

SMALL = Recipe(hidden=(4,), steps=3)
BOARDS = {board.name: board for board in read_boards(boards_dir())}
CORTEX_M = [name for name, board in BOARDS.items() if board.core.startswith("cortex-m")]
STM32_INTERRUPTS = {"USART1": 37, "USART2": 38, "USART3": 39, "USART6": 71}


def flash_of(image: Image, board: Board) -> bytes:
    """Return what the flash holds from its origin to the image's end."""
    end = max(part.address + len(part.data) for part in image.segments)
    flash = bytearray(b"\xff" * (end - board.flash.origin))
    for part in image.segments:
        start = part.address - board.flash.origin
        flash[start : start + len(part.data)] = part.data
    return bytes(flash)


def words(flash: bytes, offset: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}I", flash, offset)


def vectors_offset(board: Board) -> int:
    """From the start of flash; an RP2040 begins with its boot stage 2 (data sheet 2.8.1.3)."""
    return 256 if board.mcu.startswith("RP2040") else 0


def name_at(image: Image, vector: int) -> str:
    symbol = image.symbol_at(vector & ~1)
    assert symbol is not None, f"0x{vector:08x} is in no function"
    return symbol.name


@pytest.mark.parametrize("name", CORTEX_M)
def test_a_reset_finds_its_stack_and_its_way(name: str, build_firmware: Callable[..., object]):
    firmware = build_firmware(name, SMALL)
    board, image = firmware.board, firmware.image
    stack, reset, *others = words(flash_of(image, board), vectors_offset(board), 16)
    assert stack == board.ram.end
    for vector in (reset, *others):
        assert vector & 1, "the core has no state but Thumb"
        assert board.flash.origin <= vector < board.flash.end
    assert name_at(image, reset) == "startup_reset"
    assert image.entry & ~1 == reset & ~1
    assert {name_at(image, vector) for vector in others[:13]} == {"startup_fault"}


@pytest.mark.parametrize("name", CORTEX_M)
def test_the_uart_interrupts_the_port(name: str, build_firmware: Callable[..., object]):
    firmware = build_firmware(name, SMALL)
    board, image = firmware.board, firmware.image
    irq = board.defines["BOARD_UART_IRQ"]
    offset = vectors_offset(board)
    (vector,) = words(flash_of(image, board), offset + 4 * (16 + irq), 1)
    assert name_at(image, vector) == "port_interrupt"
    # DDI 0403 B3.2.5, DDI 0419 B3.2.5: the table's address is a multiple of its size, rounded up to
    # a power of two, and of 128, or 256 on a Cortex-M0+.
    table_bytes = 4 * (16 + irq + 1)
    alignment = max(256, 1 << (table_bytes - 1).bit_length())
    assert (board.flash.origin + offset) % alignment == 0


@pytest.mark.parametrize(
    "name", [name for name, board in BOARDS.items() if board.mcu.startswith("RP2350")]
)
def test_an_rp2350_finds_an_image_it_may_start(name: str, build_firmware: Callable[..., object]):
    # RP2350 Datasheet 5.1.5, 5.9.1, 5.9.3.1, 5.9.5.1: a loop of blocks, one of which begins in the
    # first 4 KB, with an IMAGE_TYPE item.
    firmware = build_firmware(name, SMALL)
    flash = flash_of(firmware.image, firmware.board)
    starts = [at for at in range(0, 4096, 4) if flash[at : at + 4] == b"\xd3\xde\xff\xff"]
    assert len(starts) == 1
    start = starts[0]
    kind, size, flags = struct.unpack_from("<BBH", flash, start + 4)
    assert (kind, size) == (0x42, 1)
    assert flags & 0x000F == 0x0001, "an executable"
    assert flags & 0x0030 == 0x0020, "that runs in secure state"
    assert flags & 0x0700 == 0x0000, "on the Arm cores"
    assert flags & 0x7000 == 0x1000, "of an RP2350"
    assert flags & 0x8000 == 0x0000, "without being on trial"
    last, last_size, _ = struct.unpack_from("<BHB", flash, start + 8)
    assert (last, last_size) == (0xFF, size)
    assert words(flash, start + 12, 2) == (0, 0xAB123579)


@pytest.mark.parametrize("name", CORTEX_M)
def test_a_boot_loader_is_left_as_it_is(name: str, build_firmware: Callable[..., object]):
    firmware = build_firmware(name, SMALL)
    for region in firmware.board.memory:
        if region.name == "bootloader":
            assert region.kind == "other"
            assert region.end == firmware.board.flash.origin, "the boot loader starts what follows"
        if region.kind != "other":
            continue
        for part in firmware.image.segments:
            assert part.address >= region.end or part.address + len(part.data) <= region.origin


@pytest.mark.parametrize("name", CORTEX_M)
@pytest.mark.parametrize("role", ["tx", "rx"])
def test_the_pins_are_those_the_profile_speaks_of(name: str, role: str):
    board = BOARDS[name]
    number = board.defines.get(f"BOARD_UART_{role.upper()}_PIN")
    if number is None:
        pytest.skip("its UART has no choice of pins")
    pin = getattr(board.uart, role)
    if match := re.fullmatch(r"GP(\d+)", pin):
        assert number == int(match[1])
    elif match := re.fullmatch(r"P(\d)\.(\d\d)", pin):
        assert number == 32 * int(match[1]) + int(match[2])
    else:
        match = re.fullmatch(r"P([A-K])(\d+)", pin)
        assert match is not None, pin
        port = ord(match[1]) - ord("A")
        base = board.defines.get("BOARD_UART_GPIO_BASE")
        if base is None:
            assert number == 32 * port + int(match[2])
        else:
            first = 0x800 if board.family == "stm32f1" else 0  # GPIOA, from the start of its bus
            assert base % 0x10000 == first + 0x400 * port
            assert number == int(match[2])


@pytest.mark.parametrize(
    "name", [name for name, board in BOARDS.items() if board.family.startswith("stm32")]
)
def test_an_stm32_usart_has_the_interrupt_of_every_family(name: str):
    board = BOARDS[name]
    assert board.defines["BOARD_UART_IRQ"] == STM32_INTERRUPTS[board.uart.peripheral]


def test_a_board_that_was_never_run_says_so_first() -> None:
    for board in BOARDS.values():
        assert (board.tier == 2) == any("never run" in note.lower() for note in board.notes), (
            board.name
        )
