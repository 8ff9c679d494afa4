"""What is compared with an interpreter, what cannot be, and what the verdict says of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from recipes import ALL
from tflite_writer import write_forecaster

from toolchain.board import boards_dir, find_board
from toolchain.firmware.footprint import Footprint
from toolchain.graph import reference
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.tflite_file import parse_graph
from toolchain.graph.types import Graph
from toolchain.summary import summarize
from toolchain.verdict.plan import make_plan
from toolchain.verdict.replay import replay
from toolchain.verdict.validation import Validation


@dataclass
class Interpreter:
    """A session with a firmware around an interpreter, which computes as a graph says."""

    graph: Graph
    carries: bool = True

    def __post_init__(self) -> None:
        self.greeting = SimpleNamespace(
            runtime="tflm", outputs=self.graph.outputs, clock_hz=1_000_000, arena_bytes=2_816,
            arena_used_bytes=2_260,
        )  # fmt: skip
        self.reset()

    def reset(self):
        self.state = reference.zero_state(self.graph, 1)

    def forecast(self, window, *, keep=False):
        if not keep or not self.carries:
            self.reset()
        found = reference.run(self.graph, window[None], initial=self.state)
        self.state = found.state
        return found.outputs[0], 1_000

    def load(self, window):
        self.window = window

    def read_input(self):
        return self.window

    def stack(self):
        return 4_096, 900

    def step(self, sample):
        raise AssertionError("an interpreter runs whole windows")

    state_of = save = restore = step


@pytest.fixture
def graph():
    return sample_graph(Shape((6,), steps=5))


def replayed(host: Graph, device: Interpreter, count: int = 40):
    rng = np.random.default_rng(3)
    shape = (count, host.steps, host.features)
    windows = rng.integers(-128, 128, shape).astype(np.int8)
    plan = make_plan(np.zeros(count, int), windows=None, state_windows=4, sequences=3)
    return replay(device, host, windows, plan)


def verdict_of(graph: Graph, found) -> dict:
    return Validation(
        board=find_board("stm32vldiscovery", boards_dir()), link="emulator", graph=graph,
        footprint=Footprint(50_000, 5_000, 0, 45_000, 3_600), replay=found, accuracy={},
        references={}, stack_predicted=None, max_mae_loss_percent=None,
    ).to_json()  # fmt: skip


def test_states_and_stream_are_blank_with_the_reason_never_zero(graph):
    verdict = verdict_of(graph, replayed(graph, Interpreter(graph)))

    assert verdict["verdict"] == "pass"
    assert verdict["runtime"] == "tflm"
    parity = verdict["parity"]
    assert (parity["windows"], parity["mismatches"]) == (40, 0)
    assert (parity["sequence_windows"], parity["sequence_mismatches"]) == (15, 0)
    for key in ("state_windows", "state_values", "state_mismatches",
                "stream_samples", "stream_mismatches", "saved_state_differs"):  # fmt: skip
        assert parity[key] is None
    why = "the interpreter runs whole windows, and shows no state"
    assert parity["skipped"] == {"states": why, "stream": why}
    assert (verdict["ram"]["arena"], verdict["ram"]["arena_used"]) == (2_816, 2_260)
    assert verdict["ram"]["stack_predicted"] is None
    assert verdict["latency"]["instructions_step"] is None
    text = summarize(verdict, {})
    assert "stm32vldiscovery, TensorFlow Lite Micro: PASS" in text
    assert f"not compared: states and stream ({why})" in text
    assert "states h, c" not in text
    assert "2,816 of them the arena, 2,260 used" in text
    assert "at most" not in text


def test_a_library_that_carries_no_state_is_told_apart_from_wrong_arithmetic(graph):
    verdict = verdict_of(graph, replayed(graph, Interpreter(graph, carries=False)))

    assert verdict["verdict"] == "pass"
    assert verdict["parity"]["sequence_mismatches"] is None
    assert verdict["parity"]["skipped"]["sequences"] == (
        "this library's LSTM begins every forecast with zeros, as CMSIS-NN's does"
    )


def test_wrong_outputs_fail_and_only_what_was_compared_is_counted(graph):
    # Another network under the same name: most of its forecasts differ.
    other = sample_graph(Shape((6,), steps=5), seed=1)

    verdict = verdict_of(graph, replayed(graph, Interpreter(other)))

    assert verdict["verdict"] == "fail"
    (reason,) = verdict["reasons"]
    assert "of 40 windows" in reason
    assert "state values" not in reason
    assert "in a stream" not in reason
    assert "oracle" not in reason


def test_a_library_that_multiplies_scales_otherwise_is_named_with_the_way_out():
    """Among the recipes, one whose forecasts depend on how scales are multiplied."""
    for recipe in ALL.values():
        host = parse_graph(write_forecaster(recipe), "recipe")
        device = Interpreter(replace(host, oracle="float32"))
        found = replayed(host, device, 200)
        if found.mismatches:
            break
    else:
        pytest.fail("no recipe tells the two apart")

    (reason,) = verdict_of(host, found)["reasons"]

    assert reason.endswith(
        'With oracle = "float32" no window does: this TensorFlow Lite Micro multiplies scales that '
        "way. Write it under [compression] of the project, or say --oracle float32."
    )


def test_the_engine_is_never_excused_from_anything(graph):
    device = Interpreter(graph)
    device.greeting.runtime = "engine"

    with pytest.raises(AssertionError, match="whole windows"):
        replayed(graph, device)
