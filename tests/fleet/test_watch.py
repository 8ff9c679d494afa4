from __future__ import annotations

import json

import pytest
from twin_device import serving

from toolchain.device.link import open_link
from toolchain.device.session import Session
from toolchain.errors import DataError, DeviceReset, InputError
from toolchain.fleet.days import Day, read_feed, recorded_feed, simulated_feed
from toolchain.fleet.recording import check_recording, read_recording, recording
from toolchain.fleet.view import Screen, to_line
from toolchain.fleet.watch import Count, feed, is_fresh, listen, ready_shelf

WORDS = ("milk-3", "24.5", "8", "2", "1", "1")
FEATURES = ("units", "weekday")
DATES = tuple(f"2024-05-{day:02d}" for day in range(1, 31))
DEMAND = tuple(20 + 3 * (day % 7) for day in range(30))
DAYS = (
    Day("2024-05-01", "21", "60"),
    Day("2024-05-02", "30", "30"),
    Day("2024-05-02", "30", "30"),
    Day("2024-05-04", "12", "18"),
)


@pytest.fixture
def session(device):
    with serving(device) as port, Session(open_link(port, 115_200)) as session:
        session.hello()
        yield session


def record_days(path, session, device, days):
    shelf = ready_shelf(session, WORDS, restart=False)
    crc = device.graph.crc32
    with recording(path, model_crc=crc, features=FEATURES, shelf=shelf) as write:
        for event in feed(session, days):
            write(event)


def test_a_shop_delivers_what_the_shelf_orders(session):
    ready_shelf(session, WORDS, restart=False)
    count, stocks = Count(), []

    for event in feed(session, simulated_feed(DATES, DEMAND, stock=90, lead=2)):
        count.add(event)
        stocks.append(int(event.day.stock))

    assert (count.days, count.refused) == (30, 0)
    assert count.restocks > 1
    # Without a delivery 90 units are gone after the fourth day.
    assert sum(stocks[10:]) > 0


def test_a_refused_day_is_told_and_the_next_one_goes_on(session):
    ready_shelf(session, WORDS, restart=False)

    events = list(feed(session, recorded_feed(DAYS)))

    assert [event.refused for event in events] == [None, None, "repeated", None]
    assert "refused: " in to_line(events[2])
    assert "2024-05-02" in events[2].words


def test_days_come_no_faster_than_asked(session):
    ready_shelf(session, WORDS, restart=False)
    pauses = []

    list(feed(session, recorded_feed(DAYS[:3]), speed=0.5, sleep=pauses.append))

    assert len(pauses) == 2
    assert all(0 < pause <= 2 for pause in pauses)


def test_a_recording_equals_its_twin(session, device, tmp_path):
    path = tmp_path / "log.jsonl"
    record_days(path, session, device, recorded_feed(DAYS))

    check = check_recording(read_recording(path), device.graph)

    # Ten values of each of three answers, and one refusal.
    assert (check.days, check.values, check.differences) == (4, 31, 0)
    assert check.passed


def test_a_changed_forecast_is_named(session, device, tmp_path):
    path = tmp_path / "log.jsonl"
    record_days(path, session, device, recorded_feed(DAYS))
    lines = path.read_text().splitlines()
    event = json.loads(lines[2])
    event["answer"]["need"] = "1.25"
    lines[2] = json.dumps(event)
    path.write_text("\n".join(lines) + "\n")

    check = check_recording(read_recording(path), device.graph)

    assert (check.differences, check.passed) == (1, False)
    assert check.first is not None
    assert check.first.startswith("2024-05-02: need is 1.25, the twin says ")


def test_what_was_recorded_before_a_reset_stays_valid(session, device, tmp_path):
    def spoil(verb: str, answer: str) -> str:
        return device.boot() if device.asked.count("day") == 3 and verb == "day" else answer

    path = tmp_path / "log.jsonl"
    device.spoil = spoil
    with pytest.raises(DeviceReset):
        record_days(path, session, device, recorded_feed(DAYS))

    check = check_recording(read_recording(path), device.graph)
    assert (check.days, check.differences, check.cut_off) == (2, 0, False)


def test_a_line_that_was_cut_off_does_not_count(session, device, tmp_path):
    path = tmp_path / "log.jsonl"
    record_days(path, session, device, recorded_feed(DAYS))
    path.write_bytes(path.read_bytes()[:-9])

    check = check_recording(read_recording(path), device.graph)

    assert (check.days, check.differences, check.cut_off) == (3, 0, True)


def test_a_recording_of_another_model_is_refused(session, device, tmp_path, make_graph):
    from tflite_writer import Recipe

    path = tmp_path / "log.jsonl"
    record_days(path, session, device, recorded_feed(DAYS))
    other = make_graph(Recipe(hidden=(4,), steps=5, features=3, seed=9))

    with pytest.raises(InputError, match="recorded with the model"):
        check_recording(read_recording(path), other)


def test_what_is_no_recording_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("date,units\n")

    with pytest.raises(DataError, match='its first line is not that of a "recording 1"'):
        read_recording(path)


def test_a_shelf_without_settings_says_how_to_give_them(session):
    with pytest.raises(InputError, match=r"has not been set up\. Add --set"):
        ready_shelf(session, None, restart=False)


def test_settings_that_a_shelf_refuses_are_the_users(session):
    with pytest.raises(InputError, match=r"milk-3 24\.5 0 2 1 1"):
        ready_shelf(session, ("milk-3", "24.5", "0", "2", "1", "1"), restart=False)


def test_a_restart_makes_a_shelf_fresh(session):
    ready_shelf(session, WORDS, restart=False)
    list(feed(session, recorded_feed(DAYS[:1])))
    assert not is_fresh(session)

    ready_shelf(session, None, restart=True)

    assert is_fresh(session)


def test_a_day_that_came_from_elsewhere_is_seen_once(session):
    ready_shelf(session, WORDS, restart=False)
    sent = iter(DAYS[:2])

    def another_host(_: float) -> None:
        if (day := next(sent, None)) is not None:
            session.day(day.date, day.units, day.stock)

    events = listen(session, sleep=another_host)

    assert [next(events).day for _ in range(2)] == list(DAYS[:2])


def test_a_feed_is_read(tmp_path):
    path = tmp_path / "feed.csv"
    path.write_text("stock,date,units,note\n60,2024-05-01,21,x\n")

    assert read_feed(path) == (DAYS[0],)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("date,units\n2024-05-01,21\n", "no column stock"),
        ("date,units,stock\n2024-05-01,,60\n", 'line 2: "" is no units'),
        ("date,units,stock\n2024-05-01,2 1,60\n", 'line 2: "2 1" is no units'),
    ],
)
def test_a_feed_that_cannot_be_told_is_refused(tmp_path, text, words):
    path = tmp_path / "feed.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=words):
        read_feed(path)


def test_the_screen_shows_sales_projection_and_alert(session):
    from rich.console import Console

    shelf = ready_shelf(session, WORDS, restart=False)
    screen = Screen(shelf, "toy")
    events = list(feed(session, recorded_feed((DAYS[0], Day("2024-05-02", "40", "20")))))
    for event in events:
        screen.add(event)
    terminal = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123

    terminal.print(screen.render())

    text = terminal.export_text()
    assert "milk-3" in text
    assert "stock 20" in text
    assert f"RESTOCK {events[1].answer['quantity']}" in text
    assert "Fri 2024-05-03" in text
    terminal.file.close()
