from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from toolchain.demand.csv_file import read_csv
from toolchain.demand.metrics import measure
from toolchain.demand.references import seasonal_naive, weekday_mean
from toolchain.demand.sales import Sales
from toolchain.demand.windows import prepare
from toolchain.errors import DataError
from toolchain.project import Data, Network

GOOD = """date,store,item,sales
2020-01-01,1,2,3
2020-01-02,1,2,4
2020-01-01,10,2,5
2020-01-02,10,2,6.5
"""

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "sales.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def settings(**others: object) -> Data:
    values: dict[str, object] = {"source": "sales.csv", "keys": ("store", "item"), **others}
    return Data.model_validate(values)


def refused(path: Path, data: Data) -> str:
    """Return the message after the path, of an error that ends in exit code 2."""
    with pytest.raises(DataError) as error:
        read_csv(path, data)
    message = str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_rows_become_series_named_by_their_keys(write: Write) -> None:
    sales = read_csv(write(GOOD), settings())
    assert sales.names == ("store=1 item=2", "store=10 item=2")
    assert sales.dates.tolist() == [np.datetime64(f"2020-01-0{d}").item() for d in (1, 2)]
    assert sales.units.tolist() == [[3, 4], [5, 6.5]]


def test_without_keys_the_file_is_one_series(write: Write) -> None:
    sales = read_csv(write("date,sales\n2020-01-02,4\n2020-01-01,3\n"), settings(keys=()))
    assert sales.names == ("all",)
    assert sales.units.tolist() == [[3, 4]]


def test_columns_are_chosen_by_name(write: Write) -> None:
    text = "sold,when,what\n1,2020-05-01,a b\n2,2020-05-02,a b\n"
    sales = read_csv(write(text), settings(date="when", keys=("what",), value="sold"))
    assert sales.names == ("what=a b",)
    assert sales.units.tolist() == [[1, 2]]


def test_series_are_sorted_by_number_whatever_the_order_of_the_rows(write: Write) -> None:
    text = "date,item,sales\n" + "".join(
        f"2020-01-01,{item},{n}\n" for n, item in enumerate(["x", "10", "9", "a", "2"])
    )
    sales = read_csv(write(text), settings(keys=("item",)))
    assert sales.names == ("item=2", "item=9", "item=10", "item=a", "item=x")
    assert sales.units.ravel().tolist() == [4, 2, 1, 3, 0]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_packed_file_is_unpacked_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sales{suffix}"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert read_csv(path, settings()).units.tolist() == [[3, 4], [5, 6.5]]


def test_what_spreadsheets_write_is_accepted(write: Write) -> None:
    text = '\ufeffdate, "item",sales\r\n2020-01-01, "a, ""b""", 3\r\n\r\n2020-01-02,"a, ""b""",4'
    sales = read_csv(write(text), settings(keys=("item",)))
    assert sales.names == ('item=a, "b"',)
    assert sales.units.tolist() == [[3, 4]]


def test_select_keeps_rows_by_numbers_and_by_text(write: Write) -> None:
    for value in (10, "10"):
        sales = read_csv(write(GOOD), settings(select={"store": (value,)}))
        assert sales.names == ("store=10 item=2",)


def test_a_selection_has_the_days_of_the_whole_file(write: Write) -> None:
    text = GOOD + "2020-01-03,1,2,9\n"
    sales = read_csv(write(text), settings(select={"store": (10,)}))
    assert len(sales.dates) == 3
    assert sales.units.tolist() == [[5, 6.5, 0]]


def test_units_of_rows_not_selected_are_not_read(write: Write) -> None:
    text = GOOD.replace("1,2,4", "1,2,?")
    assert len(read_csv(write(text), settings(select={"store": (10,)})).names) == 1


GAPS = """date,store,item,sales
2020-01-01,1,1,3
2020-01-02,2,1,7
2020-01-04,1,1,5
2020-01-05,2,1,8
2020-01-01,2,1,6
"""


def test_absent_days_are_filled_with_zero(write: Write) -> None:
    sales = read_csv(write(GAPS), settings(fill="zero"))
    assert sales.units.tolist() == [[3, 0, 0, 5, 0], [6, 7, 0, 0, 8]]
    assert np.all(np.diff(sales.dates) == np.timedelta64(1, "D"))


