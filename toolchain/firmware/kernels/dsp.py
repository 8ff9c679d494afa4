"""The kernel for cores with the DSP instructions of Armv7E-M: Cortex-M4, M7, M33.

Two weights share a lane of 16 bits. In a dense row column pairs come first, two words each: input
and forget gate of both columns, then cell and output gate. A lane is 256 * one + (other + 128), so
that its upper byte is the one weight as it is. Then come the columns without a pair, a word of four
bytes each: the last of an odd number, or all of an input with few. A block is a pair as well, but
its lanes are 256 * one + other. Twin of `engine/lstm_dsp.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toolchain.firmware.kernel import Bytes, Cost, Kernel, even, largest
from toolchain.firmware.pack import choose_format, matrix_instructions
from toolchain.graph import fixed_point
from toolchain.graph.constants import LstmConstants
from toolchain.graph.types import Int8, Int32

FEW_COLUMNS = 12
"""Up to here the columns of an input are multiplied one by one: setting up pairs costs more."""

GROUP = 8
"""Columns that the unrolled code multiplies at a time."""

Lanes = NDArray[np.int32]
Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The lowest and the highest sum of each gate."""


def is_few(columns: int, hidden: int) -> bool:
    """Say whether a dense matrix has no pairs. A recurrent one always does."""
    return columns <= FEW_COLUMNS and columns < hidden


def _paired(columns: int, hidden: int) -> int:
    """Return how many columns of a dense row lie in pairs."""
    return 0 if is_few(columns, hidden) else columns - columns % 2


def pack_dense(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, columns * 4)."""
    _, hidden, columns = weights.shape
    paired = _paired(columns, hidden)
    wide = weights[:, :, :paired].astype(np.int32)
    pairs = _in_pairs(256 * wide[0::2] + (wide[1::2] + 128)).reshape(hidden, -1)
    single = np.ascontiguousarray(weights[:, :, paired:].transpose(1, 2, 0)).view(np.uint8)
    return np.concatenate([pairs, single.reshape(hidden, -1)], axis=1)


def unpack_dense(packed: Bytes, columns: int) -> Int8:
    """Turn (hidden, columns * 4) back into (4, hidden, columns)."""
    hidden = len(packed)
    paired = _paired(columns, hidden)
    lanes = _out_of_pairs(packed[:, : 4 * paired].reshape(hidden, -1, 8))
    pairs = _interleave(lanes >> 8, (lanes & 255) - 128)
    single = packed[:, 4 * paired :].view(np.int8).reshape(hidden, columns - paired, 4)
    return np.concatenate([pairs, single.transpose(2, 0, 1)], axis=2)


def pack_blocks(weights: Int8) -> Bytes:
    """Lay (4, hidden, columns) out as (hidden, pairs, 8)."""
    wide = weights.astype(np.int32)
    return _in_pairs(256 * wide[0::2] + wide[1::2])


def unpack_blocks(blocks: Bytes) -> Int8:
    """Turn (hidden, pairs, 8) back into (4, hidden, columns)."""
    lanes = _out_of_pairs(blocks)
    low = lanes.astype(np.int8).astype(np.int32)
    return _interleave((lanes - low) >> 8, low)


def _in_pairs(lanes: Lanes) -> Bytes:
    """Lay lanes (2, hidden, columns) out as (hidden, pairs, 8): a word of each two for a pair."""
    _, hidden, columns = lanes.shape
    pairs = lanes.reshape(2, hidden, columns // 2, 2).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(pairs.astype("<i2")).view(np.uint8).reshape(hidden, -1, 8)


def _out_of_pairs(pairs: Bytes) -> Lanes:
    """Turn (hidden, pairs, 8) back into lanes (2, hidden, columns)."""
    hidden, count, _ = pairs.shape
    lanes = np.ascontiguousarray(pairs).view("<i2").reshape(hidden, count, 2, 2)
    return lanes.transpose(2, 0, 1, 3).reshape(2, hidden, 2 * count).astype(np.int32)


def _interleave(one: Lanes, other: Lanes) -> Int8:
    """Turn gates (0, 2) and (1, 3), each (2, hidden, columns), into (4, hidden, columns)."""
    gates = np.stack([one, other], axis=1)
    return gates.reshape(4, *one.shape[1:]).astype(np.int8)


def bias(layer: LstmConstants) -> list[int]:
    """Return (hidden, 4 gates)."""
    return [int(value) for value in layer.input_bias.T.reshape(-1)]


def _int32(value: int) -> int:
    """Return what an int32 register holds."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def multiplier_word(multiplier: int) -> int:
    """Return the factor of LSTM_HIGH in the C file."""
    return _int32(2 * multiplier)


