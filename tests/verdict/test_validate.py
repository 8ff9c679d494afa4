"""A verdict that is no, from real firmware that really differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("deployed")

SOURCES = Path("runs/small/netduinoplus2/sources")
VERDICT = Path("runs/small/netduinoplus2/validation.json")


def change(shell, file: str, right: str, wrong: str) -> None:
    """Edit the rendered sources and build them."""
    path = shell.folder / SOURCES / file
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    assert shell.run("build").returncode == 0


def test_wrong_arithmetic_is_found_and_its_first_place_named(deployed_copy):
    change(
        deployed_copy,
        "engine/forecast.c",
        "(uint8_t)layer->hidden_zero_point, layer->hidden_size)",
        "0, layer->hidden_size)",
    )

    result = deployed_copy.run("validate")

    assert result.returncode == 1
    assert "netduinoplus2: FAIL" in result.stdout
    verdict = json.loads((deployed_copy.folder / VERDICT).read_text())
    assert verdict["verdict"] == "fail"
    assert verdict["parity"]["state_mismatches"] > 0
    (reason,) = verdict["reasons"]
    assert "state values" in reason
    assert "differ from the host; first: window 0, step " in reason
    assert "LSTM 0, " in reason
    assert "the device says " in reason


def test_a_head_that_is_wrong_leaves_the_states_alone(deployed_copy):
    change(deployed_copy, "engine/dense.c", "sum += product;", "sum -= product;")

    result = deployed_copy.run("validate", "--json")

    assert result.returncode == 1
    verdict = json.loads(result.stdout)
    assert verdict["parity"]["state_mismatches"] == 0
    assert verdict["parity"]["mismatches"] > 0
    assert verdict["parity"]["max_lsb"] > 0
    assert "first: window 0, output 0: the device says" in verdict["reasons"][0]


def test_a_state_that_is_not_reset_is_found(deployed_copy):
    change(
        deployed_copy,
        "engine/forecast.c",
        "forecast_fill((uint8_t *)state, 0, model->hidden_at);",
        "(uint8_t *)state + model->hidden_at;",
    )

    result = deployed_copy.run("validate", "--json")

    assert result.returncode == 1
    assert json.loads(result.stdout)["parity"]["mismatches"] > 0


def test_a_picture_is_drawn(deployed):
    picture = deployed / "runs/small/netduinoplus2/forecasts.png"

    content = picture.read_bytes()

    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000
