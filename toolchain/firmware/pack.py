"""Lay a graph's constants out exactly as the engine reads them.

The bytes of weights, biases and scales are the kernel's (`kernel.py`, `kernels/`). Here each matrix
gets the format that costs least, and `unpack_matrix` is the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.firmware.kernel import FORMATS, Bytes, Format, Kernel, even, made_up, pad_columns
from toolchain.graph.constants import DenseConstants, LstmConstants, graph_constants
from toolchain.graph.saved import CRC_BYTES, kept_bytes
from toolchain.graph.types import Graph, Int8, Int32

_BLOCK_BYTES = 8


@dataclass(frozen=True)
class Scale:
    """A `fixed_scale_t`."""

    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """A `lstm_matrix_t` and its arrays."""

    format: Format
    columns: int
    weights: Bytes
    index: Bytes
    """Empty when dense."""

    @property
    def bytes(self) -> int:
        """Flash it takes."""
        return len(self.weights) + len(self.index)


@dataclass(frozen=True, eq=False)
class PackedLstm:
    """A `lstm_layer_t` and its arrays."""

    input_size: int
    hidden_size: int
    input: PackedMatrix
    recurrent: PackedMatrix
    bias: tuple[int, ...]
    constants: tuple[int, ...]
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
    lookup: Int8 | None
    """(256), or None without a tanh or sigmoid."""
    exponentials: Int32 | None
    """(256), or None without a softmax."""


@dataclass(frozen=True)
class StateLayout:
    """Where the parts of a `forecast_state_t` begin, in bytes. Int16 cells are first."""

    hidden_at: int
    hidden_end: int
    step_at: int
    scratch_at: int
    between_at: int
    between: int
    """Bytes of one vector between dense layers."""
    sequence_at: int
    bytes: int
    """Of it all, a multiple of 4."""
    saved_bytes: int
    """What `forecast_save` writes: a CRC, and all before the scratch and after `sequence_at`."""


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A `forecast_model_t`, its arrays, and the layout of the state it needs."""

    graph: Graph
    kernel: Kernel
    lstms: tuple[PackedLstm, ...]
    denses: tuple[PackedDense, ...]
    state: StateLayout
    defines: Mapping[str, int]
    """Macros of config.h that the kernel asks for."""

    @property
    def formats(self) -> frozenset[Format]:
        """Formats that some matrix has."""
        return frozenset(
            matrix.format for layer in self.lstms for matrix in (layer.input, layer.recurrent)
        )

    @property
    def has_lookup(self) -> bool:
        """Some dense layer has a tanh or sigmoid."""
        return any(layer.lookup is not None for layer in self.denses)

    @property
    def has_softmax(self) -> bool:
        """Some dense layer has a softmax."""
        return any(layer.exponentials is not None for layer in self.denses)


def pack(graph: Graph, kernel: Kernel) -> PackedModel:
    """Lay out every layer of a graph for a kernel that accepts it."""
    lstms, denses = graph_constants(graph)
    return PackedModel(
        graph=graph,
        kernel=kernel,
        lstms=tuple(_pack_lstm(layer, kernel) for layer in lstms),
        denses=tuple(_pack_dense(layer) for layer in denses),
        state=_lay_out_state(graph, kernel),
        defines=kernel.defines(lstms),
    )


def pack_matrix(weights: Int8, kernel: Kernel, chosen: Format) -> PackedMatrix:
    """Lay (4 gates, hidden, columns) out in one format."""
    columns = weights.shape[2]
    if chosen == "dense":
        packed, index = kernel.pack_dense(weights).reshape(-1), np.zeros(0, np.uint8)
    elif chosen == "blocks":
        packed, index = _pack_blocks(weights, kernel)
    else:
        packed, index = _pack_scattered(weights)
    return PackedMatrix(chosen, columns, packed, index)


def unpack_matrix(matrix: PackedMatrix, kernel: Kernel, hidden_size: int) -> Int8:
    """Turn a packed matrix back into (4 gates, hidden, columns)."""
    if matrix.format == "dense":
        return kernel.unpack_dense(matrix.weights.reshape(hidden_size, -1), matrix.columns)
    if matrix.format == "blocks":
        return _unpack_blocks(matrix, kernel, hidden_size)
    return _unpack_scattered(matrix, hidden_size)


