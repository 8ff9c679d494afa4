from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

STUDY_PROJECT = """\
name = "small"

[data]
source = "synthetic"
validation_days = 30
test_days = 30

[network]
hidden = [6]
features = ["units", "weekday"]
window = 7
epochs = 1
batch_size = 256
learning_rate = 0.02
max_windows = 2000

[compression]
representative_windows = 32

[validation]
windows = 20
state_windows = 1
sequences = 1

[study]
hidden = []
seeds = [1]

[study.budget]
mae_percent = 200

[[study.models]]
name = "tiny"
hidden = [4]
features = ["units"]
"""


@pytest.fixture
def study_project() -> str:
    return STUDY_PROJECT


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small study was done once, by two workers. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("studied")
    (folder / "shelfcast.toml").write_text(STUDY_PROJECT)
    result = subprocess.run(
        [Path(sys.executable).with_name("shelfcast"), "compress", "--workers", "2"],
        cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


@pytest.fixture
def studied_copy(studied: Path, shell, tmp_path: Path):
    """A shell in a folder of one's own, in which the small study is done."""
    folder = tmp_path / "studied"
    shutil.copytree(studied, folder)
    return replace(shell, folder=folder)
