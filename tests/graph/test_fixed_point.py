from __future__ import annotations

import hashlib

import numpy as np
import pytest

from toolchain.graph import fixed_point


def test_the_table_is_tflites():
    table = fixed_point.sigmoid_table().astype("<u2").tobytes()

    assert hashlib.sha256(table).hexdigest() == (
        "c79a34d2c8c6e794fbb0207601538fe0169e968cd6d9d5ca65fff859dcd55183"
    )


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (2.0**-15, (1 << 30, -14)),
        (3.7, (1_986_422_374, 2)),
        (1 - 2.0**-40, (1 << 30, 1)),  # rounds up to one
        (2.0**-40, (0, 0)),  # too small to matter
    ],
)
def test_factors_become_multipliers(real, expected):
    assert fixed_point.quantize_multiplier(real) == expected


def test_rounds_twice():
    # 2.4999... -> 2.5 by the first rounding -> 3 by the second; once would give 2.
    multiplier, shift = (1 << 30) - 1, -1
    value = 10

    assert fixed_point.multiply(value, multiplier, shift) == 3
    once = (value * multiplier + (1 << 31)) >> 32
    assert once == 2


def test_halves_go_away_from_zero():
    assert fixed_point.rounding_divide([-3, -1, 1, 3], 1).tolist() == [-2, -1, 1, 2]


def test_activations_are_close_to_the_real_ones():
    values = np.arange(-32_768, 32_768)

    sigmoid = fixed_point.sigmoid(values) / 32_768
    tanh = fixed_point.tanh(values, -12) / 32_768

    assert np.abs(sigmoid - 1 / (1 + np.exp(-values / 4096))).max() < 1.1 / 32_768
    assert np.abs(tanh - np.tanh(values / 4096)).max() < 2.1 / 32_768


def test_a_fine_cell_takes_the_rounding_path():
    # 3 / 4 of a table step rounds up to a whole one; truncation would lose it.
    assert fixed_point.tanh(1, -14) > fixed_point.tanh(0, -14)
