"""Load the sales that a project names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from toolchain import __version__
from toolchain.demand.complete_journey import PACKAGE, complete_journey
from toolchain.demand.csv_file import read_csv
from toolchain.demand.sales import Sales, best_sellers
from toolchain.demand.synthetic import synthetic_sales
from toolchain.errors import DataError
from toolchain.files import sha256_of
from toolchain.project import Data


def load_sales(data: Data, root: Path, environment: Mapping[str, str] = os.environ) -> Sales:
    """Load the sales that `data` names, a file relative to the folder `root`.

    Raises:
        DataError: the file cannot be used.
        ToolMissing: the package that carries the data is not installed.
    """
    if data.source == "complete_journey":
        sales = complete_journey()
    elif data.source == "synthetic":
        sales = synthetic_sales(data.seed)
    else:
        path = _file_of(data, root, environment)
        if data.source_variable is not None and not path.exists():
            raise DataError(
                f"{path}: no such file. Put it there, or say where it is: "
                f"export {data.source_variable}=FILE"
            )
        sales = read_csv(path, data)
    return sales if data.top is None else best_sellers(sales, data.top, data.test_days)


def fingerprint(data: Data, root: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Name what `load_sales` would read: the hash of a file, the version of a package.

    What is not there has a name too, and `load_sales` says what is wrong with it.
    """
    if data.source == "complete_journey":
        try:
            return metadata.version(PACKAGE)
        except metadata.PackageNotFoundError:
            return "absent"
    if data.source == "synthetic":
        return __version__
    path = _file_of(data, root, environment)
    return sha256_of(path) if path.is_file() else "absent"


def _file_of(data: Data, root: Path, environment: Mapping[str, str]) -> Path:
    """Return the CSV file: where the environment says, or where the project does."""
    said = environment.get(data.source_variable, "") if data.source_variable else ""
    return Path(said) if said else root / data.source
