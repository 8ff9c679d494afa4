"""Look at this machine: what is installed, what a board needs, and how to get what is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from toolchain import __version__
from toolchain.board import Board, Core, Emulator, read_boards, read_cores
from toolchain.device import rp2040js, simavr
from toolchain.device.flashers.catalog import FLASHERS
from toolchain.install import Manager, Source, Which, find_tool, how_to_install, manager

Group = Literal["python", "compiler", "emulator", "flasher", "serial"]

_PATIENCE_S = 10.0
_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*|\bv\d+\b")
_QEMU_PACKAGES = {"arm": "qemu-system-arm", "riscv32": "qemu-system-misc"}
"""Debian's packages of QEMU, by `system`."""
_BREW = {
    "arm-none-eabi-": ("gcc-arm-embedded",),
    "avr-": ("avr-gcc",),
    "riscv64-unknown-elf-": ("riscv64-elf-gcc",),
}
"""Homebrew's names of what `boards/cores.toml` names for Debian."""
_MAKE = Source(apt=("make",), brew=("make",))
_SERIAL_GROUPS = ("dialout", "uucp")
"""Debian's and Arch's name of the group that may use serial ports."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    group: Group
    name: str
    needed: bool
    """By the board in question; else it is only good to know."""
    found: bool
    detail: str = ""
    """A version and a place, or what is wrong."""
    source: Source | None = None
    remedy: str = ""
    """A command that mends it, where installing does not."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found, for one board."""

    board: str
    findings: tuple[Finding, ...]
    system: Manager

    @property
    def healthy(self) -> bool:
        """Whether all is there that the board needs."""
        return not self._missing(needed=True)

    @property
    def remedy(self) -> str:
        """The command that brings what the board needs; empty: nothing is missing."""
        return self._remedy(self._missing(needed=True))

    @property
    def remedy_for_others(self) -> str:
        """The command that brings all the rest."""
        return self._remedy(self._missing(needed=False))

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        return {
            "board": self.board,
            "healthy": self.healthy,
            "remedy": self.remedy or None,
            "remedy_for_others": self.remedy_for_others or None,
            "rows": [
                {
                    "group": finding.group,
                    "name": finding.name,
                    "needed": finding.needed,
                    "found": finding.found,
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
        }

    def to_text(self) -> str:
        """Return the diagnosis as a person reads it."""
        width = max(len(finding.name) for finding in self.findings)
        lines = []
        for finding in self.findings:
            mark = "ok" if finding.found else "MISSING" if finding.needed else "-"
            detail = finding.detail or ("" if finding.found else "not installed")
            line = f"{finding.group:<9} {finding.name:<{width}}  {mark:<7}  {detail}"
            lines.append(line.rstrip())
        lines.append("")
        if self.remedy_for_others:
            lines.append(f"for other boards: {self.remedy_for_others}")
        if self.healthy:
            lines.append(f"{self.board}: all it needs is here.")
        else:
            names = ", ".join(finding.name for finding in self._missing(needed=True))
            lines.append(f"{self.board}: needs {names}. Run: {self.remedy}")
        return "\n".join(lines)

    def _missing(self, *, needed: bool) -> list[Finding]:
        return [
            finding for finding in self.findings if not finding.found and finding.needed == needed
        ]

    def _remedy(self, missing: list[Finding]) -> str:
        sources = [finding.source for finding in missing if finding.source is not None]
        install = how_to_install(sources, self.system) if sources else ""
        others = dict.fromkeys(finding.remedy for finding in missing if finding.remedy)
        return "; ".join([*([install] if install else []), *others])


def examine(
    board: Board,
    boards: Path,
    *,
    which: Which = find_tool,
    platform: str = sys.platform,
    groups: Callable[[], Iterable[str]] | None = None,
) -> Diagnosis:
    """Look for what `board` needs, and for what the other boards of the folder do.

    Args:
        board: the one that matters.
        boards: the folder of all boards.
        which: finds programs.
        platform: as `sys.platform`.
        groups: returns the names of the groups this user is in; None: ask the system.
    """
    cores = read_cores(boards)
    known = read_boards(boards)
    checks: list[Callable[[], Finding]] = [_python, _tensorflow]
    for names, core in _compilers(cores):
        checks.append(partial(_compiler, names, core, which, needed=board.core in names))
    checks.append(partial(_program, "compiler", "make", _MAKE, which, needed=True))
    emulators = dict.fromkeys(_emulator_of(item.emulator) for item in known if item.emulator)
    mine = _emulator_of(board.emulator) if board.emulator else None
    for emulator in emulators:
        checks.append(partial(_emulator, *emulator, which, needed=emulator == mine))
    own = board.flasher.kind if board.flasher else ""
    for flasher in FLASHERS.values():
        if not flasher.program:
            continue
        look = partial(_program, "flasher", flasher.program, flasher.source, which)
        note = f"for {board.name} at a port" if flasher.kind == own else ""
        needed = flasher.kind == own and board.emulator is None
        checks.append(partial(look, needed=needed, version=flasher.version, note=note))
    with ThreadPoolExecutor(8) as pool:
        findings = list(pool.map(lambda check: check(), checks))
    findings.append(_serial(board, platform, groups))
    return Diagnosis(board.name, tuple(findings), manager(which, platform))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "shelfcast", True, True, f"{__version__}, Python {version}")


def _tensorflow() -> Finding:
    try:
        return Finding("python", "tensorflow", True, True, metadata.version("tensorflow"))
    except metadata.PackageNotFoundError:
        return Finding(
            "python", "tensorflow", True, False, source=Source(pip=f"shelfcast=={__version__}")
        )


def _compilers(cores: Mapping[str, Core]) -> list[tuple[tuple[str, ...], Core]]:
    """Group the cores by their compiler: the names of the cores, and the first of them."""
    prefixes = dict.fromkeys(core.compiler for core in cores.values())
    return [
        (
            tuple(name for name, core in cores.items() if core.compiler == prefix),
            next(core for core in cores.values() if core.compiler == prefix),
        )
        for prefix in prefixes
    ]


def _compiler(names: tuple[str, ...], core: Core, which: Which, *, needed: bool) -> Finding:
    """Look for a compiler and for its C library, which Debian packs apart."""
    program = f"{core.compiler}gcc"
    source = Source(
        apt=core.packages,
        brew=_BREW.get(core.compiler, ()),
        vendor="https://developer.arm.com/downloads/-/arm-gnu-toolchain-downloads",
    )
    finding = _program("compiler", program, source, which, needed=needed)
    path = which(program)
    if path is None:
        return finding
    if _can_include(path, core.flags, "stdint.h", "string.h"):
        detail = f"{finding.detail}, for {', '.join(names)}"
        return Finding("compiler", program, needed, True, detail, source)
    return Finding("compiler", program, needed, False, "without its C library", source)


def _emulator_of(emulator: Emulator) -> tuple[str, Source, str]:
    """Return an emulator's program, where it comes from, and a header it must bring, if any."""
    if emulator.kind == "qemu":
        packages = (_QEMU_PACKAGES[emulator.system],)
        source = Source(apt=packages, brew=("qemu",), vendor="https://qemu.org")
        return f"qemu-system-{emulator.system}", source, ""
    if emulator.kind == "simavr":
        return "cc", simavr.PACKAGES, "simavr/sim_avr.h"
    source = Source(apt=("nodejs", "npm"), brew=("node",), vendor="https://nodejs.org")
    return rp2040js.NODE, source, ""


def _emulator(program: str, source: Source, header: str, which: Which, *, needed: bool) -> Finding:
    """Look for an emulator, or for a compiler and the emulator's header."""
    finding = _program("emulator", program, source, which, needed=needed)
    path = which(program)
    if not header or path is None:
        return finding
    name = header.partition("/")[0]
    found = _can_include(path, (), header)
    return Finding("emulator", name, needed, found, "" if found else f"no {header}", source)


def _can_include(compiler: str, flags: tuple[str, ...], *headers: str) -> bool:
    """Tell whether a compiler finds headers."""
    text = "".join(f"#include <{header}>\n" for header in headers)
    with suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            [compiler, *flags, "-x", "c", "-E", "-o", os.devnull, "-"],
            input=text, capture_output=True, text=True, timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
        return result.returncode == 0
    return False


def _program(
    group: Group,
    program: str,
    source: Source,
    which: Which,
    *,
    needed: bool,
    version: tuple[str, ...] = ("--version",),
    note: str = "",
) -> Finding:
    """Look for a program and ask it for its version."""
    path = which(program)
    after = f", {note}" if note else ""
    if path is None:
        return Finding(group, program, needed, False, f"not installed{after}", source)
    words = _version_of(path, version) if version else ""
    detail = f"{words} {path}".strip() + after
    return Finding(group, program, needed, True, detail, source)


def _version_of(path: str, arguments: tuple[str, ...]) -> str:
    """Return what looks like a version in what a program says about itself."""
    try:
        result = subprocess.run(
            [path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "does not start;"
    found = _VERSION.search(result.stdout.decode("utf-8", "replace"))
    return found[0].rstrip(".,") if found else ""


def _serial(board: Board, platform: str, groups: Callable[[], Iterable[str]] | None) -> Finding:
    """Find out whether this user may open serial ports."""
    needed = board.emulator is None
    if platform != "linux":
        return Finding("serial", "permission", needed, True, "not restricted on this system")
    ports = [port for pattern in ("ttyACM*", "ttyUSB*") for port in Path("/dev").glob(pattern)]
    closed = [str(port) for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if ports and not closed:
        listed = ", ".join(sorted(map(str, ports)))
        return Finding("serial", "permission", needed, True, f"may use {listed}")
    group, members = _serial_group(), set((groups or _own_groups)())
    if not closed and (group in members or "root" in members):
        return Finding("serial", "permission", needed, True, f"in the group {group}")
    what = f"may not use {', '.join(sorted(closed))}" if closed else f"not in the group {group}"
    return Finding(
        "serial", "permission", needed, False, what,
        remedy=f"sudo usermod -aG {group} $USER, then log out and in again",
    )  # fmt: skip


def _serial_group() -> str:
    """Return this system's name of the group that may use serial ports."""
    import grp

    for name in _SERIAL_GROUPS:
        with suppress(KeyError):
            return grp.getgrnam(name).gr_name
    return _SERIAL_GROUPS[0]


def _own_groups() -> list[str]:
    import grp

    names = ["root"] if os.geteuid() == 0 else []
    for number in os.getgroups():
        with suppress(KeyError):
            names.append(grp.getgrgid(number).gr_name)
    return names
