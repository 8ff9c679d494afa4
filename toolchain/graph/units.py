"""From units sold to a model's int8 values and back, in integers, with a shelf's own scaling.

The twin of `firmware_templates/engine/units.c`, equal in every bit; `docs/numerics.md` has the
equations. Units, means and deviations are Q15.16 and never negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolchain.graph.types import Int8, Int32, Quantization

FRACTION_BITS = 16
MAX_FIXED = (1 << 31) - 1
"""The most units that can be written: 32,767.99998."""

_SCALE_BITS = 24


@dataclass(frozen=True)
class UnitsFormat:
    """An int8 value of the model, a `units_format_t`: deviations = scale * (value - zero_point)."""

    scale: int
    """Q0.24, even."""
    zero_point: int
    low: int
    """What a value is clamped to, less than 8 deviations from the mean."""
    high: int


def units_format(values: Quantization, limit: float) -> UnitsFormat:
    """Return the integers that a model's inputs or outputs are counted in.

    Args:
        values: what an int8 stands for, in deviations.
        limit: deviations from the mean that values are clamped to, below 8.

    Raises:
        ValueError: a step is less than 2**-23 deviations, or a whole one and more.
    """
    scale = 2 * round(values.scale * 2 ** (_SCALE_BITS - 1))
    if not 2 <= scale < 1 << _SCALE_BITS:
        raise ValueError(f"a scale of {values.scale:g} deviations is outside 2**-23..1")
    low, high = values.quantize(np.array([-limit, limit]))
    return UnitsFormat(scale, values.zero_point, int(low), int(high))


def to_fixed(units: float) -> int:
    """Write units, a mean or a deviation as Q15.16, the nearest.

    >>> to_fixed(1.5)
    98304

    Raises:
        ValueError: negative, more than Q15.16 holds, or no number.
    """
    if not 0 <= units <= MAX_FIXED / (1 << FRACTION_BITS):
        raise ValueError(f"{units:g} units are outside 0..32,767")
    return int(np.floor(units * (1 << FRACTION_BITS) + 0.5))


def from_fixed(fixed: int) -> float:
    """Read Q15.16.

    >>> from_fixed(98304)
    1.5
    """
    return fixed / (1 << FRACTION_BITS)


def quantize_units(
    units: ArrayLike, mean: ArrayLike, deviation: ArrayLike, form: UnitsFormat
) -> Int8:
    """Return the values nearest to units, halves away from the mean, clamped to `low..high`.

    All three are Q15.16 and broadcast against each other; a deviation is above 0.
    """
    difference = np.asarray(units, np.int64) - np.asarray(mean, np.int64)
    # Both below 2^56: a distance times 2 * 2^24, a deviation times a scale.
    step = np.asarray(deviation, np.int64) * form.scale
    steps = ((np.abs(difference) << (_SCALE_BITS + 1)) + step) // (2 * step)
    values = form.zero_point + np.sign(difference) * steps
    return np.clip(values, form.low, form.high).astype(np.int8)


def dequantize_units(
    values: ArrayLike, mean: ArrayLike, deviation: ArrayLike, form: UnitsFormat
) -> Int32:
    """Return the units (Q15.16) that values stand for, rounded, from 0 to `MAX_FIXED`."""
    steps = np.asarray(values, np.int64) - form.zero_point
    # |steps| * scale is below 2^32, times a deviation below 2^63, and stays below with the half.
    product = np.abs(steps) * form.scale * np.asarray(deviation, np.int64)
    distance = (product + (1 << (_SCALE_BITS - 1))) >> _SCALE_BITS
    units: NDArray[np.int64] = np.asarray(mean, np.int64) + np.sign(steps) * distance
    return np.clip(units, 0, MAX_FIXED).astype(np.int32)
