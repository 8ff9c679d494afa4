"""The kernel for Armv6-M: Cortex-M0 and M0+.

For speed, the four gates of a column share a word, in the order in which a unit needs them. In a
*wide* dense matrix and in blocks each byte is 128 too large, and rows of a wide matrix have zeros
up to a multiple of four columns; a *narrow* dense matrix has its weights as they are. There are
three variants, the next one with more bits wherever the one before has too few.

For size, a unit has a row of weights for each gate, and constants are as short as they can be.

Twin of `engine/lstm_armv6m.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toolchain.firmware.kernel import Bytes, Cost, Kernel, even, largest, pad_columns
from toolchain.firmware.kernels import portable
from toolchain.graph import fixed_point
from toolchain.graph.constants import LstmConstants
from toolchain.graph.types import Int8, Int32

_ORDER = [1, 0, 2, 3]
"""Forget, input, cell, output gate; each the index of a gate in `GATES`. It is its own inverse."""
_NARROW = 8
"""A dense matrix of fewer columns is narrow."""
_EXCESS = np.uint8(0x80)
"""What makes a byte 128 too large, and back."""


@dataclass(frozen=True)
class Facts:
    """What a variant of the kernel counts on."""

    small_sums: bool
    """No sum, shifted left as its scale says, passes 20 bits; or else 23."""
    parts_fit: bool
    """Neither part of a gate ever passes the 16 bits of Q3.12."""

    @property
    def largest_sum(self) -> int:
        """Of any sum."""
        return 1 << 20 if self.small_sums else (1 << 23) - 1


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4)."""
    ordered = weights[_ORDER]
    if weights.shape[2] < _NARROW:
        return portable.pack_dense(ordered)
    return portable.pack_dense(pad_columns(ordered, 4)) ^ _EXCESS


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, columns * 4) back into (4, hidden, columns)."""
    if columns < _NARROW:
        return portable.unpack_dense(packed, columns)[_ORDER]
    return portable.unpack_dense(packed ^ _EXCESS, packed.shape[1] // 4)[_ORDER, :, :columns]


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 8)."""
    return portable.pack_blocks(weights[_ORDER]) ^ _EXCESS


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    return portable.unpack_blocks(blocks ^ _EXCESS)[_ORDER]


def bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 4 gates)."""
    return [int(value) for value in layer.input_bias[_ORDER].T.reshape(-1)]


def constants(layer: LstmConstants, facts: Facts) -> list[int]:
    """Return what a unit reads, in that order."""
    words: list[int] = []
    pieces = _short_pieces if facts.small_sums else _shorter_pieces
    for gate in _ORDER:
        words += pieces(layer.input_multiplier[gate], layer.input_shift[gate])
        words += pieces(layer.recurrent_multiplier[gate], layer.recurrent_shift[gate])
        if gate == 2:
            words += [-layer.update_shift, *_cell_range(layer), -8 - layer.cell_scale_power]
    multiplier = layer.hidden_multiplier
    low, high = multiplier & 0xFFFF, multiplier >> 16
    return [*words, low, low, high, -layer.hidden_shift, layer.hidden_zero_point]


def _short_pieces(multiplier: int, shift: int) -> list[int]:
    """Cut a multiplier, shifted left where it is to be, into 10 bits, 10 bits, the rest; and n."""
    whole = multiplier << max(shift, 0)
    return [whole & 0x3FF, whole >> 10 & 0x3FF, whole >> 20, max(-shift, 0)]


def _shorter_pieces(multiplier: int, shift: int) -> list[int]:
    """Cut it into 8 bits, 8 bits, 8 bits, the rest; and n."""
    whole = multiplier << max(shift, 0)
    return [whole & 0xFF, whole >> 8 & 0xFF, whole >> 16 & 0xFF, whole >> 24, max(-shift, 0)]


def _cell_range(layer: LstmConstants) -> list[int]:
    """Return the lowest cell's magnitude, and how many steps the highest is above it."""
    if layer.cell_clip == 0:
        return [32_768, 65_535]
    return [layer.cell_clip, 2 * layer.cell_clip]