def choose_format(weights: Int8, kernel: Kernel) -> Format:
    """Return the format that costs least: time for `speed`, flash for `size`; then the other."""

    def cost(chosen: Format) -> tuple[float, float]:
        flash = float(matrix_bytes(weights, kernel, chosen))
        time = matrix_instructions(weights, kernel, chosen)
        return (time, flash) if kernel.profile == "speed" else (flash, time)

    _, hidden, columns = weights.shape
    if columns <= kernel.few_columns and columns < hidden:
        return "dense"
    return min(FORMATS, key=cost)


def matrix_bytes(weights: Int8, kernel: Kernel, chosen: Format) -> int:
    """Return the flash that (4 gates, hidden, columns) takes in a format: as `pack_matrix` does."""
    _, hidden, columns = weights.shape
    if chosen == "dense":
        return kernel.pack_dense(weights).size
    if chosen == "blocks":
        blocks = int(_block_is_there(pad_columns(weights, 2)).sum())
        return hidden + blocks * (1 + _BLOCK_BYTES)
    return int(np.count_nonzero(weights)) + hidden * (even(columns) // 2)


def layer_instructions(layer: LstmConstants, kernel: Kernel) -> float:
    """Return what one step of a layer takes, its matrices in the formats that cost least."""
    cost = kernel.cost
    matrices = sum(
        matrix_instructions(weights, kernel, choose_format(weights, kernel))
        for weights in (layer.input_weights, layer.recurrent_weights)
    )
    values = layer.input_size + layer.hidden_size
    unit = cost.unit + kernel.surplus(layer)
    units = made_up(layer.hidden_size, cost.unit_multiple)
    return cost.step + values * cost.value + units * unit + matrices


def matrix_instructions(weights: Int8, kernel: Kernel, chosen: Format) -> float:
    """Return what multiplying a vector by (4 gates, hidden, columns) takes in a format."""
    cost, (_, hidden, columns) = kernel.cost, weights.shape
    if chosen == "dense":
        units = made_up(hidden, cost.unit_multiple)
        if columns < cost.narrow_columns:
            return units * (cost.narrow_row + columns * cost.narrow_column)
        return units * (cost.dense_row + made_up(columns, cost.dense_multiple) * cost.dense_column)
    if chosen == "blocks":
        present = _block_is_there(pad_columns(weights, 2)).sum(axis=1)
        taken = sum(made_up(int(count), cost.block_multiple) for count in present)
        return hidden * cost.blocks_row + taken * cost.block
    return (
        hidden * (cost.scattered_row + even(columns) // 2 * cost.scattered_pair)
        + int(np.count_nonzero(weights)) * cost.scattered_weight
    )


def _block_is_there(weights: Int8) -> NDArray[np.bool_]:
    """Say which blocks of (4, hidden, even columns) are not all zero: (hidden, pairs)."""
    any_gate = np.bitwise_or.reduce(weights, axis=0)
    return np.asarray((any_gate[:, ::2] | any_gate[:, 1::2]) != 0)


def _pack_blocks(weights: Int8, kernel: Kernel) -> tuple[Bytes, Bytes]:
    padded = pad_columns(weights, 2)
    there = _block_is_there(padded)
    blocks = kernel.pack_blocks(padded)
    index = [np.concatenate([[row.sum()], np.flatnonzero(row)]).astype(np.uint8) for row in there]
    runs = kernel.block_runs
    units = [_in_runs(unit[row], runs) for unit, row in zip(blocks, there, strict=True)]
    return np.concatenate(units), np.concatenate(index)


def _in_runs(blocks: Bytes, runs: int) -> Bytes:
    """Cut (blocks, 8) into parts: the first ones of all blocks, then the second ones..."""
    return blocks.reshape(len(blocks), runs, _BLOCK_BYTES // runs).swapaxes(0, 1).reshape(-1)


def _from_runs(flat: Bytes, runs: int) -> Bytes:
    """Turn what `_in_runs` gave back into (blocks, 8)."""
    count = len(flat) // _BLOCK_BYTES
    parts = flat.reshape(runs, count, _BLOCK_BYTES // runs)
    return parts.swapaxes(0, 1).reshape(count, _BLOCK_BYTES)


def _unpack_blocks(matrix: PackedMatrix, kernel: Kernel, hidden_size: int) -> Int8:
    there = np.zeros((hidden_size, even(matrix.columns) // 2), dtype=np.bool_)
    place = 0
    for row in there:
        count = int(matrix.index[place])
        row[matrix.index[place + 1 : place + 1 + count]] = True
        place += 1 + count
    # What a kernel adds to its bytes is not zero where the weights are: a block of zeros has it.
    zeros = kernel.pack_blocks(np.zeros((4, 1, 2), np.int8))
    blocks = np.broadcast_to(zeros, (*there.shape, 8)).copy()
    place = 0
    for unit, row in zip(blocks, there, strict=True):
        end = place + 8 * int(row.sum())
        unit[row] = _from_runs(matrix.weights[place:end], kernel.block_runs)
        place = end
    return kernel.unpack_blocks(blocks)[..., : matrix.columns]


def _in_pairs(weights: Int8) -> Int8:
    """Turn (4, hidden, even columns) into (hidden, pairs, 8): gates of one column, of the other."""
    gates, hidden, columns = weights.shape
    return np.ascontiguousarray(
        weights.reshape(gates, hidden, columns // 2, 2).transpose(1, 2, 3, 0)
    ).reshape(hidden, columns // 2, 8)


def _pack_scattered(weights: Int8) -> tuple[Bytes, Bytes]:
    pairs = _in_pairs(pad_columns(weights, 2))
    index = np.packbits(pairs != 0, axis=-1, bitorder="little").reshape(-1)
    return pairs[pairs != 0].view(np.uint8), index


def _unpack_scattered(matrix: PackedMatrix, hidden_size: int) -> Int8:
    pairs = even(matrix.columns) // 2
    there = np.unpackbits(matrix.index.reshape(-1, 1), axis=-1, bitorder="little").astype(bool)
    values = np.zeros(there.shape, np.int8)
    values[there] = matrix.weights.view(np.int8)
    columns = values.reshape(hidden_size, 2 * pairs, 4).transpose(2, 0, 1)
    return np.ascontiguousarray(columns[..., : matrix.columns])


def _pack_lstm(layer: LstmConstants, kernel: Kernel) -> PackedLstm:
    def packed(weights: Int8) -> PackedMatrix:
        return pack_matrix(weights, kernel, choose_format(weights, kernel))

    return PackedLstm(
        input_size=layer.input_size,
        hidden_size=layer.hidden_size,
        input=packed(layer.input_weights),
        recurrent=packed(layer.recurrent_weights),
        bias=tuple(kernel.bias(layer)),
        constants=tuple(kernel.constants(layer)),
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
        lookup=layer.lookup,
        exponentials=layer.exponentials,
    )


def _between_sizes(graph: Graph) -> list[int]:
    """Return how many values lie between each dense layer and the next."""
    sizes, size = [], graph.head_size
    for layer in graph.denses:
        size = size // layer.input_size * layer.output_size
        sizes.append(size)
    return sizes[:-1]


def _lay_out_state(graph: Graph, kernel: Kernel) -> StateLayout:
    hidden = sum(graph.hidden_sizes)
    inputs = [graph.features, *graph.hidden_sizes[:-1]]
    scratch = kernel.scratch_bytes(inputs, graph.hidden_sizes)
    between_sizes = _between_sizes(graph)
    between = max(between_sizes, default=0)
    sequence = graph.head_size if graph.whole_sequence else 0
    step_at = kept_bytes(graph.hidden_sizes)
    scratch_at = step_at + (4 if sequence else 0)
    between_at = scratch_at + scratch
    sequence_at = between_at + between * min(len(between_sizes), 2)
    return StateLayout(
        hidden_at=2 * hidden,
        hidden_end=3 * hidden,
        step_at=step_at,
        scratch_at=scratch_at,
        between_at=between_at,
        between=between,
        sequence_at=sequence_at,
        bytes=_aligned(sequence_at + sequence),
        saved_bytes=CRC_BYTES + scratch_at + sequence,
    )


def _aligned(address: int) -> int:
    return -(-address // 4) * 4
