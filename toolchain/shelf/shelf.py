"""A shelf's life, day by day: the host twin of `firmware_templates/app/shelf.c`.

Values are frozen; a request is a function from a shelf to the shelf after it. What is refused
leaves no trace. Units are Q15.16, days numbers since 1970-01-01.

    model = shelf_model(graph, features)
    shelf = set_up(new_shelf(model), ("milk-3", "24.5", "8", "2", "1.5", "12"))
    shelf, report = take_day(shelf, "2024-05-03", "21", "60")
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toolchain.graph.reference import State
from toolchain.shelf.calendar import date_of, day_of
from toolchain.shelf.decimals import decimal_of, fixed_of
from toolchain.shelf.decision import Alert, Order, decide, outlook
from toolchain.shelf.forecast import Scaling, ShelfModel, look_ahead, samples, window_state
from toolchain.shelf.refusal import Refused
from toolchain.shelf.settings import Settings, settings_of

ABSURD = 64
"""Units more than this many deviations above the mean are a mistake."""


@dataclass(frozen=True)
class Known:
    """A day of the history."""

    units: int
    filled: bool
    """It never came: the units are what was forecast, or the mean before the first day."""


@dataclass(frozen=True, eq=False)
class History:
    """What a shelf has seen."""

    last: int
    """The day it saw last."""
    days: tuple[Known, ...]
    """Of a window, oldest first."""
    seen: int
    """Days since the first one, as many as a window has at most."""
    stock: int
    lost: int
    """Units that were missing from the stock on the last day."""
    order: Order | None
    alert: Alert
    """Of the last day."""
    state: State | None
    """After the last day, where the forecast is a stream."""
    forecasts: tuple[int, ...]
    """Of the days after the last one."""


@dataclass(frozen=True, eq=False)
class Shelf:
    """A device: its firmware's model, its settings, its history."""

    model: ShelfModel
    settings: Settings | None = None
    history: History | None = None


@dataclass(frozen=True)
class Report:
    """What a day came to: the answer to `day` and to `report`."""

    day: int
    stock: int
    forecasts: tuple[int, ...]
    """Of the days after it, as many as lead time and safety need."""
    need: int
    alert: Alert
    quantity: int
    """To order, or ordered; 0 without an alert."""
    out: int | None
    """The first day that will ask for more than there is, as far as can be seen."""
    known: int
    """Days of the window that really came."""
    flags: tuple[str, ...]
    """Of `protocol.FLAGS`; that a device could not store the day is not the twin's to know."""
    lost: int

    def values(self) -> dict[str, str]:
        """Write the key=values of the answer, without `saved`."""
        return {
            "date": date_of(self.day),
            "stock": decimal_of(self.stock),
            "forecast": ",".join(map(decimal_of, self.forecasts)),
            "need": decimal_of(self.need),
            "alert": self.alert,
            "quantity": decimal_of(self.quantity),
            "out": "-" if self.out is None else date_of(self.out),
            "known": str(self.known),
            "flags": ",".join(self.flags) or "-",
            "lost": decimal_of(self.lost),
        }


def new_shelf(model: ShelfModel) -> Shelf:
    """Return a device as it leaves the factory."""
    return Shelf(model)


def set_up(shelf: Shelf, words: tuple[str, ...]) -> Shelf:
    """Give a shelf its settings: the arguments of `set`. Its history is kept.

    Raises:
        Refused: `args` or `range`.
    """
    settings = settings_of(words, shelf.model.horizon)
    history = shelf.history
    if history is not None and history.state is not None:
        # The state was fed in another scaling: it is made again from the days that are known.
        state = _fed(shelf.model, history.days, history.last, settings)
        history = replace(history, state=state)
    shelf = replace(shelf, settings=settings, history=history)
    if history is None:
        return shelf
    return replace(shelf, history=replace(history, forecasts=_ahead(shelf, history)))


def restart(shelf: Shelf) -> Shelf:
    """Forget all days."""
    return replace(shelf, history=None)


