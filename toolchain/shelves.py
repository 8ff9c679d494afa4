"""What the verbs for shelves do with a project's run: backtest, monitor, provision, replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolchain.demand.windows import EXPANDED, Dataset, load_dataset
from toolchain.errors import InputError, RunError, nearest
from toolchain.files import sha256_of, write_atomically
from toolchain.graph.tflite_file import load_graph
from toolchain.graph.types import Graph
from toolchain.graph.units import FRACTION_BITS
from toolchain.job import Job, Report
from toolchain.project import Feature
from toolchain.shelf.calendar import date_of
from toolchain.shelf.decimals import decimal_of
from toolchain.shelf.forecast import shelf_model

if TYPE_CHECKING:
    from toolchain.backtest.comparison import Backtest
    from toolchain.device.session import Session
    from toolchain.fleet.days import Feed
    from toolchain.fleet.provision import Row
    from toolchain.fleet.recording import Check
    from toolchain.fleet.units import Unit

LEAD = 3
"""Days from an order to its delivery, where nobody says otherwise."""


def features_of(dataset: Dataset) -> tuple[Feature, ...]:
    """Return what a model of this dataset is fed."""
    return tuple(name for name, parts in EXPANDED.items() if parts[0] in dataset.features)


def backtest(
    job: Job, report: Report, *, lead: int, days: int, series: int | None
) -> tuple[Backtest, dict[str, Path]]:
    """Compare sensors with fixed reorder points; return the result and the files it is in."""
    from toolchain.backtest.comparison import backtest as compare
    from toolchain.backtest.market import make_market
    from toolchain.backtest.picture import draw

    dataset, graph = _dataset(job), _graph(job)
    files = {"result": job.run.path / "backtest.json", "picture": job.run.path / "backtest.png"}
    with report("backtest") as stage:
        market = make_market(dataset, days=days, series=series)
        wanted = job.project.shelf
        model = shelf_model(graph, features_of(dataset), wanted.forecast, wanted.horizon)
        result = compare(model, market, lead=lead, progress=stage.progress)
        write_atomically(files["result"], json.dumps(result.to_json(), indent=2) + "\n")
        draw(files["picture"], result)
        tuned = market.tuning.stop - market.tuning.start
        stage.result(
            f"{len(market.names)} shelves, {tuned} days to tune on, {market.measured} measured",
            skipped=False,
        )
    return result, files


@contextmanager
def open_shelf(job: Job, report: Report, port: str | None) -> Iterator[Session]:
    """Yield a session with a board that holds the run's model: at a port, or emulated."""
    from toolchain.device.running import open_device

    image = job.run.image(job.board.name)
    graph = _graph(job)
    if port is None and not image.exists():
        raise RunError(
            f"{image}: not there yet. `shelfcast build --board {job.board.name}` makes it."
        )
    with (
        report("board") as stage,
        open_device(
            job.board, image, port=port, model_crc=graph.crc32, progress=stage.progress
        ) as session,
    ):
        greeting = session.greeting
        where = "emulated" if port is None else f"at {port}"
        stage.result(f"{greeting.board} {where}, model {greeting.model_crc:08x}", skipped=False)
        yield session


def recorded_with(job: Job) -> tuple[int, tuple[Feature, ...]]:
    """Return what a recording has to know of the model: its CRC, and what it is fed."""
    return _graph(job).crc32, features_of(_dataset(job))


def simulated_shop(
    job: Job, name: str | None, words: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Feed]:
    """Return settings of a shelf, and the held-out days of a series with a simulated stock.

    Args:
        job: the run.
        name: the series; None: the one that sells most.
        words: settings that are wanted, of which the shop takes the days to a delivery; None: those
            that suit the series.

    Raises:
        InputError: no such series.
    """
    from toolchain.backtest.market import make_market
    from toolchain.fleet.days import simulated_feed

    dataset = _dataset(job)
    names = dataset.sales.names
    if name is None:
        name = names[int(np.argmax(dataset.scaling.offset))]
    if name not in names:
        raise InputError(f'--series: unknown series "{name}"; {nearest(name, names)}')
    market = make_market(dataset)
    row = market.names.index(name)
    mean, deviation = (int(it[row]) for it in (market.scaling.mean, market.scaling.deviation))
    label = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)
    if words is None:
        words = (label[:15], decimal_of(mean), decimal_of(deviation), str(LEAD), "1", "1")
    # What is no number the shelf refuses, in its own words.
    lead = max(1, int(words[3])) if len(words) > 3 and words[3].isdecimal() else LEAD
    # A window of days before, so that the forecasts are whole on the first measured one.
    days = slice(market.test.start - dataset.steps, market.test.stop)
    dates = tuple(date_of(int(day)) for day in market.days[days])
    demand = tuple(map(int, market.demand[row, days]))
    stock = (mean * (2 * lead + 1)) >> FRACTION_BITS
    return words, simulated_feed(dates, demand, stock=stock, lead=lead)


