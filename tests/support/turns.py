"""Which cases of many `make test` runs, and which are left to `make test-full`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest


def one_in(count: int, *values: Iterable[object]) -> list[object]:
    """Combine values for `parametrize`: one in `count` runs always, the others when all do."""
    return [
        pytest.param(*case, marks=() if number % count == 0 else pytest.mark.full)
        for number, case in enumerate(itertools.product(*values))
    ]
