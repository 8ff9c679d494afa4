"""Tanh, sigmoid and softmax of int8 values, as TFLite Micro's reference kernels compute them.

The kernels work in gemmlowp's fixed point: Qm.n in 32 bits, products rounded to their upper half. A
value of int8 has 256 forms, so all that happens to one value alone is computed here, once, into
tables of 256 entries; the engine looks up. `docs/numerics.md` has the equations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toolchain.graph.fixed_point import quantize_multiplier, rounding_divide
from toolchain.graph.types import Int8, Int32, Quantization

Int64 = NDArray[np.int64]

ONE = (1 << 31) - 1
"""1 in Q0.31: the largest value there is."""

_INTEGER_BITS = 4
"""Tanh and sigmoid read Q4.27."""
_SOFTMAX_INTEGER_BITS = 5
"""Softmax reads differences in Q5.26."""
_SUM_INTEGER_BITS = 12
"""Softmax sums in Q12.19."""
_EXPONENTS = range(-2, 5)
"""exp(-2^k) for these k is multiplied in, bit by bit."""


def tanh_table(given: Quantization) -> Int8:
    """Return tanh of each int8, from -128 up, in steps of 1/128.

    Source: TFLite `reference_integer_ops::Tanh`, int8.
    """
    return _table(given, _tanh, fraction_bits=7, zero_point=0)


def sigmoid_table(given: Quantization) -> Int8:
    """Return the sigmoid of each int8, from -128 up, in steps of 1/256 from -128.

    Source: TFLite `reference_integer_ops::Logistic`, int8.
    """
    return _table(given, _sigmoid, fraction_bits=8, zero_point=-128)


def exponential_table(given: Quantization, beta: float) -> Int32:
    """Return exp(-beta * scale * n) in Q0.31 for n = 0..255: how far a value is below the largest.

    What is too small to count is 0. Source: TFLite `reference_ops::Softmax`, int8.
    """
    factor = min(
        beta * given.scale * float(1 << (31 - _SOFTMAX_INTEGER_BITS)), float((1 << 31) - 1)
    )
    multiplier, shift = quantize_multiplier(factor)
    steps = np.arange(256, dtype=np.int64)
    counts = steps <= _radius(_SOFTMAX_INTEGER_BITS, shift)
    scaled = _high_product(-np.where(counts, steps, 0) << shift, multiplier)
    result = np.where(counts, _exp_of_negative(scaled, _SOFTMAX_INTEGER_BITS), 0)
    return result.astype(np.int32)


def softmax(rows: Int64, exponentials: Int32) -> Int64:
    """Map int8 values (rows, values) to their shares, in steps of 1/256 from -128.

    Source: TFLite `reference_ops::Softmax`, int8.
    """
    powers = exponentials.astype(np.int64)[rows.max(axis=1, keepdims=True) - rows]
    sums = rounding_divide(powers, _SUM_INTEGER_BITS).sum(axis=1, keepdims=True)
    # Of a sum 2^k (1 + x), the share is 1 / (1 + x), then k more bits to the right.
    bits = np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    inverse = _one_over_one_plus((sums << (32 - bits)) - (1 << 31))
    exponent = bits - 32 + _SUM_INTEGER_BITS + 31 - 8
    shares = rounding_divide(_high_product(inverse, powers), exponent) - 128
    return np.minimum(shares, 127)


def _table(
    given: Quantization,
    function: Callable[[Int64], Int64],
    *,
    fraction_bits: int,
    zero_point: int,
) -> Int8:
    multiplier, shift = quantize_multiplier(given.scale * float(1 << (31 - _INTEGER_BITS)))
    radius = _radius(_INTEGER_BITS, shift)
    value = np.arange(-128, 128, dtype=np.int64) - given.zero_point
    inside = np.abs(value) < radius
    scaled = _high_product(np.where(inside, value, 0) << min(shift, 31), multiplier)
    result = rounding_divide(function(scaled), 31 - fraction_bits) + zero_point
    result = np.where(inside, np.clip(result, -128, 127), np.where(value <= -radius, -128, 127))
    return result.astype(np.int8)


def _radius(integer_bits: int, shift: int) -> int:
    """Return how many steps stay inside the integer bits. Source: TFLite `CalculateInputRadius`."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits - shift))


def _high_product(a: Int64, b: Int64 | int) -> Int64:
    """Multiply two numbers of 32 bits; return the doubled upper half, halves up."""
    return (a * b + (1 << 30)) >> 31


def _sigmoid(value: Int64) -> Int64:
    """Map Q4.27 to Q0.31. Source: gemmlowp `logistic`."""
    positive = _one_over_one_plus(_exp_of_negative(-np.abs(value), _INTEGER_BITS))
    result = np.where(value > 0, positive, ONE - positive)
    return np.where(value == 0, 1 << 30, result)


def _tanh(value: Int64) -> Int64:
    """Map Q4.27 to Q0.31. Source: gemmlowp `tanh`."""
    # exp(-2 |x|): the same bits, with one more of them before the point.
    power = _exp_of_negative(-np.abs(value), _INTEGER_BITS + 1)
    # (1 - p) / (1 + p), as 2 / (1 + p) - 1; 1 is 2^29 in Q2.29.
    magnitude = _saturated_left(_newton(power) - (1 << 29), 2)
    return np.where(value == 0, 0, np.sign(value) * magnitude)


def _one_over_one_plus(value: Int64) -> Int64:
    """Map x of [0, 1] in Q0.31 to 1 / (1 + x). Source: gemmlowp `one_over_one_plus_x_...`."""
    return _saturated_left(_newton(value), 1)


def _newton(value: Int64) -> Int64:
    """Map x of [0, 1] in Q0.31 to 2 / (1 + x) in Q2.29, by three steps from a line."""
    half_denominator = (value + ONE + 1) >> 1
    guess = 1_515_870_810 + _high_product(half_denominator, -1_010_580_540)
    for _ in range(3):
        missing = (1 << 29) - _high_product(half_denominator, guess)
        guess = guess + _saturated_left(_high_product(guess, missing), 2)
    return guess


def _saturated_left(value: Int64, bits: int) -> Int64:
    return np.clip(value << bits, -(1 << 31), ONE)


def _exp_of_negative(value: Int64, integer_bits: int) -> Int64:
    """Map a value <= 0 with these integer bits to exp of it in Q0.31.

    The part below a quarter goes through a polynomial around -1/8, the quarters through a product
    for each bit. Source: gemmlowp `exp_on_negative_values`.
    """
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (value & (quarter - 1)) - quarter  # -1/4 <= rest < 0
    x = (rest << integer_bits) + (1 << 28)  # around -1/8, Q0.31
    square = _high_product(x, x)
    cube = _high_product(square, x)
    fourth = rounding_divide(_high_product(square, square), 2)
    # x^2 / 2 + x^3 / 6 + x^4 / 24
    tail = rounding_divide(_high_product(fourth + cube, 715_827_883) + square, 1)
    centre = 1_895_147_668  # exp(-1/8)
    result = centre + _high_product(x + tail, centre)
    quarters = rest - value
    for exponent in _EXPONENTS:
        if exponent < integer_bits:
            there = (quarters >> (fraction_bits + exponent)) & 1 != 0
            result = np.where(there, _high_product(result, _factor(exponent)), result)
    return np.where(value == 0, ONE, result)


def _factor(exponent: int) -> int:
    """Return exp(-2^exponent) in Q0.31.

    >>> [_factor(exponent) for exponent in _EXPONENTS][-2:]
    [720401, 242]
    """
    return round(math.exp(-(2.0**exponent)) * 2**31)
