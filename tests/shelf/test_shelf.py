from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.device.protocol import ALERTS, ERROR_CODES, FLAGS, SHELF_VERBS
from toolchain.shelf.calendar import date_of, day_of
from toolchain.shelf.forecast import Scaling, ShelfModel, forecast_windows, shelf_model
from toolchain.shelf.refusal import Refused
from toolchain.shelf.shelf import Shelf, new_shelf, report, restart, set_up, take_day

FEATURES = ("units", "weekday", "month")
WORDS = ("milk-3", "24.5", "8", "2", "1.5", "12")
STEPS = 7


@pytest.fixture
def make_model(make_graph) -> Callable[..., ShelfModel]:
    """Put a small model on a shelf."""
    graph = make_graph(Recipe(hidden=(6,), steps=STEPS, features=5))
    return lambda method="window": shelf_model(graph, FEATURES, method)


@pytest.fixture
def shelf(make_model) -> Shelf:
    """A shelf that is set up and has seen no day."""
    return set_up(new_shelf(make_model()), WORDS)


def after(shelf: Shelf, first: str, *days: tuple[str, str]):
    """Let days pass, one after the other: the shelf, and the last report."""
    last = None
    for index, (units, stock) in enumerate(days):
        shelf, last = take_day(shelf, date_of(day_of(first) + index), units, stock)
    return shelf, last


def test_a_report_has_the_keys_and_words_of_the_protocol(shelf):
    _, last = after(shelf, "2024-05-03", ("21", "60"))

    day = next(verb for verb in SHELF_VERBS if verb.name == "day")
    assert [*last.values(), "saved"] == day.answer.replace("=", "").split()
    assert last.alert in ALERTS
    assert set(last.flags) <= set(FLAGS)


def test_days_before_the_first_one_sold_the_mean(shelf):
    _, last = after(shelf, "2024-05-03", ("21", "60"), ("30.5", "29.5"))

    units = np.array([[24.5] * (STEPS - 2) + [21, 30.5]]) * 65_536
    scaling = Scaling(np.array([int(24.5 * 65_536)]), np.array([8 << 16]))
    expected = forecast_windows(shelf.model, units, np.array([day_of("2024-05-04")]), scaling, 4)
    assert last.forecasts == tuple(expected[0].tolist())
    assert (last.known, last.flags) == (2, ("short",))


def test_a_full_window_leaves_no_doubt(shelf):
    _, last = after(shelf, "2024-05-03", *[("20", "90")] * STEPS)

    assert (last.known, last.flags) == (STEPS, ())


def test_a_stream_begins_as_a_window_does(make_model):
    reports = [
        after(set_up(new_shelf(make_model(method)), WORDS), "2024-02-28", *[("20", "90")] * 2)[1]
        for method in ("window", "stream")
    ]
    first = [
        after(set_up(new_shelf(make_model(method)), WORDS), "2024-02-28", ("20", "90"))[1]
        for method in ("window", "stream")
    ]

    assert first[0] == first[1]
    assert reports[0].forecasts != reports[1].forecasts  # one more step of the same state


def test_a_missing_day_sold_what_was_forecast(shelf):
    before, told = after(shelf, "2024-05-03", *[("20", "90")] * STEPS)

    with_gap, last = take_day(before, "2024-05-11", "25", "70")

    filled = with_gap.history.days[-2]
    assert (filled.units, filled.filled) == (told.forecasts[0], True)
    assert (last.known, last.flags) == (STEPS - 1, ("gaps",))


def test_a_gap_as_long_as_the_window_is_bridged_and_no_longer(shelf):
    before, _ = after(shelf, "2024-05-03", ("20", "90"))
    last_day = day_of("2024-05-03") + STEPS

    _, last = take_day(before, date_of(last_day), "25", "70")
    assert last.known == 1

    with pytest.raises(Refused) as refused:
        take_day(before, date_of(last_day + 1), "25", "70")
    assert refused.value.code == "gap"
    _, last = take_day(restart(before), date_of(last_day + 1), "25", "70")
    assert (last.known, last.flags) == (1, ("short",))


def test_units_missing_from_the_stock_are_told(shelf):
    _, last = after(shelf, "2024-05-03", ("20", "90"), ("20", "65.5"))

    assert "stock" in last.flags
    assert last.values()["lost"] == "4.5"


