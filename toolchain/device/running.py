"""Get a board running and talk to it: one that is plugged in, or its emulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain.board import Board
from toolchain.device.emulation import emulate
from toolchain.device.link import open_link
from toolchain.device.session import Session
from toolchain.errors import BoardError
from toolchain.progress import Progress, silent


@contextmanager
def open_device(
    board: Board,
    elf: Path | None = None,
    *,
    port: str | None = None,
    model_crc: int | None = None,
    runtime: str | None = None,
    progress: Progress = silent,
) -> Iterator[Session]:
    """Yield a session with a board that has introduced itself and is the one that is meant.

    Args:
        board: its profile.
        elf: the image to flash into the emulator; a board at a port has been flashed before.
        port: where the board is plugged in; None: emulate it.
        model_crc: refuse a board that holds another model.
        runtime: refuse a board that runs its model with another one.
        progress: told what goes on.

    Raises:
        BoardError: neither a port nor an emulator.
        ToolMissing: the emulator is not installed.
        FlashError: the image did not arrive intact.
        DeviceError: the device or the link failed.
    """
    if port is not None:
        progress(0.0, f"opening {port}")
        with Session(open_link(port, board.uart.baud)) as session:
            session.hello()
            session.expect(board=board.name, model_crc=model_crc, runtime=runtime)
            progress(1.0, f"{board.name} answers at {port}")
            yield session
        return
    if board.emulator is None:
        raise BoardError(
            f"{board.name}: has no emulator. Plug it in and name its port with --port."
        )
    if elf is None:
        raise ValueError("an emulated board starts empty: it needs an image")
    progress(0.0, f"starting {board.name} in {board.emulator.kind}")
    with emulate(board, progress=progress) as emulated:
        progress(0.2, f"flashing {elf.name}")
        emulated.flash(elf)
        # Opened before the board starts, so that its first words are not lost.
        with Session(open_link(emulated.port, board.uart.baud), alive=emulated.alive) as session:
            progress(0.8, "starting the board")
            emulated.start()
            session.hello()
            session.expect(board=board.name, model_crc=model_crc, runtime=runtime)
            progress(1.0, f"{board.name} answers")
            yield session
