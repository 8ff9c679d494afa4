"""A sample at a time: one forecast each, with the state saved and restored on the way."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from recipes import ALL

from toolchain.graph import reference
from toolchain.graph.saved import saved_state

STREAMED = [
    "lstm16",
    "odd sizes, five features",
    "stacked",
    "no dense layer",
    "fine cell saturates",
]


@pytest.mark.parametrize("name", STREAMED)
def test_every_forecast_and_the_saved_state_equal_the_reference(
    name, make_graph, make_windows, compile_stream
):
    graph = make_graph(ALL[name])
    samples = make_windows(graph, 8).reshape(-1, graph.features)[:60]
    program = compile_stream(graph)

    result = subprocess.run(
        [program, str(len(samples))], input=samples.tobytes(), capture_output=True, check=False
    )

    assert result.returncode == 0, result.stderr.decode()[-2000:]
    middle = len(samples) // 2
    before = reference.stream(graph, samples[:middle])
    after = reference.stream(graph, samples[middle:], initial=before.state)
    expected = np.concatenate([before.outputs, after.outputs]).tobytes()
    assert result.stdout[: len(expected)] == expected
    assert result.stdout[len(expected) :] == saved_state(graph, before.state)


def test_a_stream_is_what_windows_with_the_state_carried_over_are(make_graph, make_windows):
    graph = make_graph(ALL["odd sizes, five features"])
    windows = make_windows(graph, 4)
    state = reference.zero_state(graph, 1)
    last = []
    for window in windows:
        forecasts = reference.run(graph, window[None], initial=state)
        state = forecasts.state
        last.append(forecasts.outputs[0].tolist())

    streamed = reference.stream(graph, windows.reshape(-1, graph.features))

    assert streamed.outputs[graph.steps - 1 :: graph.steps].tolist() == last
    assert streamed.state.cells[0].tolist() == state.cells[0].tolist()


def test_a_head_that_reads_the_whole_sequence_has_no_stream(make_graph):
    graph = make_graph(ALL["a forecast per step"])

    with pytest.raises(ValueError, match="no forecast after one sample"):
        reference.stream(graph, np.zeros((3, graph.features), np.int8))
