from __future__ import annotations

import numpy as np
import pytest

from toolchain.board import boards_dir, find_board
from toolchain.demand.sales import Sales
from toolchain.demand.windows import prepare
from toolchain.firmware.elf import read_image
from toolchain.graph.tflite_file import load_graph
from toolchain.project import Data, Network
from toolchain.summary import summarize
from toolchain.verdict.replay import Replay, Stream
from toolchain.verdict.validation import HostForecasts, judge

pytestmark = pytest.mark.xdist_group("deployed")


@pytest.fixture
def judged(deployed):
    """Judge a replay in which the device said 0 everywhere, of sales that repeat every week."""
    run = deployed / "runs" / "small"
    dates = np.arange("2024-01-01", "2024-07-01", dtype="datetime64[D]")
    units = np.tile([10.0, 12, 14, 16, 18, 30, 5], 26)[None, : len(dates)]
    dataset = prepare(
        Sales(dates, ("weekly",), units),
        Data(source="weekly.csv", validation_days=14, test_days=14),
        Network(window=14),
    )

    def do(link, **changes):
        count = len(dataset.test)
        said = np.zeros((count, 1), np.int8)
        values = {
            "windows": np.arange(count), "host": said, "device": said,
            "ticks": np.full(count, 8_000), "clock_hz": 8_000_000, "values_compared": 0,
            "state_mismatches": 0, "state_windows": 0, "sequences": 0, "sequence_windows": 0,
            "sequence_mismatches": 0, "stream": Stream(0, False, np.full(3, 800)),
            "divergence": None, "stack_bytes": 1024, "stack_used": 300,
        }  # fmt: skip
        forecasts = np.asarray(dataset.test.targets, np.float64)
        return judge(
            board=find_board("netduinoplus2", boards_dir()),
            link=link,
            graph=load_graph(run / "model.tflite"),
            image=read_image(run / "netduinoplus2/image/firmware.elf"),
            dataset=dataset,
            host=HostForecasts(forecasts, forecasts),
            replay=Replay(**{**values, **changes}),
            stack_predicted=344,
            max_mae_loss_percent=1.0,
        )

    return do


def test_a_simple_rule_that_is_never_wrong_leaves_the_gain_blank(judged):
    verdict = judged("emulator").to_json()

    assert verdict["references"]["weekday_mean"]["mae"] == 0
    assert verdict["gain_percent"] is None
    assert "the device is not better than the best simple rule" in summarize(verdict, {})


def test_what_the_clock_means_depends_on_what_is_behind_the_link(judged):
    found = {link: judged(link).to_json() for link in ("emulator", "socket", "serial")}

    assert {link: verdict["emulated"] for link, verdict in found.items()} == {
        "emulator": True,
        "socket": None,
        "serial": False,
    }
    # 8,000 ticks of the clock the device says it runs at, not of the one in the profile.
    assert found["serial"]["latency"]["us"] == 1_000
    assert found["serial"]["latency"]["cycles"] == 8_000
    assert found["serial"]["latency"]["instructions"] is None
    assert found["emulator"]["latency"]["instructions"] == 15_625
    assert found["emulator"]["latency"]["instructions_step"] == 1_562
    assert found["serial"]["latency"]["cycles_step"] == 800
    assert found["emulator"]["latency"]["cycles"] is None
    assert found["socket"]["latency"]["instructions"] is None
    assert found["socket"]["latency"]["cycles"] is None


def test_a_difference_fails_the_verdict_with_its_numbers(judged):
    device = np.zeros((14, 1), np.int8)
    device[3] = 2

    verdict = judged("serial", device=device)

    assert not verdict.passed
    assert verdict.replay.mismatches == 1
    assert verdict.replay.max_lsb == 2
    assert verdict.reasons[0].startswith("1 of 14 windows, 0 of 0 state values and 0 of 0 windows")
