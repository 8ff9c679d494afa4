"""The verbs for shelves: what a forecast is worth, one shelf at work, and many set up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolchain.cli_options import (
    HERE,
    BoardName,
    BoardsDir,
    Json,
    Model,
    Port,
    ProjectPath,
    RunPath,
)
from toolchain.console import Console
from toolchain.errors import InputError, PortError
from toolchain.job import AUTO, Job, open_job, plug_in

INTERRUPTED = 130
Settings = Annotated[
    str | None,
    typer.Option(
        "--set", help='Name, mean, deviation, lead, safety, minimum: "milk-3 24.5 8 2 1.5 12".'
    ),
]


def backtest(
    project: ProjectPath = HERE,
    run: RunPath = None,
    model: Model = None,
    lead: Annotated[int, typer.Option(min=1, help="Days from an order to its delivery.")] = 3,
    days: Annotated[
        int, typer.Option(min=1, help="Measure the last days that were held out, this many.")
    ] = 365,
    series: Annotated[
        int | None, typer.Option(min=1, help="Only this many series, those that sell most.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what the forecast is worth: stock at equal service, against a fixed reorder point.

    The sensor's host twin lives through the held-out days with a simulated stock, and orders when
    it raises an alert. Parameters of both rules come from the days before. Exit code 1 when the
    sensors do not need at least 10% less stock at 95% of the demand served.
    """
    from toolchain import shelves

    console = Console(as_json=as_json)
    job = open_job(project, run=run, model=model)
    result, files = shelves.backtest(job, console.report, lead=lead, days=days, series=series)
    console.result(result.to_json(), shelves.summarize_backtest(result, files))
    if not result.passed:
        raise typer.Exit(1)


def monitor(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    model: Model = None,
    port: Port = None,
    feed: Annotated[
        Path | None, typer.Option(help="Tell it the days of a CSV: date, units, stock.")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0, help="Days a second; 0: as fast as it answers.")
    ] = 0,
    series: Annotated[
        str | None,
        typer.Option(help="Emulated, without --feed: this series' held-out days, in a shop."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Keep a log that validate --replay checks.")
    ] = None,
    settings: Settings = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Let the shelf forget its days first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch a shelf: sales, forecast, projected stock, and alerts as they come.

    With --feed it is told days from a file; at a port, without one, it is watched while it gets
    them from elsewhere, until Ctrl-C. An emulated shelf without a feed stands in a simulated shop
    that sells the held-out days and delivers what it orders.
    """
    from toolchain import shelves
    from toolchain.fleet import watch
    from toolchain.fleet.days import read_feed, recorded_feed
    from toolchain.fleet.recording import recording
    from toolchain.fleet.view import Screen, to_line

    console = Console(as_json=as_json)
    job = open_job(project, run=run, board=board, boards=boards, port=port, model=model)
    job = plug_in(job)
    words = tuple(settings.split()) if settings is not None else None
    days = recorded_feed(read_feed(feed)) if feed is not None else None
    if days is None and job.port is None:
        words, days = shelves.simulated_shop(job, series, words)
    count, interrupted = watch.Count(), False
    with shelves.open_shelf(job, console.report, job.port) as session:
        shelf = watch.ready_shelf(session, words, restart=restart)
        if record is not None and not watch.is_fresh(session):
            raise InputError(
                f"--record: {session.port} knows days already, and what it knows cannot be read "
                "back wholly. Add --restart, which lets it forget them."
            )
        events = watch.listen(session) if days is None else watch.feed(session, days, speed=speed)
        where = f"{job.board.name}, " + ("emulated" if job.port is None else str(job.port))
        screen = Screen(shelf, where)
        crc, features = shelves.recorded_with(job)
        try:
            with console.watching(screen, to_line) as show:
                if record is None:
                    for event in events:
                        count.add(event)
                        show(event)
                else:
                    with recording(record, model_crc=crc, features=features, shelf=shelf) as write:
                        for event in events:
                            write(event)
                            count.add(event)
                            show(event)
        except KeyboardInterrupt:
            interrupted = True
    values = {
        "shelf": dict(shelf),
        "board": job.board.name,
        "emulated": job.port is None,
        **count.to_json(),
        "record": None if record is None else str(record),
        "interrupted": interrupted,
    }
    text = (
        f"{count.days} days, {count.refused} refused, {count.restocks} restock alerts, "
        f"{count.clears} cleared"
    )
    if record is not None:
        text += f"\n{record} is recorded. Check it: shelfcast validate --replay {record}"
    console.result(values, text)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def provision(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    model: Model = None,
    port: Port = None,
    settings: Settings = None,
    units: Annotated[
        Path | None,
        typer.Option(
            help="Many units: a CSV with port (or: emulated), name, mean, deviation, lead, "
            "safety, minimum."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Units at the same time.")] = 4,
    windows: Annotated[
        int, typer.Option(min=1, help="Held-out windows that each unit forecasts as a test.")
    ] = 4,
    again: Annotated[
        bool, typer.Option("--again", help="Do units again that passed already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Set shelves up: name and numbers, read back and compared, after a test of their forecasts.

    One unit with --set, or many with --units; one that fails does not stop the others, and those
    that passed with the same image and settings are skipped the next time. Exit code 4 when a
    device failed, 1 when one is not right.
    """
    from toolchain import shelves
    from toolchain.fleet.provision import exit_code, to_json, to_table
    from toolchain.fleet.units import make_unit, read_units
    from toolchain.table import aligned

    console = Console(as_json=as_json)
    if (settings is None) == (units is None):
        raise InputError("provision: give either --set, for one unit, or --units, for many.")
    job = open_job(project, run=run, board=board, boards=boards, port=port, model=model)
    if units is not None:
        if port is not None:
            raise InputError("--port: the ports of --units are in its file.")
        todo = read_units(units)
    else:
        job = plug_in(job)
        todo = (make_unit(job.port, tuple((settings or "").split())),)
    if any(unit.port == AUTO for unit in todo):
        raise PortError("auto: which unit is at which port has to be said.")
    rows, path = shelves.provision(
        job, console.report, todo, jobs=jobs, windows=windows, again=again
    )
    files = f"{path}\n{path.with_suffix('.csv')}"
    console.result({**to_json(rows), "file": str(path)}, f"{aligned(to_table(rows))}\n\n{files}")
    if code := exit_code(rows):
        raise typer.Exit(code)


def check_replay(console: Console, job: Job, path: Path) -> None:
    """Compare a recording with the host twin, for `validate --replay`."""
    from toolchain import shelves

    check = shelves.check_recording(job, path)
    words = [f"{check.days} days, {check.values} values compared with the host twin, "
             f"{check.differences} differ"]  # fmt: skip
    words += [f"first: {check.first}"] if check.first else []
    words += ["The last line was cut off, and does not count."] if check.cut_off else []
    console.result(check.to_json(), "\n".join(words))
    if not check.passed:
        raise typer.Exit(1)


VERBS = (backtest, monitor, provision)
