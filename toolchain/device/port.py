"""Open what a board is plugged into: a serial port, or a socket where an emulator listens."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from toolchain.errors import PortError

_CONNECT_TIMEOUT_S = 5.0
_WRITE_TIMEOUT_S = 10.0
"""Longer than any board swallows a line; a line that takes longer is a hang."""
_SLICE_S = 0.05
"""A serial port waits this long at a time, so that a dead emulator or Ctrl-C is noticed."""


class PortClosed(Exception):
    """The other side of an open port went away: unplugged, or its process ended."""


class Port(Protocol):
    """An open port: bytes both ways."""

    def read(self, timeout_s: float) -> bytes:
        """Return what came, at least one byte unless the time ran out.

        Raises:
            PortClosed: nothing more will ever come.
        """

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            PortClosed: nobody is there to take it.
        """

    def close(self) -> None:
        """Give the port back; closing twice is harmless."""


class SerialPort:
    """A port that pyserial opened."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def read(self, timeout_s: float) -> bytes:
        """Return what came; see `Port.read`."""
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                # The time-out is set once, at opening: changing it reconfigures the port each time.
                data: bytes = self._device.read(max(1, self._device.in_waiting))
                if data or time.monotonic() >= deadline:
                    return data
        except OSError as cause:  # SerialException is one
            raise PortClosed(_reason(cause)) from cause

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Port.write`."""
        try:
            self._device.write(data)
        except OSError as cause:
            raise PortClosed(_reason(cause)) from cause

    def close(self) -> None:
        """Give the port back."""
        with suppress(OSError):
            self._device.close()


class SocketPort:
    """A TCP connection to an emulator or a serial server.

    Not pyserial's own `socket://`: that one throws away what came before it was ready, which is a
    board's boot text, takes 0.3 s to close, and leaks the socket when the other side went first.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection

    def read(self, timeout_s: float) -> bytes:
        """Return what came; see `Port.read`."""
        try:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
            if not ready:
                return b""
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return b""
        except OSError as cause:
            raise PortClosed(_reason(cause)) from cause
        if not data:
            raise PortClosed("the other side closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Port.write`."""
        deadline = time.monotonic() + _WRITE_TIMEOUT_S
        rest = memoryview(data)
        try:
            while rest:
                wait_s = deadline - time.monotonic()
                if wait_s <= 0 or not select.select([], [self._socket], [], wait_s)[1]:
                    raise PortClosed(f"took no data for {_WRITE_TIMEOUT_S:.0f} s")
                rest = rest[self._socket.send(rest) :]
        except OSError as cause:
            raise PortClosed(_reason(cause)) from cause

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def plugged_in() -> list[str]:
    """List the serial ports of this machine, as the operating system describes them."""
    return [
        item.device
        if item.description in ("n/a", item.device)
        else f"{item.device} ({item.description})"
        for item in sorted(list_ports.comports(), key=lambda item: str(item.device))
    ]


def open_port(
    name: str,
    baud: int,
    *,
    open_serial: Callable[..., Any] = serial.serial_for_url,
    list_serial: Callable[[], list[str]] = plugged_in,
) -> Port:
    """Open `/dev/ttyACM0`, `COM3`, `socket://host:port` or any other URL that pyserial knows.

    DTR and RTS are left to the driver: on many boards they are wired to reset, so opening may
    restart the board; the session waits for that.

    Raises:
        PortError: absent, busy or forbidden; the message says what mends it.
    """
    if name.startswith("socket://"):
        return SocketPort(_connect(name))
    try:
        return SerialPort(
            open_serial(
                name,
                baudrate=baud,
                timeout=_SLICE_S,
                write_timeout=_WRITE_TIMEOUT_S,
                exclusive=True,
            )
        )
    except (OSError, ValueError) as cause:  # SerialException is an OSError
        raise PortError(f"{name}: {why_not_opened(name, baud, cause, list_serial)}") from cause


def _connect(name: str) -> socket.socket:
    """Connect to `socket://host:port`."""
    try:
        address = urlsplit(name)
        host, number = address.hostname, address.port
    except ValueError:
        host = number = None
    if not host or not number:
        raise PortError(f"{name}: not an address. Write it as socket://host:port.")
    try:
        connection = socket.create_connection((host, number), timeout=_CONNECT_TIMEOUT_S)
    except TimeoutError as cause:
        raise PortError(
            f"{name}: no connection within {_CONNECT_TIMEOUT_S:.0f} s. "
            "Check the address and the network."
        ) from cause
    except OSError as cause:
        raise PortError(
            f"{name}: {_reason(cause)}. Check that the emulator or serial server is running."
        ) from cause
    # A line leaves at once, instead of waiting up to 40 ms for more.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def why_not_opened(
    name: str, baud: int, cause: Exception, list_serial: Callable[[], list[str]]
) -> str:
    """Put into words why a serial port could not be opened, and what mends it."""
    number = getattr(cause, "errno", None)
    words = str(cause)
    # Windows has no errno here: pyserial passes on the text of the system's own error.
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFoundError" in words:
        there = list_serial()
        listed = f"Plugged in: {', '.join(there)}." if there else "No serial port is plugged in."
        return f"no such port. {listed} Check cable and --port."
    if number in (errno.EBUSY, errno.EWOULDBLOCK):
        hint = f" (fuser -v {name} shows which)" if sys.platform != "win32" else ""
        return f"busy: another program holds it{hint}. Close that program, then try again."
    if sys.platform == "win32" and "PermissionError" in words:
        return "busy: another program holds it. Close that program, then try again."
    if number in (errno.EACCES, errno.EPERM):
        group = _group_of(name)
        return (
            f"permission denied; it belongs to the group {group}. "
            f"Run: sudo usermod -aG {group} $USER, then log out and in again."
        )
    if isinstance(cause, ValueError):
        return f"cannot be opened at {baud:,} baud: {words}. Check --port and the board's baud."
    return f"cannot be opened: {_reason(cause)}. Check that it is a serial port."


def _group_of(name: str) -> str:
    """Return the group a device file belongs to; on most systems that is dialout."""
    with suppress(ImportError, OSError, KeyError):
        return Path(name).group()
    return "dialout"


def _reason(cause: Exception) -> str:
    """Put an operating system's error into words without its number."""
    number = getattr(cause, "errno", None)
    return (os.strerror(number).lower() if number else str(cause)) or type(cause).__name__
