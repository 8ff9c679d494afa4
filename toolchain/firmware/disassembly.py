"""Stack frames and calls as the instructions show them, for what a compiler does not know.

A compiler says nothing of assembly and of its own library, and GCC's AVR port writes no call graph
at all. Pushes and what is taken from the stack pointer are followed from line to line; functions of
the compiler, which may return before their last line, take only what is deepest on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

INDIRECT = "__indirect_call"
"""What GCC calls a call through a pointer."""

_FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
_NUMBER = r"#(\d+)"


@dataclass
class Listing:
    """What a disassembly shows, by function."""

    frames: dict[str, int] = field(default_factory=dict)
    """Bytes on the stack where it is deepest."""
    calls: dict[str, set[str]] = field(default_factory=dict)


# Thumb: push {r4, r5, lr}; stmdb.w sp!, {r4, lr}; vpush {d8-d11}; sub sp, #8; sub.w sp, sp, #264.
_ARM_LIST = re.compile(r"\t(push|stmdb|vpush|pop|ldmia|vpop)(?:\.w)?\t(?:sp!, )?{([^}]*)}")
_ARM_MOVE = re.compile(r"\t(sub|add)w?(?:\.w)?\tsp, (?:sp, )?" + _NUMBER)
_ARM_STORE = re.compile(r"\tstr(d?)(?:\.w)?\t.*\[sp, #-(\d+)\]!")
_ARM_CALL = re.compile(r"\tb(?:l|\.n|\.w)?\t.*<([^>+]+)>$")
_ARM_INDIRECT = re.compile(r"\tblx\t")

_RISCV_MOVE = re.compile(r"\taddi\tsp,sp,(-?\d+)")
_RISCV_CALL = re.compile(r"\t(?:jal|j)\t.*<([^>+]+)>$")
_RISCV_INDIRECT = re.compile(r"\tjalr\t")


def read_disassembly(lines: Iterable[str], compiler: str, return_bytes: int) -> Listing:
    """Read `objdump -d` of a firmware.

    Args:
        lines: what it printed.
        compiler: prefix of the compiler's programs.
        return_bytes: what a call stores by itself.
    """
    if compiler.startswith("avr"):
        return _read_avr(lines, return_bytes)
    if compiler.startswith("riscv"):
        return _read(lines, _riscv_move, _RISCV_CALL, _RISCV_INDIRECT)
    return _read(lines, _arm_move, _ARM_CALL, _ARM_INDIRECT)


def _read(
    lines: Iterable[str],
    move: Callable[[str], int],
    call: re.Pattern[str],
    indirect: re.Pattern[str],
) -> Listing:
    listing = Listing()
    current, depth = "", 0
    for line in lines:
        text = line.rstrip()
        if started := _FUNCTION.match(text):
            current, depth = started[1], 0
            listing.frames.setdefault(current, 0)
            continue
        depth = max(0, depth + move(text))
        listing.frames[current] = max(listing.frames.get(current, 0), depth)
        if indirect.search(text):
            listing.calls.setdefault(current, set()).add(INDIRECT)
        elif (called := call.search(text)) and called[1] != current:
            listing.calls.setdefault(current, set()).add(called[1])
    return listing


def _arm_move(text: str) -> int:
    """Return by how many bytes an instruction makes the stack deeper."""
    if found := _ARM_LIST.search(text):
        size = sum(map(_arm_registers, found[2].split(",")))
        return size if found[1] in ("push", "stmdb", "vpush") else -size
    if moved := _ARM_MOVE.search(text):
        return int(moved[2]) if moved[1] == "sub" else -int(moved[2])
    if stored := _ARM_STORE.search(text):
        return int(stored[2])
    return 0


def _arm_registers(listed: str) -> int:
    """Return the bytes of one entry of a register list, such as r4 or d8-d11."""
    first, _, last = listed.strip().partition("-")
    count = int(last[1:]) - int(first[1:]) + 1 if last else 1
    return count * (8 if first.startswith("d") else 4)


def _riscv_move(text: str) -> int:
    moved = _RISCV_MOVE.search(text)
    return -int(moved[1]) if moved else 0


# avr-objdump.
_CALL = re.compile(r"\t(?:r?call|r?jmp)\t.*<([^>+]+)>$")
_INDIRECT_CALL = re.compile(r"\te?icall\b")
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


def _read_avr(lines: Iterable[str], return_bytes: int) -> Listing:
    """Read frames from pushes and prologues, which are shared; pops are not followed."""
    listing = Listing()
    frames, calls = listing.frames, listing.calls
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
    return listing
