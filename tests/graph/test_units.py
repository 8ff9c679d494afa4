from __future__ import annotations

import subprocess
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strict_c import SANITIZERS, WARNINGS

from toolchain.graph.types import Quantization
from toolchain.graph.units import (
    MAX_FIXED,
    UnitsFormat,
    dequantize_units,
    from_fixed,
    quantize_units,
    to_fixed,
    units_format,
)
from toolchain.resources import resource_dir

HARNESS = Path(__file__).parent.parent / "engine" / "units.c"

# Near the ends, near zero, and anywhere.
FIXED = st.one_of(
    st.integers(0, MAX_FIXED),
    st.integers(0, 1 << 18),
    st.integers(0, 1000).map(lambda near: MAX_FIXED - near),
)


@st.composite
def formats(draw: st.DrawFn) -> UnitsFormat:
    """Draw a format as `units_format` makes them: no bound is 8 deviations away."""
    scale = 2 * draw(st.one_of(st.integers(1, (1 << 23) - 1), st.integers(100_000, 600_000)))
    zero_point = draw(st.integers(-128, 127))
    reach = min(255, 8 * (1 << 24) // scale - 1) if scale < 8 << 24 else 0
    low, high = sorted(draw(st.tuples(*[st.integers(-reach, reach)] * 2)))
    return UnitsFormat(
        scale,
        zero_point,
        min(max(zero_point + low, -128), 127),
        min(max(zero_point + high, -128), 127),
    )


CASES = st.tuples(FIXED, FIXED, FIXED.filter(bool), formats(), st.integers(-128, 127))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C functions, compiled for the host under the sanitizers."""
    folder = resource_dir("firmware_templates") / "engine"
    program = tmp_path_factory.mktemp("units") / "units"
    sources = [HARNESS, folder / "units.c", "-I", folder, "-o", program]
    subprocess.run(["cc", "-std=c99", "-O1", *WARNINGS, *SANITIZERS, *sources], check=True)
    return program


def _half_away(value: Fraction) -> int:
    rounded = floor(abs(value) + Fraction(1, 2))
    return rounded if value >= 0 else -rounded


@settings(max_examples=20, deadline=None)
@given(cases=st.lists(CASES, min_size=20, max_size=60))
@example(
    cases=[
        (
            units,
            mean,
            deviation,
            UnitsFormat(scale, zero, max(zero - near, -128), min(zero + near, 127)),
            value,
        )
        for units in (0, MAX_FIXED)
        for mean in (0, MAX_FIXED)
        for deviation in (1, MAX_FIXED)
        for scale, near in ((2, 255), ((1 << 24) - 2, 4))
        for zero in (-128, 127)
        for value in (-128, 127)
    ]
)
def test_the_engine_equals_python(engine, cases):
    records = [
        (units, mean, deviation, form.scale, form.zero_point, form.low, form.high, value)
        for units, mean, deviation, form, value in cases
    ]
    result = subprocess.run(
        [engine], input=np.array(records, "<i4").tobytes(), capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr.decode()
    answers = np.frombuffer(result.stdout, "<i4").reshape(-1, 2)

    expected = [
        (
            int(quantize_units(units, mean, deviation, form)),
            int(dequantize_units(value, mean, deviation, form)),
        )
        for units, mean, deviation, form, value in cases
    ]
    assert answers.tolist() == [list(both) for both in expected]


@settings(deadline=None)
@given(case=CASES)
def test_python_equals_the_equations(case):
    units, mean, deviation, form, value = case
    step = Fraction(deviation * form.scale, 1 << 24)

    nearest = form.zero_point + _half_away(Fraction(units - mean) / step)
    assert quantize_units(units, mean, deviation, form) == min(max(nearest, form.low), form.high)

    back = mean + _half_away((value - form.zero_point) * step)
    assert dequantize_units(value, mean, deviation, form) == min(max(back, 0), MAX_FIXED)


def test_arrays_give_what_single_numbers_give():
    form = UnitsFormat(526_344, 5, -122, 127)
    units = np.arange(0, 40 << 16, 31_337)

    values = quantize_units(units, 11 << 16, 7 << 16, form)

    assert values.tolist() == [int(quantize_units(u, 11 << 16, 7 << 16, form)) for u in units]
    assert len(set(values.tolist())) == 80


def test_there_and_back_is_within_half_a_step():
    form = UnitsFormat(526_344, 5, -128, 127)
    mean, deviation = to_fixed(20.25), to_fixed(6.5)
    units = np.arange(0, to_fixed(40.0), 997)

    back = dequantize_units(quantize_units(units, mean, deviation, form), mean, deviation, form)

    assert np.abs(back - units).max() <= 6.5 * 526_344 / 2**24 * 65_536 / 2 + 1


def test_values_are_those_training_saw():
    quantization = Quantization(float(np.float32(8 / 255)), 3)
    form = units_format(quantization, 4.0)
    units, mean, deviation = np.arange(0, 60, 0.25), 20.0, 5.5

    scaled = np.clip((units - mean) / deviation, -4.0, 4.0)
    expected = quantization.quantize(scaled.astype(np.float32))

    fixed = np.round(units * 65_536).astype(np.int64)
    values = quantize_units(fixed, to_fixed(mean), to_fixed(deviation), form)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("scale", [2.0**-24, 1.0, 40.0])
def test_refuses_scales_it_has_no_room_for(scale):
    with pytest.raises(ValueError, match=r"is outside 2\*\*-23\.\.1"):
        units_format(Quantization(scale, 0), 4.0)


@pytest.mark.parametrize("units", [-0.5, 32_768.0, float("nan"), float("inf")])
def test_refuses_units_that_q15_16_does_not_hold(units):
    with pytest.raises(ValueError, match="outside 0"):
        to_fixed(units)


def test_fixed_point_goes_there_and_back():
    assert [from_fixed(to_fixed(units)) for units in (0.0, 0.25, 32_767.5)] == [0.0, 0.25, 32_767.5]
