from __future__ import annotations

from pathlib import Path

from toolchain.board import boards_dir, read_boards

ROOT = Path(__file__).parents[1]


def test_the_readme_lists_the_boards_as_they_are():
    rows = [
        f"| {board.name} | {board.mcu} | {board.core} | {board.flash.bytes:,} | "
        f"{board.ram.bytes:,} | {board.tier} |"
        for board in read_boards(boards_dir())
    ]

    lines = (ROOT / "README.md").read_text().splitlines()

    start = lines.index("| board | mcu | core | flash | RAM | tier |") + 2
    assert lines[start : start + len(rows) + 1] == [*rows, ""]
