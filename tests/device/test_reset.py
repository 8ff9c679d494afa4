from __future__ import annotations

import errno
import os
import pty
from collections.abc import Iterator
from typing import Any

import pytest
from serial import SerialException

from toolchain.device.reset import reset_board
from toolchain.errors import PortError
from toolchain.flashing import Reset


class Lines:
    """A serial port of which only the lines matter; keeps what was done to them, and when."""

    def __init__(self, *, failing: OSError | None = None) -> None:
        self.opened: dict[str, Any] = {}
        self.failing = failing
        self.done: list[tuple[float, str, bool]] = []
        self.now = 0.0
        self.closed = False

    def open(self, port: str, **settings: Any) -> Lines:
        self.opened = {"port": port, **settings}
        return self

    def sleep(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    def _set(self, line: str, value: bool) -> None:
        if self.failing is not None:
            raise self.failing
        self.done.append((self.now, line, value))

    dtr = property(None, lambda self, value: self._set("dtr", value))
    rts = property(None, lambda self, value: self._set("rts", value))

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("method", "baud", "lines"),
    [
        (
            "dtr",
            115_200,
            [(0, "dtr", False), (0, "rts", False), (0.25, "dtr", True), (0.25, "rts", True)],
        ),
        ("rts-dtr", 115_200, [(0, "dtr", False), (0, "rts", True), (0.1, "rts", False)]),
        ("touch-1200", 1200, [(0, "dtr", False)]),
    ],
)
def test_a_reset_is_these_changes_of_the_lines(
    method: Reset, baud: int, lines: list[tuple[float, str, bool]]
) -> None:
    port = Lines()
    reset_board("/dev/ttyX", method, 115_200, open_serial=port.open, sleep=port.sleep)

    assert (port.opened["port"], port.opened["baudrate"]) == ("/dev/ttyX", baud)
    assert port.done == lines
    assert port.closed


@pytest.mark.parametrize("method", ["none", "probe"])
def test_some_resets_are_not_done_over_the_port(method: Reset) -> None:
    port = Lines()
    reset_board("/dev/ttyX", method, 115_200, open_serial=port.open)

    assert port.opened == {}


@pytest.fixture
def terminal() -> Iterator[str]:
    """A pseudo terminal: it looks like a serial port but has no lines."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize("method", ["dtr", "rts-dtr", "touch-1200"])
def test_a_port_without_lines_says_so(terminal: str, method: Reset) -> None:
    with pytest.raises(PortError) as caught:
        reset_board(terminal, method, 115_200)

    assert str(caught.value) == (
        f"{terminal}: has no DTR and RTS lines, and the profile resets the board by them (reset = "
        f'"{method}"). Press reset on the board and say reset = "none" in its profile, or use '
        "another adapter."
    )
    assert caught.value.exit_code == 4


def test_a_socket_has_no_lines_either() -> None:
    with pytest.raises(PortError, match=r"^socket://localhost:1: has no DTR and RTS lines"):
        reset_board("socket://localhost:1", "dtr", 115_200)


def test_a_board_may_be_gone_before_the_touch_is_over() -> None:
    port = Lines(failing=OSError(errno.EIO, "Input/output error"))
    reset_board("/dev/ttyX", "touch-1200", 115_200, open_serial=port.open, sleep=port.sleep)

    assert port.closed


def test_a_board_that_goes_away_during_another_reset_is_an_error() -> None:
    port = Lines(failing=OSError(errno.EIO, "Input/output error"))
    with pytest.raises(PortError) as caught:
        reset_board("/dev/ttyX", "dtr", 115_200, open_serial=port.open, sleep=port.sleep)

    assert str(caught.value) == (
        "/dev/ttyX: went away while the board was reset: [Errno 5] Input/output error. Check the "
        "cable."
    )
    assert port.closed


def test_a_forbidden_port_says_which_command_mends_it() -> None:
    def refuse(*arguments: object, **settings: object) -> object:
        raise SerialException(errno.EACCES, "Permission denied")

    with pytest.raises(PortError) as caught:
        reset_board("/dev/ttyX", "dtr", 115_200, open_serial=refuse)

    assert str(caught.value) == (
        "/dev/ttyX: permission denied; it belongs to the group dialout. Run: sudo usermod -aG "
        "dialout $USER, then log out and in again."
    )
