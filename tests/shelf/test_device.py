"""The shelf application in C, under sanitizers, against its host twin."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_writer import Recipe

from toolchain.device.protocol import SHELF_VERBS, Answer, encode_request
from toolchain.shelf.calendar import date_of, day_of
from toolchain.shelf.decimals import decimal_of
from toolchain.shelf.forecast import ShelfModel
from toolchain.shelf.refusal import Refused
from toolchain.shelf.shelf import Report, Shelf, new_shelf, report, restart, set_up, take_day

SMALL = Recipe(hidden=(6,), steps=7, features=5)
FEATURES = ("units", "weekday", "month")
WORDS = ("milk-3", "24.5", "8", "2", "1.5", "12")
CASES = {
    "calendar": (SMALL, FEATURES, "window"),
    "stream": (SMALL, FEATURES, "stream"),
    "two layers": (Recipe(hidden=(5, 4), steps=4, features=3), ("units", "month"), "stream"),
    "several outputs": (Recipe(hidden=(4,), steps=5, dense=(6,)), ("units",), "window"),
}


@dataclass
class Twin:
    """Answers as a device with storage does."""

    model: ShelfModel
    shelf: Shelf = field(init=False)

    def __post_init__(self) -> None:
        self.shelf = new_shelf(self.model)

    def answer(self, words: tuple[str, ...], *, saved: bool = True) -> dict[str, str] | str:
        """Return the values that are answered, or the code of the refusal."""
        verb, *rest = words
        try:
            if verb == "set":
                self.shelf = set_up(self.shelf, tuple(rest))
            elif verb == "restart":
                self.shelf = restart(self.shelf)
            elif verb == "day":
                self.shelf, told = take_day(self.shelf, *rest)
                return _values(told, saved=saved)
            else:
                return _values(report(self.shelf), saved=saved)
        except Refused as refused:
            return refused.code
        return {"saved": str(int(saved))}


def _values(told: Report, *, saved: bool) -> dict[str, str]:
    values = told.values()
    if not saved:
        values["flags"] = "unsaved" if values["flags"] == "-" else values["flags"] + ",unsaved"
    return {**values, "saved": str(int(saved))}


def heard(answer: Answer) -> dict[str, str] | str:
    return answer.name if answer.kind == "err" else dict(answer.values)


def year(model: ShelfModel, days: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Draw days with gaps, deliveries, losses and much that is wrong."""
    draw = np.random.default_rng(seed)
    day, stock = day_of("2023-12-20"), 90.0
    requests: list[tuple[str, ...]] = [("report",), ("day", "2023-12-20", "1", "1")]
    requests.append(("set", *WORDS))
    for _ in range(days):
        units = float(draw.poisson(24)) + draw.choice([0, 0, 0.25, 0.1])
        stock = max(stock - units - draw.choice([0, 0, 0, 2.5]), 0.0)
        stock += draw.choice([0, 0, 0, 70])
        requests.append(("day", date_of(day), f"{units:g}", f"{stock:.5g}"))
        wrong = int(draw.integers(0, 12))
        if wrong < len(MISUSE):
            requests.append(MISUSE[wrong](day))
        day += 1 if draw.random() < 0.9 else int(draw.integers(2, model.steps + 3))
        if draw.random() < 0.03:
            requests.append(("restart",))
        if draw.random() < 0.05:
            words = ("s.2", f"{draw.integers(5, 40)}", f"{draw.integers(1, 9)}.5", "1", "3.75", "0")
            requests.append(("set", *words))
    return [*requests, ("report",)]


MISUSE = (
    lambda day: ("day", date_of(day), "3", "3"),
    lambda day: ("day", date_of(day - 1), "3", "3"),
    lambda day: ("day", date_of(day + 4_000), "3", "3"),
    lambda day: ("day", "2023-02-29", "3", "3"),
    lambda day: ("day", date_of(day + 1), "-3", "3"),
    lambda day: ("day", date_of(day + 1), "32000", "3"),
    lambda day: ("day", date_of(day + 1), "3", "1.234567"),
    lambda day: ("set", "", "1", "1", "1", "1", "1"),
)


@pytest.mark.parametrize("case", CASES)
def test_every_answer_of_months_equals_the_twins(case, compile_shelf):
    shelf = compile_shelf(*CASES[case])
    requests = year(shelf.model, 120)
    twin = Twin(shelf.model)

    answers, _ = shelf.talk(requests)

    expected = [twin.answer(words) for words in requests]
    assert [heard(answer) for answer in answers] == expected
    alerts = {
        values["alert"] for values in expected if isinstance(values, dict) and "alert" in values
    }
    assert alerts == {"none", "restock", "waiting", "clear"}


