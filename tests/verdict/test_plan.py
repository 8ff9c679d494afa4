from __future__ import annotations

import numpy as np

from toolchain.verdict.plan import SEQUENCE_LENGTH, make_plan

SERIES = np.repeat([0, 1, 2], 12)


def test_all_windows_unless_told_otherwise():
    plan = make_plan(SERIES, windows=None, state_windows=0, sequences=0)

    assert plan.windows.tolist() == list(range(36))
    assert plan.traced.size == 0
    assert plan.sequences.shape == (0, SEQUENCE_LENGTH)


def test_fewer_windows_are_spread_over_all_series():
    plan = make_plan(SERIES, windows=6, state_windows=3, sequences=0)

    assert sorted(set(SERIES[plan.windows])) == [0, 1, 2]
    assert plan.traced.tolist() == [0, 18, 35]


def test_a_sequence_stays_inside_its_series():
    plan = make_plan(SERIES, windows=1, state_windows=0, sequences=100)

    assert len(plan.sequences) == 6, "two of five windows fit into each series of twelve"
    assert (np.diff(plan.sequences, axis=1) == 1).all()
    assert (SERIES[plan.sequences] == SERIES[plan.sequences[:, :1]]).all()


def test_series_too_short_for_a_sequence():
    plan = make_plan(np.array([0, 0, 1, 1]), windows=None, state_windows=0, sequences=4)

    assert len(plan.sequences) == 0
