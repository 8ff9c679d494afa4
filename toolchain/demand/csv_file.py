"""Read sales from a CSV file: a day, the names of a series, and the units sold, per row."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.sales import Sales
from toolchain.errors import DataError, nearest
from toolchain.project import Data

GZIP_MAGIC = b"\x1f\x8b"
MAX_UNITS = 1e12  # of one series on one day; above it, a column was mistaken for another
MAX_CELLS = 50_000_000  # series x days: 400 MB as float64

Key = tuple[str, ...]


class _Reader(Protocol):
    """What `csv.reader` returns; its own type has no public name."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


@dataclass(frozen=True)
class _Rows:
    """The rows that were kept, one array entry each, in the order of the file."""

    series: NDArray[np.int64]
    days: NDArray[np.int64]
    """Proleptic ordinal, as `date.toordinal`."""
    units: NDArray[np.float64]
    lines: NDArray[np.int64]
    """Line of the file, from 1."""
    keys: list[Key]
    """Per series, in order of appearance."""
    file_days: NDArray[np.int64]
    """Days that have a row in the file, kept or not, sorted."""


def read_csv(path: Path, data: Data) -> Sales:
    """Read the columns and rows that `data` chooses.

    The days run from the first to the last of the file, rows that are not selected included, so
    that every selection is split at the same days. Each series has every day; `data.fill` says
    what an absent one holds. The series are sorted by their keys, numbers by value.

    Raises:
        DataError: the file is absent or damaged, or a row, a column or a selection is wrong.
    """
    rows = _parse(path, _text(path), data)
    _check_daily(path, rows.file_days)
    first = rows.file_days[0]
    days = int(rows.file_days[-1] - first) + 1
    if len(rows.keys) * days > MAX_CELLS:
        raise DataError(
            f"{path}: {len(rows.keys):,} series of {days:,} days are more than {MAX_CELLS:,} "
            "values. Choose fewer columns in data.keys, or fewer rows with data.select."
        )
    day = rows.days - first
    order = sorted(range(len(rows.keys)), key=lambda index: _natural(rows.keys[index]))
    names = tuple(_name(data.keys, rows.keys[index]) for index in order)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    series = place[rows.series]
    dates = _date(first) + np.arange(days).astype("timedelta64[D]")
    _check_once(path, names, dates, series, day, rows.lines)
    units = np.full((len(names), days), np.nan)
    units[series, day] = rows.units
    return Sales(dates, names, _filled(path, data, names, dates, units))


def _text(path: Path) -> str:
    """Read the file whole, unpacked and decoded."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as cause:
        raise DataError(
            f"{path}: no such file. data.source is a CSV file relative to the project, "
            '"complete_journey" or "synthetic".'
        ) from cause
    except OSError as cause:
        raise DataError(f"{path}: cannot be read: {cause.strerror}.") from cause
    if path.suffix == ".gz" or content.startswith(GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except EOFError as cause:
            raise DataError(
                f"{path}: the gzip file ends too early, after {len(content):,} bytes. "
                "Copy or download it again."
            ) from cause
        except (OSError, zlib.error) as cause:
            raise DataError(
                f"{path}: not a gzip file, or damaged: {cause}. Copy or download it again."
            ) from cause
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8: byte 0x{content[cause.start]:02x}. Save the file as UTF-8."
        ) from cause
    if not text.strip():
        raise DataError(f"{path}: the file is empty.")
    return text


def _parse(path: Path, text: str, data: Data) -> _Rows:
    """Read the rows and check each by itself."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        return _parse_rows(path, reader, data)
    except csv.Error as cause:
        raise DataError(f"{path}:{reader.line_num}: not CSV: {cause}.") from cause


