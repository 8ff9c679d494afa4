"""A damaged file ends in a forecast or in one clear line, quickly and within a gigabyte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = Path(__file__).with_name("mutants.py")


def survive(first: int, last: int) -> dict[str, float]:
    """Let a process of its own load the mutants of these numbers."""
    result = subprocess.run(
        [sys.executable, MUTANTS, str(first), str(last)],
        capture_output=True,
        text=True,
        check=False,
        # Each thread of BLAS would reserve memory of its own.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    counts = json.loads(result.stdout)
    assert counts["forecast"] + counts["refused"] == last - first
    return counts


def test_hundreds_of_damaged_files_end_in_a_forecast_or_one_clear_line():
    counts = survive(0, 400)

    # Weights are most of a file: many a mutant is a model still, most are none.
    assert counts["forecast"] > 20
    assert counts["refused"] > 200


@pytest.mark.full
def test_ten_thousand_damaged_files_do():
    survive(0, 10_000)
