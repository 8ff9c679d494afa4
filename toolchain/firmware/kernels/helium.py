"""The kernel for cores with Helium, the vectors of Armv8.1-M: Cortex-M55 and up.

Units go in groups of eight, of which the first is what does not fill eight: whole vectors are read
there too, and what is too much is the next group's. Within a group the gates follow one another.
Twin of `engine/lstm_helium.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from toolchain.firmware.kernel import Bytes, Cost, Kernel, even, largest
from toolchain.graph.constants import LstmConstants
from toolchain.graph.types import GATES, Int8, Int32

LANES = 8
"""Units of a group."""

MANY_COLUMNS = 5
"""A matrix with fewer columns is laid out by columns: LSTM_MANY_COLUMNS."""

ORDER = [GATES.index(name) for name in ("input", "forget", "output", "cell")]
"""The order of the gates in all arrays but scattered weights."""

NARROW_SHIFT = 8
"""Up to here a right shift to Q3.12 is exact for any sum: see `divisor`."""

LEAST_HIDDEN_SHIFT = 16
"""From this right shift on, hidden values fit 16 bits before they are clamped to 8."""


def groups(hidden: int) -> list[slice]:
    """Return the units of each group.

    >>> groups(20)
    [slice(0, 4, None), slice(4, 12, None), slice(12, 20, None)]
    """
    starts = [0, *range((hidden - 1) % LANES + 1, hidden, LANES)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], hidden], strict=True)]


def by_columns(columns: int, hidden: int) -> bool:
    """Say whether a dense matrix is laid out by columns."""
    return columns < MANY_COLUMNS or hidden < LANES


def _excess(hidden: int) -> int:
    """Count what reading four even and four odd units by columns takes past the last group."""
    last = min(hidden, LANES)
    return (last + 1) // 2 + 4 - last


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4), or a little more in under 8 units.

    A group has its gates one after the other. A gate has its rows; or, by columns, in each column
    the even units, then the odd ones.
    """
    _, hidden, columns = weights.shape
    ordered = weights[ORDER]
    parts = [ordered[:, units] for units in groups(hidden)]
    if by_columns(columns, hidden):
        parts = [
            np.concatenate([part[:, ::2], part[:, 1::2]], axis=1).transpose(0, 2, 1)
            for part in parts
        ]
    flat = np.concatenate([part.reshape(-1) for part in parts])
    padding = -(-_excess(hidden) // hidden) * hidden if hidden < LANES else 0
    return np.pad(flat, (0, padding)).view(np.uint8).reshape(hidden, -1)


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn what `pack_dense` gave back into (4, hidden, columns)."""
    hidden = len(packed)
    flat = packed.reshape(-1).view(np.int8)
    weights = np.zeros((len(GATES), hidden, columns), np.int8)
    place = 0
    for units in groups(hidden):
        count = units.stop - units.start
        part = flat[place : place + len(GATES) * count * columns]
        place += len(part)
        if by_columns(columns, hidden):
            rows = part.reshape(-1, columns, count).transpose(0, 2, 1)
            evens = (count + 1) // 2
            both = np.zeros_like(rows)
            both[:, ::2], both[:, 1::2] = rows[:, :evens], rows[:, evens:]
        else:
            both = part.reshape(-1, count, columns)
        weights[ORDER, units] = both
    return weights


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 4 gates * 2 columns)."""
    gates, hidden, columns = weights.shape
    pairs = weights[ORDER].reshape(gates, hidden, columns // 2, 2).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(pairs).view(np.uint8).reshape(hidden, columns // 2, 8)


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    hidden, pairs, _ = blocks.shape
    ordered = blocks.view(np.int8).reshape(hidden, pairs, len(GATES), 2).transpose(2, 0, 1, 3)
    weights = np.zeros((len(GATES), hidden, 2 * pairs), np.int8)
    weights[ORDER] = ordered.reshape(len(GATES), hidden, 2 * pairs)
    return weights


def bias(layer: LstmConstants) -> list[int]:
    """Return (groups, 4 gates, units) of the input, then of the hidden state."""
    hidden = layer.hidden_size
    parts = [
        values[ORDER][:, units].reshape(-1)
        for values in (layer.input_bias, layer.recurrent_bias)
        for units in groups(hidden)
    ]
    # Eight are read.
    padding = max(LANES - hidden, 0)
    return [int(value) for value in np.concatenate([*parts, np.zeros(padding, np.int32)])]


def divisor(shift: int) -> int:
    """Return the factor of a VQRDMULH that shifts right by -shift, halves away from zero.

    VQRDMULH gives `(2 v d + 2^31) >> 32`, halves up. With d = 2^(31-n) + 1 a half is moved by
    2 v / 2^32, to its side of zero; and nothing else is, while |v| < 2^(31-n). Beyond that, up to
    n = 8, the result is out of the int16 that follows in any case, and on the same side.
    Without a shift, 2^31 - 1 leaves values below 2^30 as they are.
    """
    return (1 << (31 + shift)) + 1 if shift < 0 else (1 << 31) - 1


def constants(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t`."""
    words = []
    for multipliers, shifts in (
        (layer.input_multiplier, layer.input_shift),
        (layer.recurrent_multiplier, layer.recurrent_shift),
    ):
        for gate in ORDER:
            words += [multipliers[gate], divisor(shifts[gate]), max(shifts[gate], 0)]
    return [
        *words,
        layer.update_shift - 1,  # the multiplier is half of 2^31
        layer.hidden_multiplier,
        layer.hidden_shift,
        layer.cell_clip,
        layer.cell_scale_power,
    ]


def defines(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Say which paths the layers take, and what all of them have in common."""
    shifts = [shift for layer in layers for shift in (*layer.input_shift, *layer.recurrent_shift)]
    facts = {
        "LSTM_SHIFTS_LEFT": max(shifts) > 0,
        "LSTM_MANY_INPUTS": any(
            not by_columns(layer.input_size, layer.hidden_size) for layer in layers
        ),
        "LSTM_FEW_UNITS": any(layer.hidden_size < LANES for layer in layers),
    }
    common = {name: int(fact) for name, fact in facts.items()}
    powers = {layer.cell_scale_power for layer in layers}
    clips = {layer.cell_clip for layer in layers}
    if len(powers) == 1:
        common["LSTM_CELL_POWER"] = powers.pop()
    if len(clips) == 1:
        common["LSTM_CELL_CLIP"] = clips.pop()
    return common


def scratch_bytes(inputs: int, hidden: int) -> int:
    """Count the hidden values, even in number, and the inputs."""
    return even(hidden) + inputs


def refuses(layer: LstmConstants) -> str | None:
    """Refuse what neither 16-bit lanes nor `divisor` are exact for."""
    if layer.hidden_shift > -LEAST_HIDDEN_SHIFT:
        return f"The hidden scale's shift is {layer.hidden_shift}: its values may pass 16 bits."
    parts = (
        (layer.input_weights, layer.input_bias, layer.input_multiplier, layer.input_shift),
        (layer.recurrent_weights, layer.recurrent_bias,
         layer.recurrent_multiplier, layer.recurrent_shift),
    )  # fmt: skip
    for weights, biases, multipliers, shifts in parts:
        for gate in range(len(GATES)):
            right = -shifts[gate]
            scaled = _largest_sum(weights[gate], biases[gate]) * multipliers[gate] >> 31
            if right > NARROW_SHIFT and scaled + 1 >= 1 << (31 - right):
                return (
                    f"A sum is shifted by {shifts[gate]}, but too large to be rounded by a "
                    "multiplication."
                )
    return None


def surplus(layer: LstmConstants) -> float:
    """Return what shifts to the left add to each unit."""
    shifts_left = max(*layer.input_shift, *layer.recurrent_shift) > 0
    return 2.0 if shifts_left else 0.0


def _largest_sum(weights: Int8, biases: Int32) -> int:
    """Bound |sum of products + bias| of a gate."""
    sums = np.abs(weights.astype(np.int64)).sum(axis=1) * 128 + np.abs(biases.astype(np.int64))
    return int(sums.max())


SPEED = Kernel(
    name="helium",
    profile="speed",
    table="half",
    pack_dense=pack_dense,
    unpack_dense=unpack_dense,
    pack_blocks=pack_blocks,
    unpack_blocks=unpack_blocks,
    bias=bias,
    constants=constants,
    defines=defines,
    scratch_bytes=largest(scratch_bytes),
    refuses=refuses,
    cost=Cost(
        step=35,
        value=0.19,
        unit=12.6,
        dense_row=23.7,
        dense_column=0.623,
        narrow_columns=MANY_COLUMNS,
        narrow_row=11,
        narrow_column=5,
        blocks_row=38.7,
        block=1.36,
        scattered_row=104.5,
        scattered_pair=6.2,
        scattered_weight=16.6,
        dense_multiple=16,
        unit_multiple=LANES,
        block_multiple=8,
    ),
    block_runs=len(GATES),
    surplus=surplus,
)

SIZE = replace(
    SPEED,
    profile="size",
    cost=replace(
        SPEED.cost,
        step=32.7,
        value=1.8,
        unit=33.2,
        dense_row=13.9,
        dense_column=0.627,
        narrow_row=0.9,
        narrow_column=5.25,
        blocks_row=28.7,
        block=1.378,
        scattered_row=76.7,
        scattered_pair=9.2,
        scattered_weight=20.65,
    ),
)
