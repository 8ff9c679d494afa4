"""What docs/boards.md promises: a new board of a known family is one TOML file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tflite_writer import Recipe, write_forecaster

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.errors import CompileError
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image
from toolchain.firmware.render import render
from toolchain.graph.tflite_file import load_graph


@pytest.fixture
def build_changed(tmp_path: Path) -> Callable[..., Image]:
    """Write a profile that differs from a shipped one in some lines, and build for it."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")

    def make(family: str, name: str, changes: dict[str, str]) -> Image:
        boards = tmp_path / "boards"
        shutil.copytree(boards_dir(), boards)
        text = (boards / family / f"{name}.toml").read_text()
        for old, new in {f'name = "{name}"': 'name = "newcomer"', **changes}.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (boards / family / "newcomer.toml").write_text(text)
        board = find_board("newcomer", boards)
        (tmp_path / "model.tflite").write_bytes(write_forecaster(Recipe(hidden=(2,), steps=2)))
        core = read_cores(boards)[board.core]
        sources = tmp_path / "sources"
        render(load_graph(tmp_path / "model.tflite"), board, core, boards, sources)
        return build(sources, board, core)

    return make


def uart(base: int, interrupt: int) -> dict[str, str]:
    return {"base = ": f"base = {base} # was ", "IRQ = 37": f"IRQ = {interrupt}"}


F4 = ("stm32f4", "netduinoplus2")
F1 = ("stm32f1", "stm32vldiscovery")


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        (F4, uart(0x4000_4400, 38)),
        (F4, uart(0x4000_4800, 39)),
        (F4, uart(0x4001_1400, 71)),
        (F4, {"HSE_HZ = 25_000_000": "HSE_HZ = 8_000_000"}),
        (F4, {"clock_hz = 168_000_000": "clock_hz = 84_000_000"}),
        (F1, uart(0x4000_4400, 38)),
        (F1, uart(0x4000_4800, 39)),
        (F1, {"HSE_HZ = 8_000_000": "HSE_HZ = 12_000_000"}),
    ],
)
def test_another_uart_crystal_or_clock_is_data(
    build_changed: Callable[..., Image], family: tuple[str, str], changes: dict[str, str]
) -> None:
    image = build_changed(*family, changes)
    assert image.flash_bytes > 0


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        (F4, uart(0x4000_0000, 28), "uart.base is none of USART1, 2, 3 and 6 of an STM32F4."),
        (
            F4,
            {"HSE_HZ = 25_000_000": "HSE_HZ = 14_745_600"},
            "BOARD_HSE_HZ must be whole megahertz, 2 to 26.",
        ),
        (
            F4,
            {"clock_hz = 168_000_000": "clock_hz = 180_000_000"},
            "clock_hz must be whole megahertz, 50 to 168.",
        ),
        (F1, uart(0x4000_4C00, 52), "uart.base is none of USART1, 2 and 3 of an STM32F100."),
        (
            F1,
            {"HSE_HZ = 8_000_000": "HSE_HZ = 32_000_000"},
            "BOARD_HSE_HZ must be 4 to 24 MHz.",
        ),
        (
            F1,
            {"clock_hz = 24_000_000": "clock_hz = 20_000_000"},
            "clock_hz must be at most 24 MHz, and 2, 3, 4... times BOARD_HSE_HZ.",
        ),
    ],
)
def test_what_the_chip_cannot_do_does_not_compile(
    build_changed: Callable[..., Image],
    family: tuple[str, str],
    changes: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(CompileError) as caught:
        build_changed(*family, changes)
    assert f'#error "{message}"' in str(caught.value)
