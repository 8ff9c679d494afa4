from __future__ import annotations

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.demand.synthetic import synthetic_sales
from toolchain.demand.windows import prepare
from toolchain.errors import ModelError
from toolchain.project import Data, Network
from toolchain.shelf.inputs import model_inputs

FEATURES = ("units", "weekday", "month")


def test_calendar_tables_hold_what_windows_quantize_to(make_graph):
    graph = make_graph(Recipe(hidden=(4,), steps=14, features=5))
    inputs = model_inputs(graph, FEATURES)
    data = Data(source="synthetic", test_days=400)
    dataset = prepare(synthetic_sales(1), data, Network(window=14, features=FEATURES))
    test = dataset.test

    expected = graph.input.quantize(test.inputs[:, -1, 1:])

    weekday = (test.days.astype(np.int64) + 3) % 7
    month = test.days.astype("datetime64[M]").astype(np.int64) % 12
    found = np.concatenate([inputs.weekday[weekday], inputs.month[month]], axis=1)
    np.testing.assert_array_equal(found, expected)


def test_another_number_of_inputs_is_refused(make_graph):
    graph = make_graph(Recipe(hidden=(4,), steps=3, features=2))

    with pytest.raises(ModelError, match=r"reads 2 values a day, but network\.features .* are 5"):
        model_inputs(graph, FEATURES)
