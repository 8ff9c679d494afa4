from __future__ import annotations

from toolchain.table import aligned

ROWS = [("name", "bytes", "zero"), ("lstm", "1,234", "-128"), ("dense", "56", "3")]


def test_what_starts_with_a_digit_goes_to_the_right() -> None:
    assert aligned(ROWS) == (
        "name   bytes  zero\n"
        "lstm   1,234  -128\n"
        "dense     56     3"
    )  # fmt: skip


def test_columns_of_words_go_to_the_left_and_the_others_to_the_right() -> None:
    assert aligned([("zero", "name"), ("-1", "lstm"), ("3", "dense")], words={1}) == (
        "zero  name\n"
        "  -1  lstm\n"
        "   3  dense"
    )  # fmt: skip


def test_no_line_ends_in_spaces() -> None:
    assert aligned([("board", "emulator"), ("uno", "")]) == "board  emulator\nuno"
