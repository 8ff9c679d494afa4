"""Choose what is replayed on a device: windows, windows state by state, windows in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEQUENCE_LENGTH = 5
"""Consecutive windows that one sequence carries the state through."""

STREAM_LENGTH = 60
"""Consecutive days that one stream feeds, a sample each; fewer where there are not as many."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Indices of held-out windows."""

    windows: NDArray[np.intp]
    """Replayed with a reset before each; their outputs are compared."""
    traced: NDArray[np.intp]
    """Fed step by step as well; every h and c after every step is compared."""
    sequences: NDArray[np.intp]
    """(sequences, length), consecutive windows of one series, the state carried over."""
    stream: NDArray[np.intp]
    """Consecutive windows of one series: their last samples are fed one by one, a forecast each."""


def make_plan(
    series: NDArray[np.integer], *, windows: int | None, state_windows: int, sequences: int
) -> Plan:
    """Spread the replay evenly over the held-out windows.

    Args:
        series: (held-out windows), each one's series; the windows of a series are in order of days.
        windows: how many to replay; None: all of them.
        state_windows: how many to compare state by state.
        sequences: how many runs of consecutive windows.
    """
    runs = np.split(np.arange(len(series)), np.flatnonzero(np.diff(series)) + 1)
    starts = [
        run[: len(run) - SEQUENCE_LENGTH + 1 : SEQUENCE_LENGTH]
        for run in runs
        if len(run) >= SEQUENCE_LENGTH
    ]
    candidates = np.concatenate(starts) if starts else np.zeros(0, np.intp)
    first = candidates[_spread(len(candidates), sequences)]
    return Plan(
        windows=_spread(len(series), windows),
        traced=_spread(len(series), state_windows),
        sequences=first[:, None] + np.arange(SEQUENCE_LENGTH),
        stream=max(runs, key=len)[:STREAM_LENGTH].astype(np.intp),
    )


def _spread(available: int, wanted: int | None) -> NDArray[np.intp]:
    """Pick `wanted` of `available` indices, evenly; all of them when there are fewer.

    >>> _spread(10, 4).tolist()
    [0, 3, 6, 9]
    """
    if wanted is None or wanted >= available:
        return np.arange(available, dtype=np.intp)
    if wanted == 1:
        return np.zeros(1, dtype=np.intp)
    return np.round(np.linspace(0, available - 1, wanted)).astype(np.intp)
