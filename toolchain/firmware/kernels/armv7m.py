"""The kernel for Armv7-M cores without DSP: Cortex-M3.

A column's four weights are a word, a byte each, plus 128: the kernel multiplies the word, its
middle and its upper half, and takes the four sums out of the three (`lstm_unpack`). A matrix of few
columns has plain bytes. Facts about the whole model become part of the code (`defines`). Twin of
`engine/lstm_armv7m.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from toolchain.firmware.kernel import Bytes, Cost, Kernel, even, no_surplus
from toolchain.firmware.kernels import portable
from toolchain.firmware.pack import choose_format
from toolchain.graph.constants import LstmConstants
from toolchain.graph.fixed_point import INT16_MAX, multiply
from toolchain.graph.types import Int8, Int32

NARROW_COLUMNS = 5
"""Up to so many columns, a dense matrix has plain bytes: LSTM_NARROW_COLUMNS."""

VARIES = -128
"""A shift on which the layers do not agree: LSTM_VARIES."""

FINE = 8
"""Bits after the point of the sums that are scaled: LSTM_FINE."""

_INT8_MIN, _INT8_MAX = -128, 127
_MOST_LEFT, _MOST_RIGHT = 6, 23
"""Shifts for which `lstm_scale` does not overflow."""


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4)."""
    return _offset(portable.pack_dense(weights), weights.shape[2])


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, columns * 4) back into (4, hidden, columns)."""
    return portable.unpack_dense(_offset(packed, columns), columns)


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 8)."""
    return portable.pack_blocks(weights) ^ np.uint8(128)


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    return portable.unpack_blocks(blocks ^ np.uint8(128))


def _offset(packed: Bytes, columns: int) -> Bytes:
    """Add 128 to each byte of a wide matrix, or take it off, which is the same in 8 bits."""
    return packed ^ np.uint8(0 if columns <= NARROW_COLUMNS else 128)


def bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 4 gates), as fine as the sums."""
    return [value << FINE for value in portable.bias(layer)]


def constants(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t`."""
    right = -layer.hidden_shift
    shifts = (
        *(-shift for shift in (*layer.input_shift, *layer.recurrent_shift)),
        -layer.update_shift,
        right,
        layer.cell_scale_power,
        0,
    )
    return [
        *layer.input_multiplier,
        *layer.recurrent_multiplier,
        layer.hidden_multiplier,
        (layer.hidden_zero_point << right) + (1 << right >> 1),
        *np.array(shifts, np.int8).view(np.int32).tolist(),
        layer.cell_clip,
    ]


