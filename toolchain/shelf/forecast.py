"""Units to units: what a model on a shelf forecasts for the days ahead, many shelves at once.

All units are Q15.16, all days numbers since 1970-01-01. A sample holds the units of one day and the
calendar of the day after it. Past its own outputs a model is fed its forecasts: from the state that
the window left behind it goes on day by day, as a stream.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolchain.errors import ModelError
from toolchain.graph.reference import State, Stepper, zero_state
from toolchain.graph.types import Graph, Int8, Int32
from toolchain.graph.units import dequantize_units, quantize_units
from toolchain.project import Feature
from toolchain.shelf.inputs import Inputs, model_inputs

Method = Literal["window", "stream"]
Days = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ShelfModel:
    """A model, how it is fed, and how far it is asked to look. One firmware for all shelves."""

    graph: Graph
    inputs: Inputs
    method: Method
    """A window from the zero state for each day, or one step of a state that goes on."""
    horizon: int
    """The most days ahead that are forecast."""

    @functools.cached_property
    def stepper(self) -> Stepper:
        """The network, prepared."""
        return Stepper(self.graph)

    @property
    def steps(self) -> int:
        """Days in a window."""
        return self.graph.steps


def shelf_model(
    graph: Graph, features: tuple[Feature, ...], method: Method = "window", horizon: int = 14
) -> ShelfModel:
    """Put a model on a shelf.

    Args:
        graph: one output, which is fed back, or one for each day of the horizon.
        features: what the model was trained on.
        method: how it forecasts.
        horizon: the most days ahead, if the model has one output; else it is the outputs' number.

    Raises:
        ModelError: the head reads whole windows or gives shares, or the model was trained on other
            features.
    """
    if graph.whole_sequence:
        raise ModelError(
            "the head of the model reads the hidden state of every step, and a shelf feeds it day "
            "by day past its window. Train one that reads the last step."
        )
    if graph.shares:
        raise ModelError(
            "the head of the model gives shares of 1, by a softmax, and a shelf counts units. "
            "Train one whose last layer has no activation, or a ReLU."
        )
    days = horizon if graph.outputs == 1 else graph.outputs
    return ShelfModel(graph, model_inputs(graph, features), method, days)


@dataclass(frozen=True, eq=False)
class Scaling:
    """How much each shelf sells, Q15.16."""

    mean: Days  # (shelves)
    deviation: Days  # (shelves)


def samples(model: ShelfModel, units: ArrayLike, days: ArrayLike, scaling: Scaling) -> Int8:
    """Return what the model is fed after `days` that sold `units`: (shelves, features)."""
    inputs = model.inputs
    after = np.asarray(days, np.int64) + 1
    parts = [quantize_units(units, scaling.mean, scaling.deviation, inputs.units)[:, None]]
    for feature in inputs.features[1:]:
        parts.append(
            inputs.weekday[(after + 3) % 7]  # 1970-01-01 was a Thursday
            if feature == "weekday"
            else inputs.month[
                after.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
            ]
        )
    return np.concatenate(parts, axis=1)


def window_state(model: ShelfModel, units: ArrayLike, last: ArrayLike, scaling: Scaling) -> State:
    """Feed windows (shelves, days) that end with the days `last`, from the zero state."""
    window, end = np.asarray(units, np.int64), np.asarray(last, np.int64)
    state = zero_state(model.graph, len(window))
    count = window.shape[1]
    for step in range(count):
        day = end - (count - 1 - step)
        state = model.stepper.step(samples(model, window[:, step], day, scaling), state)
    return state


def look_ahead(
    model: ShelfModel, state: State, last: ArrayLike, scaling: Scaling, days: int
) -> Int32:
    """Forecast the `days` after `last` from the states of that day: units (shelves, days)."""
    end = np.asarray(last, np.int64)

    def to_units(values: Int8) -> Int32:
        return dequantize_units(values, scaling.mean, scaling.deviation, model.inputs.outputs)

    if model.graph.outputs > 1:
        values = model.stepper.outputs(state)[:, :days]
        wide = Scaling(scaling.mean[:, None], scaling.deviation[:, None])
        return dequantize_units(values, wide.mean, wide.deviation, model.inputs.outputs)
    ahead = np.zeros((len(end), days), np.int32)
    for index in range(days):
        ahead[:, index] = to_units(model.stepper.outputs(state)[:, 0])
        if index + 1 < days:
            fed = samples(model, ahead[:, index], end + index + 1, scaling)
            state = model.stepper.step(fed, state)
    return ahead


def forecast_windows(
    model: ShelfModel, units: ArrayLike, last: ArrayLike, scaling: Scaling, days: int
) -> Int32:
    """Forecast by window: units (shelves, steps) that end with `last` give (shelves, days)."""
    return look_ahead(model, window_state(model, units, last, scaling), last, scaling, days)
