"""The verbs for shelves, as their user runs them, on emulated boards."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import time

import pytest
from tflite_writer import Recipe, write_forecaster

from toolchain.demand.synthetic import synthetic_sales
from toolchain.demand.windows import prepare, save_dataset
from toolchain.project import read_project

FEED = "date,units,stock\n" + "".join(
    f"2024-05-{day:02d},{20 + day % 7},{200 - 15 * day}\n" for day in range(1, 11)
)
WORDS = "milk-3 24.5 8 2 1 1"


PROJECT = """\
name = "small"

[data]
source = "synthetic"

[network]
window = 14
"""


@pytest.fixture
def run_of(shell):
    """Make a run without training: invented sales, and a model with drawn weights."""

    def make(application: str):
        run = shell.folder / "runs" / "small"
        run.mkdir(parents=True)
        text = f'{PROJECT}\n[firmware]\napplication = "{application}"\n'
        (shell.folder / "shelfcast.toml").write_text(text)
        project = read_project(shell.folder)
        sales = synthetic_sales(1)
        save_dataset(run / "windows.npz", prepare(sales, project.data, project.network))
        recipe = Recipe(hidden=(6,), steps=14, features=1)
        (run / "model.tflite").write_bytes(write_forecaster(recipe))
        for verb in ("render", "build"):
            result = shell.run(verb)
            assert result.returncode == 0, result.stderr
        (shell.folder / "feed.csv").write_text(FEED)
        return shell

    return make


@pytest.fixture
def shelf(run_of):
    """A shell in a folder whose project is a shelf, built for the default board."""
    return run_of("shelf")


def test_an_emulated_shelf_is_watched_recorded_checked_and_set_up(shelf):
    watched = shelf.run("monitor", "--feed", "feed.csv", "--set", WORDS, "--record", "log.jsonl")

    assert watched.returncode == 0, watched.stderr
    lines = watched.stdout.splitlines()
    assert [line[:10] for line in lines[:10]] == [f"2024-05-{day:02d}" for day in range(1, 11)]
    assert lines[10].startswith("10 days, 0 refused, ")
    assert "RESTOCK" in watched.stdout

    checked = shelf.run("validate", "--replay", "log.jsonl", "--json")
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout) == {
        "days": 10, "values": 100, "differences": 0, "first": None, "cut_off": False,
        "verdict": "pass",
    }  # fmt: skip

    log = shelf.folder / "log.jsonl"
    log.write_text(re.sub(r'"need": "[0-9.]+"', '"need": "3"', log.read_text(), count=1))
    spoilt = shelf.run("validate", "--replay", "log.jsonl")
    assert spoilt.returncode == 1
    assert "first: 2024-05-01: need is 3, the twin says " in spoilt.stdout

    (shelf.folder / "units.csv").write_text(
        "port,name,mean,deviation,lead,safety,minimum\n"
        "emulated,a,24.5,8,2,1.5,12\n"
        "emulated,b,30,9,3,1,1\n"
        "/dev/no-such-port,c,1,1,1,1,1\n"
    )
    provisioned = shelf.run("provision", "--units", "units.csv", "--windows", "2", "--json")
    rows = json.loads(provisioned.stdout)["rows"]
    assert [(row["name"], row["verdict"], row["mismatches"]) for row in rows] == [
        ("a", "pass", 0), ("b", "pass", 0), ("c", "error", None),
    ]  # fmt: skip
    assert provisioned.returncode == 4


def test_ctrl_c_leaves_a_screen_cleanly_and_what_was_recorded_valid(shelf):
    master, slave = pty.openpty()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        os.setsid()
        os.chdir(shelf.folder)
        os.dup2(slave, 1)
        os.environ["TERM"] = "xterm"
        arguments = ["monitor", "--feed", "feed.csv", "--set", WORDS, "--record", "log.jsonl",
                     "--speed", "2"]  # fmt: skip
        os.execv(shelf.program, [str(shelf.program), *arguments])
    os.close(slave)
    seen, sent, deadline = b"", False, time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.5)[0]:
            try:
                seen += os.read(master, 65_536)
            except OSError:
                break
        if b"tomorrow" in seen and not sent:
            sent = True
            os.kill(pid, signal.SIGINT)
    os.close(master)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 130
    assert b"milk-3" in seen
    # The cursor is shown again.
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    checked = shelf.run("validate", "--replay", "log.jsonl", "--json")
    values = json.loads(checked.stdout)
    assert (values["differences"], checked.returncode) == (0, 0)
    assert 1 <= values["days"] < 10


def test_a_console_firmware_says_that_it_is_no_shelf(run_of):
    shell = run_of("console")

    result = shell.run("monitor", "--feed", "feed.csv", "--set", WORDS)

    assert result.returncode == 4
    assert "the firmware has no shelf application" in result.stderr


def test_one_unit_or_many_not_both(shell):
    result = shell.run("provision", "--json")

    assert result.returncode == 2
    assert json.loads(result.stdout)["error"] == "InputError"
