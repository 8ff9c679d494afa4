"""A study on a Dask cluster: a scheduler and two workers, each a process of its own."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("study")

STUDY = Path("runs/small/study")
DASK = Path(sys.executable).with_name("dask")


def start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [DASK, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=log.parent
        )


@pytest.fixture
def scheduler(tmp_path) -> Iterator[str]:
    """The address of a scheduler without workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(
        tmp_path / "scheduler.log",
        *("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
    )
    yield f"tcp://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


@pytest.fixture
def workers(scheduler, tmp_path) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    processes = [
        start(
            tmp_path / f"worker{number}.log",
            *("worker", scheduler, "--nthreads", "1", "--no-dashboard"),
            *("--local-directory", str(tmp_path / f"space{number}")),
        )
        for number in (1, 2)
    ]
    yield scheduler
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


@pytest.mark.full
def test_a_cluster_gives_the_same_models(studied, shell, study_project, workers, tmp_path):
    (shell.folder / "shelfcast.toml").write_text(study_project)

    result = shell.run("compress", "--scheduler", workers, "--json")

    assert result.returncode == 0, result.stderr
    assert "2 trained, 0 found from before" in result.stderr
    mine = {row["name"]: row for row in json.loads(result.stdout)["rows"]}
    local = json.loads((studied / STUDY / "results.json").read_text())
    assert {name: row["mae"] for name, row in mine.items()} == {
        row["name"]: row["mae"] for row in local["rows"]
    }
    for model in ("lstm6+weekday", "tiny"):
        path = STUDY / "models" / model / "model.tflite"
        assert (shell.folder / path).read_bytes() == (studied / path).read_bytes()
    logs = [(tmp_path / f"worker{number}.log").read_text() for number in (1, 2)]
    assert all(re.search("Registered to", log) for log in logs)


@pytest.mark.full
def test_no_scheduler(shell, study_project):
    (shell.folder / "shelfcast.toml").write_text(study_project)

    result = shell.run("compress", "--scheduler", "tcp://127.0.0.1:9")

    assert result.returncode == 3
    assert result.stderr.strip().splitlines()[-1] == (
        "error: tcp://127.0.0.1:9: no Dask scheduler answers within 10 s. Start one: dask scheduler"
    )


@pytest.mark.full
def test_a_scheduler_without_workers(shell, study_project, scheduler):
    (shell.folder / "shelfcast.toml").write_text(study_project)

    result = shell.run("compress", "--scheduler", scheduler)

    assert result.returncode == 3
    assert result.stderr.strip().splitlines()[-1] == (
        f"error: {scheduler}: the Dask scheduler has no workers after 10 s. Start one: dask "
        f"worker {scheduler} --nthreads 1"
    )


def test_an_address_that_is_none(shell, study_project):
    (shell.folder / "shelfcast.toml").write_text(study_project)

    result = shell.run("compress", "--scheduler", "somewhere:there")

    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == (
        'error: "somewhere:there": not an address such as tcp://10.0.0.1:8786.'
    )
