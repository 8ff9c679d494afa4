"""The engine's bench: what it measures, and what it lets pass."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from toolchain.graph.sample import Shape

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("engine_bench", BENCH / "engine.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine_bench"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("board", ["netduinoplus2", "arduino-uno"])
def test_a_row_is_measured_and_the_same_every_time(bench, board):
    case = bench.Case(board, "size", Shape((6,), 2, 5))

    row = bench.measure(case)

    counted = "cycles" if board == "arduino-uno" else "instructions"
    assert row[f"{counted}_window"] > row[f"{counted}_step"] > row["macs"] / 5
    assert row["weight_bytes"] > 4 * 6 * (6 + 2) + 16 * 6
    assert row["image_bytes"] > row["code_bytes"] + row["table_bytes"] + row["weight_bytes"]
    assert 300 < row["code_bytes"] < 4_000
    assert row["table_bytes"] in (512, 1_028)
    assert 16 < row["stack_bytes"] < 400
    assert bench.measure(case) == row


def test_another_forecast_than_the_hosts_ends_the_bench(bench, monkeypatch):
    right = bench.reference.run

    def wrong(graph, windows):
        forecasts = right(graph, windows)
        forecasts.outputs[1] += 1
        return forecasts

    monkeypatch.setattr(bench.reference, "run", wrong)

    with pytest.raises(RuntimeError, match="netduinoplus2: forecasts"):
        bench.measure(bench.Case("netduinoplus2", "size", Shape((3,), 1, 3)))


def test_a_loss_over_one_percent_is_named_unless_declared(bench):
    old = {"a": {"code_bytes": 1_000, "stack_bytes": 100}, "b": {"cycles_window": 1_000}}
    new = {"a": {"code_bytes": 1_010, "stack_bytes": 102}, "b": {"cycles_window": 1_011}, "c": {}}

    assert bench.compare(new, old, {}) == [
        "a: stack_bytes was 100, is 102 (+2.0%)",
        "b: cycles_window was 1,000, is 1,011 (+1.1%)",
    ]
    assert bench.compare(new, old, {"a": "a reason", "b": "another"}) == []


def test_the_page_has_the_committed_figures(bench):
    rows = json.loads(bench.RESULTS.read_text())["rows"]
    shown = bench.PAGE.read_text(encoding="utf-8").split(bench.BEGIN)[1].split(bench.END)[0]
    assert shown == bench.page_table(rows)
