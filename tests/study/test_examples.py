"""What the examples' pages say of their studies is what the studies found, and is good enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolchain.summary import summarize_study

EXAMPLES = Path(__file__).parents[2] / "examples"
FOUND = {path.parents[1].name: path for path in sorted(EXAMPLES.glob("*/results/results*.json"))}


def results_of(example: str) -> dict:
    return json.loads((EXAMPLES / example / "results" / "results.json").read_text())


def rows_of(example: str) -> dict[str, dict]:
    return {row["name"]: row for row in results_of(example)["rows"]}


@pytest.mark.parametrize("example", FOUND)
def test_the_page_has_the_table_that_compress_printed(example):
    page = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    lines = summarize_study(results_of(example), {}).splitlines()
    table = [line.rstrip() for line in lines[1 : lines.index("", 1)]]
    assert "\n".join(table) in page


def test_the_published_table_is_reproduced():
    rows = rows_of("store_item")
    baseline = rows["lstm64-float"]
    # Published: 66.25 KB; and this many times less.
    assert baseline["paper_bytes"] == pytest.approx(66.25 * 1024, rel=0.01)
    for name, ratio in (
        ("lstm32-float", 3.9),
        ("lstm16-float", 14.5),
        ("lstm32-pruned50-float", 7.7),
        ("lstm32-pruned70-float", 12.9),
        ("lstm32-int8", 15.5),
    ):
        assert baseline["paper_bytes"] / rows[name]["paper_bytes"] == pytest.approx(ratio, rel=0.01)
    assert all(len(row["seeds"]) == 3 for row in rows.values())
    assert baseline["mape_percent"] <= 15.92
    for name, points in (
        ("lstm16-int8", 0.30),
        ("lstm32-pruned70-int8", 0.30),
        ("lstm32-int8", 0.10),
    ):
        assert rows[name]["mape_percent"] - baseline["mape_percent"] <= points


def test_zeros_in_blocks_cost_little_accuracy():
    rows = rows_of("store_item")
    dense = rows["lstm32+weekday+month-int8"]
    sparse = rows["lstm32+weekday+month-blocks70-int8"]
    assert sparse["mape_percent"] - dense["mape_percent"] <= 0.15
    assert sparse["weight_bytes"] < dense["weight_bytes"] / 2
    assert sparse["instructions"] < dense["instructions"]


@pytest.mark.parametrize(
    ("most_bytes", "mape_percent", "mae", "bias"),
    [(2_200, 12.95, 6.05, 0.3), (1_100, 13.6, 6.3, None)],
)
def test_a_small_model_forecasts_all_series_well(most_bytes, mape_percent, mae, bias):
    small = [
        row
        for row in rows_of("store_item_all").values()
        if row["quantized"] and row["weight_bytes"] <= most_bytes
    ]
    assert all(len(row["seeds"]) == 3 for row in small)
    assert any(
        row["mape_percent"] <= mape_percent
        and row["mae"] <= mae
        and (bias is None or abs(row["bias"]) <= bias)
        for row in small
    )


def test_int8_costs_next_to_nothing():
    rows = rows_of("store_item_all")
    for name, row in rows.items():
        if row["quantized"]:
            real = rows[name.removesuffix("int8") + "float"]
            assert row["mape_percent"] - real["mape_percent"] <= 0.05
            assert row["mae"] <= 1.005 * real["mae"]


def test_the_picked_model_of_the_complete_journey_beats_simple_rules_by_a_tenth():
    results = results_of("complete_journey")
    picked = rows_of("complete_journey")[results["picked"]]
    best = min(rule["mae"] for rule in results["references"].values())
    assert picked["mae"] <= 0.9 * best
    assert picked["weight_bytes"] <= 1_500
