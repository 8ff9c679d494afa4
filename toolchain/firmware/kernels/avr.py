"""The kernel for AVR: weights and values as bytes plus 128, sums of 24 bits.

A column's four gates lie side by side, as for the portable kernel, each plus 128; what that adds to
a sum is a constant and a multiple of the values' total: the constant is part of the biases, which
both matrices have. Twin of `engine/lstm_avr.c`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from toolchain.firmware.kernel import Bytes, Cost, Kernel, even, largest
from toolchain.firmware.kernels import portable
from toolchain.graph.constants import LstmConstants
from toolchain.graph.fixed_point import INT16_MAX, INT16_MIN
from toolchain.graph.types import Int8, Int32

_SUM_LIMIT = 1 << 23
"""Sums have 24 bits, with their sign."""
_FAR_LEFT = 16
"""From here on a shift to the left saturates all but 0."""
_NEAR_RIGHT = range(1, 9)
_HIDDEN_RIGHT = range(17, 24)
"""What is done by multiplying with a byte."""
_FAR_RIGHT = 24
"""From here on a shift of 24 bits leaves nothing."""


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4), plus 128."""
    return portable.pack_dense(weights) ^ np.uint8(128)


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, columns * 4) back into (4, hidden, columns)."""
    return portable.unpack_dense(packed ^ np.uint8(128), columns)


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 8), plus 128."""
    return portable.pack_blocks(weights) ^ np.uint8(128)


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    return portable.unpack_blocks(blocks ^ np.uint8(128))


def bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 2 matrices, 4 gates, 3 bytes) as words.

    The values are 128 too large: `sum W (x + 128) + (b - 128 sum W)`.
    """
    both = np.stack(
        [
            _without_offset(layer.input_bias, layer.input_weights),
            _without_offset(layer.recurrent_bias, layer.recurrent_weights),
        ]
    )  # (2, 4, hidden)
    words = np.ascontiguousarray(both.transpose(2, 0, 1)).astype("<i4")
    three = words.view(np.uint8).reshape(*words.shape, 4)[..., :3]
    packed: list[int] = np.ascontiguousarray(three).reshape(-1).view("<i4").tolist()
    return packed


def _without_offset(bias: Int32, weights: Int8) -> Int32:
    offset = 128 * weights.sum(axis=-1, dtype=np.int64)
    return (bias.astype(np.int64) - offset).astype(np.int32)


def _constants_for_speed(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t`."""
    return _words(
        b"".join(map(_scale, *_sum_scales(layer)))
        + _hidden(layer.hidden_multiplier, layer.hidden_shift)
        + _cell(layer)
    )


