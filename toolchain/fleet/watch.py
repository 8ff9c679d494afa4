"""Tell a shelf its days, or listen while others do; what it says is an event each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolchain.device.session import Session
from toolchain.errors import DeviceRefused, InputError
from toolchain.fleet.days import Day, Feed
from toolchain.shelf.decimals import fixed_of

SETTINGS = ("name", "mean", "deviation", "lead", "safety", "minimum")
"""The keys of `shelf` that are the arguments of `set`."""
POLL_S = 2.0


@dataclass(frozen=True)
class Event:
    """A day, and what the shelf made of it."""

    day: Day
    answer: Mapping[str, str]
    """The key=values of `day`; empty where it refused."""
    refused: str | None = None
    """The code, one of `protocol.ERROR_CODES`."""
    words: str = ""
    """Why it refused."""

    @property
    def alert(self) -> str:
        """One of `protocol.ALERTS`."""
        return self.answer.get("alert", "none")


@dataclass
class Count:
    """How often what happened."""

    days: int = 0
    refused: int = 0
    restocks: int = 0
    clears: int = 0
    last: Mapping[str, str] | None = None

    def add(self, event: Event) -> None:
        """Count one event."""
        self.days += 1
        self.refused += event.refused is not None
        self.restocks += event.alert == "restock"
        self.clears += event.alert == "clear"
        if event.refused is None:
            self.last = event.answer

    def to_json(self) -> dict[str, Any]:
        """Return it for other programs."""
        return {**vars(self), "last": None if self.last is None else dict(self.last)}


def ready_shelf(
    session: Session, words: tuple[str, ...] | None, *, restart: bool
) -> Mapping[str, str]:
    """Set a shelf up if that is wanted, and return its settings.

    Raises:
        InputError: it has none, and none are given, or it refuses them.
        WrongFirmware: no shelf application.
    """
    if restart:
        session.restart()
    if words is not None:
        try:
            session.set_up(*words)
        except DeviceRefused as refused:
            if refused.code not in ("args", "range"):
                raise
            raise InputError(f'--set "{" ".join(words)}": {refused}') from refused
    try:
        return session.shelf()
    except DeviceRefused as refused:
        if refused.code != "unset":
            raise
        raise InputError(
            f"{session.port}: the shelf has not been set up. Add --set with name, mean, "
            'deviation, lead, safety and minimum, such as --set "milk-3 24.5 8 2 1.5 12", or '
            "shelfcast provision."
        ) from refused


def is_fresh(session: Session) -> bool:
    """Tell whether a shelf has seen no day yet."""
    try:
        session.report()
    except DeviceRefused as refused:
        if refused.code == "empty":
            return True
        raise
    return False


def feed(
    session: Session,
    days: Feed,
    *,
    speed: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """Tell the shelf day after day, `speed` a second; 0: as fast as it answers.

    Raises:
        DeviceError: the device or the link failed.
    """
    day = next(days, None)
    while day is not None:
        started = time.monotonic()
        event = _tell(session, day)
        yield event
        ordered = fixed_of(event.answer["quantity"]) >> 16 if event.alert == "restock" else 0
        try:
            day = days.send(ordered)
        except StopIteration:
            return
        if speed:
            sleep(max(0.0, 1 / speed - (time.monotonic() - started)))


def listen(
    session: Session,
    *,
    every_s: float = POLL_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """Ask a shelf that gets its days from elsewhere, and yield each new one; never ends."""
    seen = None
    while True:
        try:
            answer = session.report()
        except DeviceRefused as refused:
            if refused.code != "empty":
                raise
        else:
            if answer["date"] != seen:
                seen = answer["date"]
                units = session.history()["units"].split(",")[-1].removeprefix("~")
                yield Event(Day(seen, units, answer["stock"]), answer)
        sleep(every_s)


def _tell(session: Session, day: Day) -> Event:
    try:
        return Event(day, session.day(day.date, day.units, day.stock))
    except DeviceRefused as refused:
        if not refused.code:
            raise
        return Event(day, {}, refused.code, str(refused))
