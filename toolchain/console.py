"""How the command line looks: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BAR = 24
_REDRAW_S = 0.1


class Console:
    """Where words go. With `as_json`, stdout carries one JSON object and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._live and "NO_COLOR" not in os.environ

    def result(self, values: dict[str, Any], text: str) -> None:
        """Print the result of a verb, for a program or for a person."""
        print(json.dumps(values, indent=2) if self.as_json else text)  # noqa: T201

    def say(self, words: str) -> None:
        """Print a line for the person, beside the result."""
        print(words, file=sys.stderr, flush=True)  # noqa: T201

    def error(self, words: str) -> None:
        """Print the one line an error is."""
        self.say(self._paint("31", "error: ") + words)

    @contextmanager
    def report(self, name: str) -> Iterator[_StageLine]:
        """Show one stage of the pipeline: see `pipeline.Report`."""
        line = _StageLine(self, name)
        try:
            yield line
        finally:
            line.end()

    def draw(self, words: str) -> None:
        """Draw over the current line of a terminal."""
        if self._live:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write("\r\x1b[K" + words[: max(20, width - 1)])
            sys.stderr.flush()

    def erase(self) -> None:
        """Remove what `draw` drew."""
        self.draw("")

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal that can be drawn over."""
        return self._live

    def _paint(self, code: str, words: str) -> str:
        return f"\x1b[{code}m{words}\x1b[0m" if self._colour else words


class _StageLine:
    """One stage: a bar while it works, one line when it is done."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._started = time.monotonic()
        self._drawn = 0.0
        self._told = -1

    def progress(self, fraction: float, words: str) -> None:
        """Move the bar; without a terminal, print a line at the start and at every quarter."""
        now = time.monotonic()
        if self._console.live:
            if now - self._drawn >= _REDRAW_S:
                self._drawn = now
                full = round(_BAR * min(fraction, 1.0))
                bar = "█" * full + "·" * (_BAR - full)
                self._console.draw(f"{self._name:<9} {bar} {words}")
        elif int(fraction * 4) > self._told:
            self._told = int(fraction * 4)
            self._console.say(f"{self._name:<9} {100 * fraction:3.0f}% {words}")

    def result(self, words: str, *, skipped: bool) -> None:
        """Print what came of the stage."""
        self._console.erase()
        took = "unchanged" if skipped else f"{time.monotonic() - self._started:.1f} s"
        self._console.say(f"{self._name:<9} {words} ({took})")

    def end(self) -> None:
        """Leave no half-drawn bar behind, whatever happened."""
        self._console.erase()
