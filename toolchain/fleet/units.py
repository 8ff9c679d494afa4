"""The units of a fleet, from a CSV file: where each is, its name, and its settings."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import DataError
from toolchain.fleet.watch import SETTINGS
from toolchain.shelf.refusal import Refused
from toolchain.shelf.settings import settings_of

EMULATED = "emulated"
_LONGEST = 255
"""Days: how far ahead a board looks is the board's to say."""


@dataclass(frozen=True)
class Unit:
    """One shelf to be set up."""

    port: str | None
    """None: emulated."""
    words: tuple[str, ...]
    """The arguments of `set`, as a shelf reads them back."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.words[0]

    @property
    def where(self) -> str:
        """The port, or `emulated`."""
        return self.port or EMULATED

    def key(self, image: str) -> str:
        """Name this unit with these settings and this image: what need not be done twice."""
        text = "\n".join((self.where, *self.words, image))
        return hashlib.sha256(text.encode()).hexdigest()


def make_unit(port: str | None, words: tuple[str, ...], where: str = "--set") -> Unit:
    """Check settings, and write them as a shelf does.

    Raises:
        DataError: `where`, with what is wrong.
    """
    try:
        return Unit(port, settings_of(words, _LONGEST).words())
    except Refused as refused:
        raise DataError(f"{where}: {refused.words}.") from refused


def read_units(path: Path) -> tuple[Unit, ...]:
    """Read a CSV file with the columns port, name, mean, deviation, lead, safety, minimum.

    Raises:
        DataError: no such file, an absent column, an impossible value, a name or port twice.
    """
    columns = ("port", *SETTINGS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            absent = [name for name in columns if name not in (rows.fieldnames or ())]
            if absent:
                raise DataError(
                    f"{path}: no column {', '.join(absent)}. A unit has {','.join(columns)}; the "
                    f"port of an emulated one is {EMULATED}."
                )
            units = []
            for row in rows:
                port, *words = ((row[name] or "").strip() for name in columns)
                where = f"{path}: line {rows.line_num}"
                if not port:
                    raise DataError(f"{where}: no port; that of an emulated unit is {EMULATED}.")
                units.append(make_unit(None if port == EMULATED else port, tuple(words), where))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise DataError(f"{path}: cannot be read: {cause}.") from cause
    if not units:
        raise DataError(f"{path}: no units.")
    for what, values in (
        ("name", [unit.name for unit in units]),
        ("port", [unit.port for unit in units if unit.port]),
    ):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise DataError(f"{path}: the {what} {twice[0]} is there twice.")
    return tuple(units)