def divisor_word(shift: int) -> int:
    """Return the factor of LSTM_DIVIDE: above 0 where it adds nothing, else it adds the value."""
    return _int32((1 << (32 + shift)) + 1) if shift < 0 else 0


def constants(layer: LstmConstants) -> list[int]:
    """Return a `lstm_constants_t`."""
    right = max(-12 - layer.cell_scale_power, 0)
    left = max(12 + layer.cell_scale_power, 0)
    return [
        *map(multiplier_word, layer.recurrent_multiplier),
        *map(divisor_word, layer.recurrent_shift),
        *map(multiplier_word, layer.input_multiplier),
        *map(divisor_word, layer.input_shift),
        # The same for every layer: loaded with others, they cost nothing.
        *(-65_535, 32_768, (1 << 30) + (1 << 15), 3 * 64 | 3 * 128 << 16, 1 << 14),
        *(1, 1 << 17, 1 << (31 + layer.update_shift), -1),
        3 * 128 * (1 << left) >> right,
        64 if right else 0,
        multiplier_word(layer.hidden_multiplier),
        1 << (32 + layer.hidden_shift),
        layer.hidden_zero_point,
        layer.cell_clip or 32_768,
        _four_bytes(layer.recurrent_shift),
        _four_bytes(layer.input_shift),
    ]


def _four_bytes(shifts: Sequence[int]) -> int:
    """Return the shifts to the left of four gates."""
    return int.from_bytes(bytes(max(shift, 0) for shift in shifts), "little")


def scratch_bytes(inputs: int, hidden: int) -> int:
    """Count a `lstm_values_t` each for hidden values and, unless they are few, for inputs."""
    given = 0 if is_few(inputs, hidden) else 8 + 2 * even(inputs)
    return 8 + 2 * even(hidden) + given


def reach(weights: Int8, offset: Int32, zero_point: int) -> Bounds:
    """Bound weights (values - zero point) + offset (4, hidden) of each gate for int8 values."""
    wide = weights.astype(np.int64)
    ends = np.stack([wide * (-128 - zero_point), wide * (127 - zero_point)])
    low = ends.min(axis=0).sum(axis=-1) + offset
    high = ends.max(axis=0).sum(axis=-1) + offset
    return low.min(axis=-1), high.max(axis=-1)


def _input_reach(layer: LstmConstants) -> Bounds:
    return reach(layer.input_weights, layer.input_bias, 0)


def _recurrent_reach(layer: LstmConstants) -> Bounds:
    none = np.zeros_like(layer.input_bias)
    return reach(layer.recurrent_weights, none, layer.hidden_zero_point)


def _saturates(bounds: Bounds, multiplier: Sequence[int], shift: Sequence[int]) -> bool:
    """Say whether sums between these bounds may leave int16 when they are brought to Q3.12."""
    low, high = (fixed_point.multiply(bound, multiplier, shift) for bound in bounds)
    return bool((low < -32_768).any() or (high > 32_767).any())


def serves(kind: int, shift: int) -> bool:
    """Say whether LSTM_SHIFT and LSTM_DIVIDE of a kind compute a shift."""
    return (shift <= -2, -1 <= shift <= 0, shift >= 0, True)[kind]


