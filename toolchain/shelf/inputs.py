"""What a model is fed on a shelf: units in the shelf's own scaling, and the calendar as tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.demand.windows import CIRCLES, INPUT_LIMIT, circle
from toolchain.errors import ModelError
from toolchain.graph.types import Graph, Int8
from toolchain.graph.units import UnitsFormat, units_format
from toolchain.project import Feature


@dataclass(frozen=True, eq=False)
class Inputs:
    """How a sample is made of a day's units and the date of the day after it."""

    features: tuple[Feature, ...]
    """In the order of the sample; units first, then two values for each other feature."""
    units: UnitsFormat
    outputs: UnitsFormat
    weekday: Int8  # (7, 2): sine and cosine, Monday first
    month: Int8  # (12, 2): sine and cosine, January first


def model_inputs(graph: Graph, features: tuple[Feature, ...]) -> Inputs:
    """Derive the integers that feed a model of these features.

    Every place of a calendar circle is one of few, so the values a device looks up are those that
    `Quantization.quantize` gives the windows that the model was trained and validated with.

    Raises:
        ModelError: the model has another number of inputs, or scales that units have no room for.
    """
    count = sum(1 if name == "units" else 2 for name in features)
    if count != graph.features:
        raise ModelError(
            f"the model reads {graph.features} values a day, but network.features "
            f"({', '.join(features)}) are {count}. Name the features it was trained with."
        )
    try:
        units = units_format(graph.input, INPUT_LIMIT)
        outputs = units_format(graph.output, INPUT_LIMIT)
    except ValueError as cause:
        raise ModelError(
            f"the model's values are no units on a shelf: {cause}. Train it on scaled sales."
        ) from cause

    def table(name: Feature) -> Int8:
        return graph.input.quantize(circle(CIRCLES[name]).astype(np.float32))

    return Inputs(features, units, outputs, table("weekday"), table("month"))
