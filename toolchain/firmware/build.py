"""Build rendered sources into an image, with the same Makefile that a person would use."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from toolchain.board import Board, Core
from toolchain.errors import CompileError, DoesNotFit, ToolMissing
from toolchain.firmware.elf import Image, Memory, Symbol, read_image, read_object_symbols
from toolchain.firmware.tflm import Tflm, other_core, refuse_other_core
from toolchain.progress import Progress, silent

JOBS = 2

Which = Callable[[str], str | None]

_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes?")
# A section that the script places itself, right after another, is not said to overflow.
_OUTSIDE = re.compile(r"address (0x[0-9a-f]+) of .* section `\S+' is not within region `(\w+)'")
_TOO_LONG = re.compile(r"error: size of array '(\w+)' is too large")
_SMALLER = "Try a smaller --hidden or a larger board (shelfcast boards lists them)."
# The driver's closing words and "in function" only lead to a complaint, or follow it.
_ERROR = re.compile(
    r"^(?!collect2:)(?!make)(?!.*: in function)"
    r".*(error:|undefined reference|multiple definition|ld: (?!warning)|\*\*\* .*Stop)"
)
_NO_CXX_LIBRARY = re.compile(
    r"error: (cstdarg|cstddef|cstdint|cstring|new): No such file|cannot find -lstdc\+\+"
)
_OTHER_ABI = re.compile(
    r"uses VFP register arguments|conflicting CPU architectures|target specific data of file|"
    r"can't link \S+-float modules|ABI is incompatible with that|mis-matched ISA|"
    r"file format not recognized|Relocations in generic ELF|is incompatible with"
)
"""What linkers say of a library for another core."""
_NOT_IN_TFLM = re.compile(r"undefined reference to `(tflite::[\w:]+|arm_\w+)")
_LINKER = re.compile(r"^\S*/ld: ")
_COMPILES = re.compile(r" -c (\S+\.cc?) ")
_LOW = "link_low"
"""A region of `avr.ld.j2`: what a pointer to a constant reaches of flash."""
_STOP_S = 5.0
"""How long make may take to stop its compilers when it is interrupted."""


def build(
    sources: Path,
    board: Board,
    core: Core,
    *,
    out: Path | None = None,
    tflm: Tflm | None = None,
    progress: Progress = silent,
    which: Which = shutil.which,
) -> Image:
    """Compile and link `sources` into `out` (the folder `build` in them unless given).

    `tflm` is what sources that `render_tflm` wrote are built with.

    Raises:
        ToolMissing: no compiler, no C or C++ library for it, or no make.
        CompileError: the compiler or the linker refused; the message has its first complaint. Or a
            TensorFlow Lite Micro that was built for another core.
        DoesNotFit: flash or RAM is too small; the message says by how much, and what is large.
    """
    for language in ("gcc",) if tflm is None else ("gcc", "g++"):
        if which(f"{core.compiler}{language}") is None:
            raise _missing(f"{core.compiler}{language}", core.packages)
    make = which("make")
    if make is None:
        raise _missing("make", ("make",))
    folder = sources / "build" if out is None else out
    arguments = ["-C", str(sources)]
    if out is not None:
        arguments.append(f"BUILD={Path(os.path.relpath(out, sources)).as_posix()}")
    if tflm is not None:
        arguments += [
            f"TFLM_INCLUDE={' '.join(path.as_posix() for path in tflm.includes)}",
            f"TFLM_LIB={' '.join(path.as_posix() for path in tflm.libraries)}",
        ]
    code, lines = _run_make(make, arguments, sources, progress)
    if code != 0:
        _refuse_by(lines, ["make", *arguments], folder, board, core)
    progress(1.0, "built")
    if tflm is not None:
        refuse_other_core(folder / "firmware.elf", folder / "app" / "main.c.o", board, core)
    return read_image(folder / "firmware.elf")


def _missing(program: str, packages: tuple[str, ...]) -> ToolMissing:
    return ToolMissing(
        f"{program}: not found. Install it: sudo apt-get install {' '.join(packages)}"
    )


def _run_make(
    make: str, arguments: list[str], sources: Path, progress: Progress
) -> tuple[int, list[str]]:
    """Run make to its end and return its exit code and what it and its children said."""
    total = sum(file.suffix in (".c", ".cc") for file in sources.rglob("*.c*"))
    # A make above this one must not share its flags, nor a locale its words: they are parsed.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "LANGUAGE")
    } | {"LC_ALL": "C"}
    lines: list[str] = []
    compiled = 0
    with subprocess.Popen(
        [make, f"-j{JOBS}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
        encoding="utf-8",
        errors="replace",
        # A group of its own: make, the shells it starts and their compilers end together.
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                found = _COMPILES.search(line)
                if found is not None:
                    compiled += 1
                    progress(min(compiled / (total + 1), 0.99), f"compiling {found[1]}")
        except BaseException:
            _end(process)
            raise
    return process.returncode, lines


def _end(process: subprocess.Popen[str]) -> None:
    """Stop make and its compilers; they remove what is half written."""
    if sys.platform == "win32":
        process.terminate()
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _refuse_by(
    lines: list[str], command: list[str], folder: Path, board: Board, core: Core
) -> None:
    """Raise the error that make's output means."""
    over = _overflow(lines, board)
    if over:
        raise DoesNotFit(_does_not_fit(over, folder, board, core))
    if any("cannot read spec file" in line for line in lines):
        raise _missing(f"C library of {core.compiler}gcc", core.packages)
    if any(_NO_CXX_LIBRARY.search(line) for line in lines):
        if not core.cxx_packages:
            raise ToolMissing(
                f"C++ library of {core.compiler}g++: not found, and Debian has none. Put a "
                "compiler that comes with one first in PATH, or use --runtime engine."
            )
        raise _missing(f"C++ library of {core.compiler}g++", core.cxx_packages)
    if other := next((line for line in lines if _OTHER_ABI.search(line)), None):
        words = _LINKER.sub("", other).strip().removeprefix("error: ")
        raise CompileError(other_core(words, board, core))
    lacks = sorted({match[1] for line in lines if (match := _NOT_IN_TFLM.search(line))})
    if lacks:
        more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
        raise CompileError(
            f"{board.name}: the TensorFlow Lite Micro of --tflm-lib lacks {lacks[0]}{more}. Its "
            "headers are of another version, or it was built without what the model needs."
        )
    if long := next((match for line in lines if (match := _TOO_LONG.search(line))), None):
        raise DoesNotFit(
            f"{board.name}: {long[1]} is longer than {core.longest_array_bytes or 0:,} bytes, the "
            f"most that an array may have on this core. {_SMALLER}"
        )
    complaints = [_LINKER.sub("", line) for line in lines if _ERROR.match(line)]
    first = (complaints or lines[-1:] or ["make failed and said nothing"])[0].strip().rstrip(".")
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    raise CompileError(f"{board.name}: {first}{more}. Repeat it: {shlex.join(command)}")


