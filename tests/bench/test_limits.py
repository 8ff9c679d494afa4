"""What the committed figures of the engine must not fall behind: see bench/results.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "bench" / "results.json").read_text())
ROWS = {row["key"]: row for row in RESULTS["rows"]}

WINDOWS = {
    # instructions, on arduino-uno cycles, of a forecast with 16, 32 and 64 units
    ("netduinoplus2", "speed"): (90_000, 232_000, 650_000),
    ("mps2-an500", "speed"): (90_000, 232_000, 650_000),
    ("mps2-an505", "speed"): (90_000, 232_000, 650_000),
    ("netduinoplus2", "size"): (None, None, 760_000),
    ("stm32vldiscovery", "speed"): (155_000, 440_000, 1_400_000),
    ("microbit", "speed"): (320_000, 830_000, 2_400_000),
    ("pico", "speed"): (320_000, 830_000, 2_400_000),
    ("mps3-an547", "speed"): (40_000, 75_000, 170_000),
    ("hifive1", "speed"): (220_000, 620_000, 1_950_000),
    ("arduino-uno", "speed"): (2_800_000, 6_700_000, 19_000_000),
    ("arduino-uno", "size"): (2_800_000, 6_700_000, 19_000_000),
}
CODE_AND_TABLES = {
    ("netduinoplus2", "speed"): 3_000,
    ("netduinoplus2", "size"): 2_000,
    ("stm32vldiscovery", "speed"): 2_400,
    ("microbit", "speed"): 2_300,
    ("pico", "speed"): 2_300,
    ("microbit", "size"): 1_450,
    ("mps3-an547", "speed"): 3_500,
    ("hifive1", "speed"): 2_600,
    ("arduino-uno", "size"): 2_600,
}
BLOCKS = [
    # of 64 units: instructions, and bytes of weights, biases and indices (6,950 and 5,120) with 240
    # of scales and descriptions
    ("netduinoplus2", 70, 470_000, 7_190),
    ("netduinoplus2", 80, 415_000, 5_360),
    ("stm32vldiscovery", 70, 790_000, 7_190),
]


def window(row) -> int:
    return row.get("instructions_window") or row["cycles_window"]


@pytest.mark.parametrize(("place", "limits"), WINDOWS.items(), ids=str)
def test_a_forecast_takes_at_most_so_many_instructions(place, limits):
    for hidden, limit in zip((16, 32, 64), limits, strict=True):
        row = ROWS[f"{place[0]} {place[1]} lstm:{hidden}x1"]
        assert limit is None or window(row) <= limit


@pytest.mark.parametrize(("place", "limit"), CODE_AND_TABLES.items(), ids=str)
def test_code_and_tables_take_at_most_so_many_bytes(place, limit):
    for hidden in (16, 32, 64):
        row = ROWS[f"{place[0]} {place[1]} lstm:{hidden}x1"]
        assert row["code_bytes"] + row["table_bytes"] <= limit


@pytest.mark.parametrize(("board", "percent", "instructions", "weights"), BLOCKS)
def test_zeros_in_blocks_save_time_and_flash(board, percent, instructions, weights):
    row = ROWS[f"{board} speed lstm:64x1 blocks {percent}%"]
    dense = ROWS[f"{board} speed lstm:64x1"]
    assert window(row) <= instructions < window(dense)
    assert row["weight_bytes"] <= weights < dense["weight_bytes"]


def test_half_of_the_weights_zero_is_smaller_and_faster_than_none_on_m4_and_m3():
    for board in ("netduinoplus2", "stm32vldiscovery"):
        half, dense = ROWS[f"{board} speed lstm:64x1 blocks 50%"], ROWS[f"{board} speed lstm:64x1"]
        assert half["format"] == "blocks"
        assert window(half) < window(dense)
        assert half["weight_bytes"] < dense["weight_bytes"]


def test_a_whole_image_of_16_units_takes_at_most_3000_bytes_on_an_m0():
    assert ROWS["microbit size lstm:16x1"]["image_bytes"] <= 3_000


def test_16_units_take_at_most_200_bytes_of_ram_on_cortex_m():
    for place in ("netduinoplus2 speed", "netduinoplus2 size", "mps2-an500 speed",
                  "mps2-an505 speed", "stm32vldiscovery speed", "microbit speed",
                  "microbit size"):  # fmt: skip
        row = ROWS[f"{place} lstm:16x1"]
        assert row["ram_bytes"] + row["stack_bytes"] <= 200


def test_64_units_take_at_most_500_bytes_of_ram_for_speed_on_cortex_m():
    for board in ("netduinoplus2", "stm32vldiscovery", "microbit", "mps3-an547"):
        row = ROWS[f"{board} speed lstm:64x1"]
        assert row["ram_bytes"] + row["stack_bytes"] <= 500
