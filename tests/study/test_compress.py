"""`shelfcast compress` as its user runs it: real trainings, real firmware, real interruptions."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from waiting import wait_for

from toolchain.board import boards_dir
from toolchain.graph.tflite_file import load_graph

# One worker runs these: they share a study that is done once.
pytestmark = pytest.mark.xdist_group("study")

STUDY = Path("runs/small/study")
NAMES = ["lstm6+weekday-float", "lstm6+weekday-int8", "tiny-float", "tiny-int8"]
KEYS = {
    "name", "hidden", "sparsity", "quantized", "parameters", "paper_bytes", "model_bytes",
    "flash_bytes", "mae", "mape_percent", "bias", "pareto",
}  # fmt: skip


def results_of(folder: Path) -> dict:
    return json.loads((folder / STUDY / "results.json").read_text())


def without_times(results: dict) -> dict:
    """What has to be the same however a study was done."""
    rows = [{key: row[key] for key in row if key != "seconds"} for row in results["rows"]]
    return {**results, "rows": rows}


def models_of(folder: Path) -> dict[str, bytes]:
    paths = sorted((folder / STUDY / "models").glob("*/model.tflite"))
    return {path.parent.name: path.read_bytes() for path in paths}


def entries_of(folder: Path) -> list[Path]:
    """List the finished trainings."""
    return sorted((folder / STUDY / "trained").glob("[!.]*"))


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1].removeprefix("error: ")


def processes_of(folder: Path) -> list[str]:
    """List what still runs for the command in `folder`: it inherits its environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SHELFCAST_TEST={folder}".encode() in entry.read_bytes():
                command = (entry.parent / "cmdline").read_bytes().decode().replace("\0", " ")
                found.append(f"{entry.parent.name} {command}")
        except OSError:
            continue
    return [line for line in found if line.split(" ", 1)[1]]


def test_every_model_has_its_row(studied):
    results = results_of(studied)
    rows = {row["name"]: row for row in results["rows"]}

    assert list(rows) == NAMES
    assert all(row.keys() >= KEYS for row in rows.values())
    assert [row["quantized"] for row in rows.values()] == [False, True, False, True]
    # 4 (hidden (inputs + hidden) + hidden) + hidden + 1
    assert rows["tiny-int8"]["parameters"] == 4 * (4 * 5 + 4) + 5
    assert rows["tiny-float"]["paper_bytes"] == 4 * 101
    assert rows["tiny-int8"]["paper_bytes"] == 101
    assert results["picked"] == "tiny-int8"
    assert results["reason"].startswith("tiny-int8 is the smallest of 2 models within the budget")


def test_sizes_are_those_of_the_files(studied):
    for row in results_of(studied)["rows"]:
        if not row["quantized"]:
            assert row["flash_bytes"] is None, "nothing runs a float model"
            continue
        run = studied / STUDY / "models" / row["model"]
        graph = load_graph(run / "model.tflite")
        constants = sum(operator.constant_bytes for operator in graph.operators)
        image = (run / "netduinoplus2/image/firmware.bin").stat().st_size
        assert row["model_bytes"] == (run / "model.tflite").stat().st_size
        assert row["image_bytes"] == image
        assert constants < row["weight_bytes"] < row["flash_bytes"] < image
        assert row["flash_bytes"] == sum(
            row[key] for key in ("weight_bytes", "table_bytes", "engine_bytes")
        )
        assert row["engine_bytes"] > 500
        assert row["instructions"] > graph.macs
        assert row["checked_windows"] == 6


def test_the_table_and_the_picture(studied):
    with (studied / STUDY / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    printed = (studied / "stdout.txt").read_text()

    assert [row["name"] for row in rows] == NAMES
    assert rows[3]["hidden"] == "4"
    assert float(rows[3]["validation_mae"]) == results_of(studied)["rows"][3]["validation"]["mae"]
    assert (studied / STUDY / "front.png").read_bytes().startswith(b"\x89PNG")
    assert "\n> " in printed, "the picked model is marked"
    assert "picked: tiny-int8 is the smallest" in printed


def test_a_second_call_trains_nothing_and_says_the_same(studied_copy):
    before = results_of(studied_copy.folder)

    again = studied_copy.run("compress", "--json", PYTHONPROFILEIMPORTTIME="1")

    assert again.returncode == 0, again.stderr
    assert "0 trained, 2 found from before (unchanged)" in again.stderr
    assert json.loads(again.stdout) == before
    assert "toolchain.study.training" in again.stderr, "the import log must be there"
    assert "| tensorflow" not in again.stderr, "only workers import it"


def test_another_budget_picks_another_without_training(studied_copy):
    rows = {row["name"]: row for row in results_of(studied_copy.folder)["rows"]}
    floor = rows["lstm6+weekday-int8"]["validation"]["mae"]
    base = rows["lstm6+weekday-float"]["validation"]["mae"]
    percent = max(0.0, 100 * (floor / base - 1)) + 0.001

    result = studied_copy.run("compress", "--json", "--budget-mae", f"{percent:.4f}")

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["picked"] == "lstm6+weekday-int8"
    assert "0 trained" in result.stderr


def test_a_budget_that_nothing_meets(studied_copy):
    result = studied_copy.run("compress", "--json", "--budget-flash", "100")

    assert result.returncode == 1
    values = json.loads(result.stdout)
    assert (values["picked"], values["nearest"]) == (None, "tiny-int8")
    assert error_of(result).startswith(
        "no model is within the budget of +200% MAE and 100 bytes of flash: tiny-int8 comes "
        "nearest, with "
    )
    refused = studied_copy.run("render", "--model", "picked")
    assert refused.returncode == 2
    assert "results.json: nothing is picked: no model is within" in error_of(refused)


@pytest.mark.parametrize("name", ["picked", "tiny", "tiny-int8"])
def test_a_model_of_the_study_is_built_by_name(studied_copy, name):
    result = studied_copy.run("build", "--model", name, "--json")

    image = Path(json.loads(result.stdout)["image"])
    assert image == STUDY / "models/tiny/netduinoplus2/image/firmware.elf"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinny", 'unknown model "tinny"; did you mean tiny-int8? Known: tiny-int8, lstm6+weekday'),
        ("tiny-float", '"tiny-float" is a float model; boards run its INT8 twin: --model tiny-int'),
    ],
)
def test_a_model_that_the_study_has_not(studied_copy, name, words):
    result = studied_copy.run("build", "--model", name)

    assert result.returncode == 2
    assert error_of(result).startswith(words)


