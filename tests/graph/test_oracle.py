"""Two vintages of TFLite Micro multiply scales in double, or in single precision."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from recipes import ALL
from tflite_writer import Recipe, write_forecaster

from toolchain.graph import reference
from toolchain.graph.constants import dense_constants, lstm_constants
from toolchain.graph.fixed_point import quantize_multiplier
from toolchain.graph.tflite_file import load_graph, parse_graph

GOLDEN = Path(os.environ.get("SHELFCAST_GOLDEN", "golden"))
"""Where lstm<H>.tflite and golden<H>.npz lie.

`y` has forecasts of windows in which both kinds of TFLite Micro agree, each after a reset, and
`y_carry` those of the pinned one, which multiplies in double, with the state carried over.
"""


def single(*factors: float) -> float:
    return float(np.prod([np.float32(factor) for factor in factors], dtype=np.float32))


def test_double_is_the_default(make_graph):
    assert make_graph(Recipe()).oracle == "double"


def test_the_gates_multiply_scales_in_the_precision_that_is_asked_for(make_graph):
    layer = make_graph(ALL["lstm16"]).lstms[0]

    constants = {rule: lstm_constants(layer, rule) for rule in ("double", "float32")}

    for rule, product in (("double", lambda a, b: a * b), ("float32", single)):
        for factors, given, scales in (
            (constants[rule].input_multiplier, layer.input, layer.input_weight_scales),
            (constants[rule].recurrent_multiplier, layer.hidden, layer.recurrent_weight_scales),
        ):
            wanted = [quantize_multiplier(product(given.scale, it) / 2.0**-12)[0] for it in scales]
            assert list(factors) == wanted
    assert constants["double"].input_multiplier != constants["float32"].input_multiplier
    # The scales of these products are powers of two: no precision matters.
    assert constants["double"].hidden_multiplier == constants["float32"].hidden_multiplier


def test_a_dense_layer_multiplies_one_scale_so_and_a_scale_per_output_always_in_double(make_graph):
    one = make_graph(Recipe(dense=(3,))).denses[0]
    many = make_graph(Recipe(dense=(3,), per_channel=True)).denses[0]

    wanted = quantize_multiplier(single(one.input.scale, one.weight_scales[0]) / one.output.scale)
    assert dense_constants(one, "float32").multiplier.tolist() == [wanted[0]] * 3
    assert dense_constants(many, "float32").multiplier.tolist() == (
        dense_constants(many, "double").multiplier.tolist()
    )


def test_the_two_forecast_differently_now_and_then(make_windows):
    """What `oracle` is for: states differ in some windows, most forecasts do not."""
    content = write_forecaster(ALL["lstm16"])
    double, single_ = (parse_graph(content, "model", rule) for rule in ("double", "float32"))
    windows = make_windows(double, 400)

    mine = reference.run(double, windows, trace=True)
    theirs = reference.run(single_, windows, trace=True)

    differ = (mine.cells[0] != theirs.cells[0]).any(axis=(1, 2))
    assert 0 < differ.sum() < 200
    assert (mine.outputs != theirs.outputs).sum() <= differ.sum()


def golden_of(hidden, rule):
    """Return a model and its windows, forecasts after a reset, and forecasts without one."""
    model = GOLDEN / f"lstm{hidden}.tflite"
    if not model.exists():
        pytest.skip(f"{model} is not here; SHELFCAST_GOLDEN names the folder that has it")
    graph = load_graph(model, rule)
    with np.load(GOLDEN / f"golden{hidden}.npz") as golden:
        windows = golden["X"].reshape(-1, graph.steps, graph.features)
        return graph, windows, golden["y"].tolist(), golden["y_carry"].tolist()


@pytest.mark.parametrize("rule", ["double", "float32"])
@pytest.mark.parametrize("hidden", [16, 32, 64])
def test_golden_forecasts_after_a_reset(hidden, rule):
    graph, windows, fresh, _ = golden_of(hidden, rule)

    assert reference.run(graph, windows).outputs[:, 0].tolist() == fresh


@pytest.mark.parametrize("hidden", [16, 32, 64])
def test_golden_forecasts_with_the_state_carried_over(hidden):
    graph, windows, _, carried = golden_of(hidden, "double")
    state = reference.zero_state(graph, 1)
    on = []
    for window in windows:
        forecast = reference.run(graph, window[None], initial=state)
        state = forecast.state
        on.append(int(forecast.outputs[0, 0]))

    assert on == carried