def check_recording(job: Job, path: Path) -> Check:
    """Compare a recording with the host twin of the run's model."""
    from toolchain.fleet.recording import check_recording as check
    from toolchain.fleet.recording import read_recording

    return check(read_recording(path), _graph(job))


def provision(
    job: Job, report: Report, units: tuple[Unit, ...], *, jobs: int, windows: int, again: bool
) -> tuple[tuple[Row, ...], Path]:
    """Set units up; return a row for each, and the file they are kept in."""
    from toolchain.device.ports import find_ports
    from toolchain.device.running import open_device
    from toolchain.fleet import provision as fleet

    board, image = job.board, job.run.image(job.board.name)
    graph, dataset = _graph(job), _dataset(job)
    if not image.exists():
        raise RunError(f"{image}: not there yet. `shelfcast build --board {board.name}` makes it.")
    chosen = np.unique(np.linspace(0, len(dataset.test) - 1, windows).astype(int))
    recipe = fleet.Recipe(
        graph, graph.input.quantize(dataset.test.inputs[chosen]), sha256_of(image)
    )
    path = job.run.path / board.name / "units.json"
    before = fleet.load_rows(path)
    with report("provision") as stage:
        rows = fleet.provision(
            units,
            recipe,
            lambda unit: open_device(board, image, port=unit.port, model_crc=graph.crc32),
            {} if again else before,
            jobs=jobs,
            serials={port.device: port.serial for port in find_ports() if port.serial},
            keep=lambda rows: fleet.save_rows(path, rows, before),
            progress=stage.progress,
        )
        passed = sum(row.verdict == "pass" for row in rows)
        stage.result(f"{passed} of {len(rows)} units passed", skipped=False)
    return rows, path


def _dataset(job: Job) -> Dataset:
    return load_dataset(job.run.dataset)


def _graph(job: Job) -> Graph:
    if not job.run.model.exists():
        raise RunError(f"{job.run.model}: not there yet. `shelfcast quantize` makes it.")
    return load_graph(job.run.model)


def summarize_backtest(result: Backtest, files: dict[str, Path]) -> str:
    """Write a backtest for people."""
    from toolchain.table import aligned

    market = result.market
    head = ("tuned for", "rule", "demand served", "days served", "stock-outs", "average stock",
            "orders")  # fmt: skip
    rows = [head]
    for sensor, fixed in zip(result.sensor, result.fixed, strict=True):
        for name, point in (("sensor", sensor), ("fixed", fixed)):
            rows.append((
                f"{point.aim:.1%}", name, f"{point.fill_rate:.2%}", f"{point.days_served:.2%}",
                f"{point.stock_outs:,}", f"{point.average_stock:,.1f}", f"{point.orders:,}",
            ))  # fmt: skip
    equal = [
        f"equal {one.measure.replace('_', ' ')} of {one.service:.0%}: "
        + (
            "not on both curves"
            if one.saved is None
            else f"sensor {one.sensor_stock:,.1f}, fixed {one.fixed_stock:,.1f} units in stock"
        )
        for one in result.equal
    ]
    values: dict[str, Any] = result.to_json()
    return "\n".join([
        f"{len(market.names)} shelves, {values['first_measured']} to {values['last_measured']}: "
        f"{market.measured} days measured, parameters from the {values['tuned_days']} days before; "
        f"{result.lead} days from order to delivery.",
        "Stock and deliveries are simulated; what is asked for and not there is lost, and the "
        "sensor sees only what was sold.",
        "",
        aligned(rows),
        "",
        *equal,
        result.sentence,
        *(f"{name:<8} {path}" for name, path in files.items()),
    ])  # fmt: skip
