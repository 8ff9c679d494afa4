"""The kernel for RISC-V cores with multiplication: RV32IM and up.

For speed, a column's four weights are a word, a byte each, plus 128: the kernel multiplies the
word, its middle and its upper half, and takes the four sums out of the three. A matrix of few
columns has plain bytes. What holds for the whole model becomes part of the code (`defines`). For
size, weights lie as for the portable kernel. Twin of `engine/lstm_rv32im.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.firmware.kernel import Bytes, Cost, Kernel, largest
from toolchain.firmware.kernels import portable
from toolchain.firmware.pack import choose_format
from toolchain.graph.constants import LstmConstants
from toolchain.graph.fixed_point import INT16_MAX, INT16_MIN, multiply
from toolchain.graph.types import Int8, Int32

NARROW_COLUMNS = 7
"""Up to so many columns, a dense matrix has plain bytes: LSTM_NARROW_COLUMNS."""

VARIES = -128
"""In place of what the layers of a model do not agree in: LSTM_VARIES."""

Int64 = NDArray[np.int64]

_PACKED_LIMIT = 1 << 23
"""Sums that are taken out of words stay below."""


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4)."""
    return _shifted(portable.pack_dense(weights), weights.shape[2])


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, columns * 4) back into (4, hidden, columns)."""
    return portable.unpack_dense(_shifted(packed, columns), columns)


def _shifted(packed: Bytes, columns: int) -> Bytes:
    """Add 128 to each byte of a wide matrix, or take it off, which is the same in 8 bits."""
    return packed ^ np.uint8(0 if columns <= NARROW_COLUMNS else 128)


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 8), 128 added to each byte."""
    return portable.pack_blocks(weights) ^ np.uint8(128)


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    return portable.unpack_blocks(blocks ^ np.uint8(128))


def bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 4 gates), doubled."""
    return [2 * value for value in portable.bias(layer)]


def constants(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t`: doubled multipliers, then shifts to the right."""
    multipliers = [multiplier for multiplier, _ in _scales(layer)]
    shifts = [
        *(-shift for shift in (*layer.input_shift, *layer.recurrent_shift)),
        -layer.update_shift,
        -layer.hidden_shift,
        layer.cell_scale_power,
        0,
    ]
    return _words(
        np.array(multipliers, "<u4") * 2,
        np.array(shifts, "<i1"),
        np.array([layer.cell_clip], "<i4"),
    )


