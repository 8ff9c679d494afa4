"""Power cuts of an emulated board: the emulator ends in a write, its flash goes on in another."""

from __future__ import annotations

import random

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
CUTS = 24
WRITE = 2_600
"""Instructions: a little more than a write takes, so that some cuts come after it."""


def _live_and_die(built, days: list[tuple[str, str, str]], steps: int) -> bytes:
    """Live until `steps` instructions after the write of the last day began; the storage then."""
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
            for _ in range(steps):
                stub.step()
            return stub.read(storage.origin, storage.bytes)


def _revive(built, flash: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Boot with a storage: what is reported, and after all days that are missing."""
    with emulate(built.board) as emulator:
        emulator.flash(built.image.path)
        emulator.stub.write(Segment(built.board.storage.origin, flash))
        link = open_link(emulator.port, built.board.uart.baud)
        with Session(link, alive=emulator.alive) as session:
            emulator.start()
            session.hello()
            found = dict(session.report())
            for words in DAYS:
                if words[0] > found["date"]:
                    session.day(*words)
            return found, dict(session.report())


def _cut(built, draw: random.Random, cuts: int) -> tuple[int, int]:
    """Cut the power at random moments; how often the old state was left, and the new one."""
    shelf = set_up(new_shelf(built.model), WORDS)
    known = []
    for words in DAYS:
        shelf, told = take_day(shelf, *words)
        known.append({**told.values(), "saved": "1"})
    old = new = 0
    for _ in range(cuts):
        count = draw.randint(2, len(DAYS))
        found, after = _revive(built, _live_and_die(built, DAYS[:count], draw.randint(1, WRITE)))
        assert found in (known[count - 2], known[count - 1])
        old += found == known[count - 2]
        new += found == known[count - 1]
        final = {key: after[key] for key in ("date", "stock", "forecast", "need", "known", "lost")}
        assert final == {key: known[-1][key] for key in final}
    return old, new


@pytest.mark.full
def test_a_microbit_whose_power_is_cut_in_a_write_has_the_old_state_or_the_new(build_shelf):
    old, new = _cut(build_shelf("microbit"), random.Random(8), CUTS)

    assert min(old, new) > 0, (old, new)


def test_a_microbit_remembers(build_shelf):
    _cut(build_shelf("microbit"), random.Random(1), 1)
