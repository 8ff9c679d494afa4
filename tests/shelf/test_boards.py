"""The shelf application on emulated boards, over their serial ports, against the host twin."""

from __future__ import annotations

import pytest

from toolchain.demand.synthetic import synthetic_sales
from toolchain.device.running import open_device
from toolchain.device.session import Session
from toolchain.errors import DeviceRefused, ToolMissing
from toolchain.graph.units import to_fixed
from toolchain.shelf.decimals import decimal_of
from toolchain.shelf.shelf import Report, new_shelf, restart, set_up, take_day

CORES = ("microbit", "netduinoplus2", "arduino-uno")


def _told(values: Report, *, stored: bool) -> dict[str, str]:
    expected = values.values()
    if not stored:
        flags = expected["flags"]
        expected["flags"] = "unsaved" if flags == "-" else f"{flags},unsaved"
    return {**expected, "saved": str(int(stored))}


def _live(session: Session, built, series: int, days: int) -> tuple[int, set[str]]:
    """Let series live on a device and on its twin; return the days compared, and the alerts."""
    sales = synthetic_sales(3, series=series, days=days)
    stored = built.board.storage is not None
    compared, alerts = 0, set()
    for name, units in enumerate(sales.units):
        mean, spread = decimal_of(to_fixed(units.mean())), decimal_of(to_fixed(units.std() + 1))
        words = (f"shelf-{name}", mean, spread, str(1 + name % 3), f"{name % 5 / 4:g}", "20")
        shelf = restart(set_up(new_shelf(built.model), words))
        session.set_up(*words)
        session.restart()
        stock, order = 5 * round(units.mean()), (0, 0)
        for index, (date, sold) in enumerate(zip(sales.dates, units, strict=True)):
            if index == order[0]:
                stock += order[1]
            stock = max(stock - int(sold), 0)
            if index % 29 == 28:
                stock = max(stock - 3, 0)  # nobody knows where they went
            if index % 37 == 36:
                continue  # the day is lost
            shelf, told = take_day(shelf, str(date), f"{sold:g}", str(stock))
            assert session.day(str(date), f"{sold:g}", str(stock)) == _told(told, stored=stored)
            compared += 1
            alerts.add(told.alert)
            if told.alert == "restock":
                order = (index + 1 + name % 3, told.quantity >> 16)
    return compared, alerts


@pytest.mark.parametrize("name", CORES)
def test_months_on_a_board_equal_the_twins(name, build_shelf):
    built = build_shelf(name)
    with _open(built) as session:
        compared, alerts = _live(session, built, series=2, days=60)

    assert compared == 2 * 59
    assert {"none", "restock", "waiting", "clear"} >= alerts > {"none", "restock"}


@pytest.mark.full
@pytest.mark.parametrize("method", ["window", "stream"])
@pytest.mark.parametrize("name", ["microbit", "netduinoplus2", "hifive1"])
def test_a_year_of_twenty_shelves_on_a_board_equals_the_twins(name, method, build_shelf):
    built = build_shelf(name, method)
    with _open(built) as session:
        compared, alerts = _live(session, built, series=20, days=365)

    assert compared == 20 * 356
    assert alerts == {"none", "restock", "waiting", "clear"}


def _open(built):
    try:
        return open_device(built.board, built.image.path, model_crc=built.model.graph.crc32)
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("2024-02-30", "20", "70"), "date"),
        (("2024-05-03", "20", "70"), "repeated"),
        (("2024-05-02", "20", "70"), "order"),
        (("2025-05-04", "20", "70"), "gap"),
        (("2024-05-04", "-1", "70"), "units"),
        (("2024-05-04", "30000", "70"), "units"),
        (("2024-05-04", "20", "-70"), "stock"),
    ],
)
def test_misuse_is_refused_with_its_code(words, code, misused):
    before = misused.report()

    with pytest.raises(DeviceRefused) as refused:
        misused.day(*words)

    assert refused.value.code == code
    assert misused.report() == before


@pytest.fixture(scope="module")
def misused(build_shelf):
    """A shelf on an Arduino Uno that has seen one day."""
    with _open(build_shelf("arduino-uno")) as session:
        with pytest.raises(DeviceRefused) as refused:
            session.day("2024-05-03", "20", "70")
        assert refused.value.code == "unset"
        session.set_up("uno", "24.5", "8", "2", "1.5", "12")
        session.day("2024-05-03", "20", "90")
        yield session


@pytest.mark.parametrize("method", ["window", "stream"])
def test_an_uno_has_room_for_sixteen_units_and_four_weeks(build_shelf, method):
    built = build_shelf("arduino-uno", method)
    with _open(built) as session:
        _live(session, built, series=1, days=30)
        size, used = session.stack()

    assert built.image.flash_bytes <= 16_384
    assert built.image.ram_bytes + used <= 2_048
    assert used < size