def _rounding(shifts: Sequence[int]) -> int:
    """Return the shortest kind that serves all these shifts."""
    return next(kind for kind in range(4) if all(serves(kind, shift) for shift in shifts))


def defines(layers: Sequence[LstmConstants]) -> dict[str, int]:
    """Say what all layers of a model have in common."""
    roundings = {}
    for gate in range(4):
        given = [layer.input_shift[gate] for layer in layers]
        recalled = [layer.recurrent_shift[gate] for layer in layers]
        roundings[f"LSTM_INPUT_ROUNDING_{gate}"] = _rounding(given)
        roundings[f"LSTM_RECURRENT_ROUNDING_{gate}"] = _rounding(recalled)
    few_inputs = all(is_few(layer.input_size, layer.hidden_size) for layer in layers)
    shapes = [(layer.hidden_size, layer.hidden_size) for layer in layers]
    if not few_inputs:
        shapes += [(layer.input_size, layer.hidden_size) for layer in layers]
    clips = {layer.cell_clip for layer in layers}
    return {
        **roundings,
        "LSTM_INPUT_SATURATES": int(
            any(_saturates(_input_reach(k), k.input_multiplier, k.input_shift) for k in layers)
        ),
        "LSTM_RECURRENT_SATURATES": int(
            any(
                _saturates(_recurrent_reach(k), k.recurrent_multiplier, k.recurrent_shift)
                for k in layers
            )
        ),
        "LSTM_UPDATE_SATURATES": int(any(layer.update_shift > -14 for layer in layers)),
        "LSTM_CELL_BEYOND_TABLE": int(any(layer.cell_scale_power >= -12 for layer in layers)),
        # 0: none; 1: to [-32767, 32767], as in every model without a narrower one; 2: any.
        "LSTM_CLIP": 1 if clips == {32_767} else 2 * int(clips != {0}),
        "LSTM_FEW_COLUMNS": FEW_COLUMNS,
        "LSTM_FEW_INPUTS": int(few_inputs),
        "LSTM_ONE_INPUT": int(few_inputs and all(layer.input_size == 1 for layer in layers)),
        "LSTM_UNEVEN_GROUPS": int(any(_paired(*shape) % GROUP for shape in shapes)),
        "LSTM_SINGLE_COLUMNS": int(any(_paired(*shape) < shape[0] for shape in shapes)),
    }


def refuses(layer: LstmConstants) -> str | None:
    """Say why the lanes or the two roundings would not be exact."""
    if min(layer.input_weights.min(), layer.recurrent_weights.min()) == -128:
        return "a weight of -128 does not fit beside another in 16 bits"
    for bounds, multipliers, shifts in (
        (_input_reach(layer), layer.input_multiplier, layer.input_shift),
        (_recurrent_reach(layer), layer.recurrent_multiplier, layer.recurrent_shift),
    ):
        if 0 in multipliers:
            return "a scale is zero"
        largest = np.maximum(np.abs(bounds[0]), np.abs(bounds[1]))
        for gate, shift in enumerate(shifts):
            # What the 1 of `divisor_word` takes from a sum must stay below 1, unless the sum
            # saturates anyway.
            if shift < -8 and largest[gate] >= 1 << (32 + shift):
                return f"sums that a shift by {shift} brings to Q3.12 are too large"
    if layer.hidden_shift > -2:
        return f"a hidden shift of {layer.hidden_shift}"
    return None


@dataclass(frozen=True)
class _Surplus:
    """Instructions per unit beside those of `Cost`, as measured."""

    one_input: float
    few_inputs: float
    few_column: float
    """For one input, for a few, and for each of them."""
    unrolled: int
    """Groups that the loop of a dense row has in a round, which 3 end."""
    pair: float
    single: float
    """For a pair that fills no group, and a column without a pair."""
    uneven: float
    """For each dense row that asks for pairs, wherever the model has some."""
    singles: float
    """For each row that asks for columns without a pair, likewise."""
    wide_input: float
    """For an input that is not of few columns: rows become a function."""
    wide_input_singles: float
    wide_input_sparse: float
    """For that, together with the others."""


