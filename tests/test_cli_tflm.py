"""`--runtime tflm` as its user meets it, without a TensorFlow Lite Micro."""

from __future__ import annotations

import pytest
from tflite_writer import Recipe, write_forecaster

NONE = {"SHELFCAST_TFLM_INCLUDE": "", "SHELFCAST_TFLM_LIB": ""}
PROJECT = """\
name = "shop"

[data]
source = "synthetic"

[firmware]
runtime = "tflm"
application = "shelf"
"""


@pytest.fixture
def model(shell):
    path = shell.folder / "theirs.tflite"
    path.write_bytes(write_forecaster(Recipe(hidden=(4,), steps=3)))
    return path


def test_without_a_tensorflow_lite_micro_nothing_begins(shell, model):
    result = shell.run("deploy", model, "--runtime", "tflm", **NONE)

    assert result.returncode == 3
    assert result.stderr == (
        "error: TensorFlow Lite Micro: --runtime tflm is built with your own. Name it with "
        "--tflm-include, or in SHELFCAST_TFLM_INCLUDE; docs/tflm.md says how it is built.\n"
    )
    assert not (shell.folder / "runs").exists()


def test_an_avr_is_refused_before_anything_else(shell, model):
    result = shell.run("render", model, "--runtime", "tflm", "--board", "arduino-uno", **NONE)

    assert result.returncode == 2
    assert result.stderr.startswith("error: arduino-uno: its atmega328p is an 8-bit AVR")


def test_a_shelf_needs_the_engine(shell):
    (shell.folder / "shelfcast.toml").write_text(PROJECT)

    result = shell.run("deploy", **NONE)

    assert result.returncode == 2
    assert result.stderr == (
        'error: firmware.application = "shelf" needs --runtime engine: it keeps the state of a '
        'stream, and the interpreter shows none. For --runtime tflm leave it at "console".\n'
    )


@pytest.mark.xdist_group("deployed")
def test_both_runtimes_have_a_place_of_their_own_in_the_run(deployed_copy):
    before = (deployed_copy.folder / "runs/small/netduinoplus2/sources/model.c").read_bytes()

    rendered = deployed_copy.run("render", "--runtime", "tflm", **NONE)
    built = deployed_copy.run("build", "--runtime", "tflm", **NONE)
    validated = deployed_copy.run("validate", "--runtime", "tflm", **NONE)

    assert rendered.returncode == 0, rendered.stderr
    folder = deployed_copy.folder / "runs/small/netduinoplus2-tflm"
    assert (folder / "sources/tflm/forecast.cc").exists()
    assert (folder.parent / "netduinoplus2/sources/model.c").read_bytes() == before
    assert built.returncode == 3
    assert "Name it with --tflm-include" in built.stderr
    assert validated.returncode == 2
    assert "`shelfcast build --board netduinoplus2 --runtime tflm` makes it." in validated.stderr


def test_fit_shows_both_columns(shell):
    result = shell.run("fit", "lstm:16x1x28", "--board", "stm32vldiscovery", "--runtime", "both")

    assert result.returncode == 0, result.stderr
    assert "TFLM flash  TFLM RAM" in result.stdout.splitlines()[0]
