"""Random graphs from all of the claim against TFLite Micro, through windows with and without reset.

A reset is drawn before every window or not: the state goes on, or does not, in any order.
"""

from __future__ import annotations

import numpy as np
import pytest
from claim import random_graph
from oracle import as_given, as_taken, oracle
from tflite_writer import write_forecaster

from toolchain.graph import reference
from toolchain.graph.tflite_file import parse_graph

WINDOWS = 8


def draw_windows(graph, number):
    """Draw (windows, steps, features), as the file takes them and as int8."""
    rng = np.random.default_rng(number)
    shape = (WINDOWS, graph.steps, graph.features)
    windows = rng.integers(-128, 128, shape, dtype=np.int8)
    windows[::4] = np.where(windows[::4] > 0, 127, -128)
    if graph.input_type != "float32":
        return as_taken(graph, windows), windows
    # Halves of steps too, where roundings differ, and values past both ends.
    halves = rng.integers(-300, 300, shape) / 2
    real = (halves * np.float32(graph.input.scale)).astype(np.float32)
    return real, graph.input.quantize_as_operator(real)


def compare(number):
    recipe = random_graph(number)
    content = write_forecaster(recipe)
    graph = parse_graph(content, f"graph {number}")
    taken, windows = draw_windows(graph, number)
    resets = np.random.default_rng(number).random(WINDOWS) < 0.5
    state = reference.zero_state(graph, 1)
    mine = []
    for window, reset in zip(windows, resets, strict=True):
        if reset:
            state = reference.zero_state(graph, 1)
        forecast = reference.run(graph, window[None], initial=state)
        state = forecast.state
        mine.append(as_given(graph, forecast.outputs[0]))

    np.testing.assert_array_equal(mine, oracle(content, taken, resets), f"{number}: {recipe}")


@pytest.mark.parametrize("number", range(40))
def test_a_graph_of_the_claim_equals_tflite_micro(number):
    compare(number)


@pytest.mark.full
@pytest.mark.parametrize("number", range(40, 300))
def test_300_graphs_of_the_claim_equal_tflite_micro(number):
    compare(number)
