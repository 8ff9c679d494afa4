"""Days as numbers: since 1970-01-01, as the device counts them."""

from __future__ import annotations

import datetime
import re

from toolchain.shelf.refusal import Refused

FIRST_YEAR, LAST_YEAR = 1971, 2148
"""A window before the first day and a horizon after the last one fit 16 bits."""

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


def day_of(text: str) -> int:
    """Read a date as it is written on the wire.

    >>> day_of("2024-02-29")
    19782

    Raises:
        Refused: `date`: not a day of the calendar from `FIRST_YEAR` to `LAST_YEAR`.
    """
    found = _DATE.fullmatch(text)
    if found is not None and FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        try:
            return datetime.date(*map(int, found.groups())).toordinal() - _EPOCH
        except ValueError:
            pass
    raise Refused("date", f"{text} is not a day from {FIRST_YEAR}-01-01 to {LAST_YEAR}-12-31")


def date_of(day: int) -> str:
    """Write a day as a date.

    >>> date_of(19782)
    '2024-02-29'
    """
    return datetime.date.fromordinal(day + _EPOCH).isoformat()
