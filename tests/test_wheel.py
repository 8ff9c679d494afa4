"""The built wheel, installed into an empty environment, works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [UV, "build", "--wheel", "--quiet", "--out-dir", out, ROOT], check=True, timeout=300
    )
    (built,) = out.glob("*.whl")
    return built


def test_it_carries_boards_firmware_and_examples(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    for path in (
        "toolchain/_data/boards/cores.toml",
        "toolchain/_data/boards/stm32f4/netduinoplus2.toml",
        "toolchain/device/simavr_runner.c",
        "toolchain/_data/firmware_templates/engine/lstm_portable.c",
        "toolchain/_data/firmware_templates/model.c.j2",
        "toolchain/_data/examples/complete_journey/shelfcast.toml",
    ):
        assert path in names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_it_deploys_from_another_folder(wheel, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    # The versions of the lock file, so that the network is asked for nothing new.
    constraints = tmp_path / "constraints.txt"
    subprocess.run(
        [UV, "export", "--quiet", "--no-hashes", "--no-emit-project", "--directory", ROOT,
         "--output-file", constraints],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel],
        check=True,
        timeout=600,
    )
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "shelfcast.toml").write_text(SMALL)

    result = subprocess.run(
        [environment / "bin" / "shelfcast", "deploy"],
        cwd=folder,
        # Nothing of this checkout may be in reach.
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert result.returncode == 0, result.stderr
    assert "netduinoplus2: PASS" in result.stdout


SMALL = """\
name = "small"

[data]
source = "synthetic"
validation_days = 30
test_days = 30

[network]
hidden = [4]
window = 7
epochs = 1
batch_size = 512

[validation]
windows = 10
"""
