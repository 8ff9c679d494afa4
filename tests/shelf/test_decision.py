from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.graph.units import MAX_FIXED
from toolchain.shelf.decision import MOST_ORDERED, Order, Outlook, decide, outlook
from toolchain.shelf.settings import Settings

ONE = 1 << 16
TEN = (10 * ONE,) * 5


def settings(lead: int = 2, safety: int = 0, minimum: int = 0) -> Settings:
    return Settings("shelf", 10 * ONE, ONE, lead, safety, minimum)


def test_need_is_lead_time_and_safety():
    assert outlook(TEN[:2], 0, settings(lead=2)).need == 20 * ONE
    assert outlook(TEN[:4], 0, settings(lead=2, safety=8)).need == 40 * ONE
    assert outlook(TEN[:4], 0, settings(lead=2, safety=5)).need == 32 * ONE + ONE // 2
    assert outlook(TEN[:1], 0, settings(lead=0, safety=3)).need == 7 * ONE + ONE // 2


@pytest.mark.parametrize(
    ("stock", "out"), [(0, 1), (9, 1), (10, 2), (19, 2), (20, 3), (29, 3), (30, None)]
)
def test_out_is_the_first_day_that_asks_for_more_than_there_is(stock, out):
    assert outlook(TEN[:3], stock * ONE, settings(lead=3)).out == out


def test_sums_saturate():
    ahead = outlook((MAX_FIXED,) * 4, MAX_FIXED - 1, settings(lead=4))

    assert ahead == Outlook(MAX_FIXED, MAX_FIXED, MAX_FIXED, 1)


def test_an_order_brings_the_stock_to_enough_when_it_arrives():
    asked = settings(lead=2, safety=4)
    ahead = outlook(TEN[:3], 25 * ONE, asked)

    alert, order = decide(100, 25 * ONE, ahead, None, asked)

    assert (alert, order) == ("restock", Order(100, 29 * ONE))  # 20 + 33.75 - 25, rounded up
    arrived = 25 * ONE - 20 * ONE + order.quantity
    assert decide(102, arrived, ahead, order, asked) == ("clear", None)


def test_nothing_changes_between_need_and_enough():
    asked = settings()
    ahead = outlook(TEN[:2], 21 * ONE, asked)

    assert ahead.need < 21 * ONE < ahead.enough
    assert decide(9, 21 * ONE, ahead, None, asked) == ("none", None)
    waiting = Order(1, ONE)
    assert decide(9, 21 * ONE, ahead, waiting, asked) == ("waiting", waiting)


def test_an_order_that_does_not_come_is_raised_again():
    asked = settings(lead=2)
    ahead = outlook(TEN[:2], 0, asked)
    order = Order(100, 42 * ONE)

    assert decide(102, 0, ahead, order, asked) == ("waiting", order)
    assert decide(103, 0, ahead, order, asked) == ("restock", Order(103, 43 * ONE))


def test_the_minimum_is_ordered_at_least():
    asked = settings(minimum=100 * ONE)

    assert decide(1, 0, outlook(TEN[:2], 0, asked), None, asked)[1] == Order(1, 100 * ONE)


@given(
    st.lists(st.integers(0, MAX_FIXED), min_size=1, max_size=31),
    st.integers(0, MAX_FIXED),
    st.data(),
)
def test_an_order_is_whole_positive_and_can_be_written(forecasts, stock, data):
    lead = data.draw(st.integers(0, len(forecasts)))
    asked = settings(lead, 4 * (len(forecasts) - lead))

    alert, order = decide(7, stock, outlook(tuple(forecasts), stock, asked), None, asked)

    if alert == "restock":
        assert order is not None
        assert order.quantity % ONE == 0
        assert 0 < order.quantity <= MOST_ORDERED
    else:
        assert (alert, order) == ("none", None)