def test_a_firmware_made_for_size_answers_the_same(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES, profile="size")
    requests = year(shelf.model, 30)
    twin = Twin(shelf.model)

    answers, _ = shelf.talk(requests)

    assert [heard(answer) for answer in answers] == [twin.answer(words) for words in requests]
    assert shelf.ask("history").name == "verb"


def test_without_storage_every_day_says_so(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES, storage=False)
    requests = year(shelf.model, 20)
    twin = Twin(shelf.model)

    answers, _ = shelf.talk(requests)

    expected = [twin.answer(words, saved=False) for words in requests]
    assert [heard(answer) for answer in answers] == expected
    assert shelf.ask("shelf").values["storage"] == "none"
    assert shelf.ask("report").name == "unset"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    requests=st.lists(
        st.one_of(
            st.tuples(
                st.just("day"),
                st.integers(0, 12).map(lambda day: date_of(19_780 + day)),
                st.integers(0, (1 << 31) - 1).map(decimal_of) | st.integers(0, 99).map(str),
                st.integers(0, (1 << 31) - 1).map(decimal_of) | st.integers(0, 99).map(str),
            ),
            st.tuples(
                st.just("set"),
                st.text("aZ9._-/ ", min_size=1, max_size=16).map(lambda t: t.replace(" ", "x")),
                *[st.integers(0, (1 << 31) - 1).map(decimal_of)] * 2,
                st.integers(0, 15).map(str),
                st.integers(0, 60).map(lambda quarters: decimal_of(quarters << 14)),
                st.integers(0, (1 << 31) - 1).map(decimal_of),
            ),
            st.just(("report",)),
            st.just(("restart",)),
        ),
        min_size=30,
        max_size=60,
    )
)
def test_whatever_is_said_the_twin_says_the_same(compile_shelf, requests):
    shelf = compile_shelf(Recipe(hidden=(3,), steps=3), ("units",), "stream")
    requests = [("set", *WORDS), *requests]
    twin = Twin(shelf.model)
    shelf.storage.unlink(missing_ok=True)

    answers, _ = shelf.talk(requests)

    assert [heard(answer) for answer in answers] == [twin.answer(words) for words in requests]


def test_the_settings_are_read_back(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES)
    before = shelf.ask("shelf").values
    shelf.talk([("set", *WORDS)])

    after = shelf.ask("shelf").values

    verb = next(verb for verb in SHELF_VERBS if verb.name == "shelf")
    assert list(after) == verb.answer.replace("=", "").split()
    assert (before["name"], before["writes"]) == ("-", "0")
    assert tuple(after.values()) == (*WORDS, "14", "window", "flash", "1")


def test_the_history_is_read_back(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES)
    requests = [
        ("set", *WORDS),
        ("day", "2024-05-03", "20.5", "9"),
        ("day", "2024-05-05", "3", "6"),
    ]
    twin = Twin(shelf.model)
    for words in requests:
        twin.answer(words)
    shelf.talk(requests)

    values = shelf.ask("history").values

    days = [("~" if d.filled else "") + decimal_of(d.units) for d in twin.shelf.history.days]
    assert values == {"date": "2024-05-05", "units": ",".join(days)}


def test_a_repeated_request_is_answered_and_not_taken_again(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES)
    shelf.talk([("set", *WORDS)])
    line = encode_request(9, "day", "2024-05-03", "20", "60")

    result = subprocess.run(
        [shelf.program],
        input=line * 3,
        capture_output=True,
        check=True,
        env={**os.environ, "STORAGE": str(shelf.storage)},
    )
    answers = [came for came in result.stdout.splitlines() if came.startswith(b"@9 ok day")]

    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert shelf.ask("shelf").values["writes"] == "2"


SENSOR = """
#include "sensor.h"

// A day, 2024-05-03 and on, whenever another 40 bytes have come.
bool sensor_read(sensor_sample_t *sample) {
    static uint16_t asked;
    if (++asked % 40u != 0) {
        return false;
    }
    sample->day = (uint16_t)(19846u + asked / 40u - 1u);
    sample->units = INT32_C(20) << 16;
    sample->stock = INT32_C(60) << 16;
    return true;
}
"""


