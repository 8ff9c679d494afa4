"""Load the sales that a project names."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from toolchain import __version__
from toolchain.demand.complete_journey import PACKAGE, complete_journey
from toolchain.demand.csv_file import read_csv
from toolchain.demand.sales import Sales, best_sellers
from toolchain.demand.synthetic import synthetic_sales
from toolchain.files import sha256_of
from toolchain.project import Data


def load_sales(data: Data, root: Path) -> Sales:
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
        sales = read_csv(root / data.source, data)
    return sales if data.top is None else best_sellers(sales, data.top, data.test_days)


def fingerprint(data: Data, root: Path) -> str:
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
    path = root / data.source
    return sha256_of(path) if path.is_file() else "absent"
