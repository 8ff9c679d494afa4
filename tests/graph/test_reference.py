from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import as_given, as_taken, oracle
from recipes import ALL, STRESS
from tflite_writer import Recipe, write_forecaster

from toolchain.graph import reference
from toolchain.graph.tflite_file import load_graph


def expected_outputs(path, graph, windows, *, reset=True):
    """Forecast int8 windows with TFLite Micro itself."""
    return oracle(path.read_bytes(), as_taken(graph, windows), [reset] * len(windows))


@pytest.mark.parametrize("name", ALL)
def test_equals_tflite_micro(name, make_graph, make_windows, tmp_path):
    graph = make_graph(ALL[name])
    windows = make_windows(graph, 60)

    forecasts = reference.run(graph, windows)

    expected = expected_outputs(tmp_path / "model.tflite", graph, windows)
    np.testing.assert_array_equal(as_given(graph, forecasts.outputs), expected)


@pytest.mark.parametrize("name", STRESS)
def test_every_hidden_value_equals_tflite_micro(name, make_graph, make_windows, tmp_path):
    recipe = Recipe(**{**vars(STRESS[name]), "whole_sequence": True, "dense": ()})
    graph = make_graph(recipe)
    windows = make_windows(graph, 40)

    forecasts = reference.run(graph, windows, trace=True)

    expected = expected_outputs(tmp_path / "model.tflite", graph, windows)
    np.testing.assert_array_equal(forecasts.outputs, expected)
    np.testing.assert_array_equal(forecasts.hidden[-1].reshape(expected.shape), expected)


@pytest.mark.parametrize("name", ["lstm16", "stacked", "no clip"])
def test_carries_the_state_over_as_tflite_micro_does(name, make_graph, make_windows, tmp_path):
    graph = make_graph(ALL[name])
    windows = make_windows(graph, 30)

    state, outputs = reference.zero_state(graph, 1), []
    for window in windows:
        forecast = reference.run(graph, window[None], initial=state)
        state = forecast.state
        outputs.append(forecast.outputs[0])

    expected = expected_outputs(tmp_path / "model.tflite", graph, windows, reset=False)
    np.testing.assert_array_equal(np.array(outputs), expected)
    with_reset = expected_outputs(tmp_path / "model.tflite", graph, windows)
    assert (with_reset != expected).any(), "carrying over must matter here"


@pytest.mark.full
@pytest.mark.parametrize("name", ALL)
def test_thousands_of_windows_equal_tflite_micro(name, make_graph, make_windows, tmp_path):
    graph = make_graph(ALL[name])
    windows = make_windows(graph, 5_000)

    forecasts = reference.run(graph, windows)

    expected = expected_outputs(tmp_path / "model.tflite", graph, windows)
    np.testing.assert_array_equal(as_given(graph, forecasts.outputs), expected)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    recipe=st.builds(
        Recipe,
        seed=st.integers(0, 1 << 30),
        steps=st.integers(1, 12),
        features=st.integers(1, 6),
        hidden=st.lists(st.integers(1, 20), min_size=1, max_size=3).map(tuple),
        dense=st.lists(st.integers(1, 5), max_size=3).map(tuple),
        whole_sequence=st.booleans(),
        weight_scale=st.floats(0.0005, 0.2),
        bias_limit=st.integers(0, 300_000),
        input_scale=st.floats(0.002, 0.3),
        cell_power=st.integers(-18, -9),
        cell_clip=st.sampled_from([0.0, 0.5, 10.0]),
        per_channel=st.booleans(),
        output_scale=st.floats(0.01, 1.0),
    )
)
def test_equals_tflite_micro_for_any_network(recipe, tmp_path, make_windows):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_forecaster(recipe))
    graph = load_graph(path)
    windows = make_windows(graph, 6)

    expected = expected_outputs(path, graph, windows)
    np.testing.assert_array_equal(reference.run(graph, windows).outputs, expected)


def test_a_window_of_another_shape_is_refused(make_graph):
    graph = make_graph(Recipe(steps=4))

    with pytest.raises(ValueError, match=r"int8 \(2, 5, 1\); int8 \(windows, 4, 1\) is needed"):
        reference.run(graph, np.zeros((2, 5, 1), np.int8))


def test_no_windows_give_no_forecasts(make_graph):
    graph = make_graph(Recipe(steps=4))

    assert reference.run(graph, np.zeros((0, 4, 1), np.int8)).outputs.shape == (0, 1)
