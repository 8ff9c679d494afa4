"""What a board's firmware is made for, unless somebody says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.board import Board

if TYPE_CHECKING:  # every verb asks for the profile, few need what kernels are made of
    from toolchain.firmware.kernel import Profile

_SCARCE_BYTES = 64 * 1024


def usual_profile(board: Board) -> Profile:
    """Choose for the user: where flash is scarce, bytes count, elsewhere time."""
    return "size" if board.flash.bytes < _SCARCE_BYTES else "speed"
