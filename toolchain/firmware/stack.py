"""The deepest stack a firmware can reach, from who calls whom and what each keeps.

GCC writes, per source, each function's frame and whom it calls (`-fcallgraph-info=su`: .ci files).
What it does not know - assembly, its own library, and on an AVR everything - is read from the
disassembly. The deepest path from the start is the stack, with one interrupt on top: handlers do
not interrupt each other here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.board import Core
from toolchain.errors import ToolError
from toolchain.firmware.disassembly import INDIRECT, Listing, read_disassembly

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]+)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_FRAME = re.compile(r"(\d+) bytes \([a-z,]+\)")
_HANDLER = re.compile(r"(?:.*:)?(?:port_interrupt|startup_systick|startup_interrupt|__vector_\d+)")


@dataclass(frozen=True)
class CallGraph:
    """Functions of a firmware: what each keeps on the stack, and whom it calls."""

    frames: Mapping[str, int]
    """Bytes by function."""
    calls: Mapping[str, frozenset[str]]

    @property
    def uncalled(self) -> frozenset[str]:
        """Functions that nobody calls by name: a call through a pointer may mean any of them."""
        called = frozenset().union(*self.calls.values()) if self.calls else frozenset()
        return frozenset(self.frames) - called

    def depth(self, function: str) -> int:
        """Return the bytes of the deepest path that begins in `function`.

        Raises:
            ToolError: there is recursion: no depth is the deepest.
        """
        return self._depth(function, (), {})

    def _depth(self, function: str, path: tuple[str, ...], known: dict[str, int]) -> int:
        if function in path:
            raise ToolError(f"{' -> '.join((*path, function))}: recursion, so no stack is enough.")
        if function not in known:
            below = (*path, function)
            deepest = max((self._depth(name, below, known) for name in self._called(function)),
                          default=0)  # fmt: skip
            known[function] = self.frames.get(function, 0) + deepest
        return known[function]

    def _called(self, function: str) -> list[str]:
        if function == INDIRECT:
            return sorted(name for name in self.uncalled if _is_verb(name))
        return sorted(self.calls.get(function, frozenset()))


def _is_verb(name: str) -> bool:
    """Say whether a function that nobody calls by name is one the console calls by pointer."""
    return "console_" in name


def worst_stack(graph: CallGraph, interrupt_bytes: int) -> int:
    """Return the deepest stack from the start of the program, with one interrupt on top.

    Args:
        graph: of the whole firmware.
        interrupt_bytes: what the core itself stores when an interrupt begins.
    """
    roots = [name for name in ("startup_main", "main") if name in graph.frames][:1]
    handlers = [name for name in graph.frames if _HANDLER.fullmatch(name)]
    interrupt = max((graph.depth(name) for name in handlers), default=0)
    return max(graph.depth(name) for name in roots) + interrupt_bytes + interrupt


def stack_of(folder: Path, core: Core) -> int:
    """Return the deepest stack of what was built in a folder.

    Raises:
        ToolError: there is recursion, or no disassembler.
    """
    disassembler = f"{core.compiler}objdump"
    try:
        result = subprocess.run(
            [disassembler, "-d", folder / "firmware.elf"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as cause:
        raise ToolError(f"{disassembler}: does not read {folder / 'firmware.elf'}.") from cause
    listing = read_disassembly(result.stdout.splitlines(), core.compiler, core.return_bytes)
    graph = read_call_graph(folder) if core.call_graph else CallGraph({}, {})
    return worst_stack(with_listing(graph, listing), core.interrupt_stack_bytes)


def read_call_graph(folder: Path) -> CallGraph:
    """Read the .ci files below a build folder; a static function is named `source:function`."""
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for file in sorted(folder.rglob("*.ci")):
        text = file.read_text()
        for title, label in _NODE.findall(text):
            if frame := _FRAME.search(label):
                frames[title] = int(frame[1])
        for caller, callee in _EDGE.findall(text):
            calls.setdefault(caller, set()).add(callee)
    return CallGraph(frames, {name: frozenset(called) for name, called in calls.items()})


def with_listing(graph: CallGraph, listing: Listing) -> CallGraph:
    """Add to the compiler's call graph what only the disassembly shows.

    A symbol that several sources have is the compiler's alone: it cannot be told whose it is.
    """
    titles: dict[str, list[str]] = {}
    for title in graph.frames:
        titles.setdefault(title.rpartition(":")[2], []).append(title)

    def titles_of(symbols: Iterable[str]) -> dict[str, str]:
        found = {symbol: titles.get(symbol, [symbol]) for symbol in symbols}
        return {symbol: of[0] for symbol, of in found.items() if len(of) == 1}

    frames, calls = dict(graph.frames), dict(graph.calls)
    for symbol, title in titles_of(listing.frames).items():
        frames[title] = max(frames.get(title, 0), listing.frames[symbol])
    for symbol, title in titles_of(listing.calls).items():
        called = titles_of(listing.calls[symbol]).values()
        calls[title] = calls.get(title, frozenset()) | frozenset(called)
    return CallGraph(frames, calls)
