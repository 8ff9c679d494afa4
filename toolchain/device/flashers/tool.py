"""What a flasher is: pure functions and data, so that a dry run shows all that a run does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from toolchain.flashing import FlasherSettings
from toolchain.install import Source

S = TypeVar("S", bound=FlasherSettings)

_SHOWN = 160
"""Characters of a tool's own words worth showing."""
_TELLING = re.compile(r"error|fail|cannot|could not|couldn't|unable|denied|invalid|not found", re.I)


@dataclass(frozen=True)
class Target:
    """What is to be written, and where to."""

    board: str
    elf: Path
    origin: int
    """Where the board's flash begins."""
    port: str | None = None
    """The serial port, for tools that need one."""

    @property
    def binary(self) -> Path:
        """The image from the start of flash on, without addresses; the build writes it too."""
        return self.elf.with_suffix(".bin")


@dataclass(frozen=True)
class Command:
    """A program to run."""

    argv: tuple[str, ...]
    script: tuple[Path, str] | None = None
    """A file that the program reads its orders from: path and content, written first."""

    def __str__(self) -> str:
        return shlex.join(self.argv)


@dataclass(frozen=True)
class Copy:
    """A UF2 file to make of the image and to copy onto a drive."""

    file: Path
    family: int
    label: str
    script: None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """What a person would do in its place; the drive's folder is found when it is there."""
        return ("cp", str(self.file), f"{self.label}:")

    def __str__(self) -> str:
        return shlex.join(self.argv)


Step = Command | Copy


@dataclass(frozen=True)
class Complaint:
    """What a tool says when it fails, and what that means."""

    says: str
    """A regular expression, searched line by line, whatever the case."""
    means: str
    """What is wrong and what mends it; `{0}` is the first group of `says`."""


@dataclass(frozen=True)
class Flasher(Generic[S]):
    """A way to write an image."""

    kind: str
    program: str
    """What it is called on the command line; empty: there is no program."""
    source: Source
    steps: Callable[[S, Target], tuple[Step, ...]]
    """Return what has to be done, in order; reads and writes nothing."""
    complaints: tuple[Complaint, ...] = ()
    """The most telling first."""
    needs_port: Callable[[S], bool] = lambda _: False
    version: tuple[str, ...] = ("--version",)
    """Arguments that make it say its version; empty: it has none that are safe to call."""
    proof: str = ""
    """For tools whose exit code is not to be trusted: what they say only when all was written."""

    def succeeded(self, output: str, code: int) -> bool:
        """Return whether the image was written."""
        return bool(re.search(self.proof, output)) if self.proof else code == 0

    def recognize(self, output: str) -> str | None:
        """Say what a foreseen failure means; None: nobody foresaw it."""
        for complaint in self.complaints:
            found = re.search(complaint.says, output, re.IGNORECASE | re.MULTILINE)
            if found:
                groups = [(group or "").strip() for group in found.groups()]
                return complaint.means.format(*groups)
        return None

    def explain(self, output: str, code: int, command: Command) -> str:
        """Say in one line what a failure means, without its subject.

        A failure nobody foresaw is told in the tool's own words, with the command to repeat it.
        """
        known = self.recognize(output)
        if known is not None:
            return known
        lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
        telling = [line for line in lines if _TELLING.search(line)] or lines[-1:]
        said = f": {telling[0][:_SHOWN].rstrip('.')}" if telling else " and said nothing"
        return f"{self.program} failed with exit code {code}{said}. Repeat it: {command}"
