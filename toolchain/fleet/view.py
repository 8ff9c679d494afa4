"""How a shelf looks: a line a day, or a screen that is drawn anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from toolchain.fleet.watch import Event
from toolchain.shelf.calendar import date_of, day_of
from toolchain.shelf.decimals import decimal_of, fixed_of

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN_DAYS = 42
_SHOWN_ALERTS = 6
_BAR = 24
_BLOCKS = " ▁▂▃▄▅▆▇█"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_COLOURS = {"restock": "bold red", "waiting": "yellow", "clear": "bold green", "none": "default"}


def to_line(event: Event) -> str:
    """Write one day."""
    day = event.day
    start = f"{day.date}  sold {day.units:>6}  stock {day.stock:>7}"
    if event.refused is not None:
        return f"{start}  refused: {event.words or event.refused}"
    answer = event.answer
    ahead = " ".join(f"{float(units):.0f}" for units in answer["forecast"].split(","))
    words = [
        start,
        f"forecast {ahead}",
        f"need {float(answer['need']):.0f}",
        *([] if answer["out"] == "-" else [f"out on {answer['out']}"]),
        *([_alert(event)] if event.alert != "none" else []),
        *([] if answer["flags"] == "-" else [f"({answer['flags']})"]),
    ]
    return "  ".join(words)


class Screen:
    """What is shown of a shelf while its days come."""

    def __init__(self, shelf: Mapping[str, str], where: str) -> None:
        """Show a shelf by its settings, and say `where` it is."""
        self._shelf, self._where = shelf, where
        self._sold: deque[float] = deque(maxlen=_SHOWN_DAYS)
        self._forecast: deque[float] = deque(maxlen=_SHOWN_DAYS)
        self._alerts: deque[tuple[str, str]] = deque(maxlen=_SHOWN_ALERTS)
        self._next: float | None = None
        self._last: Event | None = None

    def add(self, event: Event) -> None:
        """Take a day."""
        if event.refused is not None:
            self._alerts.append(("yellow", f"{event.day.date}  refused: {event.refused}"))
            return
        self._last = event
        sold = float(event.day.units)
        self._sold.append(sold)
        self._forecast.append(sold if self._next is None else self._next)
        self._next = float(event.answer["forecast"].split(",")[0])
        if event.alert in ("restock", "clear"):
            self._alerts.append((_COLOURS[event.alert], f"{event.day.date}  {_alert(event)}"))

    def render(self) -> RenderableType:
        """Draw it."""
        # Imported here: lines do not wait for it.
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        shelf = self._shelf
        title = Text.assemble((f" {shelf['name']} ", "bold"), f" {self._where}")
        settings = Text(
            f"sells {float(shelf['mean']):.1f} ± {float(shelf['deviation']):.1f} a day · lead "
            f"{shelf['lead']} d · safety {shelf['safety']} d · minimum order {shelf['minimum']}",
            style="dim",
        )
        if self._last is None:
            return Panel(Group(settings, Text("waiting for a day")), title=title)
        answer, event = self._last.answer, self._last
        top = max(*self._sold, *self._forecast, 1.0)
        curves = Table.grid(padding=(0, 2))
        curves.add_row("sold", Text(_spark(self._sold, top), style="cyan"),
                       f"{self._sold[-1]:.0f} on {event.day.date}")  # fmt: skip
        curves.add_row("forecast", Text(_spark(self._forecast, top), style="magenta"),
                       f"{self._next:.0f} tomorrow")  # fmt: skip
        state = Text.assemble(
            f"stock {float(answer['stock']):.0f}   need {float(answer['need']):.0f}   ",
            (_alert(event), _COLOURS[event.alert]),
            f"   {answer['known']} days known",
            ("" if answer["flags"] == "-" else f"   {answer['flags']}", "yellow"),
        )
        alerts = Group(*(Text(words, style=style) for style, words in self._alerts))
        return Panel(
            Group(settings, Text(), curves, Text(), state, Text(), self._projection(answer), Text(),
                  alerts),
            title=title, title_align="left",
        )  # fmt: skip

    def _projection(self, answer: Mapping[str, str]) -> RenderableType:
        """Draw the stock of the days ahead, if nothing arrives."""
        from rich.table import Table
        from rich.text import Text

        left = fixed_of(answer["stock"])
        full = max(left, fixed_of(answer["need"]), 1)
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("day ahead", "forecast", "stock left"):
            table.add_column(name, justify="left" if name == "day ahead" else "right")
        table.add_column("")
        today = day_of(answer["date"])
        for index, word in enumerate(answer["forecast"].split(","), 1):
            left = max(left - fixed_of(word), 0)
            day = today + index
            bar = "█" * round(_BAR * left / full)
            style = "red" if left == 0 else "green"
            table.add_row(
                f"{_WEEKDAYS[(day + 3) % 7]} {date_of(day)}", f"{float(word):.1f}",
                f"{float(decimal_of(left)):.0f}", Text(bar or "out", style=style),
            )  # fmt: skip
        return table


def _alert(event: Event) -> str:
    quantity = f"{float(event.answer['quantity']):.0f}"
    return {
        "restock": f"RESTOCK {quantity}",
        "waiting": f"waiting for {quantity}",
        "clear": "clear",
        "none": "no alert",
    }[event.alert]


def _spark(values: deque[float], top: float) -> str:
    return "".join(_BLOCKS[round(value / top * (len(_BLOCKS) - 1))] for value in values)
