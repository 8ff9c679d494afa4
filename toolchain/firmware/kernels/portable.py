"""The kernel in plain C, for any core and any model.

Weights lie as they are computed with: for each column its four gates, a byte each. A block is two
such columns. Twin of `engine/lstm_portable.c`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolchain.firmware.kernel import Bytes, Cost, Kernel, even, largest
from toolchain.graph.constants import LstmConstants
from toolchain.graph.types import Int8

HALF = 1 << 30
"""The multiplier of a power of two."""


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4)."""
    return (
        np.ascontiguousarray(weights.transpose(1, 2, 0))
        .view(np.uint8)
        .reshape(weights.shape[1], -1)
    )


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, columns * 4) back into (4, hidden, columns)."""
    rows = packed.view(np.int8).reshape(len(packed), columns, 4)
    return np.ascontiguousarray(rows.transpose(2, 0, 1))


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 8)."""
    return pack_dense(weights).reshape(weights.shape[1], -1, 8)


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    hidden, pairs, _ = blocks.shape
    return unpack_dense(blocks.reshape(hidden, -1), 2 * pairs)


def bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 4 gates)."""
    return [int(value) for value in layer.input_bias.T.reshape(-1)]


def scale(multiplier: int, shift: int) -> list[int]:
    """Return a `fixed_scale_t` as int32: its shift fills a word."""
    return [int(multiplier), int(shift)]


def constants(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t`."""
    words = []
    for multiplier, shift in zip(layer.input_multiplier, layer.input_shift, strict=True):
        words += scale(multiplier, shift)
    for multiplier, shift in zip(layer.recurrent_multiplier, layer.recurrent_shift, strict=True):
        words += scale(multiplier, shift)
    words += scale(HALF, layer.forget_shift)
    words += scale(HALF, layer.update_shift)
    words += scale(layer.hidden_multiplier, layer.hidden_shift)
    return [*words, layer.cell_clip, layer.cell_scale_power]


def scratch_bytes(inputs: int, hidden: int) -> int:
    """Count inputs and hidden values as int16, each even in number."""
    return 2 * (even(inputs) + even(hidden))


SPEED = Kernel(
    name="portable",
    profile="speed",
    table="half",
    pack_dense=pack_dense,
    unpack_dense=unpack_dense,
    pack_blocks=pack_blocks,
    unpack_blocks=unpack_blocks,
    bias=bias,
    constants=constants,
    defines=lambda _layers: {},
    scratch_bytes=largest(scratch_bytes),
    refuses=lambda _layer: None,
    cost=Cost(
        step=60,
        value=6,
        unit=530,
        dense_row=20,
        dense_column=15,
        blocks_row=20,
        block=34,
        scattered_row=20,
        scattered_pair=40,
        scattered_weight=8,
    ),
)

SIZE = replace(SPEED, profile="size")