def defines(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Return what holds for all layers: agreed shifts, widths of matrices, sums that fit."""
    shifts = [_shifts(layer) for layer in layers]
    wide = [
        columns
        for layer in layers
        for columns in (layer.input_size, layer.hidden_size)
        if columns > NARROW_COLUMNS
    ]
    return {
        **{
            name: value if all(of[name] == value for of in shifts) else VARIES
            for name, value in shifts[0].items()
        },
        "LSTM_ONE_INPUT": int(all(layer.input_size == 1 for layer in layers)),
        "LSTM_INPUT_WIDTHS": _widths([layer.input_size for layer in layers]),
        "LSTM_RECURRENT_WIDTHS": _widths([layer.hidden_size for layer in layers]),
        "LSTM_COLUMNS_AT_ONCE": 4 if any(columns % 8 for columns in wide) else 8,
        "LSTM_COLUMNS_LEFT": int(any(columns % 4 for columns in wide)),
        "LSTM_SUM_SATURATES": int(any(map(_sum_saturates, layers))),
    }


def _shifts(layer: LstmConstants) -> dict[str, int]:
    return {
        **{f"LSTM_INPUT_RIGHT_{gate}": -shift for gate, shift in enumerate(layer.input_shift)},
        **{
            f"LSTM_RECURRENT_RIGHT_{gate}": -shift
            for gate, shift in enumerate(layer.recurrent_shift)
        },
        "LSTM_UPDATE_RIGHT": -layer.update_shift,
        "LSTM_HIDDEN_RIGHT": -layer.hidden_shift,
        "LSTM_CELL_SCALE_POWER": layer.cell_scale_power,
        "LSTM_CELL_CLIP": layer.cell_clip,
    }


def _widths(columns: Sequence[int]) -> int:
    """Return the bits of `enum lstm_width` that some matrix has."""
    return sum({1 << int(count > NARROW_COLUMNS) for count in columns})


def _sum_saturates(layer: LstmConstants) -> bool:
    """Say whether the two parts of a gate can leave int16 together."""
    given = _largest(layer.input_weights, layer.input_bias, _INT8_MIN, _INT8_MAX)
    recalled = _largest_recurrent(layer)
    a = _scaled(given, layer.input_multiplier, layer.input_shift)
    r = _scaled(recalled, layer.recurrent_multiplier, layer.recurrent_shift)
    return bool((a + r > INT16_MAX).any())


def _largest(weights: Int8, bias: Int32, low: int, high: int) -> NDArray[np.int64]:
    """Return the largest magnitude of each sum (4, hidden), for values from `low` to `high`."""
    wide = weights.astype(np.int64)
    ends = np.stack([wide * low, wide * high])
    return np.maximum(
        np.abs(ends.max(axis=0).sum(axis=-1) + bias), np.abs(ends.min(axis=0).sum(axis=-1) + bias)
    )


def _largest_recurrent(layer: LstmConstants) -> NDArray[np.int64]:
    low, high = _INT8_MIN - layer.hidden_zero_point, _INT8_MAX - layer.hidden_zero_point
    return _largest(layer.recurrent_weights, np.zeros_like(layer.input_bias), low, high)


def _scaled(
    sums: NDArray[np.int64], multiplier: Sequence[int], shift: Sequence[int]
) -> NDArray[np.int64]:
    return multiply(sums, np.array(multiplier)[:, None], np.array(shift)[:, None])


def refuses(layer: LstmConstants) -> str | None:
    """Refuse what would overflow a word."""
    for shift in (*layer.input_shift, *layer.recurrent_shift):
        if not -_MOST_RIGHT <= shift <= _MOST_LEFT:
            return f"a sum needs a shift by {shift}"
    if not -_MOST_RIGHT <= layer.hidden_shift < 0:
        return f"the hidden scale needs a shift by {layer.hidden_shift}"
    given = _largest(layer.input_weights, layer.input_bias, _INT8_MIN, _INT8_MAX)
    most = max(int(given.max()), int(np.abs(layer.input_bias).max()))
    if most >= 1 << (31 - FINE):
        return f"a sum over the inputs may reach {most:,}"
    return None


def scratch_bytes(inputs: Sequence[int], hidden: Sequence[int]) -> int:
    """Count hidden values and inputs as int16, each even in number, of the layer that has most.

    Where all layers have a single input (LSTM_ONE_INPUT), that is kept elsewhere.
    """
    elsewhere = all(count == 1 for count in inputs)
    return max(
        2 * (even(units) + (0 if elsewhere else even(count)))
        for count, units in zip(inputs, hidden, strict=True)
    )


def surplus(layer: LstmConstants) -> float:
    """Return what saturation and columns that do not come in eights add to a unit.

    A single input takes less than other narrow ones: its loop is none.
    """
    facts = defines([layer])
    dense = [
        weights.shape[2]
        for weights in (layer.input_weights, layer.recurrent_weights)
        if choose_format(weights, SPEED) == "dense"
    ]
    wide = [columns for columns in dense if columns > NARROW_COLUMNS]
    in_fours = sum(columns - columns % 4 for columns in wide)
    return (
        4.3 * facts["LSTM_SUM_SATURATES"]
        - 11.6 * (layer.input_size == 1 and 1 in dense)
        + 0.24 * in_fours * (facts["LSTM_COLUMNS_AT_ONCE"] == 4)
        + 2.5 * sum(columns % 4 for columns in wide)
        + 3.9 * facts["LSTM_COLUMNS_LEFT"] * bool(wide)
    )


# Costs are fitted, by least squares of relative errors, to what 77 made-up layers took under
# emulation in each profile: of 8 to 128 units and 1 to 16 inputs, dense, in blocks and scattered.

SPEED = Kernel(
    name="armv7m",
    profile="speed",
    table="signed",
    pack_dense=pack_dense,
    unpack_dense=unpack_dense,
    pack_blocks=pack_blocks,
    unpack_blocks=unpack_blocks,
    bias=bias,
    constants=constants,
    defines=defines,
    scratch_bytes=scratch_bytes,
    refuses=refuses,
    cost=Cost(
        step=42, value=7.1, unit=102.2, dense_row=45.7, dense_column=6.5,
        narrow_columns=NARROW_COLUMNS + 1, narrow_row=26.8, narrow_column=11.8,
        blocks_row=61.7, block=17.1, scattered_row=43.2, scattered_pair=30, scattered_weight=3,
    ),
    surplus=surplus,
)  # fmt: skip


def _pack_dense_wide(weights: Int8) -> Bytes:
    return portable.pack_dense(weights) ^ np.uint8(128)


def _unpack_dense_wide(packed: Bytes, columns: int) -> Int8:
    return portable.unpack_dense(packed ^ np.uint8(128), columns)


def _defines_for_size(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Return what holds for all layers: all are wide, and columns are added one at a time."""
    return {
        **defines(layers),
        "LSTM_INPUT_WIDTHS": 2,
        "LSTM_RECURRENT_WIDTHS": 2,
        "LSTM_COLUMNS_AT_ONCE": 1,
        "LSTM_COLUMNS_LEFT": 1,
    }


SIZE = replace(
    SPEED,
    profile="size",
    table="positive",
    pack_dense=_pack_dense_wide,
    unpack_dense=_unpack_dense_wide,
    defines=_defines_for_size,
    surplus=no_surplus,
    cost=Cost(
        step=53, value=9.46, unit=150, dense_row=150.7, dense_column=9.06,
        blocks_row=187.8, block=19.05, scattered_row=133.4, scattered_pair=31, scattered_weight=8,
    ),
)  # fmt: skip
