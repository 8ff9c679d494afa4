"""Say in one command how a missing program is installed on this system."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Manager = Literal["apt", "brew", "none"]
Which = Callable[[str], str | None]


@dataclass(frozen=True)
class Source:
    """Where a program comes from, by package manager; empty: not from there."""

    apt: tuple[str, ...] = ()
    brew: tuple[str, ...] = ()
    pip: str = ""
    """For programs that their makers publish on PyPI; preferred, being newer than Debian's."""
    vendor: str = ""
    """The maker's page."""


def find_tool(program: str) -> str | None:
    """Return where a program is: on the PATH, or beside our own, where pip put it."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(program) or shutil.which(program, path=beside)


def manager(which: Which = shutil.which, platform: str = sys.platform) -> Manager:
    """Return this system's package manager, as far as we know its packages."""
    if platform == "darwin":
        return "brew" if which("brew") else "none"
    return "apt" if which("apt-get") else "none"


def how_to_install(
    sources: Iterable[Source], system: Manager | None = None, *, sudo: bool = True
) -> str:
    """Return the one command line that brings all of `sources`, or where to get them.

    >>> how_to_install([Source(apt=("make",)), Source(pip="pyocd")], "apt")
    'sudo apt install make && pip install pyocd'
    >>> how_to_install([Source(apt=("make",), vendor="https://make.example")], "none")
    'see https://make.example'
    """
    system = manager() if system is None else system
    packages: list[str] = []
    wheels: list[str] = []
    pages: list[str] = []
    for source in sources:
        own = {"apt": source.apt, "brew": source.brew, "none": ()}[system]
        if source.pip:
            wheels.append(source.pip)
        elif own:
            packages.extend(own)
        else:
            pages.append(
                f"see {source.vendor}"
                if source.vendor
                else f"install {', '.join(source.apt or source.brew)}"
            )
    commands = []
    if packages:
        prefix = "brew install" if system == "brew" else f"{'sudo ' if sudo else ''}apt install"
        commands.append(f"{prefix} {' '.join(dict.fromkeys(packages))}")
    if wheels:
        commands.append(f"pip install {' '.join(dict.fromkeys(wheels))}")
    words = [" && ".join(commands)] if commands else []
    return "; ".join([*words, *dict.fromkeys(pages)])