def scratch_bytes(inputs: int, hidden: int) -> int:
    """Count the values of both, in the form that takes more."""
    return _values_bytes(inputs) + _values_bytes(hidden)


def _values_bytes(columns: int) -> int:
    """Count int32, or a word and int16 in fours; blocks need no more than that."""
    if columns == 1:
        return 4  # never sparse: a row of one int32 costs least
    if columns < _NARROW:
        return max(4 * columns, 4 + 2 * even(columns))
    return 4 + 2 * (-(-columns // 4) * 4)


def defines(layers: Sequence[LstmConstants], facts: Facts) -> dict[str, int]:
    """Say what holds for all layers of a model."""
    return {
        "LSTM_LARGE_SUMS": int(not facts.small_sums),
        "LSTM_PARTS_SATURATE": int(not facts.parts_fit),
        "LSTM_INPUTS_NARROW": int(all(layer.input_size < _NARROW for layer in layers)),
        "LSTM_RECURRENTS_WIDE": int(all(layer.hidden_size >= _NARROW for layer in layers)),
    }


def _saturates(span: NDArray[np.int64]) -> bool:
    return bool(span.min() < fixed_point.INT16_MIN or span.max() > fixed_point.INT16_MAX)


def _sums(weights: Int8, bias: Int32) -> NDArray[np.int64]:
    """Return the lowest and the highest sum for any int8 input: (2, 4 gates, hidden)."""
    products = weights.astype(np.int64)[..., None] * np.array([-128, 127])
    low, high = products.min(axis=-1).sum(axis=-1), products.max(axis=-1).sum(axis=-1)
    return np.array([low + bias, high + bias], np.int64)


def _spans(layer: LstmConstants) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest Q3.12 of both parts, not saturated: (2, 4 gates, hidden)."""

    def scaled(
        weights: Int8, bias: Int32, multiplier: tuple[int, ...], shift: tuple[int, ...]
    ) -> NDArray[np.int64]:
        columns = np.array(multiplier)[:, None], np.array(shift)[:, None]
        scaled_sums: NDArray[np.int64] = fixed_point.multiply(_sums(weights, bias), *columns)
        return scaled_sums

    return (
        scaled(layer.input_weights, layer.input_bias, layer.input_multiplier, layer.input_shift),
        scaled(
            layer.recurrent_weights,
            layer.recurrent_bias,
            layer.recurrent_multiplier,
            layer.recurrent_shift,
        ),
    )


def _largest_sum(layer: LstmConstants) -> int:
    """Return the largest magnitude of a sum, shifted left where its scale says so."""
    largest = 0
    for weights, bias, shift in (
        (layer.input_weights, layer.input_bias, layer.input_shift),
        (layer.recurrent_weights, layer.recurrent_bias, layer.recurrent_shift),
    ):
        sums = np.abs(_sums(weights, bias)).max(axis=(0, 2))
        largest = max(largest, *(int(s) << max(n, 0) for s, n in zip(sums, shift, strict=True)))
    return largest


def _refuses(layer: LstmConstants, facts: Facts) -> str | None:
    """Say what a kernel with such facts has no bits for."""
    if _largest_sum(layer) > facts.largest_sum:
        return f"A sum, shifted left as its scale says, may pass {facts.largest_sum:,}."
    if facts.parts_fit and any(map(_saturates, _spans(layer))):
        return "A part of a gate may saturate."
    if layer.cell_scale_power < -15:
        return "The cell's scale is below 2^-15: its products may saturate."
    multipliers = (*layer.input_multiplier, *layer.recurrent_multiplier, layer.hidden_multiplier)
    if min(multipliers) < 1 << 30:
        return "A scale is zero."
    return None


def _kernel(facts: Facts, cost: Cost, otherwise: Kernel | None) -> Kernel:
    return Kernel(
        name="armv6m",
        profile="speed",
        table="positive",
        pack_dense=pack_dense,
        unpack_dense=unpack_dense,
        pack_blocks=pack_blocks,
        unpack_blocks=unpack_blocks,
        bias=bias,
        constants=lambda layer: constants(layer, facts),
        defines=lambda layers: defines(layers, facts),
        scratch_bytes=largest(scratch_bytes),
        refuses=lambda layer: _refuses(layer, facts),
        cost=cost,
        otherwise=otherwise,
    )


_COST = Cost(
    step=144, value=7, unit=242.7, dense_row=90, dense_column=10.03, dense_multiple=4,
    narrow_columns=_NARROW, narrow_row=13.9, narrow_column=18.2, blocks_row=103.5, block=27.25,
    scattered_row=49.2, scattered_pair=24.1, scattered_weight=4,
)  # fmt: skip

LARGE_SUMS = _kernel(
    Facts(small_sums=False, parts_fit=False), replace(_COST, unit=_COST.unit + 60), None
)
SATURATING = _kernel(
    Facts(small_sums=True, parts_fit=False), replace(_COST, unit=_COST.unit + 28), LARGE_SUMS
)
SPEED = _kernel(Facts(small_sums=True, parts_fit=True), _COST, SATURATING)


def size_pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, 4 * columns)."""
    hidden = weights.shape[1]
    return np.ascontiguousarray(weights.transpose(1, 0, 2)).view(np.uint8).reshape(hidden, -1)


def size_unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, 4 * columns) back into (4, hidden, columns)."""
    rows = packed.view(np.int8).reshape(len(packed), 4, columns)
    return np.ascontiguousarray(rows.transpose(1, 0, 2))


def size_bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 4 gates) of 24 bits each."""
    words = layer.input_bias.T.reshape(-1, 1).astype("<i4")
    return [int(word) for word in words.view(np.uint8)[:, :3].reshape(-1).view("<i4")]


def _size_refuses(layer: LstmConstants) -> str | None:
    """Say what the part for size has no bits for."""
    if np.abs(layer.input_bias.astype(np.int64)).max() >= 1 << 23:
        return "A bias passes 23 bits."
    return None


def size_constants(layer: LstmConstants) -> list[int]:
    """Return multipliers and the cell's range, then shifts, four to a word; both as read."""
    words: list[int] = []
    shifts: list[int] = []
    for gate in range(4):
        words += [layer.recurrent_multiplier[gate], layer.input_multiplier[gate]]
        shifts += [layer.recurrent_shift[gate], layer.input_shift[gate]]
        if gate == 1:
            words += [portable.HALF]
            shifts += [layer.forget_shift]
        if gate == 2:
            low, span = _cell_range(layer)
            cells = np.array([-low, span - low], np.int16)
            words += [portable.HALF, *cells.view(np.int32).tolist()]
            shifts += [layer.update_shift, -8 - layer.cell_scale_power]
    words += [layer.hidden_multiplier]
    shifts += [layer.hidden_shift]
    return [*words, *np.array(shifts, np.int8).view(np.int32).tolist()]


SIZE = Kernel(
    name="armv6m",
    profile="size",
    table="positive",
    pack_dense=size_pack_dense,
    unpack_dense=size_unpack_dense,
    pack_blocks=portable.pack_blocks,
    unpack_blocks=portable.unpack_blocks,
    bias=size_bias,
    constants=size_constants,
    defines=lambda _layers: {},
    scratch_bytes=largest(lambda _inputs, hidden: -(-hidden // 4) * 4),
    refuses=_size_refuses,
    cost=Cost(
        step=114, value=2, unit=590.3, dense_row=148.6, dense_column=28.02,
        blocks_row=194, block=192,
        scattered_row=215.8, scattered_pair=52.35, scattered_weight=16.55,
    ),
)  # fmt: skip
