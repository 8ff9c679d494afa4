"""How the command line looks: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Console:
    """Where words go. With `as_json`, stdout carries one JSON object and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

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
    def report(self, name: str) -> Iterator[_Stage]:
        """Show one stage of the pipeline: see `pipeline.Report`."""
        with _LiveStage(self, name) if self._live else _Stage(self, name) as stage:
            yield stage


class _Stage:
    """One stage in plain lines: at its start, at every quarter, and when it is done."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._started = time.monotonic()
        self._told = -1

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def progress(self, fraction: float, words: str) -> None:
        """Say how far it is."""
        if int(fraction * 4) > self._told:
            self._told = int(fraction * 4)
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