def take_day(shelf: Shelf, date: str, units: str, stock: str) -> tuple[Shelf, Report]:
    """Take a day: the arguments of `day`.

    Raises:
        Refused: `unset`, `date`, `units`, `stock`, `repeated`, `order` or `gap`.
    """
    settings, model, before = _settings(shelf), shelf.model, shelf.history
    day = day_of(date)
    sold, left = _fixed("units", units), _fixed("stock", stock)
    if (sold - settings.mean) // ABSURD >= settings.deviation:
        raise Refused("units", f"more than {ABSURD} deviations above the mean")
    if before is None:
        blank = (Known(settings.mean, filled=True),) * model.steps
        state = None
        if model.method == "stream":
            state = _fed(model, blank[1:], day - 1, settings)
        before = History(day - 1, blank, 0, left + sold, 0, None, "none", state, ())
    elif day <= before.last:
        raise Refused(
            "repeated" if day == before.last else "order",
            f"{date_of(before.last)} was the last day",
        )
    elif day - before.last > model.steps:
        raise Refused("gap", f"{date_of(before.last)} was the last day: restart if this is right")
    expected = before.stock - sold if day == before.last + 1 else 0
    while before.last + 1 < day:
        before = _push(shelf, before, Known(before.forecasts[0], filled=True))
        before = replace(before, forecasts=_ahead(shelf, before))
    after = _push(shelf, before, Known(sold, filled=False))
    forecasts = _ahead(shelf, after)
    ahead = outlook(forecasts, left, settings)
    alert, order = decide(day, left, ahead, after.order, settings)
    after = replace(
        after,
        stock=left,
        lost=max(expected - left, 0),
        order=order,
        alert=alert,
        forecasts=forecasts,
    )
    shelf = replace(shelf, history=after)
    return shelf, report(shelf)


def report(shelf: Shelf) -> Report:
    """Say what the last day came to.

    Raises:
        Refused: `unset` or `empty`.
    """
    settings, history = _settings(shelf), shelf.history
    if history is None:
        raise Refused("empty", "no day has come yet")
    ahead = outlook(history.forecasts, history.stock, settings)
    known = sum(not day.filled for day in history.days)
    doubts = {
        "short": history.seen < shelf.model.steps,
        "gaps": known < history.seen,
        "stock": history.lost > 0,
    }
    return Report(
        day=history.last,
        stock=history.stock,
        forecasts=history.forecasts,
        need=ahead.need,
        alert=history.alert,
        quantity=0 if history.order is None else history.order.quantity,
        out=None if ahead.out is None else history.last + ahead.out,
        known=known,
        flags=tuple(name for name, doubted in doubts.items() if doubted),
        lost=history.lost,
    )


def _settings(shelf: Shelf) -> Settings:
    if shelf.settings is None:
        raise Refused("unset", "set it up first")
    return shelf.settings


def _fixed(code: str, text: str) -> int:
    try:
        return fixed_of(text)
    except ValueError as cause:
        raise Refused(code, str(cause)) from cause


def _scaling(settings: Settings) -> Scaling:
    return Scaling(_one(settings.mean), _one(settings.deviation))


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)


def _fed(model: ShelfModel, days: tuple[Known, ...], last: int, settings: Settings) -> State:
    """Feed days that end with `last`, from the zero state."""
    units = np.array([[day.units for day in days]], np.int64)
    return window_state(model, units, _one(last), _scaling(settings))


def _push(shelf: Shelf, history: History, known: Known) -> History:
    """Let a day pass."""
    model, day = shelf.model, history.last + 1
    state = history.state
    if state is not None:
        fed = samples(model, _one(known.units), _one(day), _scaling(_settings(shelf)))
        state = model.stepper.step(fed, state)
    return replace(
        history,
        last=day,
        days=(*history.days[1:], known),
        seen=min(history.seen + 1, model.steps),
        state=state,
    )


def _ahead(shelf: Shelf, history: History) -> tuple[int, ...]:
    """Forecast the days after the last one."""
    settings, model = _settings(shelf), shelf.model
    state = history.state or _fed(model, history.days, history.last, settings)
    last, scaling = _one(history.last), _scaling(settings)
    return tuple(map(int, look_ahead(model, state, last, scaling, settings.horizon)[0]))
