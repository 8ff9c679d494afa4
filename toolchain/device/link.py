"""Lines over a port."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

from toolchain.device.port import Port, open_port

_LONGEST_LINE = 16_384
"""Longer than any answer: what has no newline by then is noise."""


class Link:
    """An open port, read line by line."""

    def __init__(self, port: Port, name: str, baud: int) -> None:
        self.name = name
        self.baud = baud
        self.received = 0
        """Bytes that ever came."""
        self._port = port
        self._rest = b""
        self._lines: deque[bytes] = deque()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def unfinished(self) -> bytes:
        """What came after the last newline."""
        return self._rest

    def read_line(self, timeout_s: float) -> bytes | None:
        """Return the next line without its end, or None when none was complete in time.

        Raises:
            PortClosed: the other side went away, and every line it sent was returned.
        """
        deadline = time.monotonic() + timeout_s
        while not self._lines:
            data = self._port.read(max(0.0, deadline - time.monotonic()))
            self.received += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines.extend(line.rstrip(b"\r") for line in lines)
            if len(self._rest) > _LONGEST_LINE:
                self._lines.append(self._rest)
                self._rest = b""
            if time.monotonic() >= deadline:
                break
        return self._lines.popleft() if self._lines else None

    def write(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            PortClosed: nobody is there to take them.
        """
        self._port.write(data)

    def close(self) -> None:
        """Give the port back."""
        self._port.close()


def open_link(port: str, baud: int) -> Link:
    """Open a port by name; see `open_port`.

    Raises:
        PortError: absent, busy or forbidden.
    """
    return Link(open_port(port, baud), port, baud)
