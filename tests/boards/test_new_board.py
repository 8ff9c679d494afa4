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
        if shutil.which(f"{core.compiler}gcc") is None:
            pytest.skip(f"{core.compiler}gcc is not installed")
        sources = tmp_path / "sources"
        render(load_graph(tmp_path / "model.tflite"), board, core, boards, sources)
        return build(sources, board, core)

    return make


def uart(base: int, interrupt: int) -> dict[str, str]:
    return {"base = ": f"base = {base} # was ", "IRQ = 37": f"IRQ = {interrupt}"}


F4 = ("stm32f4", "netduinoplus2")
F2 = ("stm32f4", "netduino2")
F1 = ("stm32f1", "stm32vldiscovery")
F411 = ("stm32f4", "blackpill-f411ce")
F446 = ("stm32f4", "nucleo-f446re")
F103 = ("stm32f1", "bluepill-f103c8")
L4 = ("stm32l4", "nucleo-l476rg")
F7 = ("stm32f7", "nucleo-f767zi")
H7 = ("stm32h7", "nucleo-h743zi")
NRF52 = ("nrf52", "nrf52840-dk")
RP2350 = ("rp2350", "pico2")
SAMD21 = ("samd21", "arduino-zero")
LM3S = ("lm3s", "lm3s6965evb")
MPS2 = ("mps2", "mps2-an386")
NRF51 = ("nrf51", "microbit")
FE310 = ("fe310", "hifive1")
C3 = ("esp32c3", "esp32-c3-devkit")
RP2040 = ("rp2040", "pico")


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        (F4, uart(0x4000_4400, 38)),
        (F4, uart(0x4000_4800, 39)),
        (F4, uart(0x4001_1400, 71)),
        (F4, {"HSE_HZ = 25_000_000": "HSE_HZ = 8_000_000"}),
        (F4, {"clock_hz = 168_000_000": "clock_hz = 84_000_000"}),
        (F2, {"clock_hz = 120_000_000": "clock_hz = 96_000_000"}),
        (F1, uart(0x4000_4400, 38)),
        (F1, uart(0x4000_4800, 39)),
        (F1, {"HSE_HZ = 8_000_000": "HSE_HZ = 12_000_000"}),
        (F411, {"clock_hz = 100_000_000": "clock_hz = 84_000_000"}),
        (F446, {"clock_hz = 180_000_000": "clock_hz = 168_000_000"}),
        (F103, {"clock_hz = 72_000_000": "clock_hz = 24_000_000"}),
        (L4, {"base = 0x4000_4400": "base = 0x4001_3800", "IRQ = 38": "IRQ = 37"}),
        (F7, {"clock_hz = 216_000_000": "clock_hz = 90_000_000"}),
        (F7, {"base = 0x4000_4800": "base = 0x4001_1400", "IRQ = 39": "IRQ = 71"}),
        (H7, {"HSE_HZ = 8_000_000": "HSE_HZ = 24_000_000", "BYPASS = 1": "BYPASS = 0"}),
        (RP2350, {"base = 0x4007_0000": "base = 0x4007_8000", "IRQ = 33": "IRQ = 34"}),
        (SAMD21, {"base = 0x4200_1c00": "base = 0x4200_0800", "IRQ = 14": "IRQ = 9"}),
        (LM3S, {"XTAL_HZ = 8_000_000": "XTAL_HZ = 6_000_000"}),
        (LM3S, {"clock_hz = 50_000_000": "clock_hz = 20_000_000"}),
        (MPS2, {"base = 0x4000_4000": "base = 0x4000_5000", "IRQ = 0": "IRQ = 2"}),
        (NRF51, {"baud = 115_200": "baud = 1_000_000"}),
        (FE310, {"base = 0x1001_3000": "base = 0x1002_3000", "IRQ = 3": "IRQ = 4"}),
        (FE310, {"clock_hz = 256_000_000": "clock_hz = 320_000_000"}),
        (FE310, {"HFXOSC_HZ = 16_000_000": "HFXOSC_HZ = 12_800_000"}),
        (C3, {"clock_hz = 160_000_000": "clock_hz = 80_000_000"}),
        (C3, {"baud = 115_200": "baud = 921_600"}),
        (RP2040, {"base = 0x4003_4000": "base = 0x4003_8000", "IRQ = 20": "IRQ = 21"}),
        (RP2040, {"clock_hz = 125_000_000": "clock_hz = 133_000_000"}),
        (RP2040, {"XOSC_HZ = 12_000_000": "XOSC_HZ = 10_000_000"}),
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
        (
            F4,
            uart(0x4000_0000, 28),
            "uart.base is none of USART1, 2, 3 and 6 of an STM32F2, F4, F7 or H7.",
        ),
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
        (
            F2,
            {"clock_hz = 120_000_000": "clock_hz = 95_000_000"},
            "clock_hz must be whole megahertz, 96 to 120.",
        ),
        (
            F2,
            {"CHIP = 205": "CHIP = 207"},
            "BOARD_CHIP must be 405 (also for F407, F415, F417), 411, 446 or 205 (any F2).",
        ),
        (
            LM3S,
            {"base = 0x4000_c000": "base = 0x4000_d000"},
            "uart.base must be 0x4000c000: UART0.",
        ),
        (
            LM3S,
            {"XTAL_HZ = 8_000_000": "XTAL_HZ = 16_000_000"},
            "BOARD_XTAL_HZ must be 6000000 or 8000000.",
        ),
        (
            LM3S,
            {"clock_hz = 50_000_000": "clock_hz = 30_000_000"},
            "clock_hz must be 200000000 divided by 4, 5, 8, 10 or 16.",
        ),
        (
            MPS2,
            {"baud = 115_200": "baud = 2_000_000"},
            "uart.baud must be at most BOARD_UART_CLOCK_HZ / 16.",
        ),
        (
            NRF51,
            {"clock_hz = 16_000_000": "clock_hz = 64_000_000"},
            "clock_hz must be 16000000: an nRF51 runs at 16 MHz and nothing else.",
        ),
        (NRF51, {"baud = 115_200": "baud = 1_500_000"}, "uart.baud must be at most 1000000."),
        (F1, uart(0x4000_4C00, 52), "uart.base is none of USART1, 2 and 3 of an STM32F1 or L4."),
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
        (
            F1,
            {"IRQ = 37": "IRQ = 38"},
            "BOARD_UART_IRQ is not the interrupt of the USART at uart.base.",
        ),
        (F1, {"CHIP = 100": "CHIP = 101"}, "BOARD_CHIP must be 100 or 103."),
        (
            F103,
            {"clock_hz = 72_000_000": "clock_hz = 80_000_000"},
            "clock_hz must be 16 to 72 MHz, and 2, 3, 4... 16 times BOARD_HSE_HZ.",
        ),
        (
            F411,
            {"base = 0x4001_1000": "base = 0x4000_4800", "IRQ = 37": "IRQ = 39"},
            "An STM32F411 has no USART3.",
        ),
        (
            F411,
            {"clock_hz = 100_000_000": "clock_hz = 108_000_000"},
            "clock_hz must be whole megahertz, 50 to 100.",
        ),
        (
            F446,
            {"clock_hz = 180_000_000": "clock_hz = 216_000_000"},
            "clock_hz must be whole megahertz, 50 to 180.",
        ),
        (
            F446,
            {"BYPASS = 1": "BYPASS = 2"},
            "BOARD_HSE_BYPASS must be 0 (a crystal) or 1 (a clock comes in).",
        ),
        (
            L4,
            {"clock_hz = 80_000_000": "clock_hz = 81_000_000"},
            "clock_hz must be an even number of megahertz, 32 to 80.",
        ),
        (
            F7,
            {"clock_hz = 216_000_000": "clock_hz = 240_000_000"},
            "clock_hz must be whole megahertz, 50 to 216.",
        ),
        (
            H7,
            {"clock_hz = 400_000_000": "clock_hz = 480_000_000"},
            "clock_hz must be whole megahertz, 96 to 400.",
        ),
        (
            H7,
            {"HSE_HZ = 8_000_000": "HSE_HZ = 25_000_000"},
            "BOARD_HSE_HZ must be an even number of megahertz, 4 to 48.",
        ),
        (
            NRF52,
            {"clock_hz = 64_000_000": "clock_hz = 16_000_000"},
            "clock_hz must be 64000000: an nRF52 runs at 64 MHz and nothing else.",
        ),
        (
            NRF52,
            {"TX_PIN = 6": "TX_PIN = 48"},
            "BOARD_UART_TX_PIN and BOARD_UART_RX_PIN are 32 times the port and the pin, "
            "at most 47.",
        ),
        (
            RP2350,
            {"clock_hz = 150_000_000": "clock_hz = 200_000_000"},
            "clock_hz must be 75 to 150 MHz.",
        ),
        (
            SAMD21,
            {"IRQ = 14": "IRQ = 13"},
            "BOARD_UART_IRQ is not the interrupt of the SERCOM at uart.base.",
        ),
        (
            SAMD21,
            {"TX_PAD = 2": "TX_PAD = 1"},
            "BOARD_UART_TX_PAD must be 0 or 2, BOARD_UART_RX_PAD 0 to 3.",
        ),
        (
            FE310,
            {"base = 0x1001_3000": "base = 0x1002_4000"},
            "uart.base is neither UART0 nor UART1 of an FE310.",
        ),
        (
            FE310,
            {"HFXOSC_HZ = 16_000_000": "HFXOSC_HZ = 8_000_000"},
            "BOARD_HFXOSC_HZ must be 12 to 24 MHz.",
        ),
        (
            FE310,
            {"clock_hz = 256_000_000": "clock_hz = 200_500_000"},
            "clock_hz must be 192 to 320 MHz, and a multiple of half of BOARD_HFXOSC_HZ.",
        ),
        (
            C3,
            {"base = 0x6000_0000": "base = 0x6001_0000"},
            "uart.base is not UART0 of an ESP32-C3.",
        ),
        (
            C3,
            {"clock_hz = 160_000_000": "clock_hz = 240_000_000"},
            "clock_hz must be 80 or 160 MHz.",
        ),
        (
            C3,
            {"XTAL_HZ = 40_000_000": "XTAL_HZ = 26_000_000"},
            "BOARD_XTAL_HZ must be 40 MHz: an ESP32-C3 takes no other crystal.",
        ),
        (
            C3,
            {"baud = 115_200": "baud = 9_600"},
            "uart.baud must be at least 9,768: UART0's divider has 12 bits.",
        ),
        (
            RP2040,
            {"base = 0x4003_4000": "base = 0x4003_c000"},
            "uart.base is neither UART0 nor UART1 of an RP2040.",
        ),
        (
            RP2040,
            {"IRQ = 20": "IRQ = 21"},
            "BOARD_UART_IRQ is not the interrupt of the UART at uart.base.",
        ),
        (
            RP2040,
            {"XOSC_HZ = 12_000_000": "XOSC_HZ = 20_000_000"},
            "BOARD_XOSC_HZ must be 5 to 15 MHz.",
        ),
        (
            RP2040,
            {"clock_hz = 125_000_000": "clock_hz = 200_000_000"},
            "clock_hz must be 62.5 to 133 MHz.",
        ),
        (
            RP2040,
            {"clock_hz = 125_000_000": "clock_hz = 125_500_000"},
            "12 times clock_hz must be a multiple of BOARD_XOSC_HZ, both whole kilohertz.",
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


def test_a_new_family_takes_shipped_shared_files(tmp_path: Path) -> None:
    shipped, boards = boards_dir(), tmp_path / "boards"
    family = boards / "newfamily"
    family.mkdir(parents=True)
    shutil.copy(shipped / "mps2" / "port.c", family)
    text = (shipped / "mps2" / "mps2-an386.toml").read_text()
    (family / "newcomer.toml").write_text(text.replace('"mps2-an386"', '"newcomer"', 1))
    (boards / "families.toml").write_text(
        '[family.newfamily]\nshared = ["cortex_m_port.h", "cortex_m_port.c"]\n'
    )
    board = find_board("newcomer", boards)
    core = read_cores(boards)[board.core]
    if shutil.which(f"{core.compiler}gcc") is None:
        pytest.skip(f"{core.compiler}gcc is not installed")
    (tmp_path / "model.tflite").write_bytes(write_forecaster(Recipe(hidden=(2,), steps=2)))
    sources = tmp_path / "sources"
    render(load_graph(tmp_path / "model.tflite"), board, core, boards, sources)
    image = build(sources, board, core)
    assert {file.name for file in (sources / "port").iterdir()} == {
        "cortex_m_port.h",
        "cortex_m_port.c",
        "port.c",
        "startup.c",
    }
    assert image.flash_bytes > 0
