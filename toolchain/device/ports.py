"""Which serial ports are there, which boards they look like, and which one is meant."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serial.tools import list_ports

from toolchain.board import Board
from toolchain.errors import PortError

RETURN_S = 10.0
"""How long a board may take to come back on USB after a restart."""
_POLL_S = 0.1


@dataclass(frozen=True)
class FoundPort:
    """A serial port of this machine."""

    device: str
    """What it is opened by: `/dev/ttyACM0`, `COM3`."""
    usb: str | None = None
    """`vid:pid` of the USB device behind it; None: not on USB."""
    serial: str | None = None
    """That device's serial number."""
    location: str | None = None
    """The socket it is plugged into, as the system numbers them."""
    description: str = ""

    def __str__(self) -> str:
        words = [word for word in (self.description, self.usb and f"USB {self.usb}") if word]
        return f"{self.device} ({', '.join(words)})" if words else self.device

    def is_same_device(self, other: FoundPort) -> bool:
        """Tell whether two ports, at different times, are of one board.

        A boot loader has another USB id than the program, and not always a serial number; what
        stays is the socket it is plugged into.
        """
        if self.location and other.location:
            return self.location == other.location
        if self.serial and other.serial:
            return self.serial == other.serial
        return self.device == other.device


ListPorts = Callable[[], tuple[FoundPort, ...]]
Ask = Callable[[str, Sequence[FoundPort]], FoundPort]
"""Called with a question and the ports to choose from."""


def find_ports(
    comports: Callable[[], Iterable[Any]] = list_ports.comports,
) -> tuple[FoundPort, ...]:
    """List the serial ports that are there, by name."""
    found = [
        FoundPort(
            device=str(item.device),
            usb=None if item.vid is None else f"{item.vid:04x}:{item.pid:04x}",
            serial=item.serial_number or None,
            # Interfaces of one device are told apart by what follows the colon.
            location=(item.location or "").partition(":")[0] or None,
            description="" if item.description in (None, "n/a", item.device) else item.description,
        )
        for item in comports()
    ]
    return tuple(sorted(found, key=lambda port: port.device))


def looks_like(port: FoundPort, boards: Iterable[Board]) -> list[tuple[Board, str]]:
    """Return the boards whose profiles name this port's USB id, and what they say it is."""
    return [
        (board, device.what) for board in boards for device in board.usb if device.id == port.usb
    ]


def choose_port(board: Board, ports: Sequence[FoundPort], *, ask: Ask | None = None) -> FoundPort:
    """Return the port at which the board's console is plugged in.

    Args:
        board: its profile; the USB ids in it decide. A console that is two pins hangs on any
            adapter, so that only a person knows which.
        ports: what is plugged in.
        ask: lets a person choose when more than one port fits; None: nobody is there to ask.

    Raises:
        PortError: none fits, or nobody is there to ask.
    """
    ids = [device.id for device in board.usb if device.console]
    fitting = [port for port in ports if not ids or port.usb in ids]
    if ids and len(fitting) == 1:
        return fitting[0]
    if not fitting:
        wanted = f" with the USB id {' or '.join(ids)}" if ids else ""
        there = f"; there are: {', '.join(map(str, ports))}" if ports else ""
        raise PortError(
            f"{board.name}: no serial port{wanted} is plugged in{there}. Check the cable, or name "
            "the port with --port."
        )
    if ask is not None:
        return ask(f"Which port is {board.name} at?", fitting)
    listed = ", ".join(map(str, fitting))
    reason = f"{len(fitting)} ports look like it" if ids else "its console hangs on any adapter"
    raise PortError(f"{board.name}: {reason}: {listed}. Name one with --port.")


def wait_for_return(
    before: FoundPort,
    why: str,
    *,
    settle_s: float | None = None,
    limit_s: float = RETURN_S,
    list_ports: ListPorts = find_ports,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> FoundPort:
    """Wait until a board that restarts on USB is back, maybe under another name.

    Args:
        before: its port until now.
        why: what made it restart, for the message: `after flashing`.
        settle_s: a port that is still there after this time never went; None: it has to go.
        limit_s: for going and coming back.
        list_ports: lists what is plugged in.
        clock: counts seconds.
        sleep: waits that many.

    Raises:
        PortError: it did not go, or did not come back.
    """
    started = clock()
    gone = False
    while True:
        now = [port for port in list_ports() if port.is_same_device(before)]
        # A restart between two looks shows only by what came back: another name, another id.
        changed = [port for port in now if (port.device, port.usb) != (before.device, before.usb)]
        if changed:
            return changed[0]
        waited_s = clock() - started
        if now and (gone or (settle_s is not None and waited_s >= settle_s)):
            return now[0]
        gone = gone or not now
        if waited_s >= limit_s:
            break
        sleep(_POLL_S)
    if gone:
        raise PortError(
            f"{before.device}: went away {why} and did not come back within {limit_s:g} s. Plug "
            "the board in again; shelfcast ports shows where it is."
        )
    raise PortError(
        f"{before.device}: is still there {limit_s:g} s {why}: the board did not restart. Press "
        "reset twice, quickly, or hold its boot button while plugging it in."
    )