def _parse_rows(path: Path, reader: _Reader, data: Data) -> _Rows:
    header = [name.strip() for name in next(row for row in reader if row)]
    columns = _Columns(path, header, data)
    wanted = [
        (columns.of(name, f"data.select.{name}"), frozenset(str(value) for value in values))
        for name, values in data.select.items()
    ]
    seen: list[set[str]] = [set() for _ in wanted]
    day_of, units_of = itemgetter(columns.date), itemgetter(columns.value)
    key_of = _key_getter(columns.keys)
    ordinals: dict[str, int] = {}
    numbers: dict[Key, int] = {}
    series: list[int] = []
    days: list[int] = []
    units: list[float] = []
    lines: list[int] = []
    for row in reader:
        if len(row) != len(header):
            if not row:
                continue
            raise DataError(
                f"{path}:{reader.line_num}: {len(row)} fields, but the header has {len(header)}."
            )
        written = day_of(row)
        ordinal = ordinals.get(written)
        if ordinal is None:
            ordinal = ordinals[written] = _ordinal(path, reader.line_num, data.date, written)
        keep = True
        for (column, values), met in zip(wanted, seen, strict=True):
            met.add(row[column])
            keep = keep and row[column] in values
        if not keep:
            continue
        amount = units_of(row)
        try:
            number = float(amount)
        except ValueError:
            number = -1.0
        if not 0.0 <= number <= MAX_UNITS or "_" in amount:
            raise DataError(f"{path}:{reader.line_num}: {_why_no_units(data.value, amount)}")
        series.append(numbers.setdefault(key_of(row), len(numbers)))
        days.append(ordinal)
        units.append(number)
        lines.append(reader.line_num)
    if not ordinals:
        raise DataError(f"{path}: no row after the header.")
    _check_selection(path, data, seen, kept=len(series))
    return _Rows(
        series=np.array(series, dtype=np.int64),
        days=np.array(days, dtype=np.int64),
        units=np.array(units, dtype=np.float64),
        lines=np.array(lines, dtype=np.int64),
        keys=list(numbers),
        file_days=np.unique(np.array(list(ordinals.values()), dtype=np.int64)),
    )


class _Columns:
    """Where the columns that the project names are, in the header of the file."""

    def __init__(self, path: Path, header: Sequence[str], data: Data) -> None:
        self.path = path
        self.header = header
        roles = [("data.date", data.date), ("data.value", data.value)]
        roles += [("data.keys", name) for name in data.keys]
        taken: dict[str, str] = {}
        for role, name in roles:
            if name in taken:
                raise DataError(
                    f'{path}: column "{name}" is named by {taken[name]} and {role}: '
                    "one column has one meaning."
                )
            taken[name] = role
        self.date, self.value, *self.keys = (self.of(name, role) for role, name in roles)

    def of(self, name: str, role: str) -> int:
        """Return the index of the column that `role` names."""
        count = self.header.count(name)
        if count == 1:
            return self.header.index(name)
        if count > 1:
            raise DataError(f'{self.path}:1: {count} columns are named "{name}" ({role}).')
        hint = _some(name, {_shown(known) for known in self.header})
        for mark, word in ((";", "semicolons"), ("\t", "tabs")):
            if len(self.header) == 1 and mark in self.header[0]:
                hint = f"the header is separated by {word}, not by commas."
        raise DataError(f'{self.path}:1: no column "{name}" ({role}); {hint}')


def _key_getter(columns: Sequence[int]) -> Callable[[list[str]], Key]:
    """Make the function that reads a row's key: always a tuple, empty when all is one series."""
    if not columns:
        return lambda _: ()
    if len(columns) == 1:
        only = columns[0]
        return lambda row: (row[only],)
    return itemgetter(*columns)


def _ordinal(path: Path, line: int, column: str, written: str) -> int:
    try:
        return date.fromisoformat(written.strip()).toordinal()
    except ValueError as cause:
        raise DataError(
            f'{path}:{line}: {column} is "{_shown(written)}", not a day such as 2017-12-31.'
        ) from cause


def _why_no_units(column: str, amount: str) -> str:
    if not amount.strip():
        return f"{column} is empty. Leave the row out: data.fill says what an absent day holds."
    try:
        number = float(amount.replace("_", "?"))
    except ValueError:
        return f'{column} is "{_shown(amount)}", not a number such as 12 or 12.5.'
    if number < 0:
        return f"{column} is {amount}, which is negative: what was sold counts, not what came back."
    return f"{column} is {amount}; units are finite, at most {MAX_UNITS:.0e}."


