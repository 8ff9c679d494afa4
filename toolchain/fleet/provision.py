"""Set up units, several at a time: each is identified, tested, set, read back, and judged."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolchain.device.session import Session
from toolchain.errors import DeviceRefused, RunError, ShelfcastError
from toolchain.files import write_atomically
from toolchain.fleet.units import Unit
from toolchain.fleet.watch import SETTINGS
from toolchain.graph.reference import run
from toolchain.graph.types import Graph, Int8
from toolchain.progress import Progress, silent

Verdict = Literal["pass", "fail", "error"]
Open = Callable[[Unit], AbstractContextManager[Session]]
"""Opens a session with a unit that has said it holds the right model."""


@dataclass(frozen=True)
class Row:
    """What became of a unit; a figure nobody obtained is None."""

    name: str
    port: str
    key: str
    verdict: Verdict
    """`fail`: it works, and is not right; `error`: it could not be talked to."""
    reason: str = ""
    serial: str | None = None
    """Of its USB device."""
    board: str | None = None
    firmware: str | None = None
    model_crc: str | None = None
    windows: int | None = None
    """Forecast by the unit and compared with the host."""
    mismatches: int | None = None


@dataclass(frozen=True, eq=False)
class Recipe:
    """What every unit is tested with."""

    graph: Graph
    windows: Int8  # (windows, steps, features)
    image: str
    """Names the firmware, so that a unit that passed with it need not be done again."""


def provision(
    units: Sequence[Unit],
    recipe: Recipe,
    open_unit: Open,
    done: Mapping[str, Row],
    *,
    jobs: int,
    serials: Mapping[str, str],
    keep: Callable[[Sequence[Row]], None],
    progress: Progress = silent,
) -> tuple[Row, ...]:
    """Set up the units that have not passed yet, `jobs` at a time; rows in the units' order.

    Each unit is one thread's from its beginning to its end: an emulator ends with its thread.

    Args:
        units: each another name and port.
        recipe: what they are tested with.
        open_unit: opens one.
        done: rows from before, by name; those that passed with the same key are kept.
        jobs: units at the same time.
        serials: of USB devices, by port.
        keep: given all rows there are whenever one was added.
        progress: told how far it is.
    """
    rows: dict[str, Row] = {}
    for unit in units:
        before = done.get(unit.name)
        if before and before.verdict == "pass" and before.key == unit.key(recipe.image):
            rows[unit.name] = before
    todo = [unit for unit in units if unit.name not in rows]

    def in_order() -> tuple[Row, ...]:
        return tuple(rows[unit.name] for unit in units if unit.name in rows)

    expected = run(recipe.graph, recipe.windows).outputs
    with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(todo)))) as pool:
        futures = [
            pool.submit(_provision_one, unit, recipe, expected, open_unit, serials) for unit in todo
        ]
        try:
            for future in as_completed(futures):
                row = future.result()
                rows[row.name] = row
                keep(in_order())
                progress(len(rows) / len(units), f"{row.name}: {row.verdict}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    keep(in_order())
    return in_order()


def _provision_one(
    unit: Unit, recipe: Recipe, expected: Int8, open_unit: Open, serials: Mapping[str, str]
) -> Row:
    """Do one unit; whatever fails is in its row."""
    row = Row(unit.name, unit.where, unit.key(recipe.image), "error",
              serial=serials.get(unit.where))  # fmt: skip
    try:
        with open_unit(unit) as session:
            greeting = session.greeting
            row = replace(
                row,
                board=greeting.board,
                firmware=greeting.firmware,
                model_crc=f"{greeting.model_crc:08x}",
            )
            found = np.array([_forecast(session, window) for window in recipe.windows])
            # The answers came step by step: the shelf's own state is made again by `set`.
            wrong = int((found != expected).any(axis=1).sum())
            row = replace(row, windows=len(found), mismatches=wrong)
            session.set_up(*unit.words)
            back = session.shelf()
            differing = [
                f"{name} is {back.get(name, 'absent')}, not {word}"
                for name, word in zip(SETTINGS, unit.words, strict=True)
                if back.get(name) != word
            ]
    except DeviceRefused as refused:
        # It works and said no: another number would do.
        verdict: Verdict = "fail" if refused.code in ("range", "args") else "error"
        return replace(row, verdict=verdict, reason=str(refused))
    except (ShelfcastError, OSError) as error:
        return replace(row, reason=str(error))
    reasons = [f"{wrong} of {len(found)} windows differ from the host"] if wrong else []
    reasons += [f"read back: {', '.join(differing)}"] if differing else []
    return replace(row, verdict="fail" if reasons else "pass", reason="; ".join(reasons))


def _forecast(session: Session, window: Int8) -> Int8:
    """Forecast step by step, which every firmware can: those of shelves made for size too."""
    session.reset()
    outputs = None
    for sample in window:
        outputs, _ = session.step(sample)
    if outputs is None:
        raise RunError("the head of the model reads whole windows: no shelf runs it.")
    return outputs


def exit_code(rows: Sequence[Row]) -> int:
    """Return 4 when a device failed, 1 when a verdict is no, else 0."""
    verdicts = {row.verdict for row in rows}
    return 4 if "error" in verdicts else int("fail" in verdicts)


def load_rows(path: Path) -> dict[str, Row]:
    """Read the rows of the last time, by name; none when there was none.

    Raises:
        RunError: not what `save_rows` wrote.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return {row["name"]: Row(**row) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError) as cause:
        raise RunError(
            f"{path}: cannot be read: {cause}. Delete it; every unit is then done again."
        ) from cause


def save_rows(path: Path, rows: Sequence[Row], others: Mapping[str, Row]) -> None:
    """Write all rows as JSON and, beside it, as CSV: those of now, and those of other units."""
    names = {row.name for row in rows}
    every = [*rows, *(row for name, row in others.items() if name not in names)]
    write_atomically(path, json.dumps(to_json(every), indent=2) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in every)
    write_atomically(path.with_suffix(".csv"), text.getvalue())


def to_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows for other programs."""
    return {"rows": [asdict(row) for row in rows]}


def to_table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the rows for people."""
    table: list[tuple[str, ...]] = [
        ("unit", "port", "serial", "board", "firmware", "model", "parity", "verdict", "reason")
    ]
    for row in rows:
        parity = (
            "" if row.windows is None else f"{row.windows - (row.mismatches or 0)}/{row.windows}"
        )
        found = (row.serial, row.board, row.firmware, row.model_crc)
        known = (word or "" for word in found)
        table.append((row.name, row.port, *known, parity, row.verdict, row.reason))
    return table
