"""How the command line looks: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolchain.fleet.view import Screen
    from toolchain.fleet.watch import Event

_TELL_EVERY_S = 30.0
"""Whoever reads the log of long work wants to see that it goes on."""


class Console:
    """Where words go. With `as_json`, stdout carries one JSON object and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int | None:
        """Columns of the terminal that results go to; None: they go elsewhere."""
        return shutil.get_terminal_size(fallback=(0, 0)).columns or None

    def result(self, values: dict[str, Any], text: str) -> None:
        """Print the result of a verb, for a program or for a person."""
        print(json.dumps(values, indent=2) if self.as_json else text)  # noqa: T201

    def say(self, words: str) -> None:
        """Print a line for the person, beside the result."""
        print(words, file=sys.stderr, flush=True)  # noqa: T201

    def error(self, words: str) -> None:
        """Print the one line an error is."""
        colour = self._live and "NO_COLOR" not in os.environ
        self.say(f"\x1b[31merror:\x1b[0m {words}" if colour else f"error: {words}")

    @contextmanager
    def watching(
        self, screen: Screen, to_line: Callable[[Event], str]
    ) -> Iterator[Callable[[Event], None]]:
        """Show what happens to a shelf: a screen on a terminal, else a line each; JSON: neither."""
        if self.as_json:
            yield lambda _: None
        elif not (sys.stdout.isatty() and os.environ.get("TERM") != "dumb"):
            yield lambda event: print(to_line(event), flush=True)  # noqa: T201
        else:
            from rich.console import Console as Terminal
            from rich.live import Live

            with Live(screen.render(), console=Terminal(), refresh_per_second=8) as live:

                def show(event: Event) -> None:
                    screen.add(event)
                    live.update(screen.render())

                yield show

    @contextmanager
    def report(self, name: str) -> Iterator[_Stage]:
        """Show one stage of the pipeline: see `job.Report`."""
        with _LiveStage(self, name) if self._live else _Stage(self, name) as stage:
            yield stage


class _Stage:
    """One stage in plain lines: at its start, every quarter or half minute, and when it is done."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._started = time.monotonic()
        self._told = -1
        self._told_at = 0.0

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def progress(self, fraction: float, words: str) -> None:
        """Say how far it is."""
        waited = time.monotonic() - self._told_at
        if int(fraction * 4) > self._told or waited > _TELL_EVERY_S:
            self._told, self._told_at = int(fraction * 4), time.monotonic()
            self._console.say(f"{self._name:<9} {100 * fraction:3.0f}% {words}")

    def result(self, words: str, *, skipped: bool) -> None:
        """Print what came of the stage."""
        took = "unchanged" if skipped else f"{time.monotonic() - self._started:.1f} s"
        self._console.say(f"{self._name:<9} {words} ({took})")


class _LiveStage(_Stage):
    """One stage on a terminal: a bar while it works, one line when it is done."""

    def __enter__(self) -> _Stage:
        # Imported here: answers without progress do not wait for it.
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.fields[stage]:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=Terminal(stderr=True, soft_wrap=False),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=1.0, stage=self._name)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar, whatever happened."""
        self._bar.stop()

    def progress(self, fraction: float, words: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=fraction, description=words)

    def result(self, words: str, *, skipped: bool) -> None:
        """Replace the bar by what came of the stage."""
        self._bar.stop()
        super().result(words, skipped=skipped)
