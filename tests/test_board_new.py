from __future__ import annotations

import tomllib

import pytest

from toolchain.board import boards_dir, find_board, read_boards
from toolchain.board_new import new_board
from toolchain.errors import BoardError


@pytest.fixture
def like():
    return find_board("netduinoplus2", boards_dir())


def test_a_profile_of_a_similar_board_with_what_was_given(tmp_path, like):
    path = new_board(
        "shelf-407", like, tmp_path, title="Shelf", mcu="STM32F407VG", flash_bytes=524_288,
        ram_bytes=65_536, clock_hz=84_000_000,
    )  # fmt: skip

    assert path == tmp_path / "stm32f4" / "shelf-407.toml"
    board = find_board("shelf-407", tmp_path)
    assert (board.title, board.mcu, board.vendor) == ("Shelf", "STM32F407VG", like.vendor)
    assert (board.flash.bytes, board.ram.bytes, board.clock_hz) == (524_288, 65_536, 84_000_000)
    assert (board.tier, board.emulator, board.flasher) == (2, None, None)
    assert board.memory[2] == like.memory[2], "what was not given stays"
    assert board.notes == ("Written from netduinoplus2: check clock, pins and memory. Never run.",)
    assert "shelf-407" in [other.name for other in read_boards(tmp_path)]


@pytest.mark.parametrize("family_member", [board.name for board in read_boards(boards_dir())])
def test_every_board_can_be_the_pattern(tmp_path, family_member):
    like = find_board(family_member, boards_dir())

    path = new_board("newcomer", like, tmp_path)

    mine, theirs = tomllib.loads(path.read_text()), vars(like)
    assert mine["core"] == theirs["core"]
    assert find_board("newcomer", tmp_path).memory == like.memory


def test_a_board_that_is_there_is_left_alone(tmp_path, like):
    path = new_board("twice", like, tmp_path)
    path.write_text("mine")

    with pytest.raises(BoardError, match=r"twice\.toml: is there already; it was left as it is\."):
        new_board("twice", like, tmp_path)

    assert path.read_text() == "mine"


def test_an_impossible_board_is_not_written(tmp_path, like):
    with pytest.raises(BoardError, match=r"stack_bytes = 2,048 does not fit 1,024 bytes of RAM"):
        new_board("tiny", like, tmp_path, ram_bytes=1024)

    assert list(tmp_path.rglob("*.toml")) == []
