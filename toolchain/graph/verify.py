"""Check that a graph lies inside what the integer engine computes exactly."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.graph.constants import DenseConstants, LstmConstants, graph_constants
from toolchain.graph.types import Dense, Graph, Quantization

MAX_STEPS = 365
MAX_FEATURES = 256
MAX_HIDDEN = 256
MAX_VALUES = 65_535
"""In a window, and between the LSTM layers and the head: the engine counts in 16 bits."""
MAX_SHARES = 511
"""Values of a softmax: with more, the last shift of the reference passes 31 bits."""
_CELL_POWERS = range(-18, -8)


def verify(graph: Graph, name: str) -> None:
    """Refuse a graph that the engine, or the reference itself, could not compute exactly.

    Raises:
        ModelError: the message names the operator, the number, and the limit.
    """
    _limits(graph, name)
    _chain(graph, name)
    for dense in graph.denses:
        _nonlinearity(dense, name)
    lstms, denses = graph_constants(graph)
    for layer, constants in zip(graph.lstms, lstms, strict=True):
        _lstm_range(constants, f"{name}: operator {layer.index} UNIDIRECTIONAL_SEQUENCE_LSTM")
    for dense, numbers in zip(graph.denses, denses, strict=True):
        _dense_range(numbers, f"{name}: operator {dense.index} FULLY_CONNECTED")


def _limits(graph: Graph, name: str) -> None:
    sizes = (
        ("steps", graph.steps, MAX_STEPS),
        ("features", graph.features, MAX_FEATURES),
        *(("hidden units", layer.hidden_size, MAX_HIDDEN) for layer in graph.lstms),
    )
    for words, size, limit in sizes:
        if not 1 <= size <= limit:
            raise ModelError(f"{name}: has {size:,} {words}; 1 to {limit} are supported.")
    for words, size in (
        ("values in a window", graph.steps * graph.features),
        ("values read by the head", graph.head_size),
    ):
        if size > MAX_VALUES:
            raise ModelError(f"{name}: has {size:,} {words}; up to {MAX_VALUES:,} are supported.")
    for layer in graph.lstms:
        if layer.cell_scale_power not in _CELL_POWERS:
            raise ModelError(
                f"{name}: operator {layer.index} UNIDIRECTIONAL_SEQUENCE_LSTM has a cell scale of "
                f"2^{layer.cell_scale_power}; 2^{_CELL_POWERS[0]} to 2^{_CELL_POWERS[-1]} are "
                "supported. A network whose cells hardly move has learnt nothing: give it sales "
                "that vary, or train longer."
            )


def _chain(graph: Graph, name: str) -> None:
    """Each layer reads the size and the scale that the one before it gives."""
    if graph.lstms[0].input_size != graph.features:
        raise ModelError(
            f"{name}: the LSTM reads {graph.lstms[0].input_size} features of {graph.features}."
        )
    quantizations: list[tuple[int, Quantization, Quantization]] = [
        (graph.lstms[0].index, graph.input, graph.lstms[0].input)
    ]
    for before, after in itertools.pairwise(graph.lstms):
        if before.hidden_size != after.input_size:
            raise ModelError(
                f"{name}: operator {after.index} reads {after.input_size} values per step; "
                f"the layer before it gives {before.hidden_size}."
            )
        quantizations.append((after.index, before.hidden, after.input))
    size, given = graph.head_size, graph.lstms[-1].hidden
    for dense in graph.denses:
        if size % dense.input_size:
            raise ModelError(
                f"{name}: operator {dense.index} FULLY_CONNECTED reads rows of "
                f"{dense.input_size} values from {size:,}."
            )
        quantizations.append((dense.index, given, dense.input))
        size, given = size // dense.input_size * dense.output_size, dense.result
        if size > MAX_VALUES:
            raise ModelError(
                f"{name}: operator {dense.index} FULLY_CONNECTED gives {size:,} values; "
                f"up to {MAX_VALUES:,} are supported."
            )
    for index, gives, reads in quantizations:
        if gives != reads:
            raise ModelError(
                f"{name}: operator {index} reads scale {reads.scale:g} and zero point "
                f"{reads.zero_point}, but is given {gives.scale:g} and {gives.zero_point}."
            )


def _nonlinearity(dense: Dense, name: str) -> None:
    """Refuse scales and sizes for which the reference's tables and shifts are undefined."""
    if dense.then is None:
        return
    words = f"{name}: operator {dense.then.index} {dense.then.kind.upper()}"
    if dense.then.kind != "softmax":
        if not 2.0**-27 <= dense.output.scale <= 2.0**20:
            raise ModelError(
                f"{words} reads a scale of {dense.output.scale:g}; 2^-27 to 2^20 are supported."
            )
        return
    if dense.output_size > MAX_SHARES:
        raise ModelError(
            f"{words} is over {dense.output_size:,} values; up to {MAX_SHARES} are supported."
        )
    factor = dense.then.beta * dense.output.scale
    if not 2.0**-25 <= factor <= 2.0**40:
        raise ModelError(
            f"{words} reads a scale times beta of {factor:g}; 2^-25 to 2^40 are supported."
        )


def _lstm_range(constants: LstmConstants, name: str) -> None:
    parts = (
        (constants.input_weights, constants.input_bias,
         constants.input_multiplier, constants.input_shift),
        (constants.recurrent_weights, constants.recurrent_bias,
         constants.recurrent_multiplier, constants.recurrent_shift),
    )  # fmt: skip
    for weights, bias, multipliers, shifts in parts:
        for gate in range(4):
            bound = _largest_sum(weights[gate], bias[gate])
            _shift_in_range(bound, multipliers[gate], shifts[gate], name)
    if not -31 <= constants.hidden_shift <= 0:
        raise ModelError(f"{name}: has a hidden scale that no requantization reaches.")


def _dense_range(constants: DenseConstants, name: str) -> None:
    bounds = _largest_sums(constants.weights, constants.bias)
    for bound, multiplier, shift in zip(bounds, constants.multiplier, constants.shift, strict=True):
        _shift_in_range(int(bound), int(multiplier), int(shift), name)


def _largest_sums(weights: NDArray[np.int8], bias: NDArray[np.int32]) -> NDArray[np.int64]:
    """Bound |sum of products + bias| for any int8 input, per row of the weights."""
    magnitude = np.abs(weights.astype(np.int64)).sum(axis=-1)
    bounds: NDArray[np.int64] = magnitude * 128 + np.abs(bias.astype(np.int64))
    return bounds


def _largest_sum(weights: NDArray[np.int8], bias: NDArray[np.int32]) -> int:
    return int(_largest_sums(weights, bias).max())


def _shift_in_range(bound: int, multiplier: int, shift: int, name: str) -> None:
    """Refuse what overflows 32 bits on the way: there the reference itself is undefined."""
    if not -31 <= shift <= 30:
        raise ModelError(
            f"{name}: has scales that need a shift by {shift}; -31 to 30 are supported. A layer of "
            "nothing but zeros has such scales: train again."
        )
    if not 0 <= multiplier < 1 << 31 or bound << max(shift, 0) >= 1 << 30:
        raise ModelError(
            f"{name}: a sum may reach {bound:,} and is shifted left by {max(shift, 0)}: "
            "past 30 bits, where the requantization of the reference may overflow."
        )
