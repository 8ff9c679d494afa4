"""The drive that a UF2 boot loader shows: find it, copy an image onto it, see that it was taken."""

from __future__ import annotations

import os
import string
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from toolchain.errors import FlashError

_INFO = "INFO_UF2.TXT"
"""On every such drive; its Board-ID line names the board."""
_TAKEN_S = 15.0
"""After the last block the board restarts, and its drive goes away."""
_POLL_S = 0.1

Roots = Callable[[], Iterable[Path]]


def mount_points(mounts: Path = Path("/proc/self/mounts")) -> list[Path]:
    """List the folders at which drives may be."""
    if sys.platform == "win32":
        return [Path(f"{letter}:\\") for letter in string.ascii_uppercase]
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").iterdir())
    fields = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    # A space in a name is written as \040.
    return [Path(field[1].replace("\\040", " ")) for field in fields if len(field) > 1]


def find_drive(label: str, roots: Roots = mount_points, *, patience_s: float = 0.0) -> Path:
    """Return the UF2 drive whose name, or whose Board-ID, is `label`.

    Raises:
        FlashError: there is none, even after `patience_s`, or more than one.
    """
    deadline = time.monotonic() + patience_s
    while True:
        drives = {root: _board_id(root) for root in roots() if _is_uf2(root)}
        found = [root for root, board in drives.items() if label in (root.name, board)]
        if found or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(root) for root in found)
        raise FlashError(f"more than one drive {label} is there: {names}. Unplug all but one.")
    others = ", ".join(f"{root} ({board or 'no Board-ID'})" for root, board in drives.items())
    raise FlashError(
        f"no drive {label} is there{f', but {others}' if others else ''}. Hold the boot button "
        "while plugging the board in or press reset twice, quickly; if the system does not mount "
        "drives by itself, mount it."
    )


def copy_image(image: bytes, name: str, drive: Path, *, taken_s: float = _TAKEN_S) -> None:
    """Copy a UF2 image onto a drive and wait until the board has restarted.

    Raises:
        FlashError: it cannot be written, or the boot loader ignored it.
    """
    try:
        with (drive / name).open("wb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())
    except OSError as cause:
        # The board may restart before the system has finished with its drive.
        if not _gone(drive, 1.0):
            reason = (cause.strerror or str(cause)).lower()
            raise FlashError(
                f"cannot write {drive / name}: {reason}. Plug the board in again, holding its "
                "boot button."
            ) from cause
        return
    if not _gone(drive, taken_s):
        raise FlashError(
            f"{drive} took the image, but the board did not restart within {taken_s:g} s: its boot "
            "loader ignored the image. Check family of [flasher] in the profile."
        )


def _gone(drive: Path, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while _is_uf2(drive):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _is_uf2(root: Path) -> bool:
    try:
        return (root / _INFO).is_file()
    except OSError:
        return False


def _board_id(root: Path) -> str:
    """Return the Board-ID of a drive; empty when it has none."""
    try:
        lines = (root / _INFO).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line[9:].strip() for line in lines if line.startswith("Board-ID:")), "")