def small_constants(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t` of the part for size: all scales alike, bounds of the cell."""
    scales = _scales(layer)
    scales[-1:-1] = [(portable.HALF, layer.forget_shift), (portable.HALF, layer.update_shift)]
    finer = -12 - layer.cell_scale_power  # than the gates, whose tanh has 3 steps of the table
    clip = layer.cell_clip
    return _words(
        np.array([multiplier for multiplier, _ in scales], "<u4") * 2,
        np.array([*(-shift for _, shift in scales), max(finer, 0)], "<i1"),
        np.array([(1 << max(finer, 0)) >> 1, 3 << max(-finer, 0)], "<u2"),
        np.array([-clip, clip] if clip else [INT16_MIN, INT16_MAX], "<i2"),
    )


def _scales(layer: LstmConstants) -> list[tuple[int, int]]:
    """Return multiplier and shift of the inputs, the recurrent sums, the hidden value."""
    return [
        *zip(layer.input_multiplier, layer.input_shift, strict=True),
        *zip(layer.recurrent_multiplier, layer.recurrent_shift, strict=True),
        (layer.hidden_multiplier, layer.hidden_shift),
    ]


def _words(*parts: NDArray[np.integer]) -> list[int]:
    """Read arrays, one after the other, as int32."""
    joined = b"".join(part.tobytes() for part in parts)
    return [int(word) for word in np.frombuffer(joined, "<i4")]


def defines(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Return what all layers agree in, and which cases there are among them."""
    bounds = [_bounds(layer) for layer in layers]
    named = [_named(layer, of) for layer, of in zip(layers, bounds, strict=True)]
    wide = [
        columns
        for layer in layers
        for columns in (layer.input_size, layer.hidden_size)
        if columns > NARROW_COLUMNS
    ]
    given, recalled, total = np.any([_saturates(*of) for of in zip(layers, bounds, strict=True)], 0)
    eights = not given and not any(columns % 8 for columns in wide)
    return {
        **{
            name: value if all(of[name] == value for of in named) else VARIES
            for name, value in named[0].items()
        },
        **small_defines(layers),
        "LSTM_ONE_INPUT": int(all(layer.input_size == 1 for layer in layers)),
        "LSTM_INPUT_WIDTHS": _widths([layer.input_size for layer in layers]),
        "LSTM_RECURRENT_WIDTHS": _widths([layer.hidden_size for layer in layers]),
        # Eight save 2% of the time for 140 bytes, which saturation takes where all is saturated.
        "LSTM_COLUMNS_AT_ONCE": 8 if eights else 4,
        "LSTM_COLUMNS_LEFT": int(any(columns % 4 for columns in wide)),
        "LSTM_INPUT_SATURATES": int(given),
        "LSTM_RECURRENT_SATURATES": int(recalled),
        "LSTM_SUM_SATURATES": int(total),
        "LSTM_RECURRENT_LEFT": int(all(2 * of.recalled.max() < _PACKED_LIMIT for of in bounds)),
    }


def small_defines(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Return whether a shift to the left is to be done at all."""
    shifts = [shift for layer in layers for _, shift in _scales(layer)]
    return {"LSTM_SHIFTS_LEFT": int(max(shifts) > 0)}


def _named(layer: LstmConstants, bounds: _Bounds) -> dict[str, int]:
    """Return the fields of `lstm_shifts_t`, as macros."""
    given = zip(layer.input_multiplier, layer.input_shift, bounds.given, strict=True)
    recalled = zip(layer.recurrent_multiplier, layer.recurrent_shift, bounds.recalled, strict=True)
    return {
        **{f"LSTM_INPUT_RIGHT_{gate}": _right(*of) for gate, of in enumerate(given)},
        **{f"LSTM_RECURRENT_RIGHT_{gate}": _right(*of) for gate, of in enumerate(recalled)},
        "LSTM_UPDATE_RIGHT": -layer.update_shift,
        "LSTM_HIDDEN_RIGHT": -layer.hidden_shift,
        "LSTM_CELL_SCALE_POWER": layer.cell_scale_power,
        "LSTM_CELL_CLIP": layer.cell_clip,
    }


def _right(multiplier: int, shift: int, sums: Int64) -> int:
    """Return a shift to the right, unless rounding twice in one addition could overflow."""
    largest = int(multiply(sums.max(), multiplier, max(shift, 0)))
    fits = 2 * largest + (1 << max(-shift, 0)) + 2 < 1 << 31
    return -shift if fits else VARIES


def _widths(columns: Sequence[int]) -> int:
    """Return the bits of `enum lstm_width` that some matrix has."""
    return sum({1 << int(count > NARROW_COLUMNS) for count in columns})


@dataclass(frozen=True)
class _Bounds:
    """Largest magnitudes of the sums of a layer."""

    given: Int64  # (4, hidden)
    recalled: Int64  # (4, hidden)


def _bounds(layer: LstmConstants) -> _Bounds:
    zero = layer.hidden_zero_point
    return _Bounds(
        given=_largest(layer.input_weights, layer.input_bias, 0),
        recalled=_largest(layer.recurrent_weights, np.zeros_like(layer.input_bias), zero),
    )


def _largest(weights: Int8, bias: Int32, zero_point: int) -> Int64:
    """Bound |weights (values - zero point) + bias| (4, hidden) for any int8 values."""
    ends = np.stack([weights.astype(np.int64) * (end - zero_point) for end in (-128, 127)])
    high = ends.max(axis=0).sum(axis=-1) + bias
    low = ends.min(axis=0).sum(axis=-1) + bias
    return np.maximum(np.abs(high), np.abs(low))


def _saturates(layer: LstmConstants, bounds: _Bounds) -> tuple[bool, bool, bool]:
    """Say whether a gate's part from the input, its recurrent part, their sum can leave int16."""

    def scaled(sums: Int64, multipliers: Sequence[int], shifts: Sequence[int]) -> Int64:
        return multiply(sums, np.array(multipliers)[:, None], np.array(shifts)[:, None])

    given = scaled(bounds.given, layer.input_multiplier, layer.input_shift)
    recalled = scaled(bounds.recalled, layer.recurrent_multiplier, layer.recurrent_shift)
    a, r, total = (bool((part > INT16_MAX).any()) for part in (given, recalled, given + recalled))
    return a, r, total


def refuses(layer: LstmConstants) -> str | None:
    """Say why the part for speed cannot compute a layer: the one for size computes all."""
    bounds = _bounds(layer)
    if layer.input_size > NARROW_COLUMNS and 2 * _products(layer) >= _PACKED_LIMIT:
        return "the products of its inputs may sum up to 2^22 or more"
    if int(bounds.recalled.max()) >= _PACKED_LIMIT:
        return "its recurrent sums may reach 2^23"
    if layer.hidden_shift >= 0:
        return "its hidden scale is 2^-30 or less"
    return None


def surplus(layer: LstmConstants) -> float:
    """Return what saturation adds to a unit, and columns that do not come in eights."""
    facts = defines([layer])
    saturation = (
        9.4 * facts["LSTM_INPUT_SATURATES"]
        + 11.9 * facts["LSTM_RECURRENT_SATURATES"]
        + 7.7 * facts["LSTM_SUM_SATURATES"]
    )
    wide = [
        weights.shape[2]
        for weights in (layer.input_weights, layer.recurrent_weights)
        if weights.shape[2] > NARROW_COLUMNS and choose_format(weights, SPEED) == "dense"
    ]
    left = sum(columns % 4 for columns in wide)
    in_fours = sum(wide) - left if facts["LSTM_COLUMNS_AT_ONCE"] == 4 else 0
    return saturation + 0.31 * in_fours + 7.5 * left


def _products(layer: LstmConstants) -> int:
    """Bound the sums of inputs times weights."""
    return int(_largest(layer.input_weights, np.zeros_like(layer.input_bias), 0).max())


# Costs are fitted, by least squares of relative errors, to what 95 made-up layers took under
# emulation: of 8 to 128 units and 1 to 16 inputs, dense, in blocks and scattered.

SIZE = Kernel(
    name="rv32im",
    profile="size",
    table="positive",
    pack_dense=portable.pack_dense,
    unpack_dense=portable.unpack_dense,
    pack_blocks=portable.pack_blocks,
    unpack_blocks=portable.unpack_blocks,
    bias=portable.bias,
    constants=small_constants,
    defines=small_defines,
    scratch_bytes=largest(portable.scratch_bytes),
    refuses=lambda _layer: None,
    cost=Cost(
        step=88,
        value=5.1,
        unit=712,
        dense_row=10,
        dense_column=17,
        blocks_row=34.5,
        block=52,
        scattered_row=0,
        scattered_pair=34.1,
        scattered_weight=4,
    ),
)

SPEED = Kernel(
    name="rv32im",
    profile="speed",
    table="positive",
    pack_dense=pack_dense,
    unpack_dense=unpack_dense,
    pack_blocks=pack_blocks,
    unpack_blocks=unpack_blocks,
    bias=bias,
    constants=constants,
    defines=defines,
    scratch_bytes=largest(portable.scratch_bytes),
    refuses=refuses,
    # As for the other profile, but for what saturates: that is in `surplus`.
    cost=Cost(
        step=148,
        value=7.2,
        unit=177,
        dense_row=40,
        dense_column=11.43,
        blocks_row=50,
        block=30,
        scattered_row=19,
        scattered_pair=32.3,
        scattered_weight=4.1,
        narrow_columns=NARROW_COLUMNS + 1,
        narrow_column=16.3,
    ),
    surplus=surplus,
    otherwise=SIZE,
)
