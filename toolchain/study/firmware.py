"""Give each trained model a run folder of its own, and measure its firmware there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from toolchain.board import Board
from toolchain.demand.windows import Dataset, save_dataset
from toolchain.errors import DoesNotFit
from toolchain.files import sha256_of, write_atomically
from toolchain.firmware.elf import Image
from toolchain.graph.types import Oracle
from toolchain.network.candidate import HISTORY_FILE, INTEGER_FILE, MODEL_FILE
from toolchain.progress import Progress
from toolchain.run import RunFolder, code_version
from toolchain.study.measure import Cost, measure_cost
from toolchain.study.training import Trained
from toolchain.study.worker import cut_for

Build = Callable[[RunFolder], Image]
"""Renders and builds the model of a run folder for the study's board."""


def install(trained: Trained, dataset: Dataset, run: RunFolder) -> None:
    """Put the chosen model of a trial into a run folder, with the windows it reads."""
    chosen = trained.chosen
    history = run.path / HISTORY_FILE

    def work() -> None:
        run.path.mkdir(parents=True, exist_ok=True)
        save_dataset(run.dataset, cut_for(dataset, trained.trial.candidate))
        for name, place in (
            (MODEL_FILE, run.float_model),
            (INTEGER_FILE, run.model),
            (HISTORY_FILE, history),
        ):
            shutil.copyfile(chosen.folder / name, place)

    inputs = {
        "training": chosen.folder.name,
        "candidate": asdict(trained.trial.candidate),
        "seed": trained.chosen_seed,
        "code": code_version("demand"),
    }
    run.do("model", inputs, [run.dataset, run.float_model, run.model, history], work)


def measure_all(
    trained: Sequence[Trained],
    dataset: Dataset,
    board: Board,
    build: Build,
    folder_of: Callable[[str], RunFolder],
    progress: Progress,
    oracle: Oracle = "double",
) -> dict[str, Cost | str]:
    """Build every trial's chosen model and run it: its cost, or why there is none, by trial."""
    costs: dict[str, Cost | str] = {}

    def one(it: Trained) -> tuple[str, Cost | str]:
        run = folder_of(it.trial.name)
        install(it, dataset, run)
        return it.trial.name, _measure(it, dataset, board, build, run, oracle)

    def note(found: tuple[str, Cost | str]) -> None:
        name, cost = found
        costs[name] = cost
        words = cost if isinstance(cost, str) else f"{cost.flash_bytes:,} bytes of flash"
        progress(len(costs) / len(trained), f"{name}: {words}")

    # The first alone: it may install or compile an emulator that all then use.
    note(one(trained[0]))
    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    try:
        for found in pool.map(one, trained[1:]):
            note(found)
    finally:
        pool.shutdown(cancel_futures=True)
    return costs


def _measure(
    it: Trained, dataset: Dataset, board: Board, build: Build, run: RunFolder, oracle: Oracle
) -> Cost | str:
    """Measure one model, or read what was measured of the same image before."""
    try:
        image = build(run)
    except DoesNotFit as error:
        return str(error)
    path = cost_path(run, board)
    own = cut_for(dataset, it.trial.candidate)

    def work() -> None:
        cost = measure_cost(run.model, own, board, image, oracle)
        write_atomically(path, json.dumps(asdict(cost), indent=2) + "\n")

    inputs = {
        "code": code_version("device", "verdict", "study"),
        "image": sha256_of(image.path),
        "model": sha256_of(run.model),
        "windows": sha256_of(run.dataset),
        "board": board.model_dump(),
    }
    run.do(f"measure {board.name}", inputs, [path], work)
    return Cost(**json.loads(path.read_text(encoding="utf-8")))


def cost_path(run: RunFolder, board: Board) -> Path:
    """Return where a model's cost on a board is kept."""
    return run.path / board.name / "cost.json"
