"""What a shelf is set up with: `set` on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolchain.shelf.decimals import decimal_of, fixed_of
from toolchain.shelf.refusal import Refused

NAME_BYTES = 15
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{NAME_BYTES}}}")


@dataclass(frozen=True)
class Settings:
    """One shelf's own numbers; mean, deviation and minimum are units in Q15.16."""

    name: str
    mean: int
    deviation: int
    lead: int
    """Days from an order to its delivery."""
    safety: int
    """Quarters of a day: demand that the stock should cover beyond the lead time."""
    minimum: int
    """The least that is ordered."""

    @property
    def horizon(self) -> int:
        """Days ahead that have to be forecast."""
        return self.lead + -(-self.safety // 4)

    def words(self) -> tuple[str, ...]:
        """Return the arguments of `set`."""
        return (
            self.name,
            decimal_of(self.mean),
            decimal_of(self.deviation),
            str(self.lead),
            decimal_of(self.safety << 14),
            decimal_of(self.minimum),
        )


def settings_of(words: tuple[str, ...], horizon: int) -> Settings:
    """Read the arguments of `set`, for a firmware that looks `horizon` days ahead.

    Raises:
        Refused: `args` or `range`.
    """
    if len(words) != 6:
        raise Refused("args", f"six words are needed, {len(words)} came")
    name, mean, deviation, lead, safety, minimum = words
    if _NAME.fullmatch(name) is None:
        raise Refused("args", f"a name is 1 to {NAME_BYTES} letters, digits, dots or dashes")
    try:
        fixed = [fixed_of(word) for word in (mean, deviation, safety, minimum)]
    except ValueError as cause:
        raise Refused("args", str(cause)) from cause
    if re.fullmatch(r"[0-9]+", lead) is None:
        raise Refused("args", f"{lead} is not a number of days")
    settings = Settings(name, fixed[0], fixed[1], int(lead), fixed[2] >> 14, fixed[3])
    if settings.deviation == 0:
        raise Refused("range", "the deviation is 0; use 1 where sales never change")
    if fixed[2] & 0x3FFF:
        raise Refused("range", "safety is counted in quarters of a day")
    if not 1 <= settings.horizon <= horizon:
        raise Refused("range", f"lead and safety are 1 to {horizon} days together")
    return settings
