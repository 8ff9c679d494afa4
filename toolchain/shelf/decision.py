"""From forecasts and stock to an alert, in integers: units are Q15.16, days numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolchain.graph.units import MAX_FIXED
from toolchain.shelf.settings import Settings

Alert = Literal["none", "restock", "waiting", "clear"]

MOST_ORDERED = 32_767 << 16
"""Orders are whole units."""


@dataclass(frozen=True)
class Order:
    """An alert that was raised and has not been cleared."""

    day: int
    """When it was raised last."""
    quantity: int


@dataclass(frozen=True)
class Outlook:
    """What the stock has to cover."""

    need: int
    """Demand over the lead time and the safety days: with less in stock, it is time to order."""
    enough: int
    """An eighth more than needed: with this much in stock, an alert is over."""
    lead_demand: int
    """Demand until what is ordered today arrives."""
    out: int | None
    """Days until more will have been asked for than there is; None: not within the horizon."""


def outlook(forecasts: tuple[int, ...], stock: int, settings: Settings) -> Outlook:
    """Add up the forecasts of the `settings.horizon` days ahead; sums saturate at `MAX_FIXED`."""
    need = lead_demand = total = 0
    out = None
    whole = settings.lead + settings.safety // 4
    for index, units in enumerate(forecasts):
        total = min(total + units, MAX_FIXED)
        if out is None and total > stock:
            out = index + 1
        if index < settings.lead:
            lead_demand = total
        share = units if index < whole else (units >> 2) * (settings.safety % 4)
        need = min(need + share, MAX_FIXED)
    return Outlook(need, min(need + (need >> 3), MAX_FIXED), lead_demand, out)


def decide(
    day: int, stock: int, ahead: Outlook, order: Order | None, settings: Settings
) -> tuple[Alert, Order | None]:
    """Raise, keep or clear the alert.

    An order brings the stock to `enough` once it has arrived: the demand until then is added. One
    that has not come, or not sufficed, after the lead time is raised again.
    """
    if stock >= ahead.enough:
        return ("none" if order is None else "clear"), None
    late = order is not None and day - order.day > settings.lead
    if stock < ahead.need and (order is None or late):
        wanted = min(ahead.lead_demand + ahead.enough, MAX_FIXED) - stock
        return "restock", Order(day, max(_whole(wanted), settings.minimum))
    return ("none" if order is None else "waiting"), order


def _whole(units: int) -> int:
    """Round up to whole units."""
    return min((units + 0xFFFF) & ~0xFFFF, MOST_ORDERED)
