"""The real avrdude against a boot loader that speaks STK500 version 1 on a loopback socket.

The protocol: Microchip's application note AVR061, "STK500 Communication Protocol".
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from toolchain.board import Board
from toolchain.device.flashers.catalog import write_image
from toolchain.errors import FlashError

MakeBoard = Callable[..., Board]

pytestmark = pytest.mark.skipif(
    shutil.which("avrdude") is None, reason="avrdude is not installed (apt install avrdude)"
)

FLASH_BYTES = 32_768
IN_SYNC, OK, END = b"\x14", b"\x10", b"\x20"
GET_SYNC, GET_PARAMETER, SET_DEVICE, SET_DEVICE_EXT = 0x30, 0x41, 0x42, 0x45
ENTER, LEAVE, LOAD_ADDRESS, UNIVERSAL = 0x50, 0x51, 0x55, 0x56
PROGRAM_PAGE, READ_PAGE, READ_SIGNATURE = 0x64, 0x74, 0x75
# Bytes of arguments after the command, the end mark not counted.
ARGUMENTS = {GET_PARAMETER: 1, SET_DEVICE: 20, SET_DEVICE_EXT: 5, LOAD_ADDRESS: 2, UNIVERSAL: 4}


@dataclass
class BootLoader:
    """An ATmega328P with Optiboot, as far as avrdude can tell."""

    signature: bytes = b"\x1e\x95\x0f"
    stuck_bits: int = 0
    """Bits of flash that cannot be cleared."""
    flash: bytearray = field(default_factory=lambda: bytearray(b"\xff" * FLASH_BYTES))
    commands: list[int] = field(default_factory=list)

    def serve(self, stream: socket.SocketIO) -> None:
        address = 0
        while command := stream.read(1):
            code = command[0]
            self.commands.append(code)
            body = self.take(stream, ARGUMENTS.get(code, 0))
            answer = b""
            if code == LOAD_ADDRESS:
                address = 2 * int.from_bytes(body, "little")
            elif code in (PROGRAM_PAGE, READ_PAGE):
                size = int.from_bytes(self.take(stream, 2), "big")
                assert self.take(stream, 1) == b"F", "only flash is spoken of"
                if code == PROGRAM_PAGE:
                    page = self.take(stream, size)
                    self.flash[address : address + size] = bytes(
                        byte | self.stuck_bits for byte in page
                    )
                else:
                    answer = bytes(self.flash[address : address + size])
            elif code == READ_SIGNATURE:
                answer = self.signature
            elif code in (GET_PARAMETER, UNIVERSAL):
                answer = b"\x03"
            assert self.take(stream, 1) == END
            stream.write(IN_SYNC + answer + OK)
            if code == LEAVE:
                return

    @staticmethod
    def take(stream: socket.SocketIO, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = stream.read(size - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data


@contextmanager
def listening(loader: BootLoader) -> Iterator[str]:
    """Serve one connection; yield the board's port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb", buffering=0) as stream, suppress(OSError):
                loader.serve(stream)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield "socket://{}:{}".format(*listener.getsockname())
        thread.join(10)


@pytest.fixture
def uno(make_board: MakeBoard) -> Board:
    return make_board(kind="avrdude", part="m328p", baud=115_200)


def test_what_is_written_is_the_image_byte_for_byte(uno: Board, image: Path) -> None:
    loader = BootLoader()
    told: list[float] = []
    with listening(loader) as port:
        write_image(uno, image, port=port, progress=lambda fraction, words: told.append(fraction))

    content = image.with_suffix(".bin").read_bytes()
    assert bytes(loader.flash[: len(content)]) == content
    assert set(loader.flash[len(content) :]) == {0xFF}
    assert READ_PAGE in loader.commands, "avrdude reads back what it wrote"
    assert loader.commands[-1] == LEAVE
    assert told[-1] == 1.0


def test_another_chip_is_left_as_it_is(uno: Board, image: Path) -> None:
    loader = BootLoader(signature=b"\x1e\x98\x01")
    with listening(loader) as port, pytest.raises(FlashError) as caught:
        write_image(uno, image, port=port)

    assert str(caught.value) == (
        "shelf: avrdude finds another chip than the profile says: its signature is 0x1e9801. Check "
        "that the right board is at the port."
    )
    assert PROGRAM_PAGE not in loader.commands


def test_flash_that_does_not_take_the_image_is_noticed(uno: Board, image: Path) -> None:
    with listening(BootLoader(stuck_bits=0x40)) as port, pytest.raises(FlashError) as caught:
        write_image(uno, image, port=port)

    assert str(caught.value) == (
        "shelf: avrdude wrote the image and reads back something else. Try again; if it stays, the "
        "flash is worn or locked."
    )


def test_a_port_nobody_listens_at_is_named(uno: Board, image: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = "socket://{}:{}".format(*listener.getsockname())

    with pytest.raises(FlashError) as caught:
        write_image(uno, image, port=port)

    assert str(caught.value) == (
        "shelf: avrdude cannot connect to the port: Connection refused. Check the address, and "
        "that the serial server is running."
    )


def test_a_part_it_does_not_know_is_refused(make_board: MakeBoard, image: Path) -> None:
    board = make_board(kind="avrdude", part="m328q")
    with listening(BootLoader()) as port, pytest.raises(FlashError) as caught:
        write_image(board, image, port=port)

    assert str(caught.value) == (
        "shelf: avrdude does not know the part m328q. Check part of [flasher] in the profile; "
        "avrdude -p ? lists them."
    )
