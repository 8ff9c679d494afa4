from __future__ import annotations

import csv
import threading
from contextlib import ExitStack

import numpy as np
import pytest
from tflite_writer import Recipe as Forecaster
from twin_device import TwinDevice, serving

from toolchain.board import boards_dir, find_board
from toolchain.device.running import open_device
from toolchain.errors import DataError
from toolchain.fleet.provision import Recipe, exit_code, load_rows, provision, save_rows
from toolchain.fleet.units import make_unit, read_units
from toolchain.shelf.forecast import shelf_model


class Fleet:
    """Devices at ports, and the way to set them up."""

    def __init__(self, model, path):
        self.model, self.path = model, path
        self.stack = ExitStack()
        self.units = []
        self.kept = []
        steps, features = model.graph.steps, model.graph.features
        windows = np.random.default_rng(1).integers(-99, 99, (3, steps, features), dtype=np.int8)
        self.recipe = Recipe(model.graph, windows, "image-1")
        self.opened = []
        self.meeting = threading.Barrier(1)

    def add(self, device=None, *, name=None, safety="1") -> TwinDevice:
        device = device or TwinDevice(self.model)
        port = self.stack.enter_context(serving(device))
        name = name or f"unit-{len(self.units)}"
        self.units.append(make_unit(port, (name, "24.5", "8", "2", safety, "1")))
        return device

    def provision(self, *, again=False):
        def open_unit(unit):
            self.opened.append(unit.name)
            self.meeting.wait()
            board = find_board("netduinoplus2", boards_dir())
            return open_device(board, port=unit.port, model_crc=self.model.graph.crc32)

        def keep(rows):
            self.kept.append(len(rows))
            save_rows(self.path, rows, before)

        before = load_rows(self.path)
        return provision(
            self.units, self.recipe, open_unit, {} if again else before, jobs=3,
            serials={self.units[0].where: "SN-1"}, keep=keep,
        )  # fmt: skip


@pytest.fixture
def fleet(model, tmp_path):
    fleet = Fleet(model, tmp_path / "units.json")
    with fleet.stack:
        yield fleet


def test_a_unit_is_tested_set_and_read_back(fleet):
    device = fleet.add()

    (row,) = fleet.provision()

    assert device.shelf.settings is not None
    assert device.shelf.settings.words() == ("unit-0", "24.5", "8", "2", "1", "1")
    assert (row.verdict, row.reason, row.serial) == ("pass", "", "SN-1")
    assert (row.windows, row.mismatches) == (3, 0)
    assert row.model_crc == f"{fleet.model.graph.crc32:08x}"
    assert exit_code([row]) == 0


def test_units_are_done_at_the_same_time_and_listed_in_their_order(fleet):
    for _ in range(3):
        fleet.add()
    # No unit gets past its opening before all three are there.
    fleet.meeting = threading.Barrier(3, timeout=60)

    rows = fleet.provision()

    assert [(row.name, row.verdict) for row in rows] == [(f"unit-{n}", "pass") for n in range(3)]
    assert fleet.kept == [1, 2, 3, 3]


def test_one_that_fails_does_not_stop_the_others(fleet, make_graph):
    fleet.add()
    other = shelf_model(make_graph(Forecaster(hidden=(4,), steps=5, features=3, seed=8)),
                        ("units", "weekday"), horizon=6)  # fmt: skip
    fleet.add(TwinDevice(other))
    resets = fleet.add()
    resets.spoil = lambda verb, answer: resets.boot() if verb == "set" else answer
    fleet.units.append(make_unit("/dev/no-such-port", ("dead", "1", "1", "1", "0", "0")))
    fleet.add(TwinDevice(fleet.model, board="microbit"))

    rows = {row.name: row for row in fleet.provision()}

    assert [row.verdict for row in rows.values()] == ["pass"] + 4 * ["error"]
    assert "holds the model" in rows["unit-1"].reason
    assert "the device restarted in the middle of the work" in rows["unit-2"].reason
    assert "/dev/no-such-port" in rows["dead"].reason
    assert "runs the firmware of microbit, expected netduinoplus2" in rows["unit-4"].reason
    assert exit_code(list(rows.values())) == 4


