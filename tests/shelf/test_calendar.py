from __future__ import annotations

import numpy as np
import pytest

from toolchain.shelf.calendar import date_of, day_of
from toolchain.shelf.refusal import Refused


def test_days_are_numpys():
    every = np.arange(np.datetime64("1971-01-01"), np.datetime64("2149-01-01"))

    assert [day_of(str(date)) for date in every] == every.astype(int).tolist()
    assert [date_of(int(day)) for day in every.astype(int)] == every.astype(str).tolist()
    assert every.astype(int).max() + 31 < 1 << 16


@pytest.mark.parametrize(
    "text",
    [
        "1970-12-31",
        "2149-01-01",
        "2023-02-29",
        "2100-02-29",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "2024-04-31",
        "2024-1-01",
        "24-01-01",
        "2024/01/01",
        "",
        "-",
        "\uff12024-01-01",
    ],
)
def test_what_is_no_day_is_refused(text):
    with pytest.raises(Refused) as refused:
        day_of(text)

    assert refused.value.code == "date"
