"""Write the profile of a new board of a known family, from a similar one."""

from __future__ import annotations

import re
from pathlib import Path

from toolchain.board import Board, boards_dir, read_board, read_cores
from toolchain.errors import BoardError
from toolchain.files import write_atomically


def new_board(
    name: str,
    like: Board,
    out: Path,
    *,
    title: str | None = None,
    vendor: str | None = None,
    mcu: str | None = None,
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
    clock_hz: int | None = None,
) -> Path:
    """Write `out/<family>/<name>.toml`: what `like` has, with what is given changed.

    The new board is of tier 2 and has no emulator: a tier is earned by a test.

    Raises:
        BoardError: the name is taken or impossible, or the result is no valid profile.
    """
    path = out / like.family / f"{name}.toml"
    if path.exists():
        raise BoardError(f"{path}: is there already; it was left as it is.")
    text = _source_of(like, out).read_text(encoding="utf-8")
    text = _without_tables(text, ("emulator", "flasher", "usb"))
    for key, value in (
        ("name", name),
        ("title", title),
        ("vendor", vendor),
        ("mcu", mcu),
        ("clock_hz", clock_hz),
        ("tier", 2),
    ):
        if value is not None:
            text = _with_key(text, key, value)
    for kind, size in (("flash", flash_bytes), ("ram", ram_bytes)):
        if size is not None:
            text = _with_region_size(text, kind, size)
    notes = f'notes = ["Written from {like.name}: check clock, pins and memory. Never run."]'
    text = re.sub(r"^notes = (\[.*?^\]|\[[^\n]*\])$", lambda _: notes, text, flags=re.S | re.M)
    write_atomically(path, text)
    try:
        read_board(path, read_cores(out))
    except BoardError:
        path.unlink()
        raise
    return path


def _source_of(board: Board, folder: Path) -> Path:
    own = folder / board.family / f"{board.name}.toml"
    return own if own.exists() else boards_dir() / board.family / f"{board.name}.toml"


def _with_key(text: str, key: str, value: str | int) -> str:
    """Change a key before the first table."""
    written = f'"{value}"' if isinstance(value, str) else f"{value:_}"
    return re.sub(rf"^{key} = .*$", lambda _: f"{key} = {written}", text, count=1, flags=re.M)


def _with_region_size(text: str, kind: str, size: int) -> str:
    """Change the size of the region of a kind."""
    line = r"(?:(?!\[).*\n)*?"  # lines of the same table
    region = rf'\[\[memory\]\]\n{line}kind = "{kind}"\n{line}bytes = '
    return re.sub(rf"({region})[\d_xa-fA-F]+", lambda found: f"{found[1]}{size:_}", text, count=1)


def _without_tables(text: str, names: tuple[str, ...]) -> str:
    """Leave out whole tables."""
    kept = [
        part
        for part in re.split(r"(?m)^(?=\[)", text)
        if not re.match(rf"\[+({'|'.join(names)})\]", part)
    ]
    return "".join(kept)
