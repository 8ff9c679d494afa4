"""The deepest stack a firmware can reach, from what the compiler says of every function.

GCC writes, per source, each function's frame and whom it calls (`-fcallgraph-info=su`: .ci files;
its AVR port only the frames, .su files, so there the calls are read from the disassembly). The
deepest path from the start is the stack, with one interrupt on top: handlers do not interrupt each
other here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.board import Core
from toolchain.errors import ToolError

INDIRECT = "__indirect_call"
"""What GCC calls a call through a pointer."""

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]+)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_FRAME = re.compile(r"(\d+) bytes \([a-z,]+\)")
# Of avr-objdump -d.
_FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
_CALL = re.compile(r"\t(?:r?call|r?jmp)\t.*<([^>+]+)>$")
_INDIRECT_CALL = re.compile(r"\te?icall\b")
_HANDLER = re.compile(r"(?:.*:)?(?:port_interrupt|startup_systick|startup_interrupt|__vector_\d+)")
_PUSH = re.compile(r"\tpush\t")
_RESERVE = re.compile(r"\tsbiw\tr28, 0x([0-9a-fA-F]+)")
_RESERVE_LOW = re.compile(r"\tsubi\tr28, 0x([0-9a-fA-F]+)")
_RESERVE_HIGH = re.compile(r"\tsbci\tr29, 0x([0-7][0-9a-fA-F]|[0-9a-fA-F])\b")  # else it gives back
_RESERVE_BY_CALL = re.compile(r"\trcall\t\.\+0\b")
# -mcall-prologues: a jump into a row of pushes, which then makes room for what r27:r26 says.
_SHARED_PROLOGUE = re.compile(r"<__prologue_saves__(?:\+0x([0-9a-f]+))?>$")
_SHARED_PUSHES, _PUSH_BYTES = 18, 2
_ROOM_LOW = re.compile(r"\tldi\tr26, 0x([0-9a-fA-F]+)")
_ROOM_HIGH = re.compile(r"\tldi\tr27, 0x([0-9a-fA-F]+)")


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
    if core.call_graph:
        return worst_stack(read_call_graph(folder), core.interrupt_stack_bytes)
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
    graph = read_disassembly(result.stdout.splitlines(), core.return_bytes)
    return worst_stack(graph, core.interrupt_stack_bytes)


def read_call_graph(folder: Path) -> CallGraph:
    """Read the .ci files below a build folder."""
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


def read_disassembly(lines: Iterable[str], return_bytes: int) -> CallGraph:
    """Read the call graph from a disassembly of an AVR firmware, frames from its pushes.

    Args:
        lines: of `avr-objdump -d`.
        return_bytes: what a call stores: 2, or 3 with more than 128 KB of flash.
    """
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    current, low, room_low, room_high = "", 0, 0, 0
    for line in lines:
        text = line.rstrip()
        if started := _FUNCTION.match(text):
            current = started[1]
            frames.setdefault(current, return_bytes)
        elif _PUSH.search(text):
            frames[current] += 1
        elif reserved := _RESERVE.search(text):
            frames[current] += int(reserved[1], 16)
        elif reserved := _RESERVE_LOW.search(text):
            low = int(reserved[1], 16)
        elif reserved := _RESERVE_HIGH.search(text):
            frames[current] += 256 * int(reserved[1], 16) + low
        elif room := _ROOM_LOW.search(text):
            room_low = int(room[1], 16)
        elif room := _ROOM_HIGH.search(text):
            room_high = int(room[1], 16)
        elif shared := _SHARED_PROLOGUE.search(text):
            pushes = _SHARED_PUSHES - int(shared[1] or "0", 16) // _PUSH_BYTES
            frames[current] += pushes + 256 * room_high + room_low
        elif _RESERVE_BY_CALL.search(text):
            frames[current] += return_bytes
        elif _INDIRECT_CALL.search(text):
            calls.setdefault(current, set()).add(INDIRECT)
        elif (called := _CALL.search(text)) and called[1] != current:
            calls.setdefault(current, set()).add(called[1])
    return CallGraph(frames, {name: frozenset(called) for name, called in calls.items()})
