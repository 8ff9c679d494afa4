"""What a kernel is: how one kind of core reads an LSTM's weights, biases and constants.

A kernel is a C file, `engine/lstm_<name>.c`, and a module of `toolchain.firmware.kernels` that lays
out what it reads. Weights are packed unit after unit. In every format a unit's weights are made of
the same pieces, which only the kernel knows the bytes of:

- dense: all columns of the unit, in the kernel's own order;
- blocks: the blocks of 2 columns x 4 gates that are not all zero, 8 bytes each in the kernel's own
  order, one after the other or in runs (`block_runs`); the index holds their number, then the
  number of the column pair of each;
- scattered: the weights that are not zero, as they are; the index holds a byte per column pair, bit
  `gate` for the first column and `4 + gate` for the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toolchain.graph.constants import LstmConstants
from toolchain.graph.types import Int8

Format = Literal["dense", "blocks", "scattered"]
FORMATS: tuple[Format, ...] = ("dense", "blocks", "scattered")

Profile = Literal["speed", "size"]
"""What a firmware is made for: the fewest instructions, or the fewest bytes of flash."""

Table = Literal["half", "negated", "positive", "signed"]
"""Which table of the activations a kernel reads: see `tables.py`."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Cost:
    """Instructions (AVR: cycles) of one step of one layer, as measured; the sum of its parts."""

    step: float
    """Per step, whatever its size."""
    value: float
    """Per value read: inputs and hidden values are brought into scratch."""
    unit: float
    """Per unit: scales, activations, cell."""
    dense_row: float
    """Per unit and dense matrix."""
    dense_column: float
    """Per unit and column of a dense matrix."""
    blocks_row: float
    block: float
    """Per unit, and per block, of a matrix in blocks."""
    scattered_row: float
    scattered_pair: float
    scattered_weight: float
    """Per unit, per unit and column pair, per weight, of a scattered matrix."""
    dense_multiple: int = 1
    """Columns of a dense matrix are made up to a multiple of this."""
    narrow_columns: int = 0
    narrow_row: float = 0
    narrow_column: float = 0
    """Of a dense matrix with fewer columns than this, which has no more than it has."""
    unit_multiple: int = 1
    block_multiple: int = 1
    """Units, and the blocks of a unit, take as long as a multiple of this; sparse units do not."""


def no_surplus(_layer: LstmConstants) -> float:
    """Return 0: sizes and formats are all that matters."""
    return 0.0


@dataclass(frozen=True)
class Kernel:
    """How one kernel wants its data. Weights come as (4 gates, hidden, columns), as in `GATES`."""

    name: str
    """Of `engine/lstm_<name>.c`."""
    profile: Profile
    """The C file may do it shorter where FORECAST_PREFER_SIZE is set."""
    table: Table
    pack_dense: Callable[[Int8], Bytes]
    """All weights -> bytes (hidden, any): a row per unit."""
    unpack_dense: Callable[[Bytes, int], Int8]
    """The way back, given the number of columns."""
    pack_blocks: Callable[[Int8], Bytes]
    """Weights of an even number of columns -> bytes (hidden, pairs, 8): a block per column pair."""
    unpack_blocks: Callable[[Bytes], Int8]
    """The way back."""
    bias: Callable[[LstmConstants], list[int]]
    """What `layer->bias` holds."""
    constants: Callable[[LstmConstants], list[int]]
    """What `layer->constants` holds, as int32."""
    defines: Callable[[Sequence[LstmConstants]], dict[str, int]]
    """Macros of config.h: what holds for all layers of a model, for the C file to count on."""
    scratch_bytes: Callable[[Sequence[int], Sequence[int]], int]
    """RAM for a step of any layer, given the inputs and the hidden size of each."""
    refuses: Callable[[LstmConstants], str | None]
    """Why the kernel cannot compute a layer exactly; None when it can."""
    cost: Cost
    few_columns: int = 0
    """A matrix of up to so many columns, and fewer than units, is dense: other formats would cost
    more code than they save."""
    block_runs: int = 1
    """Into how many parts the bytes of a block are cut: a unit has the first of all its blocks,
    then the second of all, and so on."""
    surplus: Callable[[LstmConstants], float] = no_surplus
    """Instructions per unit of a layer that its numbers add to `cost`."""
    otherwise: Kernel | None = None
    """The kernel for models that this one refuses; None for the portable one."""


def largest(of_layer: Callable[[int, int], int]) -> Callable[[Sequence[int], Sequence[int]], int]:
    """Return `scratch_bytes` where a layer's need does not depend on the others'.

    >>> largest(lambda inputs, hidden: inputs + hidden)([1, 8], [8, 4])
    12
    """
    return lambda inputs, hidden: max(map(of_layer, inputs, hidden))


def even(count: int) -> int:
    """Round up to an even number.

    >>> even(5), even(6)
    (6, 6)
    """
    return count + count % 2


def made_up(count: int, multiple: int) -> int:
    """Round up to a multiple.

    >>> made_up(5, 4), made_up(8, 4)
    (8, 8)
    """
    return -(-count // multiple) * multiple


def pad_columns(weights: Int8, multiple: int) -> Int8:
    """Add columns of zeros up to a multiple: (gates, hidden, columns) -> (gates, hidden, more)."""
    missing = -weights.shape[2] % multiple
    return np.pad(weights, ((0, 0), (0, 0), (0, missing))) if missing else weights