def test_a_model_before_any_study(shell, study_project):
    (shell.folder / "shelfcast.toml").write_text(study_project)

    result = shell.run("render", "--model", "picked")

    assert result.returncode == 2
    assert "results.json: not there yet. `shelfcast compress` makes it." in error_of(result)


def test_results_that_were_damaged(studied_copy):
    path = studied_copy.folder / STUDY / "results.json"
    path.write_text(path.read_text()[:100])

    result = studied_copy.run("build", "--model", "picked")

    assert result.returncode == 2
    assert error_of(result) == (
        f"{STUDY}/results.json: not the results of a study. `shelfcast compress` makes them again."
    )


def test_the_picked_model_is_deployed(studied_copy):
    result = studied_copy.run("deploy", "--model", "picked", "--json")

    assert result.returncode == 0, result.stderr
    verdict = json.loads(result.stdout)
    graph = load_graph(studied_copy.folder / STUDY / "models/tiny/model.tflite")
    assert verdict["model_crc"] == f"{graph.crc32:08x}"
    assert verdict["parity"]["mismatches"] == 0
    assert not (studied_copy.folder / "runs/small/float.h5").exists(), "nothing else was trained"


@pytest.mark.full
def test_what_was_damaged_is_trained_again_with_a_word(studied_copy):
    before = without_times(results_of(studied_copy.folder))
    (tiny,) = (
        path for path in entries_of(studied_copy.folder)
        if json.loads((path / "entry.json").read_text())["about"]["candidate"]["hidden"] == [4]
    )  # fmt: skip
    (tiny / "model.tflite").write_bytes(b"TFL3")

    result = studied_copy.run("compress", "--json")

    assert result.returncode == 0, result.stderr
    word = f"tiny with seed 1: {STUDY / 'trained' / tiny.name / 'model.tflite'} was changed"
    assert f"1 trained, 1 found from before, made again, because {word}" in result.stderr
    values = json.loads(result.stdout)
    assert values.pop("retrained") == [word]
    before.pop("retrained")
    assert without_times(values) == before


def test_kill_9_loses_only_what_was_in_flight(shell, study_project, studied):
    """One worker, killed and resumed, gives what two gave in one go: bit for bit."""
    (shell.folder / "shelfcast.toml").write_text(study_project)
    process = shell.start("compress", "--workers", "1")
    assert wait_for(lambda: len(entries_of(shell.folder)) == 1, 120)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)

    assert wait_for(lambda: processes_of(shell.folder) == [], 10), "workers end with their leader"
    assert len(entries_of(shell.folder)) == 1
    again = shell.run("compress", "--workers", "1", "--json")
    assert again.returncode == 0, again.stderr
    assert "1 trained, 1 found from before" in again.stderr
    assert models_of(shell.folder) == models_of(studied)
    assert without_times(json.loads(again.stdout)) == without_times(results_of(studied))


def test_ctrl_c_ends_everything_at_once(shell, study_project):
    (shell.folder / "shelfcast.toml").write_text(study_project.replace("epochs = 1", "epochs = 99"))
    process = shell.start("compress", "--workers", "2")
    assert wait_for(lambda: len(processes_of(shell.folder)) >= 3, 60)
    time.sleep(1.0)

    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith(
        "interrupted; what was finished is kept, the next call goes on from there\n"
    )
    assert wait_for(lambda: processes_of(shell.folder) == [], 5)
    leftovers = [path for path in (shell.folder / "runs").rglob(".*") if path.is_dir()]
    assert leftovers == []


def test_an_8_bit_board_counts_cycles(studied_copy):
    result = studied_copy.run("compress", "--board", "arduino-uno", "--json")

    assert result.returncode == 0, result.stderr
    for row in json.loads(result.stdout)["rows"]:
        if row["quantized"]:
            assert row["instructions"] is None
            assert row["cycles"] > 100_000


def test_a_board_that_nothing_fits(studied_copy):
    profile = boards_dir() / "stm32f4/netduinoplus2.toml"
    dwarf = studied_copy.folder / "boards/stm32f4/dwarf.toml"
    dwarf.parent.mkdir(parents=True)
    text = profile.read_text().replace('"netduinoplus2"', '"dwarf"').replace("1_048_576", "4_096")
    dwarf.write_text(text)

    result = studied_copy.run("compress", "--board", "dwarf", "--boards-dir", "boards", "--json")

    assert result.returncode == 1, result.stderr
    values = json.loads(result.stdout)
    assert [row["flash_bytes"] for row in values["rows"]] == [None] * 4
    assert values["rows"][1]["why"].startswith("dwarf: needs ")
    assert " bytes of flash, has 4,096, " in values["rows"][1]["why"]
    assert values["rows"][1]["mae"] > 0, "what it achieves is known all the same"
    assert error_of(result) == "no model fits the board, so there is nothing to pick from."
