from __future__ import annotations

import copy

import pytest

from toolchain.study.picture import draw

EMPTY = {"mae": None, "mape_percent": None}


def row(model: str, flash: int | None, mae: float, *, pareto: bool = True) -> dict:
    errors = {"mae": mae, "mape_percent": 2 * mae}
    kind = "float" if flash is None else "int8"
    return {
        "name": f"{model}-{kind}", "model": model, "flash_bytes": flash, "pareto": pareto,
        **errors, "validation": errors, "spread": EMPTY, "validation_spread": EMPTY,
    }  # fmt: skip


RESULTS = {
    "board": "netduinoplus2",
    "baseline": "lstm64-float",
    "metric": "mae",
    "budget": {"mape_points": None, "mae_percent": 5.0, "flash_bytes": 8_000},
    "picked": "lstm8-int8",
    "rows": [
        row("lstm64", None, 6.0, pareto=False),
        row("lstm64", 20_000, 6.1, pareto=False),
        row("lstm8", 3_000, 6.2),
        row("lstm16", 4_000, 6.0),
    ],
}


def png_of(tmp_path, results: dict) -> bytes:
    draw(tmp_path / "front.png", results)
    return (tmp_path / "front.png").read_bytes()


def test_the_same_results_give_the_same_bytes(tmp_path):
    first = png_of(tmp_path, RESULTS)

    assert first.startswith(b"\x89PNG")
    assert png_of(tmp_path, copy.deepcopy(RESULTS)) == first


@pytest.mark.parametrize(
    "change",
    [
        {"picked": "lstm16-int8"},
        {"picked": None},
        {"metric": "mape_percent", "budget": {**RESULTS["budget"], "mape_points": 0.5}},
        {"budget": {"mape_points": None, "mae_percent": None, "flash_bytes": None}},
        {"rows": RESULTS["rows"][:3]},
    ],
    ids=["picked", "nothing", "metric", "budget", "rows"],
)
def test_what_is_in_the_results_is_in_the_picture(tmp_path, change):
    assert png_of(tmp_path, {**RESULTS, **change}) != png_of(tmp_path, RESULTS)


def test_an_error_that_nobody_has_is_left_out(tmp_path):
    rows = [*RESULTS["rows"], {**row("lstm32", 6_000, 1.0), **EMPTY, "validation": EMPTY}]

    assert png_of(tmp_path, {**RESULTS, "rows": rows})


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no model was built"):
        draw(tmp_path / "front.png", {**RESULTS, "rows": RESULTS["rows"][:1]})