def test_absent_days_repeat_the_day_before(write: Write) -> None:
    sales = read_csv(write(GAPS), settings(fill="previous"))
    assert sales.units.tolist() == [[3, 3, 3, 5, 5], [6, 7, 7, 7, 8]]


def test_absent_days_are_refused(write: Write) -> None:
    assert refused(write(GAPS), settings(fill="refuse")) == (
        ': store=1 item=1 has no row on 2020-01-02 (5 absent in all), and data.fill is "refuse". '
        'Add the rows, or choose "zero" or "previous".'
    )


def test_a_complete_file_passes_refuse(write: Write) -> None:
    assert read_csv(write(GOOD), settings(fill="refuse")).units.shape == (2, 2)


def test_an_absent_first_day_has_nothing_to_repeat(write: Write) -> None:
    text = GAPS.replace("2020-01-01,2,1,6\n", "")
    assert refused(write(text), settings(fill="previous")) == (
        ": store=2 item=1 has no row on 2020-01-01, the first day, so there is no day before to "
        'repeat (data.fill is "previous"). Add the row, or choose "zero".'
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "2020-01-02,1",
            "02.01.2020,1",
            ':3: date is "02.01.2020", not a day such as 2017-12-31.',
        ),
        ("2020-01-02,1", "2020-02-30,1", ':3: date is "2020-02-30", not a day such as 2017-12-31.'),
        ("2020-01-02,1", ",1", ':3: date is "", not a day such as 2017-12-31.'),
        ("1,2,4", "1,2,four", ':3: sales is "four", not a number such as 12 or 12.5.'),
        ("1,2,4", "1,2,1_0", ':3: sales is "1_0", not a number such as 12 or 12.5.'),
        (
            "1,2,4",
            "1,2,",
            ":3: sales is empty. Leave the row out: data.fill says what an absent day holds.",
        ),
        (
            "1,2,4",
            "1,2,-4",
            ":3: sales is -4, which is negative: what was sold counts, not what came back.",
        ),
        (
            "1,2,4",
            "1,2,-inf",
            ":3: sales is -inf, which is negative: what was sold counts, not what came back.",
        ),
        ("1,2,4", "1,2,nan", ":3: sales is nan; units are finite, at most 1e+12."),
        ("1,2,4", "1,2,inf", ":3: sales is inf; units are finite, at most 1e+12."),
        ("1,2,4", "1,2,2e12", ":3: sales is 2e12; units are finite, at most 1e+12."),
        ("1,2,4", "1,2,4,5", ":3: 5 fields, but the header has 4."),
        ("1,2,4", "1,2", ":3: 3 fields, but the header has 4."),
        (
            "2020-01-02,1,",
            "2020-01-01,1,",
            ":3: a second row for store=1 item=2 on 2020-01-01; the first is line 2. If they are "
            "different series, name the column that tells them apart in data.keys.",
        ),
        ("1,2,4", '1,"2"x,4', ":3: not CSV: ',' expected after '\"'."),
        (
            "item,sales",
            "item,sale",
            ':1: no column "sales" (data.value); did you mean sale? Known: sale, date, item, '
            "store.",
        ),
        (
            "date,store",
            "day,store",
            ':1: no column "date" (data.date); did you mean day? Known: day, item, sales, store.',
        ),
        (
            "date,store,item",
            "date,stores,item",
            ':1: no column "store" (data.keys); did you mean stores? Known: stores, date, item, '
            "sales.",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    write: Write, old: str, new: str, message: str
) -> None:
    assert refused(write(GOOD.replace(old, new, 1)), settings()) == message


def test_lines_are_counted_through_quoted_line_breaks(write: Write) -> None:
    text = 'date,item,sales\n2020-01-01,"a\nb",1\n2020-01-02,"a\nb",x\n'
    assert refused(write(text), settings(keys=("item",))).startswith(":5: sales is")


def test_line_breaks_in_a_name_are_escaped(write: Write) -> None:
    sales = read_csv(write('date,item,sales\n2020-01-01,"a\nb",1\n'), settings(keys=("item",)))
    assert sales.names == (r"item=a\nb",)


