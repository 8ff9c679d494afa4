from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toolchain.demand.metrics import measure
from toolchain.demand.sales import Sales
from toolchain.demand.windows import Dataset, save_dataset
from toolchain.errors import ProjectError
from toolchain.graph import reference
from toolchain.graph.tflite_file import load_graph
from toolchain.network.candidate import (
    Candidate,
    candidate_of,
    score_candidate,
    train_candidate,
)
from toolchain.project import Network

SMALL = Candidate(
    hidden=(10,),
    features=("units", "weekday"),
    window=9,
    epochs=4,
    batch_size=32,
    learning_rate=0.02,
    level_range=0.1,
    representative_windows=64,
)
BLOCKS = dataclasses.replace(SMALL, structure="blocks", sparsity=0.5, aware=True)
SCATTERED = dataclasses.replace(SMALL, structure="scattered", sparsity=0.6)

FILES = ("float.h5", "history.json", "model.tflite")

ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
from toolchain.demand.windows import load_dataset
from toolchain.network.candidate import Candidate, train_candidate
folder = Path(sys.argv[1])
values = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[2]).items()}
train_candidate(load_dataset(folder / "dataset.npz"), Candidate(**values), 3, folder)
"""


@dataclasses.dataclass(frozen=True)
class Made:
    dataset: Dataset
    folder: Path


@pytest.fixture(scope="module")
def waves(sell) -> Sales:
    return sell(noise=0.05, days=160)


@pytest.fixture(scope="module")
def made(waves, cut_sales, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A candidate in blocks, fine-tuned: every stage there is."""
    folder = tmp_path_factory.mktemp("made")
    dataset = cut_sales(waves)
    train_candidate(dataset, BLOCKS, 3, folder)
    return Made(dataset, folder)


@pytest.fixture(scope="module")
def shuffled(made, waves, cut_sales, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The same candidate made by another process, from sales whose last 15 days are shuffled."""
    units = waves.units.copy()
    units[:, -15:] = np.random.default_rng(5).permutation(units[:, -15:], axis=1)
    dataset = cut_sales(dataclasses.replace(waves, units=units))
    folder = tmp_path_factory.mktemp("shuffled")
    save_dataset(folder / "dataset.npz", dataset)
    candidate = json.dumps(dataclasses.asdict(BLOCKS))
    child = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, folder, candidate],
        # As a cluster's worker might have it: none of it may matter.
        env={**os.environ, "OMP_NUM_THREADS": "2", "TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    return Made(dataset, folder)


def test_shuffled_future_days_and_another_process_change_no_byte(made, shuffled) -> None:
    for name in FILES:
        assert (shuffled.folder / name).read_bytes() == (made.folder / name).read_bytes(), name


def test_shuffled_future_days_change_no_forecast_made_before_them(made, shuffled, waves) -> None:
    forecasts = []
    for it in (made, shuffled):
        graph = load_graph(it.folder / "model.tflite")
        test = it.dataset.test
        outputs = reference.run(graph, graph.input.quantize(test.inputs)).outputs[:, 0]
        forecasts.append(it.dataset.to_units(test.series, graph.output.dequantize(outputs)))

    # The first shuffled day is itself forecast from the days before it.
    before = made.dataset.test.days <= waves.dates[-15]
    assert before.sum() == 3 * 11
    assert np.array_equal(forecasts[0][before], forecasts[1][before])
    assert not np.array_equal(forecasts[0][~before], forecasts[1][~before])


def test_blocks_are_zero_in_the_integer_model(made) -> None:
    (lstm,) = load_graph(made.folder / "model.tflite").lstms

    blocks = lstm.recurrent_weights.transpose(1, 2, 0).reshape(10, 5, 8)
    zero = ~blocks.any(axis=2)

    # Half of the 3 x 40 + 10 x 40 weights, and the input kernel has no blocks: 260 of 400.
    assert 8 * zero.sum() == pytest.approx(260, abs=8)
    assert np.count_nonzero(blocks[~zero]) > 0.9 * blocks[~zero].size
    history = json.loads((made.folder / "history.json").read_text(encoding="utf-8"))
    assert len(history["epochs"]) == 4 + 1
    assert history["best"] >= 3  # earlier epochs do not have all zeros


def test_scattered_zeros_are_in_the_integer_model(waves, cut_sales, tmp_path: Path) -> None:
    train_candidate(cut_sales(waves), SCATTERED, 1, tmp_path)

    (lstm,) = load_graph(tmp_path / "model.tflite").lstms
    for kernel in (lstm.input_weights, lstm.recurrent_weights):
        assert (kernel == 0).mean() == pytest.approx(0.6, abs=0.03)
    blocks = lstm.recurrent_weights.transpose(1, 2, 0).reshape(10, 5, 8)
    assert (~blocks.any(axis=2)).mean() < 0.3


def test_scores_are_of_both_models_on_both_splits(made) -> None:
    scores = score_candidate(made.dataset, made.folder)

    graph = load_graph(made.folder / "model.tflite")
    windows = made.dataset.test
    outputs = reference.run(graph, graph.input.quantize(windows.inputs)).outputs[:, 0]
    forecasts = made.dataset.to_units(windows.series, graph.output.dequantize(outputs))
    assert scores.int8_test == measure(made.dataset.actual_units(windows), forecasts)
    assert scores.float_test.mae == pytest.approx(scores.int8_test.mae, rel=0.05)
    assert scores.float_validation != scores.float_test
    history = json.loads((made.folder / "history.json").read_text(encoding="utf-8"))
    kept = history["epochs"][history["best"] - 1]["validation_mae"]
    # The last stage judges the network as the engine computes it.
    assert scores.int8_validation.mae == pytest.approx(kept, rel=0.01)


def test_a_project_describes_a_dense_candidate() -> None:
    network = Network(hidden=(7, 5), epochs=11, patience=3, level_range=0.2, window=14)

    candidate = candidate_of(network, 99)

    assert candidate == Candidate(
        hidden=(7, 5),
        features=("units",),
        window=14,
        epochs=11,
        batch_size=64,
        learning_rate=0.002,
        patience=3,
        level_range=0.2,
        representative_windows=99,
    )
    assert json.loads(json.dumps(dataclasses.asdict(candidate)))["hidden"] == [7, 5]


def test_a_dataset_of_other_windows_is_refused(made, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^the dataset's windows are 9 days of units, weekday_sin"
    ):
        train_candidate(made.dataset, dataclasses.replace(SMALL, window=14), 1, tmp_path)


def test_zeros_that_do_not_fit_are_refused(made, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"^sparsity: 90.0% of the LSTM's 520 weights cannot"):
        train_candidate(made.dataset, dataclasses.replace(BLOCKS, sparsity=0.9), 1, tmp_path)
