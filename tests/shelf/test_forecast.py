from __future__ import annotations

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.demand.synthetic import synthetic_sales
from toolchain.demand.windows import prepare
from toolchain.errors import ModelError
from toolchain.graph import reference
from toolchain.graph.units import to_fixed
from toolchain.project import Data, Network
from toolchain.shelf.forecast import (
    Scaling,
    forecast_windows,
    look_ahead,
    samples,
    shelf_model,
    window_state,
)

FEATURES = ("units", "weekday", "month")


@pytest.fixture
def case(make_graph):
    """A model, and windows of twelve series as training sees them."""
    graph = make_graph(Recipe(hidden=(6, 5), steps=14, features=5))
    dataset = prepare(
        synthetic_sales(1), Data(source="synthetic"), Network(window=14, features=FEATURES)
    )
    return shelf_model(graph, FEATURES), dataset


def fixed(values: np.ndarray) -> np.ndarray:
    return np.array([to_fixed(value) for value in values.ravel()]).reshape(values.shape)


def windows_of(dataset, every: int):
    """Return the chosen test windows, and for each its units, last day and scaling."""
    test = dataset.test
    chosen = np.arange(0, len(test), every)
    series, days = test.series[chosen], test.days[chosen]
    ends = np.searchsorted(dataset.sales.dates, days)
    rows = ends[:, None] + np.arange(-14, 0)
    units = fixed(dataset.sales.units[series[:, None], rows])
    scaling = Scaling(fixed(dataset.scaling.offset)[series], fixed(dataset.scaling.scale)[series])
    return chosen, units, days.astype(np.int64) - 1, scaling


def test_a_shelf_forecasts_what_validation_replays(case):
    model, dataset = case
    chosen, units, last, scaling = windows_of(dataset, 7)
    inputs = model.graph.input.quantize(dataset.test.inputs[chosen])

    expected = model.graph.output.dequantize(reference.run(model.graph, inputs).outputs[:, 0])
    ahead = forecast_windows(model, units, last, scaling, 1)

    in_units = dataset.to_units(dataset.test.series[chosen], expected)
    np.testing.assert_allclose(ahead[:, 0] / 65_536, in_units, atol=1e-3)


def test_the_days_ahead_go_on_from_the_window_as_a_stream(case):
    model, dataset = case
    _, units, last, scaling = windows_of(dataset, 97)
    ahead = forecast_windows(model, units, last, scaling, 3)

    state = window_state(model, units, last, scaling)
    for day in range(2):
        state = model.stepper.step(samples(model, ahead[:, day], last + 1 + day, scaling), state)
        expected = look_ahead(model, state, last + 1 + day, scaling, 1)
        np.testing.assert_array_equal(ahead[:, day + 1], expected[:, 0])


def test_several_outputs_are_the_days_ahead(make_graph):
    graph = make_graph(Recipe(hidden=(4,), steps=5, features=1, dense=(3,)))
    model = shelf_model(graph, ("units",), horizon=14)
    units = np.arange(10).reshape(2, 5) << 16
    scaling = Scaling(np.array([4 << 16] * 2), np.array([3 << 16] * 2))

    ahead = forecast_windows(model, units, np.array([20_000, 20_000]), scaling, 2)

    assert model.horizon == 3
    state = window_state(model, units, np.array([20_000, 20_000]), scaling)
    values = model.stepper.outputs(state)[:, :2].astype(int)
    out = model.inputs.outputs
    exact = 4 + (values - out.zero_point) * out.scale / 2**24 * 3
    np.testing.assert_allclose(ahead / 65_536, np.maximum(exact, 0), atol=1e-4)


def test_a_head_that_gives_shares_is_refused(make_graph):
    graph = make_graph(Recipe(hidden=(4,), steps=3, dense=(2,), then=("softmax",)))

    with pytest.raises(ModelError, match="gives shares of 1, by a softmax"):
        shelf_model(graph, ("units",))


def test_a_head_that_reads_whole_windows_is_refused(make_graph):
    graph = make_graph(Recipe(hidden=(4,), steps=3, whole_sequence=True))

    with pytest.raises(ModelError, match="reads the hidden state of every step"):
        shelf_model(graph, ("units",))
