"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and a few words about what goes on."""


def silent(fraction: float, words: str) -> None:
    """Report to nobody."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress whose 0 to 1 is `start` to `end` of another."""

    def report(fraction: float, words: str) -> None:
        progress(start + (end - start) * fraction, words)

    return report
