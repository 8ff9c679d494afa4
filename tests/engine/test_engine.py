"""The C engine on the host, under sanitizers, against the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recipes import ALL, ORDINARY

from toolchain.graph import reference


@pytest.mark.parametrize("name", ALL)
def test_equals_the_reference_in_every_state(name, make_graph, make_windows, compile_engine):
    graph = make_graph(ALL[name])
    windows = make_windows(graph, 60)

    computed = compile_engine(graph).run(windows)

    expected = reference.run(graph, windows, trace=True)
    for layer in range(len(graph.lstms)):
        np.testing.assert_array_equal(computed.hidden[layer], expected.hidden[layer])
        np.testing.assert_array_equal(computed.cells[layer], expected.cells[layer])
    np.testing.assert_array_equal(computed.outputs, expected.outputs)


@pytest.mark.parametrize("name", ORDINARY)
def test_carries_the_state_over_as_the_reference_does(
    name, make_graph, make_windows, compile_engine
):
    graph = make_graph(ORDINARY[name])
    windows = make_windows(graph, 20)

    computed = compile_engine(graph).run(windows, keep=True)

    state = reference.zero_state(graph, 1)
    for number, window in enumerate(windows):
        expected = reference.run(graph, window[None], initial=state, trace=True)
        state = expected.state
        np.testing.assert_array_equal(computed.outputs[number], expected.outputs[0])
        for layer in range(len(graph.lstms)):
            np.testing.assert_array_equal(computed.hidden[layer][number], expected.hidden[layer][0])
            np.testing.assert_array_equal(computed.cells[layer][number], expected.cells[layer][0])


def test_scales_may_be_multiplied_in_single_precision(make_graph, make_windows, compile_engine):
    double = make_graph(ORDINARY["lstm16"])
    graph = replace(double, oracle="float32")
    windows = make_windows(graph, 400)

    computed = compile_engine(graph).run(windows)

    expected = reference.run(graph, windows, trace=True)
    np.testing.assert_array_equal(computed.hidden[0], expected.hidden[0])
    np.testing.assert_array_equal(computed.cells[0], expected.cells[0])
    np.testing.assert_array_equal(computed.outputs, expected.outputs)
    other = reference.run(double, windows, trace=True)
    assert (other.cells[0] != expected.cells[0]).any()