def test_a_long_or_broken_field_is_shown_in_one_short_line(write: Write) -> None:
    text = GOOD.replace("2020-01-02,1", '"x\n' + 100 * "y" + '",1', 1)
    assert refused(write(text), settings()) == (
        rf':4: date is "x\n{35 * "y"}...", not a day such as 2017-12-31.'
    )


def test_the_first_second_row_of_the_file_is_named(write: Write) -> None:
    text = GOOD + "2020-01-02,10,2,9\n2020-01-01,1,2,9\n"
    assert refused(write(text), settings()).startswith(
        ":6: a second row for store=10 item=2 on 2020-01-02; the first is line 5."
    )


def test_two_columns_of_one_name_are_refused(write: Write) -> None:
    assert refused(write("date,sales,sales\n"), settings(keys=())) == (
        ':1: 2 columns are named "sales" (data.value).'
    )


def test_one_column_for_two_meanings_is_refused(write: Write) -> None:
    assert refused(write(GOOD), settings(keys=("store", "date"))) == (
        ': column "date" is named by data.date and data.keys: one column has one meaning.'
    )


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_recognised(write: Write, mark: str, word: str) -> None:
    assert refused(write(GOOD.replace(",", mark)), settings()) == (
        f':1: no column "date" (data.date); the header is separated by {word}, not by commas.'
    )


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv", settings()) == (
        ": no such file. data.source is a CSV file relative to the project, "
        '"complete_journey" or "synthetic".'
    )


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert refused(tmp_path, settings()) == ": cannot be read: Is a directory."


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_an_empty_file_is_refused(write: Write, content: str) -> None:
    assert refused(write(content), settings()) == ": the file is empty."


def test_a_header_alone_is_refused(write: Write) -> None:
    assert refused(write("date,store,item,sales\n"), settings()) == ": no row after the header."


def test_another_encoding_is_refused_with_its_line(write: Write) -> None:
    latin = GOOD.replace("2020-01-02,1,", "2020-01-02,é,").encode("latin-1")
    assert refused(write(latin), settings()) == (
        ":3: not UTF-8: byte 0xe9. Save the file as UTF-8."
    )
    assert refused(write(GOOD.encode("utf-16")), settings()) == (
        ":1: not UTF-8: byte 0xff. Save the file as UTF-8."
    )


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv.gz"
    content = gzip.compress(GOOD.encode())[:-12]
    path.write_bytes(content)
    assert refused(path, settings()) == (
        f": the gzip file ends too early, after {len(content)} bytes. Copy or download it again."
    )


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv.gz"
    content = bytearray(gzip.compress(GOOD.encode()))
    content[-6] ^= 0xFF
    path.write_bytes(content)
    message = refused(path, settings())
    assert message.startswith(": not a gzip file, or damaged: CRC check failed")
    assert message.endswith(". Copy or download it again.")


def test_a_file_only_named_gz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv.gz"
    path.write_text(GOOD)
    assert refused(path, settings()) == (
        ": not a gzip file, or damaged: Not a gzipped file (b'da'). Copy or download it again."
    )


def test_a_select_column_that_is_absent_is_refused(write: Write) -> None:
    assert refused(write(GOOD), settings(select={"shop": (1,)})) == (
        ':1: no column "shop" (data.select.shop); Known: date, item, sales, store.'
    )


def test_a_select_value_that_never_occurs_is_refused(write: Write) -> None:
    assert refused(write(GOOD), settings(select={"store": (1, 101)})) == (
        ': data.select.store: no row has "101"; did you mean 10? Known: 10, 1.'
    )


def test_of_many_values_only_the_nearest_are_named(write: Write) -> None:
    text = "date,item,sales\n" + "".join(f"2020-01-01,sku{n},1\n" for n in range(100, 150))
    data = settings(keys=("item",), select={"item": ("sku1455",)})
    assert refused(write(text), data) == (
        ': data.select.item: no row has "sku1455"; nearest sku145, sku149, sku148, of 50 values.'
    )
    data = settings(keys=("item",), select={"item": ("?",)})
    assert refused(write(text), data) == (
        ': data.select.item: no row has "?"; it has sku100, sku101, sku102, of 50 values.'
    )