def _overflow(lines: list[str], board: Board) -> dict[str, int]:
    """Return the regions that the linker says are too small, with the bytes each lacks."""
    ends = {region.name: region.origin + region.bytes for region in board.memory}
    outside = {
        match[2]: int(match[1], 16) - ends[match[2]]
        for line in lines
        if (match := _OUTSIDE.search(line)) and match[2] in ends
    }
    return outside | {m[1]: int(m[2]) for line in lines if (m := _OVERFLOW.search(line))}


def _does_not_fit(over: dict[str, int], folder: Path, board: Board, core: Core) -> str:
    """Say which memories are too small, by how much, and what fills them."""
    objects = sorted(folder.rglob("*.o"))
    parts = []
    for region in board.memory:
        if region.name not in over:
            continue
        memory: Memory = "flash" if region.kind == "flash" else "ram"
        name = "flash" if memory == "flash" else "RAM"
        stack = "" if memory == "flash" else f" ({board.stack_bytes:,} of it stack)"
        largest = _largest(objects, memory, 3)
        parts.append(
            f"needs {region.bytes + over[region.name]:,} bytes of {name}{stack}, "
            f"has {region.bytes:,}, {over[region.name]:,} too few; largest: "
            + ", ".join(f"{symbol.name} {symbol.bytes:,}" for symbol in largest)
        )
    if not parts:
        # The only other region: what the linker script of a core with short pointers adds.
        has = min(board.flash.bytes, core.near_bytes or board.flash.bytes)
        parts.append(
            f"needs {has + over[_LOW]:,} bytes for constants in the lower 64 KB of flash, has "
            f"{has:,}, {over[_LOW]:,} too few; largest: "
            + ", ".join(
                f"{symbol.name} {symbol.bytes:,}" for symbol in _largest(objects, "flash", 3)
            )
        )
    return f"{board.name}: {' and '.join(parts)}. {_SMALLER}"


def _largest(objects: list[Path], memory: Memory, count: int) -> list[Symbol]:
    symbols = [
        symbol
        for path in objects
        for symbol in read_object_symbols(path)
        if symbol.memory == memory
    ]
    return sorted(symbols, key=lambda symbol: (-symbol.bytes, symbol.name))[:count]
