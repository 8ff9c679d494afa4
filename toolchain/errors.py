"""Every error a user can cause, and the exit code it ends in.

::

    ShelfcastError
    ├── VerdictError (1)    the tool worked; the answer is no
    │   └── DoesNotFit          image or model larger than the board
    ├── InputError (2)      what was asked, or given, is wrong
    │   ├── DataError           sales files
    │   ├── ProjectError        shelfcast.toml
    │   ├── BoardError          board profiles and names
    │   ├── ModelError          .tflite and Keras models
    │   └── RunError            a stage was asked for before the one it needs
    ├── ToolError (3)       the tool chain failed
    │   ├── ToolMissing         not installed
    │   ├── CompileError        the C compiler refused
    │   ├── ConversionError     the TensorFlow converter failed
    │   └── FlashError          the image did not reach the board
    └── DeviceError (4)     the device or the link failed
        ├── PortError           absent, busy or forbidden
        ├── NoAnswer            silence
        ├── LinkCorrupt         answers arrive, but damaged
        ├── WrongFirmware       something else answers, or another version of ours
        ├── WrongModel          our firmware, another model
        ├── DeviceReset         it restarted in the middle
        ├── DeviceRefused       it answered `err`
        └── EmulatorDied        the emulator process ended

A message is one line: the subject, what is wrong with the numbers in it, the limit, and what to
do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ShelfcastError(Exception):
    """Base of every error that ends in one clear line and an exit code."""

    exit_code = 2


class VerdictError(ShelfcastError):
    """The tool worked and the answer is no."""

    exit_code = 1


class DoesNotFit(VerdictError):
    """The model or the image is larger than the board."""


class InputError(ShelfcastError):
    """What was asked, or given, is wrong."""

    exit_code = 2


class DataError(InputError):
    """A sales file cannot be used."""


class ProjectError(InputError):
    """A project file cannot be used."""


class BoardError(InputError):
    """A board profile, or the name of one, cannot be used."""


class ModelError(InputError):
    """A model cannot be deployed."""


class RunError(InputError):
    """A stage was asked for before the stage it needs."""


class ToolError(ShelfcastError):
    """The tool chain failed."""

    exit_code = 3


class ToolMissing(ToolError):
    """A program that is needed is not installed."""


class CompileError(ToolError):
    """The C compiler or the linker refused."""


class ConversionError(ToolError):
    """The TensorFlow converter failed, or produced what cannot be deployed."""


class FlashError(ToolError):
    """The image did not reach the board, or not intact."""


class DeviceError(ShelfcastError):
    """The device or the link to it failed."""

    exit_code = 4


class PortError(DeviceError):
    """The serial port is absent, busy or forbidden."""


class NoAnswer(DeviceError):
    """Nothing came back in time."""


class LinkCorrupt(DeviceError):
    """Answers arrive, but damaged, again and again."""


class WrongFirmware(DeviceError):
    """Something else than this version's firmware answers."""


class WrongModel(DeviceError):
    """The firmware is ours, the model in it is another."""


class DeviceReset(DeviceError):
    """The device restarted in the middle of the work."""


class DeviceRefused(DeviceError):
    """The device answered with an error."""

    def __init__(self, message: str, code: str = "") -> None:
        """Say what was refused; `code` is one of `protocol.ERROR_CODES`, if the device gave one."""
        super().__init__(message)
        self.code = code


class EmulatorDied(DeviceError):
    """The emulator's process ended."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are meant, nearest first.

    >>> nearest("netduino", ["microbit", "netduinoplus2"])
    'did you mean netduinoplus2? Known: netduinoplus2, microbit.'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    ordered = close + [other for other in names if other not in close]
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}Known: {', '.join(ordered)}."