def test_a_wrong_forecast_fails_a_unit(fleet):
    device = fleet.add()

    def spoil(verb: str, answer: str) -> str:
        if verb != "step" or device.asked.count("step") != device.graph.steps:
            return answer
        before, _, after = answer.partition("out=")
        return f"{before}out={int(after[:2], 16) ^ 1:02x}{after[2:]}"

    device.spoil = spoil
    (row,) = fleet.provision()

    assert (row.verdict, row.mismatches) == ("fail", 1)
    assert row.reason == "1 of 3 windows differ from the host"
    assert exit_code([row]) == 1


def test_a_setting_that_reads_back_otherwise_fails_a_unit(fleet):
    device = fleet.add()
    device.spoil = lambda verb, answer: answer.replace("safety=1 ", "safety=2 ")

    (row,) = fleet.provision()

    assert (row.verdict, row.reason) == ("fail", "read back: safety is 2, not 1")


def test_more_days_than_the_firmware_looks_ahead_fail_a_unit(fleet):
    fleet.add(safety="20")

    (row,) = fleet.provision()

    assert row.verdict == "fail"
    assert "lead and safety are 1 to 6 days together" in row.reason


def test_what_passed_is_skipped_the_next_time(fleet):
    fleet.add()
    bad = fleet.add()
    bad.spoil = lambda verb, answer: answer.replace("safety=1 ", "safety=2 ")
    fleet.provision()
    bad.spoil = lambda verb, answer: answer
    fleet.opened.clear()

    rows = fleet.provision()

    assert fleet.opened == ["unit-1"]
    assert [row.verdict for row in rows] == ["pass", "pass"]


def test_another_image_or_setting_or_again_does_a_unit_again(fleet):
    fleet.add()
    fleet.provision()
    fleet.recipe = Recipe(fleet.recipe.graph, fleet.recipe.windows, "image-2")
    fleet.provision()
    fleet.units[0] = make_unit(fleet.units[0].port, ("unit-0", "24.5", "8", "2", "2", "1"))
    fleet.provision()
    fleet.provision()
    fleet.provision(again=True)

    assert len(fleet.opened) == 4


def test_rows_are_kept_as_json_and_csv_with_those_of_other_units(fleet):
    fleet.add(name="old")
    fleet.provision()
    fleet.units.clear()
    fleet.add(name="new")
    fleet.provision()

    assert list(load_rows(fleet.path)) == ["new", "old"]
    with fleet.path.with_suffix(".csv").open() as file:
        assert [(row["name"], row["verdict"]) for row in csv.DictReader(file)] == [
            ("new", "pass"), ("old", "pass"),
        ]  # fmt: skip


HEAD = "port,name,mean,deviation,lead,safety,minimum\n"


def test_units_are_read_as_a_shelf_writes_them(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text(HEAD + "emulated,a,24.50,8.0,2,1.50,1\n/dev/ttyACM0,b,1,1,1,0,0\n")

    first, second = read_units(path)

    assert (first.port, first.words) == (None, ("a", "24.5", "8", "2", "1.5", "1"))
    assert second.where == "/dev/ttyACM0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port,name\n", "no column mean, deviation, lead, safety, minimum"),
        (HEAD, "no units"),
        (HEAD + "COM3,a,1,0,1,1,1\n", "line 2: the deviation is 0"),
        (HEAD + ",a,1,1,1,1,1\n", "line 2: no port"),
        (HEAD + "COM3,a,1,1,1,1,1\nCOM4,a,1,1,1,1,1\n", "the name a is there twice"),
        (HEAD + "COM3,a,1,1,1,1,1\nCOM3,b,1,1,1,1,1\n", "the port COM3 is there twice"),
    ],
)
def test_units_that_cannot_be_meant_are_refused(tmp_path, text, words):
    path = tmp_path / "units.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=words):
        read_units(path)
