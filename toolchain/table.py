"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], *, words: Collection[int] | None = None) -> str:
    """Align the columns of a table.

    Args:
        rows: its cells; at least one row.
        words: the columns that go to the left, the others to the right; None: every cell by what
            it is, one that starts with a digit to the right.

    >>> print(aligned([("board", "RAM"), ("nano", "2,048"), ("pico", "270,336")]))
    board  RAM
    nano     2,048
    pico   270,336
    >>> print(aligned([("board", "RAM"), ("nano", "2,048")], words={0}))
    board    RAM
    nano   2,048
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def pad(place: int, cell: str) -> str:
        left = not cell[:1].isdigit() if words is None else place in words
        return cell.ljust(widths[place]) if left else cell.rjust(widths[place])

    return "\n".join("  ".join(map(pad, range(len(row)), row)).rstrip() for row in rows)