def test_a_sensor_of_the_boards_own_is_heard(compile_shelf):
    shelf = compile_shelf(Recipe(hidden=(2,), steps=2), ("units",), "stream", sensor=SENSOR)
    lines = b"\n" * 10 + encode_request(1, "set", *WORDS)
    result = subprocess.run(
        [shelf.program],
        input=lines.ljust(120, b"\n"),
        capture_output=True,
        check=True,
        env={**os.environ, "STORAGE": str(shelf.storage)},
    )
    told = [line for line in result.stdout.decode().splitlines() if line.startswith("# day")]

    twin = Twin(shelf.model)
    twin.answer(("set", *WORDS))
    days = [twin.answer(("day", date, "20", "60")) for date in ("2024-05-04", "2024-05-05")]
    words = [" ".join(f"{key}={value}" for key, value in day.items()) for day in days]
    assert told == ["# day err unset", *(f"# day {line}" for line in words)]


# Power cuts.


def _days(count: int) -> list[tuple[str, ...]]:
    first = day_of("2024-02-26")
    return [("day", date_of(first + i), str(20 + i), str(200 - 25 * i)) for i in range(count)]


def _cut_everywhere(shelf, requests: Sequence[tuple[str, ...]], *, torn: bool) -> int:
    """Cut the power after every write there is, one life each; return how many there were."""
    twin = Twin(shelf.model)
    known = []  # what is reported after none, one, two... of the requests
    for words in requests:
        twin.answer(words)
        known.append(twin.answer(("report",)))
    known.insert(0, "unset")
    torn_too = {"TORN": "1"} if torn else {}
    for cut in range(1 << 16):
        shelf.storage.unlink(missing_ok=True)
        answers, was_cut = shelf.talk(requests, CUT=str(cut), **torn_too)
        done = len(answers)
        if not was_cut:
            return cut
        # The power is back: what was answered is known, or one request more; and it goes on.
        rest = [("report",), *requests[done:], ("report",)]
        found = [heard(answer) for answer in shelf.talk(rest)[0]]
        assert found[0] in known[done : done + 2], f"cut {cut}"
        assert found[-1] == known[-1], f"cut {cut}"
    raise AssertionError("it never ends")


@pytest.mark.parametrize("torn", [False, True], ids=["between writes", "in a write"])
def test_a_power_cut_after_any_write_leaves_the_old_state_or_the_new(compile_shelf, torn):
    recipe = Recipe(hidden=(2,), steps=2)
    shelf = compile_shelf(recipe, ("units",), "stream", sanitized=False)
    requests = [("set", *WORDS), *_days(3)]

    cuts = _cut_everywhere(shelf, requests, torn=torn)

    state_bytes = int.from_bytes(shelf.storage.read_bytes()[2:4], "little")
    assert state_bytes == 92
    assert cuts == len(requests) * (1 + state_bytes // 4)  # an erasure, then words
    assert shelf.ask("shelf").values["writes"] == str(len(requests))


@pytest.mark.full
@pytest.mark.parametrize("torn", [False, True], ids=["between writes", "in a write"])
def test_a_power_cut_after_any_write_of_a_long_history(compile_shelf, torn):
    recipe = Recipe(hidden=(16,), features=5)
    shelf = compile_shelf(recipe, FEATURES, "stream", sanitized=False)

    assert _cut_everywhere(shelf, [("set", *WORDS), *_days(9)], torn=torn) >= 500


def test_another_models_history_is_forgotten_and_the_settings_are_kept(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES)
    shelf.talk([("set", *WORDS), *_days(2)])
    other = compile_shelf(Recipe(seed=1, hidden=(6,), steps=7, features=5), FEATURES)
    other.storage.write_bytes(shelf.storage.read_bytes())

    assert other.ask("report").name == "empty"
    assert other.ask("shelf").values["name"] == "milk-3"


def test_a_damaged_slot_gives_way_to_the_one_before(compile_shelf):
    shelf = compile_shelf(SMALL, FEATURES)
    shelf.talk([("set", *WORDS), *_days(3)])
    twin = Twin(shelf.model)
    for words in [("set", *WORDS), *_days(2)]:
        twin.answer(words)
    cells = bytearray(shelf.storage.read_bytes())
    newest = 2_048  # the fourth save went to the second slot
    cells[newest + 60] ^= 1
    shelf.storage.write_bytes(cells)

    assert heard(shelf.ask("report")) == twin.answer(("report",))
