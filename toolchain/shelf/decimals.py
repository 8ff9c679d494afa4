"""Q15.16 as a person writes it: decimal, with up to five digits after the point.

Five digits tell any two of these numbers apart, so a number that was written is read back as the
same one: writing cuts digits off, reading goes up to the next number.
"""

from __future__ import annotations

import re

DIGITS = 5
_DECIMAL = re.compile(r"([0-9]+)(?:\.([0-9]{1,5}))?")
_MOST = 32_767


def fixed_of(text: str) -> int:
    """Read a decimal as Q15.16.

    >>> fixed_of("1.5"), fixed_of("0.1")
    (98304, 6554)

    Raises:
        ValueError: negative, above 32,767.99999, more digits, or no number.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None or int(found[1]) > _MOST:
        raise ValueError(f"{text} is not a number from 0 to {_MOST} with {DIGITS} digits at most")
    # 2^16 / 10^5 is 2048 / 3125: the product has 28 bits.
    fraction = (int((found[2] or "0").ljust(DIGITS, "0")) * 2048 + 3124) // 3125
    return min((int(found[1]) << 16) + fraction, (1 << 31) - 1)


def decimal_of(fixed: int) -> str:
    """Write Q15.16 as a decimal, without zeros at its end.

    >>> decimal_of(98304), decimal_of(6554), decimal_of(65536)
    ('1.5', '0.1', '1')
    """
    whole, fraction = fixed >> 16, fixed & 0xFFFF
    digits = f"{fraction * 10**DIGITS >> 16:05d}".rstrip("0")
    return f"{whole}.{digits}" if digits else f"{whole}"
