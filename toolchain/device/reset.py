"""Restart a board over its serial port: each way is a few changes of two lines.

The lines are inverted on the wire: True pulls low.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

import serial

from toolchain.device.port import plugged_in, why_not_opened
from toolchain.errors import PortError
from toolchain.flashing import Reset

Sleep = Callable[[float], None]

_TOUCH_BAUD = 1200
"""Arduino's convention: nobody else uses it, so opening a port with it is a signal."""


def reset_board(
    port: str,
    method: Reset,
    baud: int,
    *,
    open_serial: Callable[..., Any] = serial.serial_for_url,
    sleep: Sleep = time.sleep,
) -> None:
    """Restart the board at `port`; `none` and `probe` do nothing here.

    Raises:
        PortError: the port cannot be opened, or has no such lines.
    """
    steps = _STEPS.get(method)
    if steps is None:
        return
    if "://" in port:
        raise _no_lines(port, method)
    speed = _TOUCH_BAUD if method == "touch-1200" else baud
    try:
        device = open_serial(port, baudrate=speed, timeout=1.0, exclusive=True)
    except (OSError, ValueError) as cause:  # SerialException is an OSError
        raise PortError(f"{port}: {why_not_opened(port, speed, cause, plugged_in)}") from cause
    try:
        steps(device, sleep)
    except OSError as cause:
        # The board may be gone before the last line has changed: that was the purpose.
        if cause.errno in (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP):
            raise _no_lines(port, method) from cause
        if method != "touch-1200":
            raise PortError(
                f"{port}: went away while the board was reset: {cause}. Check the cable."
            ) from cause
    finally:
        _close(device)


def _pulse_dtr(device: Any, sleep: Sleep) -> None:
    """Let go of DTR, then pull it: the edge passes a capacitor into reset."""
    device.dtr = False
    device.rts = False
    sleep(0.25)
    device.dtr = True
    device.rts = True
    sleep(0.05)


def _pulse_rts_with_dtr_off(device: Any, sleep: Sleep) -> None:
    """Pull reset by RTS while DTR leaves the boot pin alone: the program starts."""
    device.dtr = False
    device.rts = True
    sleep(0.1)
    device.rts = False
    sleep(0.05)


def _touch(device: Any, sleep: Sleep) -> None:
    """Let go of DTR at 1200 baud, which starts the boot loader."""
    device.dtr = False
    sleep(0.1)


_STEPS: dict[Reset, Callable[[Any, Sleep], None]] = {
    "dtr": _pulse_dtr,
    "rts-dtr": _pulse_rts_with_dtr_off,
    "touch-1200": _touch,
}


def _no_lines(port: str, method: Reset) -> PortError:
    return PortError(
        f"{port}: has no DTR and RTS lines, and the profile resets the board by them "
        f'(reset = "{method}"). Press reset on the board and say reset = "none" in its profile, or '
        "use another adapter."
    )


def _close(device: Any) -> None:
    try:
        device.close()
    except OSError:  # the board took the port with it
        return
