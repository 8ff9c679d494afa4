"""Keep what a shelf was told and said, a JSON object a line; check it later against the twin.

    {"shelfcast": "recording 1", "model_crc": "...", "features": [...], "settings": [...], ...}
    {"date": "2017-11-02", "units": "21", "stock": "60", "answer": {"forecast": "20.1,19.5", ...}}
    {"date": "2017-11-02", "units": "21", "stock": "60", "refused": "repeated"}

A line is written when the shelf has answered, so that whatever ends the recording, what was
recorded stays valid; a last line that was cut off does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from toolchain.errors import DataError, InputError
from toolchain.fleet.days import COLUMNS, Day
from toolchain.fleet.watch import SETTINGS, Event
from toolchain.graph.types import Graph
from toolchain.project import Feature
from toolchain.shelf.forecast import Method, shelf_model
from toolchain.shelf.refusal import Refused
from toolchain.shelf.shelf import new_shelf, set_up, take_day

FORMAT = "recording 1"


class Recorder(Protocol):
    """Takes events."""

    def __call__(self, event: Event) -> None:
        """Write one down."""


@contextmanager
def recording(
    path: Path, *, model_crc: int, features: tuple[Feature, ...], shelf: Mapping[str, str]
) -> Iterator[Recorder]:
    """Write events to `path`, each as soon as it has happened.

    Args:
        path: an old recording there is replaced.
        model_crc: of the model in the firmware.
        features: what that model is fed.
        shelf: the key=values of `shelf`.

    Raises:
        InputError: it cannot be written.
    """
    header = {
        "shelfcast": FORMAT,
        "model_crc": f"{model_crc:08x}",
        "features": list(features),
        "method": shelf["forecast"],
        "horizon": int(shelf["horizon"]),
        "settings": [shelf[name] for name in SETTINGS],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not written atomically: it grows line by line, and every whole line counts.
        file = path.open("w", encoding="utf-8")
    except OSError as cause:
        raise InputError(f"{path}: cannot be written: {cause}.") from cause
    with file:

        def write(line: Mapping[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        def record(event: Event) -> None:
            said: dict[str, Any] = (
                {"answer": dict(event.answer)}
                if event.refused is None
                else {"refused": event.refused}
            )
            write({**vars(event.day), **said})

        write(header)
        yield record


@dataclass(frozen=True)
class Recording:
    """What was read from a file."""

    path: Path
    model_crc: int
    features: tuple[Feature, ...]
    method: str
    horizon: int
    settings: tuple[str, ...]
    events: tuple[Event, ...]
    cut_off: bool
    """The last line is not whole."""


def read_recording(path: Path) -> Recording:
    """Read what `recording` wrote.

    Raises:
        DataError: absent, no recording, or a damaged line before the last.
    """
    try:
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(f"{path}: cannot be read: {cause}.") from cause
    try:
        header = json.loads(lines[0])
        if header["shelfcast"] != FORMAT:
            raise ValueError(header["shelfcast"])
        head = (
            int(header["model_crc"], 16),
            tuple(header["features"]),
            header["method"],
            int(header["horizon"]),
            tuple(map(str, header["settings"])),
        )
    except (IndexError, KeyError, TypeError, ValueError) as cause:
        raise DataError(
            f'{path}: its first line is not that of a "{FORMAT}". `shelfcast monitor --record` '
            "writes one."
        ) from cause
    events = tuple(_event(path, number, line) for number, line in enumerate(lines[1:], 2))
    return Recording(path, *head, events=events, cut_off=bool(rest))


def _event(path: Path, number: int, line: str) -> Event:
    try:
        values = json.loads(line)
        day = Day(*(str(values[name]) for name in COLUMNS))
        if "refused" in values:
            return Event(day, {}, str(values["refused"]))
        return Event(day, {str(key): str(value) for key, value in values["answer"].items()})
    except (AttributeError, KeyError, TypeError, ValueError) as cause:
        raise DataError(f"{path}: line {number} is damaged: {cause!r}.") from cause


@dataclass(frozen=True)
class Check:
    """A recording beside its twin."""

    days: int
    values: int
    """Forecasts, projections, alerts and refusals that were compared."""
    differences: int
    first: str | None
    """The first difference, in words."""
    cut_off: bool

    @property
    def passed(self) -> bool:
        """The verdict."""
        return self.differences == 0

    def to_json(self) -> dict[str, Any]:
        """Return it for other programs."""
        return {**vars(self), "verdict": "pass" if self.passed else "fail"}


def check_recording(recorded: Recording, graph: Graph) -> Check:
    """Let the host twin live through the recorded days, and compare every value of every answer.

    Raises:
        InputError: the recording was made with another model.
    """
    if graph.crc32 != recorded.model_crc:
        raise InputError(
            f"{recorded.path}: recorded with the model {recorded.model_crc:08x}, this run has "
            f"{graph.crc32:08x}. Name the run it belongs to with --run, or --model."
        )
    if recorded.method not in ("window", "stream"):
        raise DataError(f'{recorded.path}: unknown method of forecasting "{recorded.method}".')
    method: Method = "window" if recorded.method == "window" else "stream"
    model = shelf_model(graph, recorded.features, method, recorded.horizon)
    values = differences = 0
    first = None
    try:
        twin = set_up(new_shelf(model), recorded.settings)
    except Refused as refused:
        raise DataError(f"{recorded.path}: settings that no shelf takes: {refused}.") from refused
    for event in recorded.events:
        day = event.day
        expected: Mapping[str, str]
        try:
            twin, report = take_day(twin, day.date, day.units, day.stock)
        except Refused as refused:
            expected = {"refused": refused.code}
        else:
            expected = report.values()
        found = {"refused": event.refused} if event.refused else _comparable(event.answer)
        for key in sorted(expected.keys() | found.keys()):
            values += 1
            if expected.get(key) == found.get(key):
                continue
            differences += 1
            first = first or (
                f"{day.date}: {key} is {found.get(key, 'absent')}, the twin says "
                f"{expected.get(key, 'nothing')}"
            )
    return Check(len(recorded.events), values, differences, first, recorded.cut_off)


def _comparable(answer: Mapping[str, str]) -> dict[str, str]:
    """Leave out what depends on the device's storage."""
    kept = {key: value for key, value in answer.items() if key != "saved"}
    if "flags" in kept:
        flags = [flag for flag in kept["flags"].split(",") if flag != "unsaved"]
        kept["flags"] = ",".join(flags) or "-"
    return kept
