"""Lay a graph's constants out exactly as the engine reads them.

The engine computes the four gates of a unit together, so their weights lie side by side: all
weights of unit 0, then of unit 1; within a unit one group of four per value read. `unpack_weights`
is the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.graph.constants import DenseConstants, LstmConstants, graph_constants
from toolchain.graph.types import Graph, Int8


@dataclass(frozen=True)
class Scale:
    """A `fixed_scale_t`."""

    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class PackedLstm:
    """A `lstm_layer_t` and its arrays, flat."""

    input_size: int
    hidden_size: int
    input_weights: Int8  # (hidden * inputs * 4)
    recurrent_weights: Int8  # (hidden * hidden * 4)
    bias: NDArray[np.int32]  # (hidden * 4)
    input_scale: tuple[Scale, ...]  # (4)
    recurrent_scale: tuple[Scale, ...]  # (4)
    forget_scale: Scale
    update_scale: Scale
    hidden_scale: Scale
    cell_clip: int
    cell_scale_power: int
    hidden_zero_point: int


@dataclass(frozen=True, eq=False)
class PackedDense:
    """A `dense_layer_t` and its arrays, flat."""

    input_size: int
    output_size: int
    weights: Int8  # (outputs * inputs)
    bias: NDArray[np.int32]  # (outputs)
    scale: tuple[Scale, ...]
    """One, or one per output."""
    output_zero_point: int
    output_min: int
    output_max: int


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A `forecast_model_t`, its arrays, and the sizes of the state it needs."""

    graph: Graph
    lstms: tuple[PackedLstm, ...]
    denses: tuple[PackedDense, ...]

    @property
    def max_hidden(self) -> int:
        """Units of the largest LSTM layer."""
        return max(self.graph.hidden_sizes)

    @property
    def total_hidden(self) -> int:
        """Units of all LSTM layers."""
        return sum(self.graph.hidden_sizes)

    @property
    def sequence_size(self) -> int:
        """Values kept for a head that reads the whole sequence; 0 when it does not."""
        return self.graph.head_size if self.graph.whole_sequence else 0

    @property
    def between_sizes(self) -> tuple[int, ...]:
        """Values between one dense layer and the next."""
        sizes, size = [], self.graph.head_size
        for layer in self.denses:
            size = size // layer.input_size * layer.output_size
            sizes.append(size)
        return tuple(sizes[:-1])


def pack(graph: Graph) -> PackedModel:
    """Lay out every layer of a graph."""
    lstms, denses = graph_constants(graph)
    return PackedModel(
        graph=graph,
        lstms=tuple(_pack_lstm(layer) for layer in lstms),
        denses=tuple(_pack_dense(layer) for layer in denses),
    )


def pack_weights(weights: Int8) -> Int8:
    """Turn (4 gates, hidden, values) into the engine's flat (hidden, values, 4 gates)."""
    return np.ascontiguousarray(weights.transpose(1, 2, 0)).reshape(-1)


def unpack_weights(packed: Int8, hidden_size: int) -> Int8:
    """Turn the engine's flat order back into (4 gates, hidden, values)."""
    return np.ascontiguousarray(packed.reshape(hidden_size, -1, 4).transpose(2, 0, 1))


def _pack_lstm(layer: LstmConstants) -> PackedLstm:
    half = 1 << 30  # the multiplier of a power of two
    return PackedLstm(
        input_size=layer.input_size,
        hidden_size=layer.hidden_size,
        input_weights=pack_weights(layer.input_weights),
        recurrent_weights=pack_weights(layer.recurrent_weights),
        bias=np.ascontiguousarray(layer.input_bias.T).reshape(-1),
        input_scale=tuple(map(Scale, layer.input_multiplier, layer.input_shift)),
        recurrent_scale=tuple(map(Scale, layer.recurrent_multiplier, layer.recurrent_shift)),
        forget_scale=Scale(half, layer.forget_shift),
        update_scale=Scale(half, layer.update_shift),
        hidden_scale=Scale(layer.hidden_multiplier, layer.hidden_shift),
        cell_clip=layer.cell_clip,
        cell_scale_power=layer.cell_scale_power,
        hidden_zero_point=layer.hidden_zero_point,
    )


def _pack_dense(layer: DenseConstants) -> PackedDense:
    scale = tuple(
        Scale(int(multiplier), int(shift))
        for multiplier, shift in zip(layer.multiplier, layer.shift, strict=True)
    )
    outputs, inputs = layer.weights.shape
    return PackedDense(
        input_size=inputs,
        output_size=outputs,
        weights=layer.weights.reshape(-1),
        bias=layer.bias,
        scale=scale[:1] if len(set(scale)) == 1 else scale,
        output_zero_point=layer.output_zero_point,
        output_min=layer.output_min,
        output_max=layer.output_max,
    )
