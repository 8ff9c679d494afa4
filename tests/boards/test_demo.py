"""The demo's model, trained on real sales, on every board that is emulated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.board import boards_dir, read_boards

# One worker runs these: they share a model that is trained once.
pytestmark = pytest.mark.xdist_group("demo")

PROJECT = Path(__file__).parents[2] / "examples" / "complete_journey"
EMULATED = [board.name for board in read_boards(boards_dir()) if board.tier == 1]


def shelfcast(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("shelfcast"), *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's network, quantized."""
    folder = tmp_path_factory.mktemp("demo")
    for verb in ("prepare", "train", "quantize"):
        result = shelfcast(folder, verb, str(PROJECT))
        assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("board", EMULATED)
def test_the_demos_model_forecasts_exactly_as_on_the_host(demo: Path, board: str) -> None:
    for verb in ("render", "build"):
        assert shelfcast(demo, verb, str(PROJECT), "--board", board).returncode == 0

    result = shelfcast(
        demo, "validate", str(PROJECT), "--board", board, "--windows", "500", "--json"
    )

    assert result.returncode == 0, result.stderr
    verdict = json.loads(result.stdout)
    parity = verdict["parity"]
    assert (parity["windows"], parity["mismatches"]) == (500, 0)
    assert (parity["state_values"], parity["state_mismatches"]) == (24 * 28 * 16 * 2, 0)
    assert (parity["sequence_windows"], parity["sequence_mismatches"]) == (40, 0)
    assert verdict["mae_loss_percent"] < 1.0
    assert verdict["gain_percent"] > 5.0, "500 of the 3,000 windows; all of them gain more"
    latency = verdict["latency"]
    assert (latency["instructions"] is None) != (latency["cycles"] is None)


def test_a_profile_in_a_folder_of_ones_own_is_all_a_new_board_takes(tmp_path: Path) -> None:
    text = (boards_dir() / "stm32f1" / "stm32vldiscovery.toml").read_text()
    own = tmp_path / "mine" / "stm32f1" / "shelf-sensor.toml"
    own.parent.mkdir(parents=True)
    own.write_text(text.replace('name = "stm32vldiscovery"', 'name = "shelf-sensor"'))

    result = shelfcast(
        tmp_path, "boards", "shelf-sensor", "--boards-dir", "mine", "--check", "--json"
    )

    assert result.returncode == 0, result.stderr
    (check,) = json.loads(result.stdout)["checks"]
    assert check["ran"]
    assert check["state_values"] > 500
    assert check["mismatches"] == check["state_mismatches"] == 0
