"""A finished model in a project's place, as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tflite_writer import Recipe, write_forecaster

PROJECT = """\
name = "theirs"

[data]
source = "synthetic"
validation_days = 20
test_days = 20

[network]
model = "{model}"
window = 14

[validation]
windows = 20
state_windows = 2
sequences = 1
"""


def write_keras(path: Path, keras_3: bool, weights: list[np.ndarray] | None = None) -> list:
    # Not tf.keras: pruning, in the same process, makes that Keras 2.
    import keras as keras_3_library

    from toolchain.network.backend import keras, quiet

    library = keras_3_library if keras_3 else keras
    layers = library.layers
    model = library.Sequential([layers.Input((14, 1)), layers.LSTM(5), layers.Dense(1)])
    if weights is not None:
        model.set_weights(weights)
    with quiet():
        model.save(path)
    return model.get_weights()


def test_somebody_elses_tflite_is_deployed_by_its_path_and_judged_for_parity(shell) -> None:
    (shell.folder / "theirs.tflite").write_bytes(write_forecaster(Recipe(hidden=(6,), steps=5)))

    result = shell.run("deploy", "theirs.tflite", "--json")

    assert result.returncode == 0, result.stderr
    verdict = json.loads(result.stdout)
    assert (verdict["verdict"], verdict["parity"]["mismatches"]) == ("pass", 0)
    assert (verdict["accuracy"], verdict["from_float"]) == ({}, None)
    assert "RANDOM windows" in result.stderr
    # What the tests write lacks the tensors that LiteRT wants between, and TFLite Micro does not.
    assert "LiteRT does not run it" in result.stderr


@pytest.mark.full
def test_somebody_elses_tflite_is_judged_in_the_sales_units_of_a_project(shell) -> None:
    (shell.folder / "theirs.tflite").write_bytes(write_forecaster(Recipe(hidden=(6,), steps=14)))
    (shell.folder / "shelfcast.toml").write_text(PROJECT.format(model="theirs.tflite"))

    result = shell.run("deploy", "--json")

    assert result.returncode == 0, result.stderr
    verdict = json.loads(result.stdout)
    assert set(verdict["accuracy"]) == {"host", "device"}
    assert verdict["accuracy"]["host"] == verdict["accuracy"]["device"]
    assert verdict["mae_loss_percent"] is None

    exported = shell.run("export", "--json")

    assert exported.returncode == 0, exported.stderr
    readme = shell.folder / json.loads(exported.stdout)["folder"] / "README.md"
    assert f"| {verdict['accuracy']['device']['mae']:.4f} |  |" in readme.read_text()


@pytest.mark.full
def test_files_of_keras_2_and_3_of_one_network_give_one_firmware(shell) -> None:
    weights = write_keras(shell.folder / "two.h5", keras_3=False)
    write_keras(shell.folder / "three.keras", keras_3=True, weights=weights)
    windows = np.random.default_rng(1).normal(0, 1, (40, 14, 1))
    np.save(shell.folder / "days.npy", windows)

    verdicts = []
    for name in ("two.h5", "three.keras"):
        result = shell.run(
            "deploy", name, "--run", f"run-{name}", "--representative", "days.npy", "--json"
        )
        assert result.returncode == 0, result.stderr
        verdicts.append(json.loads(result.stdout))

    written = [
        sorted((shell.folder / f"run-{name}").rglob("sources/**/model.c"))[0].read_bytes()
        for name in ("two.h5", "three.keras")
    ]
    assert written[0] == written[1]
    assert verdicts[0]["model_crc"] == verdicts[1]["model_crc"]
    assert verdicts[0]["from_float"]["mean"] < 3 * verdicts[0]["from_float"]["step"]


@pytest.mark.parametrize("verb", ["inspect", "fit", "deploy", "import", "render"])
def test_a_broken_file_is_one_clear_line(shell, verb) -> None:
    (shell.folder / "broken.keras").write_bytes(b"PK\x03\x04 and then nothing")

    result = shell.run(verb, "broken.keras")

    assert result.returncode == 2
    assert result.stderr.startswith("error: broken.keras: damaged or cut short: ")
    assert result.stderr.count("\n") == 1


def test_a_model_for_other_windows_is_refused_with_both_shapes(shell) -> None:
    (shell.folder / "theirs.tflite").write_bytes(write_forecaster(Recipe(hidden=(6,), steps=5)))
    (shell.folder / "shelfcast.toml").write_text(PROJECT.format(model="theirs.tflite"))

    result = shell.run("import")

    assert result.returncode == 2
    assert "reads windows of 5 steps x 1; those of the project (units) are 14 steps x 1" in (
        result.stderr
    )


@pytest.mark.full
def test_a_keras_file_is_exported_as_a_library(shell) -> None:
    write_keras(shell.folder / "theirs.h5", keras_3=False)
    np.save(shell.folder / "days.npy", np.random.default_rng(1).normal(0, 1, (40, 14, 1)))

    result = shell.run("export", "theirs.h5", "--representative", "days.npy", "--json")

    assert result.returncode == 0, result.stderr
    assert (shell.folder / "theirs_forecast/src/theirs_forecast.h").is_file()


@pytest.mark.full
def test_verbs_go_on_from_each_other_with_a_model_file(shell) -> None:
    path = shell.folder / "theirs.tflite"
    path.write_bytes(write_forecaster(Recipe(hidden=(6,), steps=5)))
    board = ("--board", "stm32vldiscovery")

    early = shell.run("flash", path.name, *board)
    done = [shell.run(it, path.name, *board) for it in ("render", "build", "flash", "validate")]
    limited = shell.run("validate", path.name, *board, "--limit", "1")
    path.write_bytes(write_forecaster(Recipe(hidden=(6,), steps=5, seed=2)))
    changed = shell.run("flash", path.name, *board)

    assert early.returncode == 2
    assert "`shelfcast build theirs.tflite --board stm32vldiscovery` makes it." in early.stderr
    assert [(it.returncode, it.stderr) for it in done if it.returncode] == []
    assert "Next: shelfcast validate theirs.tflite --board stm32vldiscovery\n" in done[2].stdout
    assert limited.returncode == 2
    assert "--limit bounds errors in sales units" in limited.stderr
    assert changed.returncode == 2
    assert changed.stderr == (
        "error: theirs.tflite: is another model than the one that runs/theirs was made from. "
        "`shelfcast deploy theirs.tflite` takes it in, or name another folder with --run.\n"
    )


def test_shares_of_a_softmax_are_no_units_sold(shell) -> None:
    recipe = Recipe(hidden=(6,), steps=14, dense=(3,), then=("softmax",))
    (shell.folder / "theirs.tflite").write_bytes(write_forecaster(recipe))
    (shell.folder / "shelfcast.toml").write_text(PROJECT.format(model="theirs.tflite"))

    result = shell.run("import")

    assert result.returncode == 2
    assert result.stderr == (
        "error: theirs.tflite: its outputs are shares of 1, by a softmax, and a project's "
        "forecasts are units sold. Deploy it without the project: shelfcast deploy theirs.tflite\n"
    )


def test_representative_windows_of_another_shape_are_refused(shell) -> None:
    (shell.folder / "theirs.tflite").write_bytes(write_forecaster(Recipe(hidden=(6,), steps=5)))
    np.save(shell.folder / "days.npy", np.zeros((3, 5, 2)))

    result = shell.run("import", "theirs.tflite", "--representative", "days.npy")

    assert result.returncode == 2
    assert "those of days.npy are 5 steps x 2" in result.stderr


def test_a_project_with_a_finished_model_trains_nothing(shell) -> None:
    (shell.folder / "shelfcast.toml").write_text(PROJECT.format(model="theirs.tflite"))

    result = shell.run("train")

    assert result.returncode == 2
    assert "`shelfcast import` takes it in" in result.stderr
