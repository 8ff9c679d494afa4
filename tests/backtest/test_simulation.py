from __future__ import annotations

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.backtest.market import Market
from toolchain.backtest.simulation import SensorRule, fixed_rule, live
from toolchain.shelf.calendar import date_of
from toolchain.shelf.forecast import Scaling, shelf_model
from toolchain.shelf.settings import Settings
from toolchain.shelf.shelf import new_shelf, set_up, take_day

STEPS = 5
FIRST = 17_000


def market_of(demand, *, warm_up=0, measured=None) -> Market:
    units = np.array(demand, np.int64)
    shelves, days = units.shape
    return Market(
        names=tuple(f"s{index}" for index in range(shelves)),
        days=np.arange(days) + FIRST,
        demand=units,
        known=np.full((shelves, STEPS), 10, np.int64),
        mean=units.mean(axis=1),
        scaling=Scaling(np.full(shelves, 10 << 16, np.int64), np.full(shelves, 3 << 16, np.int64)),
        warm_up=warm_up,
        measured=days if measured is None else measured,
    )


def lanes(*values: int):
    return np.array(values, np.int64)


def test_an_order_arrives_lead_evenings_later_and_what_is_not_there_is_lost():
    market = market_of([[4, 4, 4, 4, 4, 4]])
    rule = fixed_rule(lanes(2), lanes(12))

    life = live(market, lanes(0), lanes(6), 2, rule)

    # Stock in the evening: 2 (orders 10), 0 (2 lost), 10 (4 lost, then delivered), 6, 2 (orders
    # 10), 0 (2 lost).
    assert life.test.asked.tolist() == [24]
    assert life.test.sold.tolist() == [24 - 2 - 4 - 2]
    assert life.test.out.tolist() == [3]
    assert life.test.stock.tolist() == [2 + 0 + 10 + 6 + 2 + 0]
    assert life.test.orders.tolist() == [2]


def test_an_order_on_its_way_is_not_ordered_twice_by_the_fixed_rule():
    market = market_of([[1] * 5])

    life = live(market, lanes(0), lanes(3), 4, fixed_rule(lanes(5), lanes(9)))

    assert life.test.orders.tolist() == [1]


def test_days_are_counted_where_they_belong():
    market = market_of([[1] * 10], warm_up=2, measured=3)

    life = live(market, lanes(0), lanes(100), 1, fixed_rule(lanes(0), lanes(1)))

    assert (life.tuning.days, life.test.days) == (5, 3)
    assert life.tuning.stock.tolist() == [97 + 96 + 95 + 94 + 93]
    assert life.test.stock.tolist() == [92 + 91 + 90]


def test_a_sensor_orders_what_the_twin_says_from_what_was_sold(make_graph):
    model = shelf_model(make_graph(Recipe(hidden=(6,), steps=STEPS, features=3)),
                        ("units", "weekday"), horizon=6)  # fmt: skip
    rng = np.random.default_rng(3)
    market = market_of(rng.integers(0, 22, (2, 40)))
    words = (("a", "10", "3", "2", "0.5", "0"), ("b", "10", "3", "2", "2", "0"))
    twins = [set_up(new_shelf(model), one) for one in words]
    assert all(twin.settings is not None for twin in twins)
    settings = tuple(twin.settings for twin in twins if twin.settings is not None)
    series, start, lead = lanes(0, 1), lanes(30, 30), 2

    life = live(market, series, start, lead, SensorRule(model, market, series, settings))

    for lane, twin in enumerate(twins):
        # The same life, day by day: a shelf that was told a window of days with plenty of stock.
        for index in range(STEPS):
            twin, _ = take_day(twin, date_of(FIRST - STEPS + index), "10", "30000")
        stock, due = 30, [0] * 50
        sold_all = orders = out = 0
        for index in range(40):
            asked = int(market.demand[lane, index])
            sold = min(asked, stock)
            stock += due[index] - sold
            twin, report = take_day(twin, date_of(FIRST + index), str(sold), str(stock))
            if report.alert == "restock":
                due[index + lead] += report.quantity >> 16
                orders += 1
            sold_all, out = sold_all + sold, out + (asked > sold)
        assert (life.test.sold[lane], life.test.orders[lane], life.test.out[lane]) == (
            sold_all, orders, out,
        )  # fmt: skip
    # It would show nothing if no customer ever met an empty shelf.
    assert life.test.out.sum() > 0
    assert isinstance(settings[0], Settings)


@pytest.mark.parametrize("lead", [1, 3])
def test_nothing_is_lost_on_the_way(lead):
    rng = np.random.default_rng(5)
    market = market_of(rng.integers(0, 9, (1, 60)))
    ordered = []

    def rule(day, sold, stock, on_way):
        ordered.append(int(rng.integers(0, 12)))
        return lanes(ordered[-1])

    life = live(market, lanes(0), lanes(5), lead, rule)

    arrived = sum(ordered[:-lead])
    last = 5 + arrived - int(life.test.sold[0])
    assert last >= 0
    assert life.test.sold[0] <= 5 + sum(ordered)
