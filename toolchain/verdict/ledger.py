"""Predictions set beside what came out, one line for each build and each validation of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.errors import RunError

EVENTS = ("build", "validate")
FIGURES = ("flash", "ram", "stack", "instructions")


@dataclass(frozen=True)
class Entry:
    """One figure of one event."""

    event: str
    board: str
    figure: str
    predicted: int
    measured: int

    @property
    def error(self) -> int:
        """How much more was predicted than came out."""
        return self.predicted - self.measured

    @property
    def error_percent(self) -> float:
        """The same, in percent of what came out."""
        return 100 * self.error / self.measured


def record(
    path: Path, event: str, board: str, predicted: Mapping[str, int], measured: Mapping[str, int]
) -> None:
    """Append what was predicted and what came out; figures that are only in one are left out.

    A line that is there already, with the same figures, is not repeated.
    """
    both = {
        name: [predicted[name], measured[name]]
        for name in FIGURES
        if name in predicted and name in measured
    }
    line = json.dumps({"event": event, "board": board, **both})
    there = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if line in there:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        # One write of one line: what a kill leaves is whole or absent.
        file.write(line + "\n")


def read(path: Path) -> list[Entry]:
    """Read a ledger, oldest line first.

    Raises:
        RunError: there is none, or it is damaged.
    """
    if not path.exists():
        raise RunError(f"{path}: nothing was built or validated yet. `shelfcast deploy` does both.")
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            values: dict[str, Any] = json.loads(line)
            event, board = values["event"], values["board"]
            entries += [
                Entry(event, board, figure, *values[figure])
                for figure in FIGURES
                if figure in values
            ]
        except (ValueError, KeyError, TypeError) as cause:
            raise RunError(
                f"{path}, line {number}: not a line of a ledger. Remove it: nothing depends on it."
            ) from cause
    return entries