def _constants_for_size(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t` where FORECAST_PREFER_SIZE is set."""
    return _words(
        b"".join(map(_plain_scale, *_sum_scales(layer)))
        + _plain_scale(portable.HALF, layer.forget_shift)
        + _plain_scale(portable.HALF, layer.update_shift)
        + _plain_scale(layer.hidden_multiplier, layer.hidden_shift)
        + _cell(layer)
    )


def _words(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}i", data))


def _sum_scales(layer: LstmConstants) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (
        (*layer.input_multiplier, *layer.recurrent_multiplier),
        (*layer.input_shift, *layer.recurrent_shift),
    )


def _plain_scale(multiplier: int, shift: int) -> bytes:
    """Return a `lstm_plain_scale_t`."""
    return struct.pack("<ii", multiplier, shift)


def _scale(multiplier: int, shift: int) -> bytes:
    """Return a `lstm_scale_t`."""
    right = -shift
    if right in _NEAR_RIGHT:
        power, half = 1 << (8 - right), 1 << (right - 1)
    elif right <= 0:
        power, half = 0, min(-right, _FAR_LEFT)
    else:
        power, half = 0, 128 + min(right, _FAR_RIGHT) - 8
    return struct.pack("<IBB", 2 * multiplier, power, half)


def _hidden(multiplier: int, shift: int) -> bytes:
    """Return what a `lstm_constants_t` has of the hidden scale, from `hidden_multiplier` on."""
    right = -shift
    power, half = (1 << 24 - right, 1 << right - 17) if right in _HIDDEN_RIGHT else (0, 0)
    return struct.pack("<HBB", multiplier >> 15, power, half) + _plain_scale(multiplier, shift)


def _cell(layer: LstmConstants) -> bytes:
    """Return a `lstm_cell_t`."""
    low, high = _cell_bounds(layer)
    right = _update_right(layer)
    half = (1 << (right + 15)) + 1
    return struct.pack("<ihhbbxx", half, low, high, right, _cell_left(layer))


def _update_right(layer: LstmConstants) -> int:
    return 1 - layer.update_shift - 16


def _cell_left(layer: LstmConstants) -> int:
    return layer.cell_scale_power + 12


def _cell_bounds(layer: LstmConstants) -> tuple[int, int]:
    clip = layer.cell_clip
    return (-clip, clip) if clip else (INT16_MIN, INT16_MAX)


def defines(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Return what the layers agree about."""
    cells = [
        {
            "LSTM_CELL_LEFT": _cell_left(layer),
            "LSTM_CELL_RIGHT": _update_right(layer),
            "LSTM_CELL_LOW": _cell_bounds(layer)[0],
            "LSTM_CELL_HIGH": _cell_bounds(layer)[1],
        }
        for layer in layers
    ]
    same = all(cell == cells[0] for cell in cells)
    far = any(-shift not in _NEAR_RIGHT for layer in layers for shift in _sum_scales(layer)[1])
    return {
        "LSTM_FAR_SCALES": int(far),
        "LSTM_SAME_CELLS": int(same),
        **(cells[0] if same else {}),
    }


def refuses(layer: LstmConstants) -> str | None:
    """Say why a layer has sums that the kernel has no bits for."""
    largest = int(
        (
            128 * np.abs(layer.input_weights.astype(np.int64)).sum(axis=-1)
            + np.abs(layer.input_bias.astype(np.int64))
        ).max()
    )
    if largest >= _SUM_LIMIT:
        return f"a sum of the inputs may reach {largest:,}; less than {_SUM_LIMIT:,} is possible"
    return None


def _surplus_for_speed(layer: LstmConstants) -> float:
    """Return the cycles that uncommon scales take."""
    shifts = _sum_scales(layer)[1]
    far = any(-shift not in _NEAR_RIGHT for shift in shifts)
    farther = sum(-shift not in range(9) for shift in shifts)
    left = sum(min(max(shift, 0), _FAR_LEFT) for shift in shifts)
    hidden = 0 if -layer.hidden_shift in _HIDDEN_RIGHT else 330
    return 20 * far + 17 * farther + 10 * left + hidden + 6 * abs(_cell_left(layer))


def _surplus_for_size(layer: LstmConstants) -> float:
    """Return the cycles of `fixed_multiply` that depend on the shift."""
    shifts = (
        *_sum_scales(layer)[1],
        layer.forget_shift,
        layer.update_shift,
        layer.hidden_shift,
    )
    return sum(map(_shift_cycles, shifts)) + 6 * abs(_cell_left(layer))


def _shift_cycles(shift: int) -> int:
    """Return the cycles of one shift.

    >>> _shift_cycles(2), _shift_cycles(0), _shift_cycles(-3), _shift_cycles(-14)
    (13, 0, 33, 64)
    """
    if shift >= 0:
        return 7 * shift - (shift > 0)
    by_bytes = (-shift - 1) // 8
    return 12 + 10 * by_bytes + 7 * (-shift - 8 * by_bytes)


SIZE = Kernel(
    name="avr",
    profile="size",
    table="half",
    pack_dense=pack_dense,
    unpack_dense=unpack_dense,
    pack_blocks=pack_blocks,
    unpack_blocks=unpack_blocks,
    bias=bias,
    constants=_constants_for_size,
    defines=defines,
    scratch_bytes=largest(lambda inputs, hidden: inputs + even(hidden)),
    refuses=refuses,
    cost=Cost(
        step=674, value=2.9, unit=3603, dense_row=140, dense_column=37.4,
        blocks_row=187, block=89.5, scattered_row=159, scattered_pair=42.5, scattered_weight=7.2,
    ),
    surplus=_surplus_for_size,
)  # fmt: skip

SPEED = replace(
    SIZE,
    profile="speed",
    constants=_constants_for_speed,
    cost=Cost(
        step=552, value=10.7, unit=1545, dense_row=120, dense_column=35.1,
        blocks_row=258, block=88, scattered_row=236, scattered_pair=40.7, scattered_weight=8.3,
    ),
    surplus=_surplus_for_speed,
)  # fmt: skip