@pytest.mark.parametrize("stock", ["70", "71", "500"])
def test_a_stock_that_adds_up_or_a_delivery_is_no_doubt(shelf, stock):
    _, last = after(shelf, "2024-05-03", ("20", "90"), ("20", stock))

    assert "stock" not in last.flags
    assert last.lost == 0


def test_more_sold_than_there_was_is_a_delivery(shelf):
    _, last = after(shelf, "2024-05-03", ("20", "5"), ("20", "0"))

    assert last.lost == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("2024-02-30", "20", "70"), "date"),
        (("yesterday", "20", "70"), "date"),
        (("2024-05-04", "20", "70"), "repeated"),
        (("2024-05-04", "21", "70"), "repeated"),
        (("2024-05-03", "20", "70"), "order"),
        (("2023-05-05", "20", "70"), "order"),
        (("2025-05-05", "20", "70"), "gap"),
        (("2024-05-05", "-1", "70"), "units"),
        (("2024-05-05", "1e3", "70"), "units"),
        (("2024-05-05", "536.5", "70"), "units"),
        (("2024-05-05", "99999", "70"), "units"),
        (("2024-05-05", "20", "-3"), "stock"),
        (("2024-05-05", "20", "32768"), "stock"),
    ],
)
def test_what_is_wrong_is_refused_and_the_shelf_goes_on_as_it_was(shelf, words, code):
    shelf, _ = after(shelf, "2024-05-03", ("20", "90"), ("22", "68"))

    with pytest.raises(Refused) as refused:
        take_day(shelf, *words)

    assert refused.value.code == code
    assert code in {known.name for known in ERROR_CODES}
    assert report(shelf).day == day_of("2024-05-04")


def test_the_most_that_a_shelf_believes(shelf):
    _, last = after(shelf, "2024-05-03", ("536.49998", "70"))

    assert last.known == 1


def test_before_it_is_set_up_a_shelf_refuses(make_model):
    for ask in (lambda s: take_day(s, "2024-05-03", "20", "70"), report):
        with pytest.raises(Refused) as refused:
            ask(new_shelf(make_model()))
        assert refused.value.code == "unset"


def test_without_a_day_there_is_nothing_to_report(shelf):
    with pytest.raises(Refused) as refused:
        report(shelf)
    assert refused.value.code == "empty"


@pytest.mark.parametrize("method", ["window", "stream"])
def test_new_settings_keep_the_days_and_forecast_in_the_new_scaling(make_model, method):
    days = [("20", "90"), ("31", "59"), ("12", "47")] * 4
    other = ("milk-4", "20", "6", "1", "1", "5")
    shelf, _ = after(set_up(new_shelf(make_model(method)), WORDS), "2024-05-03", *days)

    changed = set_up(shelf, other)

    # As if it had had the new settings all along, as far as a window reaches.
    fresh, _ = after(set_up(new_shelf(make_model()), other), "2024-05-03", *days)
    assert changed.history.days == fresh.history.days
    assert report(changed).forecasts == report(fresh).forecasts


def test_an_alert_is_raised_once_and_cleared_by_a_delivery(shelf):
    days = [("20", str(stock)) for stock in (200, 180, 160, 140, 120, 100, 80, 60, 40, 20)]
    shelf, _ = after(shelf, "2024-05-03", *days[:1])
    alerts = []
    for index, (units, stock) in enumerate(days[1:], start=1):
        shelf, last = take_day(shelf, date_of(day_of("2024-05-03") + index), units, stock)
        alerts.append(last.alert)
        if last.alert == "restock":
            break
    first = last

    assert alerts == ["none"] * (len(alerts) - 1) + ["restock"]
    assert first.stock < first.need
    shelf, waiting = take_day(shelf, date_of(first.day + 1), "20", str(int(stock) - 20))
    assert (waiting.alert, waiting.quantity) == ("waiting", first.quantity)
    left = int(stock) - 40 + (first.quantity >> 16) + 40
    shelf, cleared = take_day(shelf, date_of(first.day + 2), "20", str(left))
    assert (cleared.alert, cleared.quantity) == ("clear", 0)
    _, quiet = take_day(shelf, date_of(first.day + 3), "20", str(left))
    assert quiet.alert == "none"