def _check_selection(path: Path, data: Data, seen: list[set[str]], *, kept: int) -> None:
    """Refuse a filter that asks for what is not there."""
    for (column, values), met in zip(data.select.items(), seen, strict=True):
        if not values:
            raise DataError(f"{path}: data.select.{column} is an empty list: no row would be kept.")
        for value in map(str, values):
            if value not in met:
                raise DataError(
                    f'{path}: data.select.{column}: no row has "{value}"; {_some(value, met)}'
                )
    if not kept:
        filters = " and ".join(
            f"{column} in ({', '.join(map(str, values))})" for column, values in data.select.items()
        )
        raise DataError(
            f"{path}: no row left after data.select: {filters} do occur, but never in one row."
        )


def _some(value: str, known: set[str]) -> str:
    """Name the known values, or the nearest when they are many."""
    if len(known) <= 12:
        return nearest(value, map(_shown, known))
    close = difflib.get_close_matches(value, sorted(known), n=3, cutoff=0.5)
    examples = close or sorted(known, key=lambda text: _natural((text,)))[:3]
    examples = [_shown(example) for example in examples]
    return f"{'nearest' if close else 'it has'} {', '.join(examples)}, of {len(known):,} values."


def _check_daily(path: Path, file_days: NDArray[np.int64]) -> None:
    """Refuse weekly and monthly files, and a wrong year: filling would invent most of the days."""
    span = int(file_days[-1] - file_days[0]) + 1
    if 2 * len(file_days) < span:
        gap = int(np.argmax(np.diff(file_days)))
        raise DataError(
            f"{path}: rows on {len(file_days):,} of the {span:,} days from {_date(file_days[0])} "
            f"to {_date(file_days[-1])}: sales are daily, with at least every second day present. "
            f"The longest gap is {_date(file_days[gap])} to {_date(file_days[gap + 1])}."
        )


def _check_once(
    path: Path,
    names: tuple[str, ...],
    dates: NDArray[np.datetime64],
    series: NDArray[np.int64],
    day: NDArray[np.int64],
    lines: NDArray[np.int64],
) -> None:
    """Refuse a second row for the same series and day."""
    cell = series * len(dates) + day
    order = np.argsort(cell, kind="stable")
    again = np.flatnonzero(np.diff(cell[order]) == 0)
    if len(again) == 0:
        return
    pair = min(again, key=lambda index: lines[order[index + 1]])
    first, second = order[pair], order[pair + 1]
    raise DataError(
        f"{path}:{lines[second]}: a second row for {names[series[second]]} on "
        f"{dates[day[second]]}; the first is line {lines[first]}. "
        "If they are different series, name the column that tells them apart in data.keys."
    )


def _filled(
    path: Path,
    data: Data,
    names: tuple[str, ...],
    dates: NDArray[np.datetime64],
    units: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Replace absent days, NaN in `units` (series, days), by the rule `data.fill`."""
    absent = np.isnan(units)
    if not absent.any():
        return units
    if data.fill == "zero":
        return np.where(absent, 0.0, units)
    if data.fill == "refuse":
        which, day = np.argwhere(absent)[0]
        raise DataError(
            f"{path}: {names[which]} has no row on {dates[day]} ({int(absent.sum()):,} absent in "
            'all), and data.fill is "refuse". Add the rows, or choose "zero" or "previous".'
        )
    if absent[:, 0].any():
        which = int(np.argmax(absent[:, 0]))
        raise DataError(
            f"{path}: {names[which]} has no row on {dates[0]}, the first day, so there is no day "
            'before to repeat (data.fill is "previous"). Add the row, or choose "zero".'
        )
    last = np.maximum.accumulate(np.where(absent, 0, np.arange(len(dates))), axis=1)
    filled: NDArray[np.float64] = np.take_along_axis(units, last, axis=1)
    return filled


def _natural(key: Key) -> tuple[tuple[int, int, str], ...]:
    """Sort "2" before "10", and both before words."""
    return tuple(
        (0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part) for part in key
    )


def _name(columns: tuple[str, ...], key: Key) -> str:
    if not columns:
        return "all"
    pairs = zip(columns, key, strict=True)
    return " ".join(f"{column}={_printable(value)}" for column, value in pairs)


def _printable(text: str) -> str:
    """Escape line breaks and the like: a name, and a message, is one line."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def _shown(text: str) -> str:
    """Show what a field holds, in a message: one line, and not much of it."""
    return _printable(text if len(text) <= 40 else f"{text[:37]}...")


def _date(ordinal: int | np.int64) -> np.datetime64:
    return np.datetime64(date.fromordinal(int(ordinal)), "D")
