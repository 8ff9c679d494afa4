"""All flashers by name, and the one way to use any of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from toolchain.board import Board
from toolchain.device.flashers import (
    avrdude,
    bossac,
    dfu_util,
    esptool,
    jlink,
    openocd,
    picotool,
    pyocd,
    st_flash,
    uf2_drive,
)
from toolchain.device.flashers.drive import Roots, copy_image, find_drive, mount_points
from toolchain.device.flashers.process import SILENCE_S, Hung, run
from toolchain.device.flashers.tool import Command, Copy, Flasher, Step, Target
from toolchain.device.uf2 import encode
from toolchain.errors import BoardError, FlashError, ToolMissing
from toolchain.files import write_atomically
from toolchain.firmware.elf import read_segments
from toolchain.install import Which, find_tool, how_to_install
from toolchain.progress import Progress, part, silent

FLASHERS: Mapping[str, Flasher[Any]] = MappingProxyType(
    {
        module.FLASHER.kind: module.FLASHER
        for module in (
            openocd,
            pyocd,
            st_flash,
            jlink,
            esptool,
            avrdude,
            bossac,
            dfu_util,
            uf2_drive,
            picotool,
        )
    }
)


def flasher_of(board: Board) -> Flasher[Any]:
    """Return the flasher that a board's profile names.

    Raises:
        BoardError: it names none.
    """
    if board.flasher is None:
        raise BoardError(
            f"{board.name}: its profile has no [flasher]. Write the image with the board's own "
            "tool, then run: shelfcast validate --port PORT"
        )
    return FLASHERS[board.flasher.kind]


def plan(board: Board, elf: Path, port: str | None) -> tuple[Step, ...]:
    """Return what flashing `elf` onto the board takes; does nothing.

    Raises:
        BoardError: the profile has no flasher, or the flasher needs a port and has none.
    """
    flasher = flasher_of(board)
    if port is None and flasher.needs_port(board.flasher):
        raise BoardError(f"{board.name}: {flasher.kind} writes over a serial port. Name it: --port")
    return flasher.steps(board.flasher, Target(board.name, elf, board.flash.origin, port))


def find_program(board: Board, which: Which = find_tool) -> str:
    """Return where the board's flasher is installed; empty for one that needs no program.

    Raises:
        BoardError: the profile names no flasher.
        ToolMissing: it is not installed; the message says how to get it.
    """
    flasher = flasher_of(board)
    path = which(flasher.program) if flasher.program else ""
    if path is None:
        raise ToolMissing(
            f"{flasher.program}: not installed, and {board.name} is flashed with it. Get it: "
            f"{how_to_install([flasher.source])}"
        )
    return path


def write_image(
    board: Board,
    elf: Path,
    *,
    port: str | None = None,
    progress: Progress = silent,
    which: Which = find_tool,
    roots: Roots = mount_points,
    silence_s: float = SILENCE_S,
    drive_s: float = 0.0,
) -> None:
    """Write an image onto a board that is plugged in.

    Args:
        board: its profile.
        elf: the image; the raw one lies beside it.
        port: the serial port, for flashers that need one.
        progress: told what goes on.
        which: finds programs.
        roots: lists the folders at which drives may be.
        silence_s: a tool that says nothing for longer is stopped.
        drive_s: how long a boot loader's drive may take to appear.

    Raises:
        BoardError: as `plan`.
        ToolMissing: the tool is not installed; the message says how to get it.
        FlashError: the image did not reach the board, or not intact.
    """
    flasher = flasher_of(board)
    steps = plan(board, elf, port)
    for file in (elf, elf.with_suffix(".bin")):
        if not file.is_file():
            raise FlashError(
                f"{file}: no such file. Build it: shelfcast build --board {board.name}"
            )
    for index, step in enumerate(steps):
        share = part(progress, index / len(steps), (index + 1) / len(steps))
        if isinstance(step, Copy):
            _copy(board, elf, step, share, roots, drive_s)
        else:
            _run(board, flasher, step, share, which, silence_s, last=step is steps[-1])


def _run(
    board: Board,
    flasher: Flasher[Any],
    command: Command,
    progress: Progress,
    which: Which,
    silence_s: float,
    *,
    last: bool,
) -> None:
    """Run one command, and put its failure into one line."""
    path = find_program(board, which)
    if command.script is not None:
        write_atomically(*command.script)
    progress(0.0, f"running {flasher.program}")
    try:
        code, output = run((path, *command.argv[1:]), progress, silence_s=silence_s)
    except Hung as cause:
        # Some versions go on forever after they have said what is wrong.
        known = flasher.recognize(cause.output) or (
            f"{flasher.program} said nothing for {silence_s:g} s and was stopped. Unplug the "
            f"board, plug it in, and try again, or see for yourself: {command}"
        )
        raise FlashError(f"{board.name}: {known}") from cause
    except OSError as cause:
        reason = (cause.strerror or str(cause)).lower()
        raise ToolMissing(
            f"{path}: cannot be started: {reason}. Install it again: "
            f"{how_to_install([flasher.source])}"
        ) from cause
    # A tool of several commands proves itself in the last one.
    if flasher.succeeded(output, code) if last else code == 0:
        progress(1.0, f"{flasher.program} is done")
        return
    raise FlashError(f"{board.name}: {flasher.explain(output, code, command)}")


def _copy(
    board: Board, elf: Path, step: Copy, progress: Progress, roots: Roots, drive_s: float
) -> None:
    """Make a UF2 file and copy it onto the board's drive."""
    image = encode(read_segments(elf), step.family)
    write_atomically(step.file, image)
    progress(0.1, f"looking for the drive {step.label}")
    try:
        drive = find_drive(step.label, roots, patience_s=drive_s)
        progress(0.2, f"copying {len(image):,} bytes to {drive}")
        copy_image(image, step.file.name, drive)
    except FlashError as cause:
        raise FlashError(f"{board.name}: {cause}") from cause
    progress(1.0, "the board took the image and restarted")
