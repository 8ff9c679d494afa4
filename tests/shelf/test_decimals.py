from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolchain.shelf.decimals import decimal_of, fixed_of


@given(st.integers(0, (1 << 31) - 1))
@example((1 << 31) - 1)
@example(0)
def test_what_was_written_is_read_as_the_same_number(fixed):
    assert fixed_of(decimal_of(fixed)) == fixed


def test_every_fraction_is_written_differently():
    assert len({decimal_of(fraction) for fraction in range(1 << 16)}) == 1 << 16


@given(st.decimals(0, 32_767, places=5))
def test_what_was_read_is_the_number_or_the_next_one(number):
    assert 0 <= fixed_of(f"{number:f}") / 65_536 - float(number) < 1 / 65_536


@pytest.mark.parametrize(
    "text",
    ["-1", "+1", "32768", "1.", ".5", "1.123456", "1e3", "", "nan", "1,5", "1.2.3", "\uff11"],
)
def test_what_is_no_such_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a number from 0 to 32767"):
        fixed_of(text)
