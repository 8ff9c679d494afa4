from __future__ import annotations

import json

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.backtest.comparison import AIMS, Backtest, Equal, Point, backtest
from toolchain.backtest.market import make_market
from toolchain.backtest.picture import draw
from toolchain.demand.synthetic import synthetic_sales
from toolchain.demand.windows import prepare
from toolchain.errors import DataError, InputError
from toolchain.project import Data, Network
from toolchain.shelf.forecast import shelf_model


@pytest.fixture(scope="module")
def dataset():
    sales = synthetic_sales(1)
    data = Data(source="synthetic", validation_days=20, test_days=40)
    return prepare(sales, data, Network(window=7, features=("units", "weekday")))


@pytest.fixture
def model(make_graph):
    graph = make_graph(Recipe(hidden=(4,), steps=7, features=3))
    return shelf_model(graph, ("units", "weekday"), horizon=8)


def test_the_held_out_days_are_measured_and_those_before_tuned_on(dataset):
    market = make_market(dataset, series=2)

    assert len(market.names) == 2
    assert market.measured == 40
    assert market.days[market.test.start] == dataset.test.days.min().astype(int)
    assert market.tuning.stop == market.test.start
    assert market.tuning.start == dataset.steps
    tuned = market.demand[:, market.tuning]
    assert market.mean == pytest.approx(tuned.mean(axis=1))


def test_what_happens_on_the_measured_days_changes_no_parameter(dataset, model):
    market = make_market(dataset, series=2, days=30)
    before = backtest(model, market, lead=2)
    market.demand[:, market.test] *= 2

    after = backtest(model, market, lead=2)

    chosen = ("safety_days", "reorder_point", "order_up_to")
    assert [
        {key: row[rule][key] for rule in ("sensor", "fixed") for key in chosen if key in row[rule]}
        for row in before.rows
    ] == [
        {key: row[rule][key] for rule in ("sensor", "fixed") for key in chosen if key in row[rule]}
        for row in after.rows
    ]
    assert before.fixed != after.fixed


def test_more_service_costs_more_stock(dataset, model):
    result = backtest(model, make_market(dataset, series=3), lead=2)

    for curve in (result.sensor, result.fixed):
        assert [point.aim for point in curve] == list(AIMS)
        assert curve[-1].average_stock > curve[0].average_stock
        assert curve[-1].fill_rate > curve[0].fill_rate
    json.dumps(result.to_json())


def test_a_lead_time_beyond_the_horizon_is_refused(dataset, model):
    with pytest.raises(InputError, match="--lead 9: the model looks 1 to 8 days ahead"):
        backtest(model, make_market(dataset), lead=9)


def test_units_that_a_shelf_takes_for_a_mistake_are_refused(dataset):
    units = dataset.sales.units.copy()
    units[0, -1] = 30_000
    sales = type(dataset.sales)(dataset.sales.dates, dataset.sales.names, units)
    broken = type(dataset)(sales, dataset.scaling, dataset.features, dataset.train,
                           dataset.validation, dataset.test)  # fmt: skip

    with pytest.raises(DataError, match="sold 30,000 units on a day, more than 64 deviations"):
        make_market(broken)


def result_of(dataset, sensor: float, fixed: float) -> Backtest:
    def curve(factor: float) -> tuple[Point, ...]:
        return tuple(Point(rate, rate, rate, factor * rate, 1, 1) for rate in (0.9, 1.0))

    equal = (Equal("fill_rate", 0.95, sensor, fixed), Equal("days_served", 0.95, None, fixed))
    return Backtest(make_market(dataset), 3, curve(sensor), curve(fixed), equal, ())


@pytest.mark.parametrize(
    ("sensor", "passed", "sentence"),
    [
        (80.0, True, "At 95% of the demand served the sensors hold 20.0% less stock than a fixed "
         "reorder point."),
        (95.0, False, "At 95% of the demand served the sensors hold 5.0% less stock than a fixed "
         "reorder point, less than the 10% it should be."),
        (110.0, False, "The forecast is not worth it here: at 95% of the demand served the sensors "
         "hold 10.0% more stock than a fixed reorder point."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_the_figures_say(dataset, sensor, passed, sentence):
    result = result_of(dataset, sensor, 100.0)

    assert (result.passed, result.sentence) == (passed, sentence)


def test_the_same_result_gives_the_same_picture(dataset, tmp_path):
    result = result_of(dataset, 80.0, 100.0)

    draw(tmp_path / "a.png", result)
    draw(tmp_path / "b.png", result)

    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert np.frombuffer(content, np.uint8).std() > 50
