"""The integers a forecast is computed with, derived once for the host reference and the firmware.

The real scales of a `Graph` become multipliers and shifts, the zero points are folded into biases.
What is here is all that either side may use: they can not disagree about a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.graph.fixed_point import quantize_multiplier
from toolchain.graph.types import Activation, Dense, Graph, Int8, Int32, Lstm, Quantization

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


def lstm_constants(layer: Lstm) -> LstmConstants:
    """Derive the integers of an LSTM layer.

    Input and weight scales are multiplied in double precision, as the pinned TFLite Micro does;
    a float32 product changes some multipliers. Source: TFLM `PrepareGateParametersInteger`.
    """
    scales_in = [layer.input.scale * weight / _GATE_SCALE for weight in layer.input_weight_scales]
    scales_rec = [
        layer.hidden.scale * weight / _GATE_SCALE for weight in layer.recurrent_weight_scales
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


def dense_constants(layer: Dense) -> DenseConstants:
    """Derive the integers of a dense layer. Source: TFLM `CalculateOpDataFullyConnected`."""
    count = layer.output_size
    scales = layer.weight_scales * (count if len(layer.weight_scales) == 1 else 1)
    factors = [
        quantize_multiplier(layer.input.scale * scale / layer.output.scale) for scale in scales
    ]
    low, high = _activation_range(layer.activation, layer.output)
    return DenseConstants(
        weights=layer.weights,
        bias=_fold(layer.bias, layer.weights, layer.input.zero_point),
        multiplier=np.array([factor[0] for factor in factors], dtype=np.int64),
        shift=np.array([factor[1] for factor in factors], dtype=np.int64),
        output_zero_point=layer.output.zero_point,
        output_min=low,
        output_max=high,
    )


def graph_constants(
    graph: Graph,
) -> tuple[tuple[LstmConstants, ...], tuple[DenseConstants, ...]]:
    """Derive the integers of every layer."""
    return (
        tuple(lstm_constants(layer) for layer in graph.lstms),
        tuple(dense_constants(layer) for layer in graph.denses),
    )


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
