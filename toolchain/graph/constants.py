"""The integers a forecast is computed with, derived once for the host reference and the firmware.

The real scales of a `Graph` become multipliers and shifts, the zero points are folded into biases.
What is here is all that either side may use: they can not disagree about a constant.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.graph.fixed_point import quantize_multiplier
from toolchain.graph.int8_activations import exponential_table, sigmoid_table, tanh_table
from toolchain.graph.types import (
    Activation,
    Dense,
    Graph,
    Int8,
    Int32,
    Lstm,
    Oracle,
    Quantization,
)

_GATE_SCALE = 2.0**-12  # what the activations read: Q3.12
_ACTIVATED_SCALE = 2.0**-15  # what they give: Q0.15


@dataclass(frozen=True, eq=False)
class LstmConstants:
    """One LSTM layer. Gates are in the order of `types.GATES`."""

    input_weights: Int8  # (4, hidden, inputs)
    recurrent_weights: Int8  # (4, hidden, hidden)
    input_bias: Int32  # (4, hidden), the input's zero point folded in
    recurrent_bias: Int32  # (4, hidden), the hidden state's zero point folded in
    input_multiplier: tuple[int, ...]  # (4)
    input_shift: tuple[int, ...]  # (4)
    recurrent_multiplier: tuple[int, ...]  # (4)
    recurrent_shift: tuple[int, ...]  # (4)
    forget_shift: int
    """Of forget gate * cell, whose multiplier is 2**30: the scales are powers of two."""
    update_shift: int
    """Of input gate * cell gate, likewise."""
    cell_scale_power: int
    cell_clip: int
    """Bound of the cell as an integer; 0 means none."""
    hidden_multiplier: int
    hidden_shift: int
    hidden_zero_point: int

    @property
    def hidden_size(self) -> int:
        """Units of the layer."""
        return self.input_weights.shape[1]

    @property
    def input_size(self) -> int:
        """Values the layer reads per step."""
        return self.input_weights.shape[2]


@dataclass(frozen=True, eq=False)
class DenseConstants:
    """One dense layer."""

    weights: Int8  # (outputs, inputs)
    bias: Int32  # (outputs), the input's zero point folded in
    multiplier: NDArray[np.int64]  # (outputs)
    shift: NDArray[np.int64]  # (outputs)
    output_zero_point: int
    output_min: int
    output_max: int
    lookup: Int8 | None = None
    """Tanh or sigmoid of each int8 value, from -128 up."""
    exponentials: Int32 | None = None
    """Of a softmax, Q0.31: by how far a value is below the largest of its row, 0..255."""


def lstm_constants(layer: Lstm, oracle: Oracle = "double") -> LstmConstants:
    """Derive the integers of an LSTM layer. Source: TFLM `CreateGateParams`."""
    scales_in = [
        _scale_product(layer.input.scale, weight, oracle) / _GATE_SCALE
        for weight in layer.input_weight_scales
    ]
    scales_rec = [
        _scale_product(layer.hidden.scale, weight, oracle) / _GATE_SCALE
        for weight in layer.recurrent_weight_scales
    ]
    input_factors = [quantize_multiplier(scale) for scale in scales_in]
    recurrent_factors = [quantize_multiplier(scale) for scale in scales_rec]
    cell_scale = 2.0**layer.cell_scale_power
    hidden = quantize_multiplier(_ACTIVATED_SCALE * _ACTIVATED_SCALE / layer.hidden.scale)
    return LstmConstants(
        input_weights=layer.input_weights,
        recurrent_weights=layer.recurrent_weights,
        input_bias=_fold(layer.bias, layer.input_weights, layer.input.zero_point),
        recurrent_bias=_fold(
            np.zeros_like(layer.bias), layer.recurrent_weights, layer.hidden.zero_point
        ),
        input_multiplier=tuple(factor[0] for factor in input_factors),
        input_shift=tuple(factor[1] for factor in input_factors),
        recurrent_multiplier=tuple(factor[0] for factor in recurrent_factors),
        recurrent_shift=tuple(factor[1] for factor in recurrent_factors),
        forget_shift=quantize_multiplier(_ACTIVATED_SCALE)[1],
        update_shift=quantize_multiplier(_ACTIVATED_SCALE * _ACTIVATED_SCALE / cell_scale)[1],
        cell_scale_power=layer.cell_scale_power,
        cell_clip=int(min(layer.cell_clip / cell_scale, 32_767)),
        hidden_multiplier=hidden[0],
        hidden_shift=hidden[1],
        hidden_zero_point=layer.hidden.zero_point,
    )


def dense_constants(layer: Dense, oracle: Oracle = "double") -> DenseConstants:
    """Derive the integers of a dense layer. Source: TFLM `CalculateOpDataFullyConnected`."""
    count = layer.output_size
    # One scale for each output is multiplied in double by every TFLite Micro.
    rule: Oracle = oracle if len(layer.weight_scales) == 1 else "double"
    scales = [_scale_product(layer.input.scale, scale, rule) for scale in layer.weight_scales]
    factors = [quantize_multiplier(scale / layer.output.scale) for scale in scales]
    factors *= count if len(factors) == 1 else 1
    low, high = _activation_range(layer.activation, layer.output)
    return DenseConstants(
        weights=layer.weights,
        bias=_fold(layer.bias, layer.weights, layer.input.zero_point),
        multiplier=np.array([factor[0] for factor in factors], dtype=np.int64),
        shift=np.array([factor[1] for factor in factors], dtype=np.int64),
        output_zero_point=layer.output.zero_point,
        output_min=low,
        output_max=high,
        lookup=_lookup(layer),
        exponentials=exponential_table(layer.output, layer.then.beta)
        if layer.then is not None and layer.then.kind == "softmax"
        else None,
    )


@functools.lru_cache(maxsize=32)
def graph_constants(
    graph: Graph,
) -> tuple[tuple[LstmConstants, ...], tuple[DenseConstants, ...]]:
    """Derive the integers of every layer."""
    return (
        tuple(lstm_constants(layer, graph.oracle) for layer in graph.lstms),
        tuple(dense_constants(layer, graph.oracle) for layer in graph.denses),
    )


def _scale_product(input_scale: float, weight_scale: float, oracle: Oracle) -> float:
    """Multiply two scales as the TFLite Micro to be equalled does: some multipliers depend on it.

    Source: TFLite `GetQuantizedConvolutionMultipler`.
    """
    if oracle == "float32":
        return float(np.float32(input_scale) * np.float32(weight_scale))
    return input_scale * weight_scale


def _lookup(layer: Dense) -> Int8 | None:
    if layer.then is None or layer.then.kind == "softmax":
        return None
    table = tanh_table if layer.then.kind == "tanh" else sigmoid_table
    return table(layer.output)


def _fold(bias: Int32, weights: Int8, zero_point: int) -> Int32:
    """Move the zero point of the input into the bias: `W (x - z) + b = W x + (b - z sum W)`."""
    folded = bias.astype(np.int64) - zero_point * weights.sum(axis=-1, dtype=np.int64)
    return folded.astype(np.int32)


def _activation_range(activation: Activation, output: Quantization) -> tuple[int, int]:
    """Return the integers between which the activation leaves an output.

    Source: TFLite `CalculateActivationRangeQuantized`.
    """
    low, high = -128, 127
    bounds: dict[Activation, tuple[float | None, float | None]] = {
        "none": (None, None),
        "relu": (0.0, None),
        "relu6": (0.0, 6.0),
        "relu_n1_to_1": (-1.0, 1.0),
    }
    lowest, highest = bounds[activation]
    if lowest is not None:
        low = max(low, _step_of(lowest, output))
    if highest is not None:
        high = min(high, _step_of(highest, output))
    return low, high


def _step_of(real: float, output: Quantization) -> int:
    """Return the step a real bound lies on, in single precision as the kernel computes it."""
    steps = np.float32(real) / np.float32(output.scale)
    return output.zero_point + int(np.trunc(steps + np.copysign(np.float32(0.5), steps)))
