"""Lay out who fits, and what was predicted beside what came out, for people at a terminal."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolchain.table import aligned
from toolchain.verdict.fit import Power, Row
from toolchain.verdict.ledger import Entry

_TIMES = (("µs", 1.0), ("ms", 1e3), ("s", 1e6))
_ENERGIES = (("µJ", 1.0), ("mJ", 1e3), ("J", 1e6))
_LIVES = (("days", 1.0), ("years", 365.25))


@dataclass(frozen=True)
class _Column:
    """One figure of a row."""

    title: str
    cell: Callable[[Row], str]
    detail: tuple[int, ...] = (3, 2, 1, 0)
    """Levels of detail it is shown at: the widest table has 3."""


def fit_table(rows: Sequence[Row], power: Power, width: int | None = None) -> str:
    """Lay rows out, with as much detail as has place in `width` columns; None: all of it."""
    text = ""
    for detail in (3, 2, 1, 0):
        table, words = _cells(rows, _columns(rows, power, detail))
        text = aligned(table, words=words)
        if width is None or max(map(len, text.splitlines())) <= width:
            break
    return text


def wrapped(line: str, width: int | None) -> str:
    """Break a sentence at the terminal's edge, not in its words."""
    return line if width is None else textwrap.fill(line, width, subsequent_indent="  ")


def ledger_table(entries: Sequence[Entry]) -> str:
    """Lay a ledger out, each figure's errors under those of its board."""
    rows: list[tuple[str, ...]] = [("board", "event", "figure", "predicted", "measured", "error")]
    rows += [
        (
            entry.board,
            entry.event,
            entry.figure,
            f"{entry.predicted:,}",
            f"{entry.measured:,}",
            f"{entry.error:+,} ({entry.error_percent:+.1f}%)",
        )
        for entry in entries
    ]
    return aligned(rows, words={0, 1, 2})


def _columns(rows: Sequence[Row], power: Power, detail: int) -> list[_Column]:
    found = [
        _Column("fits", _fits),
        _Column("free", lambda row: row.free, (3, 2, 1)),
        _Column("flash", _flash),
        _Column("of", lambda row: f"{row.board.flash.bytes:,}", (3,)),
        _Column("RAM", _ram),
        _Column("of", lambda row: f"{row.board.ram.bytes:,}", (3,)),
        _Column("stack", lambda row: f"{row.prediction.stack_bytes:,}" if row.prediction else ""),
        _Column("instructions", _count, (3, 2, 1)),
        _Column("est. time", lambda row: span(row.us, _TIMES)),
    ]
    if any(row.tflm for row in rows):
        found += [_Column("TFLM flash", _tflm_flash), _Column("TFLM RAM", _tflm_ram)]
    # Few profiles have currents; a column of blanks is none.
    if any(row.microjoules for row in rows):
        found.append(_Column("est. energy", lambda row: span(row.microjoules, _ENERGIES), (3, 2)))
    if any(row.battery_days(power) for row in rows):
        found.append(
            _Column("est. battery", lambda row: span(row.battery_days(power), _LIVES), (3, 2))
        )
    return [column for column in found if detail in column.detail]


def _cells(
    rows: Sequence[Row], columns: Sequence[_Column]
) -> tuple[list[tuple[str, ...]], frozenset[int]]:
    """Return the cells, and the places of those that are words.

    What all rows share, or a group of them, is said once, above their column.
    """
    titles = tuple(column.title for column in columns)

    def cells(row: Row) -> tuple[str, ...]:
        return tuple(column.cell(row) for column in columns)

    groups = [list(group) for _, group in itertools.groupby(rows, lambda row: row.model.name)]
    models = {row.model.name for row in rows}
    if len({row.board.name for row in rows}) == 1:
        table = [(rows[0].board.name, *titles)]
        table += [(row.model.name, *cells(row)) for row in rows]
    elif len(groups) == len(models) < len(rows):
        table = []
        for group in groups:
            table += [("",) * (1 + len(titles))] if table else []
            table.append((group[0].model.name, *titles))
            table += [(_board(row), *cells(row)) for row in group]
    else:
        pairs = [(row.model.name, _board(row), *cells(row)) for row in rows]
        return [("model", "board", *titles), *pairs], frozenset({0, 1, 2})
    return table, frozenset({0, 1})


def _board(row: Row) -> str:
    approximate = row.prediction is not None and row.prediction.approximate
    return row.board.name + (" ~" if approximate else "")


def _fits(row: Row) -> str:
    return "?" if row.prediction is None else "yes" if row.fits else "no"


def _flash(row: Row) -> str:
    return f"{row.prediction.flash_bytes:,}" if row.prediction else ""


def _ram(row: Row) -> str:
    return f"{row.prediction.ram_bytes:,}" if row.prediction else ""


def _tflm_flash(row: Row) -> str:
    return f"{row.tflm['reference'].flash_bytes:,}" if row.tflm else ""


def _tflm_ram(row: Row) -> str:
    return f"{row.tflm['reference'].ram_bytes:,}" if row.tflm else ""


def _count(row: Row) -> str:
    if row.prediction is None:
        return ""
    return f"{row.prediction.instructions:,}{'*' if row.core.counts_cycles else ''}"


def span(values: tuple[float, float] | None, units: Sequence[tuple[str, float]]) -> str:
    """Write an estimate, two digits of each end, in the unit that suits the larger.

    >>> span((900.0, 1820.0), (("us", 1), ("ms", 1000))), span((317.1, 317.1), (("ms", 1),))
    ('0.9-1.8 ms', '320 ms')
    >>> span(None, ())
    ''
    """
    if values is None:
        return ""
    name, size = next((it for it in reversed(units) if values[1] >= it[1]), units[0])
    low, high = (_two_digits(value / size) for value in values)
    return f"{low} {name}" if low == high else f"{low}-{high} {name}"


def _two_digits(value: float) -> str:
    """Write a number without an exponent.

    >>> _two_digits(0.5049), _two_digits(12_345.0), _two_digits(0)
    ('0.5', '12,000', '0')
    """
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
