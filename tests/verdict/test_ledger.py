from __future__ import annotations

import pytest

from toolchain.errors import RunError
from toolchain.verdict.ledger import Entry, read, record


def test_what_is_recorded_is_read_back_with_its_errors(tmp_path):
    path = tmp_path / "run" / "ledger.jsonl"
    record(path, "build", "uno", {"flash": 110, "ram": 50, "other": 3}, {"flash": 100, "ram": 50})
    record(path, "validate", "uno", {"instructions": 990}, {"instructions": 1_000})

    entries = read(path)

    assert entries == [
        Entry("build", "uno", "flash", 110, 100),
        Entry("build", "uno", "ram", 50, 50),
        Entry("validate", "uno", "instructions", 990, 1_000),
    ]
    assert [entry.error for entry in entries] == [10, 0, -10]
    assert entries[0].error_percent == pytest.approx(10.0)


def test_the_same_line_is_not_repeated(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for _ in range(3):
        record(path, "build", "uno", {"flash": 110}, {"flash": 100})

    assert len(path.read_text().splitlines()) == 1


def test_a_ledger_that_is_absent_or_damaged_says_so(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(RunError, match="nothing was built or validated yet"):
        read(path)
    path.write_text('{"event": "build"}\n')
    with pytest.raises(RunError, match="line 1: not a line of a ledger"):
        read(path)