def test_an_empty_selection_is_refused(write: Write) -> None:
    assert refused(write(GOOD), settings(select={"store": ()})) == (
        ": data.select.store is an empty list: no row would be kept."
    )


def test_filters_that_never_meet_are_named(write: Write) -> None:
    text = GOOD + "2020-01-02,3,4,9\n"
    assert refused(write(text), settings(select={"store": (1, 10), "item": (4,)})) == (
        ": no row left after data.select: store in (1, 10) and item in (4) do occur, but never in "
        "one row."
    )


def test_weekly_sales_are_refused(write: Write) -> None:
    text = "date,sales\n" + "".join(f"2020-01-{day:02},1\n" for day in (1, 8, 15, 22))
    assert refused(write(text), settings(keys=())) == (
        ": rows on 4 of the 22 days from 2020-01-01 to 2020-01-22: sales are daily, with at least "
        "every second day present. The longest gap is 2020-01-01 to 2020-01-08."
    )


def test_a_wrong_year_is_refused(write: Write) -> None:
    text = GOOD.replace("2020-01-02,10", "2202-01-02,10")
    assert refused(write(text), settings()).endswith("The longest gap is 2020-01-02 to 2202-01-02.")


def test_more_values_than_memory_is_meant_for_are_refused(write: Write) -> None:
    rows = "".join(f"2020-01-01,{item},1\n" for item in range(60_000))
    days = "".join(f"{day},0,1\n" for day in np.arange("2020-01-02", "2023-01-01", dtype="M8[D]"))
    assert refused(write("date,item,sales\n" + rows + days), settings(keys=("item",))) == (
        ": 60,000 series of 1,096 days are more than 50,000,000 values. Choose fewer columns in "
        "data.keys, or fewer rows with data.select."
    )


FIELDS = st.sampled_from(
    ["date", "store", "sales", "2020-01-01", "2020-01-02", "1", "-1", "1e999", "nan", "", '"', "é"]
)


@hypothesis.settings(deadline=None)  # a loaded machine is no bug
@hypothesis.given(
    st.lists(st.lists(FIELDS, max_size=4).map(",".join), max_size=6).map("\n".join)
    | st.text(max_size=40),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    st.sampled_from(["zero", "previous", "refuse"]),
)
def test_any_file_is_read_or_refused_in_one_line(text: str, encoding: str, fill: str) -> None:
    data = settings(keys=("store",), fill=fill, select={"store": (1,)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.csv"
        path.write_bytes(f"date,store,sales\n{text}".encode(encoding, errors="replace"))
        message = "read"
        try:
            read_csv(path, data)
        except DataError as error:
            message = str(error)
    assert len(message.splitlines()) == 1


@pytest.fixture(scope="module")
def store_item(store_item_csv: Path) -> Sales:
    started = time.monotonic()
    sales = read_csv(store_item_csv, settings(fill="refuse"))
    # About 1.5 s on an idle laptop core; the limit only catches a change of order.
    assert time.monotonic() - started < 20
    return sales


def test_store_item_demand_is_500_series_of_5_years(store_item: Sales) -> None:
    assert store_item.units.shape == (500, 1826)
    assert store_item.names[0] == "store=1 item=1"
    assert store_item.names[-1] == "store=10 item=50"
    assert store_item.units[0, :2].tolist() == [13, 11]


def test_known_errors_on_store_item_demand_are_reproduced(store_item: Sales) -> None:
    dataset = prepare(store_item, settings(test_days=90), Network(max_windows=1))
    actual = dataset.actual_units(dataset.test)
    found = []
    for reference in (seasonal_naive, weekday_mean):
        accuracy = measure(actual, reference(store_item, dataset.test))
        figures = (accuracy.mae, accuracy.rmse, accuracy.mape_percent, accuracy.smape_percent)
        found.append([f"{figure:.2f}" for figure in figures])
    assert found == [["9.07", "12.05", "19.90", "18.57"], ["8.64", "11.53", "19.39", "17.21"]]
