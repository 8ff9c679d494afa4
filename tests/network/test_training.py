from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toolchain.errors import DataError, ProjectError
from toolchain.network.float_model import forecast_float
from toolchain.network.training import train
from toolchain.project import Network

ANOTHER_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from toolchain.demand.windows import Scaling, Windows
from toolchain.network.training import train
from toolchain.project import Network
folder = Path(sys.argv[1])
stored = np.load(folder / "windows.npz")
names = ("inputs", "targets", "series", "days")
splits = [Windows(*(stored[f"{split}_{name}"] for name in names)) for split in "tv"]
network = Network.model_validate_json(sys.argv[2], strict=False)
train(*splits, network, folder, scaling=Scaling(np.zeros(3), np.full(3, 10.0)))

from toolchain.network.backend import quiet
from toolchain.network.convert import main
with quiet():
    main(str(folder / "float.h5"), str(folder / "samples.npy"), str(folder / "model.tflite"))
"""


def test_another_process_writes_the_same_bytes_and_says_nothing(
    trained, samples, converted, tmp_path: Path
) -> None:
    names = ("inputs", "targets", "series", "days")
    arrays = {f"t_{name}": getattr(trained.train, name) for name in names}
    arrays |= {f"v_{name}": getattr(trained.validation, name) for name in names}
    np.savez(tmp_path / "windows.npz", **arrays)
    np.save(tmp_path / "samples.npy", samples)

    child = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, tmp_path, trained.network.model_dump_json()],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    for name in ("float.h5", "history.json", "model.tflite"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes(), name


def test_model_on_disk_is_that_of_the_best_epoch(trained) -> None:
    forecasts = forecast_float(trained.model, trained.validation.inputs)

    mae = 10 * np.mean(np.abs(forecasts - trained.validation.targets.astype(np.float64)))

    assert trained.history.best == 3  # of 4: the last one would be kept by doing nothing
    kept = trained.history.epochs[trained.history.best - 1]
    assert kept.validation_mae == pytest.approx(mae, rel=1e-6)
    assert kept.validation_mae == min(epoch.validation_mae for epoch in trained.history.epochs)


def test_history_on_disk_is_what_training_returned(trained) -> None:
    stored = json.loads((trained.folder / "history.json").read_text(encoding="utf-8"))

    assert stored == json.loads(json.dumps(dataclasses.asdict(trained.history)))
    # 4 gates x hidden x (hidden + inputs + 1), twice, and the head's 4 + 1.
    assert stored["parameters"] == 4 * 5 * (5 + 2 + 1) + 4 * 4 * (4 + 5 + 1) + 5
    assert stored["windows"] == 240


def test_every_epoch_is_reported_in_units(trained) -> None:
    first, *_, last = trained.history.epochs

    assert trained.said[0] == (
        0.25,
        f"epoch 1 of 4: loss {first.loss:.4f}, validation MAE {first.validation_mae:.3f} units, "
        "best in epoch 1",
    )
    assert [fraction for fraction, _ in trained.said] == [0.25, 0.5, 0.75, 1.0]
    assert last.loss < first.loss


def test_interrupted_training_leaves_no_file(trained, tmp_path: Path) -> None:
    def interrupt(fraction: float, words: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(trained.train, trained.validation, trained.network, tmp_path, interrupt)

    assert list(tmp_path.iterdir()) == []


def test_diverged_training_is_refused(trained, tmp_path: Path) -> None:
    steep = dataclasses.replace(trained.train, targets=trained.train.targets * 1e30)

    with pytest.raises(ProjectError) as error:
        train(steep, trained.validation, Network(hidden=(4,)), tmp_path)

    assert str(error.value).startswith("network: training diverged in epoch 1 of 8: loss ")
    assert str(error.value).endswith(" Lower network.learning_rate from 0.002.")
    assert list(tmp_path.iterdir()) == []


def test_inputs_that_are_not_finite_are_refused(cut, tmp_path: Path) -> None:
    windows = cut(10)
    windows.inputs[3, 2, 0] = np.nan
    windows.inputs[7, 0, 1] = np.inf

    with pytest.raises(DataError) as error:
        train(windows, cut(4), Network(window=6), tmp_path)

    assert str(error.value) == (
        "training inputs: 2 of 10 windows hold NaN or infinity, the first is window 3. Look at "
        "the sales file and data.fill."
    )


def test_targets_that_are_not_finite_are_refused(cut, tmp_path: Path) -> None:
    validation = cut(4)
    validation.targets[0] = np.nan

    with pytest.raises(DataError, match=r"^validation targets: 1 of 4 windows hold NaN"):
        train(cut(10), validation, Network(window=6), tmp_path)


def test_no_windows_are_refused(cut, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^training windows: there are none\."):
        train(cut(0), cut(4), Network(window=6), tmp_path)
