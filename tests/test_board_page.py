from __future__ import annotations

import pytest

from toolchain.board import boards_dir, find_board, read_boards
from toolchain.board_page import describe_board


def test_draws_the_memory_from_the_top_down_and_the_wires():
    page = describe_board(find_board("stm32vldiscovery", boards_dir()))

    assert (
        """
  0x20002000 ┌──────────────────────────┐
             │ sram         8,192 bytes │ data and stack
  0x20000000 └──────────────────────────┘
  0x08020000 ┌──────────────────────────┐
             │ flash      131,072 bytes │ the image
  0x08000000 └──────────────────────────┘
"""
        in page
    )
    assert "     TX  PA9   ────────▶  RX\n" in page
    assert "     RX  PA10  ◀────────  TX   of the adapter\n" in page


@pytest.mark.parametrize("board", read_boards(boards_dir()), ids=lambda board: board.name)
def test_every_board_has_a_page_of_readable_width(board):
    lines = describe_board(board).splitlines()

    assert max(map(len, lines)) <= 120
    assert any(f"tier {board.tier}" in line for line in lines)