def _surplus(layer: LstmConstants, kernel: Kernel, more: _Surplus) -> float:
    """Return what saturation, shifts, clips and shapes add to a unit."""
    facts = defines([layer])
    gates = (name for name in facts if "_ROUNDING_" in name)
    total = sum((0.0, 0.0, 1.0, 5.0)[facts[name]] for name in gates)
    total += 4 * (facts["LSTM_INPUT_SATURATES"] + facts["LSTM_RECURRENT_SATURATES"])
    total += facts["LSTM_UPDATE_SATURATES"] + (-1, 0, 8)[facts["LSTM_CLIP"]]
    rows = [layer.recurrent_weights]
    if facts["LSTM_FEW_INPUTS"]:
        apart = more.one_input if facts["LSTM_ONE_INPUT"] else more.few_inputs
        taken = apart + layer.input_size * more.few_column
        total += taken - _expected_row(layer.input_weights, kernel)
    else:
        rows.append(layer.input_weights)
        total += more.wide_input
        total += more.wide_input_singles * facts["LSTM_SINGLE_COLUMNS"]
    for weights in rows:
        total += more.singles * facts["LSTM_SINGLE_COLUMNS"]
        if choose_format(weights, kernel) == "dense":
            total += more.uneven * facts["LSTM_UNEVEN_GROUPS"]
            total += _dense_row(weights, more) - _expected_row(weights, kernel)
        elif len(rows) > 1:
            total += more.wide_input_sparse
    return total


def _expected_row(weights: Int8, kernel: Kernel) -> float:
    """Return what `Cost` says of a dense row."""
    return matrix_instructions(weights, kernel, "dense") / weights.shape[1]


def _dense_row(weights: Int8, more: _Surplus) -> float:
    """Return what the products of a dense row take."""
    _, hidden, columns = weights.shape
    paired = _paired(columns, hidden)
    groups, left = divmod(paired, GROUP)
    rounds = max(1, -(-groups // more.unrolled))
    ends = left // 2 * more.pair + (columns - paired) * more.single
    return 27 * groups + 3 * rounds + ends


# Fitted to what 86 made-up layers took under emulation: 8 to 128 units, 1 to 16 inputs, dense, in
# blocks and scattered. They are met within 1.9%.

_SPEED = _Surplus(
    one_input=0,
    few_inputs=6,
    few_column=10,
    unrolled=4,
    pair=9.7,
    single=19.2,
    uneven=5.7,
    singles=4,
    wide_input=67,
    wide_input_singles=-1,
    wide_input_sparse=9,
)

SPEED: Kernel = Kernel(
    name="dsp",
    profile="speed",
    table="negated",
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
        step=67,
        value=2.5,
        unit=94.2,
        dense_row=3,
        dense_column=27 / GROUP,
        blocks_row=7.8,
        block=9.5,
        scattered_row=2.7,
        scattered_pair=7.8,
        scattered_weight=6.1,
    ),
    few_columns=FEW_COLUMNS,
    surplus=lambda layer: _surplus(layer, SPEED, _SPEED),
)

_SIZE = _Surplus(
    one_input=0,
    few_inputs=6,
    few_column=10,
    unrolled=1,
    pair=11.4,
    single=19.7,
    uneven=4.2,
    singles=3.3,
    wide_input=62.5,
    wide_input_singles=17.3,
    wide_input_sparse=6.6,
)

SIZE: Kernel = replace(
    SPEED,
    profile="size",
    table="positive",
    cost=replace(
        SPEED.cost,
        step=50,
        value=6,
        unit=148.6,
        dense_row=0,
        dense_column=30 / GROUP,
        blocks_row=8,
        block=11,
        scattered_row=-0.3,
    ),
    surplus=lambda layer: _surplus(layer, SIZE, _SIZE),
)
