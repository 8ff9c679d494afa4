"""The fixed-point arithmetic of TFLite Micro's reference kernels, vectorised.

Every function has a twin in `firmware_templates/engine/`; `docs/numerics.md` has the equations.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

INT16_MIN, INT16_MAX = -32_768, 32_767


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Split a real factor into `(multiplier, shift)`: `real ~ multiplier * 2**(shift - 31)`.

    The multiplier has 31 bits, rounded half away from zero; a factor below 2**-32 becomes 0.
    Source: TFLite `QuantizeMultiplier`.

    >>> quantize_multiplier(0.5)
    (1073741824, 0)
    >>> quantize_multiplier(2.0**-15)
    (1073741824, -14)
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def rounding_divide(value: ArrayLike, exponent: ArrayLike) -> NDArray[np.int64]:
    """Divide integers by 2**exponent, rounding halves away from zero.

    Source: gemmlowp `RoundingDivideByPOT`.

    >>> rounding_divide([-6, -5, 5, 6], 2).tolist()
    [-2, -1, 1, 2]
    """
    number = np.asarray(value, dtype=np.int64)
    power = np.asarray(exponent, dtype=np.int64)
    half = (np.int64(1) << power) >> 1
    # Adding a half rounds halves up; one less does so for negative numbers, away from zero.
    below = np.where(power > 0, -1, 0)
    result: NDArray[np.int64] = (number + half + ((number >> 63) & below)) >> power
    return result


def multiply(value: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> NDArray[np.int64]:
    """Scale integers by `multiplier * 2**(shift - 31)`, rounding *twice*.

    First the product's upper half (half up), then the remaining right shift (half away from zero).
    A single rounding gives other results. Source: TFLite `MultiplyByQuantizedMultiplier` without
    TFLITE_SINGLE_ROUNDING.
    """
    number = np.asarray(value, dtype=np.int64)
    exponent = np.asarray(shift, dtype=np.int64)
    shifted = number << np.maximum(exponent, 0)
    high = (shifted * np.asarray(multiplier, dtype=np.int64) + (1 << 30)) >> 31
    return rounding_divide(high, np.maximum(-exponent, 0))


@functools.cache
def sigmoid_table() -> NDArray[np.int64]:
    """Return the 256 knots that both activations interpolate, sigmoid(n / 24) in Q0.16.

    Each knot is moved by half of what a straight line misses in the middle of its interval, which
    centres the error of the interpolation. The last knot is the value that lies past the table.
    Equal to TFLite's `sigmoid_table_uint16`.
    """

    def exact(knot: NDArray[np.float64]) -> NDArray[np.float64]:
        return 65_536 / (1 + np.exp(-knot / 24))

    knot = np.arange(256, dtype=np.float64)
    sag = (exact(knot) + exact(knot + 1)) / 2 - exact(knot + 0.5)
    table = np.floor(exact(knot) - sag / 2 + 0.5).astype(np.int64)
    table[255] = 65_535
    table.flags.writeable = False
    return table


def sigmoid(value: ArrayLike) -> NDArray[np.int16]:
    """Map Q3.12 to Q0.15 by the sigmoid.

    Source: TFLite `reference_integer_ops::Logistic`, int16.
    """
    scaled = np.asarray(value, dtype=np.int64) * 3
    magnitude = np.abs(scaled)
    line = _interpolate(magnitude, 9, saturated=0x7FFF << 10)
    result = np.where(scaled >= 0, line + (1 << 9), (1 << 25) - line + (1 << 9) - 1)
    return (result >> 10).astype(np.int16)


def tanh(value: ArrayLike, scale_power: int) -> NDArray[np.int16]:
    """Map an int16 of scale 2**scale_power to Q0.15 by the hyperbolic tangent.

    A scale below 2**-12 is brought to Q3.12 with rounding, a larger one by a left shift.
    Source: TFLite `reference_integer_ops::Tanh`, int16, and TFLM's `lstm_internal::Tanh`.
    """
    left = scale_power + 12
    number = np.asarray(value, dtype=np.int64)
    scaled = (number * 3) << left if left >= 0 else (number * 3 + (1 << (-left - 1))) >> -left
    line = _interpolate(np.abs(scaled), 8, saturated=0xFFFF << 8)
    result = np.where(scaled >= 0, line - (1 << 23) + (1 << 7), -line + (1 << 23) + (1 << 7) - 1)
    return (result >> 8).astype(np.int16)


def _interpolate(magnitude: NDArray[np.int64], bits: int, *, saturated: int) -> NDArray[np.int64]:
    """Interpolate the table at `magnitude / 2**bits`; past its end the value is `saturated`."""
    table = sigmoid_table()
    knot = magnitude >> bits
    inside = np.minimum(knot, 254)
    low, high = table[inside], table[inside + 1]
    line = (low << bits) + (magnitude & ((1 << bits) - 1)) * (high - low)
    return np.where(knot >= 255, saturated, line)
