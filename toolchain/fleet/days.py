"""Days that a shelf is told: from a CSV file, or from a shop that is simulated."""

from __future__ import annotations

import csv
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import DataError

COLUMNS = ("date", "units", "stock")


@dataclass(frozen=True)
class Day:
    """The arguments of `day`, as they are sent: whether they make sense is the shelf's to say."""

    date: str
    units: str
    """Sold on that day."""
    stock: str
    """On hand at its end."""


Feed = Generator[Day, int, None]
"""Yields days; is sent how many units the shelf has just asked for, 0: none."""


def read_feed(path: Path) -> tuple[Day, ...]:
    """Read a CSV file with the columns `COLUMNS`; others are ignored.

    Raises:
        DataError: no such file, a column is absent, or an empty or unspeakable cell.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            absent = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if absent:
                raise DataError(
                    f"{path}: no column {', '.join(absent)}. A feed has the columns "
                    f"{','.join(COLUMNS)}, such as 2017-11-02,21,60."
                )
            return tuple(_day(path, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise DataError(f"{path}: cannot be read: {cause}.") from cause


def _day(path: Path, line: int, row: dict[str, str | None]) -> Day:
    words = [(row[name] or "").strip() for name in COLUMNS]
    for name, word in zip(COLUMNS, words, strict=True):
        # Anything else would make another request of it.
        if not word or not word.isascii() or not word.isprintable() or set(word) & set(' *"'):
            raise DataError(f'{path}: line {line}: "{word}" is no {name}.')
    return Day(*words)


def recorded_feed(days: tuple[Day, ...]) -> Feed:
    """Yield days as they are, whatever the shelf asks for."""
    for day in days:  # noqa: UP028 - `yield from` has no place for what is sent
        yield day


def simulated_feed(
    dates: tuple[str, ...], demand: tuple[int, ...], *, stock: int, lead: int
) -> Feed:
    """Sell what is asked for as long as there is some; deliver what the shelf orders.

    An order arrives in the evening `lead` days later, before the stock is counted.
    """
    due = [0] * (len(dates) + lead)
    for index, (date, asked) in enumerate(zip(dates, demand, strict=True)):
        sold = min(asked, stock)
        stock += due[index] - sold
        ordered = yield Day(date, str(sold), str(stock))
        due[index + lead] += ordered
