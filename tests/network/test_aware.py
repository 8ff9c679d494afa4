from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toolchain.graph import reference
from toolchain.graph.tflite_file import load_graph
from toolchain.network.aware import choose_ranges, integer_forward
from toolchain.network.candidate import Candidate, Scores, score_candidate, train_candidate
from toolchain.network.descent import Forecaster
from toolchain.network.float_model import load_model


def test_ranges_are_those_the_converter_chooses(trained, samples, converted) -> None:
    graph = load_graph(converted)

    ranges = choose_ranges(load_model(trained.model).get_weights(), samples)

    first, second = graph.lstms
    theirs = [
        *dataclasses.astuple(graph.input),
        *dataclasses.astuple(first.hidden),
        2.0**first.cell_scale_power,
        *dataclasses.astuple(second.hidden),
        2.0**second.cell_scale_power,
        *dataclasses.astuple(graph.output),
    ]
    assert ranges == pytest.approx(theirs, rel=1e-5)


def test_forecasts_are_those_of_the_engine_but_for_two_steps_at_most(
    trained, samples, converted
) -> None:
    graph = load_graph(converted)
    weights = load_model(trained.model).get_weights()
    windows = trained.train.inputs

    forecasts = Forecaster(windows, integer_forward(choose_ranges(weights, samples)))(weights)

    ours = np.round(forecasts / graph.output.scale) + graph.output.zero_point
    engine = reference.run(graph, graph.input.quantize(windows)).outputs[:, 0]
    assert np.abs(ours - engine).max() <= 2
    assert np.mean(ours == engine) > 0.95


@pytest.fixture(scope="module")
def score(sell, cut_sales, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Scores]:
    """Score a network that forecasts waves almost without noise, where each step of int8 counts."""
    dataset = cut_sales(sell(noise=0.002))
    made: dict[tuple[bool, int], Scores] = {}

    def make(aware: bool, seed: int) -> Scores:
        if (aware, seed) not in made:
            folder: Path = tmp_path_factory.mktemp("aware")
            candidate = Candidate(
                hidden=(8,),
                features=("units", "weekday"),
                window=9,
                epochs=40,
                batch_size=32,
                learning_rate=0.02,
                patience=40,
                aware=aware,
            )
            train_candidate(dataset, candidate, seed, folder)
            made[aware, seed] = score_candidate(dataset, folder)
        return made[aware, seed]

    return make


def test_int8_loses_less_where_it_loses_most(score) -> None:
    plain, aware = score(False, 1), score(True, 1)

    assert plain.int8_test.mae / plain.float_test.mae > 1.2
    assert aware.int8_validation.mae < plain.int8_validation.mae
    assert aware.int8_test.mae < plain.int8_test.mae


@pytest.mark.full
def test_int8_loses_a_tenth_less_over_seeds(score) -> None:
    # One training's figures depend on the processor's order of additions; several agree.
    plain, aware = (
        np.mean([score(tuned, seed).int8_test.mae for seed in (1, 2, 3)]) for tuned in (False, True)
    )

    assert aware < 0.9 * plain
