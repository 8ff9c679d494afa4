"""Flash a board that is plugged in: its boot loader, its tool, its restart, its port afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import serial

from toolchain.board import Board
from toolchain.device.flashers.catalog import find_program, flasher_of, plan, write_image
from toolchain.device.flashers.drive import Roots, mount_points
from toolchain.device.port import open_port
from toolchain.device.ports import FoundPort, ListPorts, find_ports, wait_for_return
from toolchain.device.reset import Sleep, reset_board
from toolchain.install import Which, find_tool
from toolchain.progress import Progress, part, silent

_DRIVE_S = 10.0
"""A system may take this long to mount a boot loader's drive."""
_SAME_ID_S = 2.0
"""A board whose boot loader and program look the same has restarted by then."""


def flash_board(
    board: Board,
    elf: Path,
    port: str,
    progress: Progress = silent,
    *,
    which: Which = find_tool,
    roots: Roots = mount_points,
    list_ports: ListPorts = find_ports,
    open_serial: Callable[..., Any] = serial.serial_for_url,
    sleep: Sleep = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Write an image onto the board and restart it; return the port at which it is afterwards.

    Raises:
        BoardError: the profile has no flasher.
        ToolMissing: the flasher is not installed.
        FlashError: the image did not reach the board, or not intact.
        PortError: the port cannot be used, or did not come back.
    """
    flasher_of(board)
    assert board.flasher is not None
    method = board.flasher.reset
    # Refuse before the board's program is stopped, or a tool hangs at a port that is not there.
    plan(board, elf, port)
    find_program(board, which)
    if "://" not in port:
        open_port(port, board.uart.baud, open_serial=open_serial).close()
    wait = partial(wait_for_return, list_ports=list_ports, clock=clock, sleep=sleep)
    before = _find(port, list_ports)
    loader = before
    touch = method == "touch-1200"
    if touch and not _is_boot_loader(before, board):
        progress(0.0, f"starting the boot loader at {port}")
        reset_board(port, method, board.uart.baud, open_serial=open_serial, sleep=sleep)
        if before is not None:
            loader = wait(before, "after the boot loader was called")
    write_image(
        board,
        elf,
        port=loader.device if loader is not None else port,
        progress=part(progress, 0.1, 0.8),
        which=which,
        roots=roots,
        drive_s=_DRIVE_S if touch else 0.0,
    )
    if loader is None or before is None:
        after = port
    else:
        progress(0.8, "waiting for the board's port")
        restarts = loader.usb != before.usb
        settle_s = None if restarts else (_SAME_ID_S if touch else 0.0)
        after = wait(loader, "after flashing", settle_s=settle_s).device
    if not touch:
        reset_board(after, method, board.uart.baud, open_serial=open_serial, sleep=sleep)
    progress(0.9, f"{board.name} restarts")
    return after


def _is_boot_loader(port: FoundPort | None, board: Board) -> bool:
    """Tell whether a person has started the boot loader already."""
    return port is not None and any(
        device.id == port.usb and not device.console for device in board.usb
    )


def _find(port: str, list_ports: ListPorts) -> FoundPort | None:
    """Return what is known of a port; None for sockets and pseudo terminals.

    `/dev/serial/by-id/...` is a link to the name that is listed.
    """
    names = (port, os.path.realpath(port))
    return next((found for found in list_ports() if found.device in names), None)
