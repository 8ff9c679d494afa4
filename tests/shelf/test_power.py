"""Power cuts of emulated boards: the emulator ends in a write, its memory goes on in another."""

from __future__ import annotations

import random
import struct
import time
import zlib

import pytest

from toolchain.board import Board
from toolchain.device.emulation import emulate
from toolchain.device.link import open_link
from toolchain.device.protocol import encode_request
from toolchain.device.session import Session
from toolchain.firmware.elf import Segment
from toolchain.shelf.calendar import date_of, day_of
from toolchain.shelf.shelf import new_shelf, set_up, take_day

WORDS = ("cut", "24.5", "8", "2", "1.5", "12")
DAYS = [(date_of(day_of("2024-02-26") + i), str(20 + i), str(200 - 25 * i)) for i in range(5)]
CUTS = 500
WRITE = 2_600
"""Instructions: a little more than a write takes, so that some cuts come after it."""


def _live_and_die(built, days: list[tuple[str, str, str]], draw: random.Random) -> bytes:
    """Live until the power is cut about when the last day is written; what the storage has then."""
    kind = built.board.storage.kind
    return {"flash": _die_of_flash, "eeprom": _die_of_eeprom}[kind](built, days, draw)


def _die_of_flash(built, days: list[tuple[str, str, str]], draw: random.Random) -> bytes:
    """Cut after some instructions of the write, counted by the emulator's debugger."""
    board: Board = built.board
    storage = board.storage
    entry = next(s.address for s in built.image.symbols if s.name == "port_storage_write") & ~1
    with emulate(board) as emulator:
        emulator.flash(built.image.path)
        stub = emulator.stub
        link = open_link(emulator.port, board.uart.baud)
        with Session(link, alive=emulator.alive) as session:
            stub._send("c")
            session.hello()
            session.set_up(*WORDS)
            for words in days[:-1]:
                session.day(*words)
            stub._socket.sendall(b"\x03")
            assert stub._receive().startswith("T")
            assert stub._ask(f"Z1,{entry:x},2") == "OK"
            stub._send("c")
            link.write(encode_request(60_000, "day", *days[-1]))
            assert stub._receive().startswith("T05")
            assert stub._ask(f"z1,{entry:x},2") == "OK"
            for _ in range(draw.randint(1, WRITE)):
                stub.step()
            return stub.read(storage.origin, storage.bytes)


def _die_of_eeprom(built, days: list[tuple[str, str, str]], draw: random.Random) -> bytes:
    """Cut at a moment of the last day drawn from as long as the day before took."""
    with emulate(built.board) as emulator:
        emulator.flash(built.image.path)
        link = open_link(emulator.port, built.board.uart.baud)
        with Session(link, alive=emulator.alive) as session:
            emulator.start()
            session.hello()
            session.set_up(*WORDS)
            for words in days[:-1]:
                started = time.monotonic()
                session.day(*words)
                took = time.monotonic() - started
            link.write(encode_request(60_000, "day", *days[-1]))
            time.sleep(draw.uniform(0.3, 1.1) * took)
            return emulator.cut_power()


def _torn(board: Board, stored: bytes) -> bool:
    """Say whether a slot holds a state that is not whole."""
    half = board.storage.bytes // 2
    for slot in (stored[:half], stored[half : 2 * half]):
        _, size = struct.unpack_from("<HH", slot)
        if 4 < size <= half and zlib.crc32(slot[: size - 4]) != struct.unpack_from(
            "<I", slot, size - 4
        ):
            return True
    return False


def _put_back(emulator, board: Board, stored: bytes) -> None:
    if board.storage.kind == "flash":
        emulator.stub.write(Segment(board.storage.origin, stored))
    else:
        emulator.write_eeprom(stored)


def _revive(built, stored: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Boot with a storage: what is reported, and after all days that are missing."""
    with emulate(built.board) as emulator:
        emulator.flash(built.image.path)
        _put_back(emulator, built.board, stored)
        link = open_link(emulator.port, built.board.uart.baud)
        with Session(link, alive=emulator.alive) as session:
            emulator.start()
            session.hello()
            found = dict(session.report())
            for words in DAYS:
                if words[0] > found["date"]:
                    session.day(*words)
            return found, dict(session.report())


def _cut(built, draw: random.Random, cuts: int) -> tuple[int, int, int]:
    """Cut the power; how often the old state was left, the new one, and a slot half written."""
    shelf = set_up(new_shelf(built.model), WORDS)
    known = []
    for words in DAYS:
        shelf, told = take_day(shelf, *words)
        known.append({**told.values(), "saved": "1"})
    old = new = torn = 0
    for _ in range(cuts):
        count = draw.randint(2, len(DAYS))
        stored = _live_and_die(built, DAYS[:count], draw)
        found, after = _revive(built, stored)
        assert found in (known[count - 2], known[count - 1])
        old += found == known[count - 2]
        new += found == known[count - 1]
        torn += _torn(built.board, stored)
        final = {key: after[key] for key in ("date", "stock", "forecast", "need", "known", "lost")}
        assert final == {key: known[-1][key] for key in final}
    return old, new, torn


@pytest.mark.full
@pytest.mark.parametrize("name", ["microbit", "arduino-uno"])
def test_a_board_whose_power_is_cut_in_a_write_has_the_old_state_or_the_new(name, build_shelf):
    old, new, torn = _cut(build_shelf(name), random.Random(8), CUTS)

    assert min(old, new, torn) > 0, (old, new, torn)


@pytest.mark.parametrize("name", ["microbit", "arduino-uno"])
def test_a_board_remembers(name, build_shelf):
    _cut(build_shelf(name), random.Random(1), 1)
