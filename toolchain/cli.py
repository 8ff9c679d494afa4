"""The command line: parse, call the pipeline, print. No other module prints or exits."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from toolchain import __version__, cli_shelf, exporting, pipeline, studies
from toolchain.board import boards_dir, find_board, read_boards
from toolchain.board_page import describe_board
from toolchain.cli_options import (
    HERE,
    BoardName,
    BoardsDir,
    BuildProfile,
    Json,
    Limit,
    Model,
    Oracle,
    OracleChoice,
    Port,
    ProjectPath,
    Representative,
    RunPath,
    RuntimeName,
    TflmInclude,
    TflmLib,
    Windows,
)
from toolchain.console import Console
from toolchain.errors import BoardError, ProjectError, ShelfcastError, nearest
from toolchain.job import Job, open_job, plug_in, with_network
from toolchain.model_path import is_float
from toolchain.project import PROJECT_FILE, BoardChoice, find_project, read_project
from toolchain.resources import resource_dir
from toolchain.summary import summarize
from toolchain.table import aligned

if TYPE_CHECKING:
    from toolchain.device.ports import Ask, FoundPort

app = typer.Typer(
    name="shelfcast",
    help="Retail demand forecasts on microcontrollers: train, compress, render, flash, and prove "
    "bit for bit that the board forecasts what the host does.",
    epilog="Start with `shelfcast init`, then `shelfcast deploy` in the new folder. "
    "No hardware is needed: the default board is emulated.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help: it starts three times faster than the framed one.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""Exit code after Ctrl-C; the parser of the command line turns it into this too."""


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        Console(as_json=False).result({}, f"shelfcast {__version__}")
        raise typer.Exit


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder.")] = HERE,
    example: Annotated[str, typer.Option(help="Which example to start from.")] = "synthetic",
    as_json: Json = False,
) -> None:
    """Make a new project that runs as it is.

    The default example invents its sales, so nothing is downloaded; `complete_journey` reads a
    year of real grocery sales, once `pip install 'shelfcast[examples]'` is done.
    """
    examples = resource_dir("examples")
    names = sorted(path.parent.name for path in examples.glob(f"*/{PROJECT_FILE}"))
    if example not in names:
        raise ProjectError(f'unknown example "{example}"; {nearest(example, names)}')
    target = folder / PROJECT_FILE
    if target.exists():
        raise ProjectError(f"{target}: is there already; it was left as it is.")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes((examples / example / PROJECT_FILE).read_bytes())
    Console(as_json=as_json).result(
        {"project": str(target), "example": example},
        f"{target} is ready. Next: shelfcast deploy {folder}",
    )


@app.command()
def prepare(project: ProjectPath = HERE, run: RunPath = None, as_json: Json = False) -> None:
    """Read the sales and cut them into windows.

    Splits by time: the last days are held out, those before them choose the best epoch, the rest
    trains. Prints how well simple rules forecast the held-out days: what a network has to beat.
    """
    console = Console(as_json=as_json)
    job = open_job(project, run=run)
    pipeline.prepare(job, console.report)
    references = {name: asdict(value) for name, value in pipeline.simple_rules(job).items()}
    rows = [
        f"  {name:<16} MAE {value['mae']:8.2f}   WAPE {value['wape_percent'] or 0:6.2f} %"
        for name, value in references.items()
    ]
    console.result(
        {"dataset": str(job.run.dataset), "references": references},
        "\n".join(["simple rules on the held-out days, in units a day:", *rows]),
    )


@app.command()
def train(
    project: ProjectPath = HERE,
    run: RunPath = None,
    hidden: Annotated[
        list[int] | None, typer.Option(help="Units of an LSTM layer; once per layer.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    as_json: Json = False,
) -> None:
    """Train the float network on the project's data.

    The same seed gives the same weights on the same machine. The epoch with the best error on the
    validation days is kept. Flags win over the project file, for this run.
    """
    console = Console(as_json=as_json)
    job = open_job(project, run=run)
    job = with_network(job, hidden=hidden, epochs=epochs, seed=seed)
    pipeline.prepare(job, console.report)
    pipeline.train(job, console.report)
    path = job.run.float_model
    console.result({"model": str(path)}, f"{path} is trained. Next: shelfcast quantize")


@app.command()
def quantize(project: ProjectPath = HERE, run: RunPath = None, as_json: Json = False) -> None:
    """Turn the trained network into an INT8 .tflite.

    The converter runs in a process of its own; afterwards every operator is checked. Needs
    `shelfcast train` first.
    """
    console = Console(as_json=as_json)
    job = open_job(project, run=run)
    pipeline.quantize(job, console.report)
    path = job.run.model
    console.result({"model": str(path)}, f"{path} is ready. Next: shelfcast render")


@app.command("import")
def import_(
    project: ProjectPath = HERE,
    run: RunPath = None,
    representative: Representative = None,
    as_json: Json = False,
) -> None:
    """Take in a finished model: rebuild it, prove it equal, quantize it.

    The model is a file, or what network.model of a project names. Keras files are read, never run:
    their LSTM layers are rebuilt with the same weights, and the outputs compared with the
    original's. A .tflite is taken as it is.
    """
    console = Console(as_json=as_json)
    job = open_job(project, run=run, representative=representative)
    pipeline.import_model(job, console.report)
    path = job.run.model
    values = {"model": str(path), "proof": pipeline.import_proof(job)}
    console.result(values, f"{path} is ready. Next: shelfcast render{_named(job)}")


@app.command()
def compress(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    profile: BuildProfile = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: less data, fewer epochs, one seed.")
    ] = False,
    budget_mape: Annotated[
        float | None,
        typer.Option(min=0, help="Pick within this many points of MAPE above the float baseline."),
    ] = None,
    budget_mae: Annotated[
        float | None,
        typer.Option(min=0, help="Pick within this many percent of MAE above the float baseline."),
    ] = None,
    budget_flash: Annotated[
        int | None, typer.Option(min=1, help="Pick within this many bytes of flash.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that train at once; 0: one per core.")
    ] = 0,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Train on the Dask cluster with this scheduler, tcp://host:port."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try many models of the project's [study], measure each on the board, and pick one.

    Hidden sizes, layers, inputs, zeros and INT8 against the project's own network: a table, a CSV
    and a picture. Picked is the smallest model within the accuracy budget or, without one, the
    most accurate that fits. Interrupt it whenever you like: finished trainings are kept. Exit code
    1 when no model is within the budget.
    """
    from toolchain.summary import summarize_study

    console = Console(as_json=as_json)
    job = open_job(project, run=run, board=board, boards=boards, profile=profile)
    job = studies.with_budget(
        job, mape_points=budget_mape, mae_percent=budget_mae, flash_bytes=budget_flash
    )
    results = studies.compress(
        job, console.report, quick=quick, workers=workers or os.cpu_count() or 1,
        scheduler=scheduler,
    )  # fmt: skip
    files = studies.study_files(job, quick=quick)
    console.result(results, summarize_study(results, {key: str(it) for key, it in files.items()}))
    if results["picked"] is None:
        console.error(results["reason"])
        raise typer.Exit(1)


@app.command()
def inspect(
    model: Annotated[
        Path, typer.Argument(help="A .tflite, .keras or .h5 file, or a SavedModel folder.")
    ],
    boards: BoardsDir = None,
    oracle: Oracle = "double",
    as_json: Json = False,
) -> None:
    """Show a model's operators, shapes, scales, work and bytes, and which boards it fits.

    Of a model that cannot be deployed: which operator, why, and how to convert instead.
    """
    from toolchain.graph.show import describe, describe_boards, to_json

    if is_float(model):
        from toolchain.network.keras_shapes import read_shapes
        from toolchain.network.show import describe as describe_float
        from toolchain.network.show import to_json as float_json
        from toolchain.network.sized import sized

        network = read_shapes(model)
        values, text = float_json(network), describe_float(network, model.name)
        # Windows of any length: how much RAM they take is not known yet.
        graph = sized(network, model.name) if network.steps is not None else None
    else:
        graph = pipeline.inspect(model, oracle)
        values, text = to_json(graph), describe(graph, model.name)
    if graph is not None:
        fits = pipeline.boards_for(graph, boards or boards_dir())
        values["boards"] = {board.name: why is None for board, why in fits}
        text += "\n" + describe_boards([(board.name, why) for board, why in fits])
    Console(as_json=as_json).result(values, text)


@app.command()
def render(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    profile: BuildProfile = None,
    runtime: RuntimeName = None,
    oracle: OracleChoice = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Write the firmware's C sources for a board.

    The folder builds on its own with `make`; the same model and board give the same bytes. With
    --runtime tflm, for TensorFlow Lite Micro's interpreter instead of the engine.
    """
    console = Console(as_json=as_json)
    job = open_job(
        project, run=run, board=board, boards=boards, profile=profile, model=model,
        runtime=runtime, oracle=oracle,
    )  # fmt: skip
    sources = pipeline.render(job, console.report)
    console.result(
        {"sources": str(sources)}, f"{sources} is ready. Next: shelfcast build{_named(job)}"
    )


@app.command()
def build(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    runtime: RuntimeName = None,
    tflm_include: TflmInclude = None,
    tflm_lib: TflmLib = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Compile and link the firmware, and say what it occupies."""
    console = Console(as_json=as_json)
    job = open_job(
        project, run=run, board=board, boards=boards, model=model, runtime=runtime,
        tflm_include=tflm_include, tflm_lib=tflm_lib,
    )  # fmt: skip
    image = pipeline.build(job, console.report)
    console.result(
        {
            "image": str(image.path),
            "flash": {"total": image.flash_bytes, "budget": job.board.flash.bytes},
            "ram": {"static": image.ram_bytes, "budget": job.board.ram.bytes},
        },
        f"{image.path} is ready. Next: shelfcast validate{_named(job)}",
    )


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="[MODEL|PROJECT]",
            help="A .tflite, .keras or .h5 file, or a SavedModel; a shelfcast.toml, or its folder.",
        ),
    ] = HERE,
    form: Annotated[
        Literal["arduino", "cmake", "esp-idf", "make", "platformio", "zephyr"],
        typer.Option("--format", help="The build system that the library is for."),
    ] = "cmake",
    run: RunPath = None,
    board: Annotated[
        str | None, typer.Option("--board", help="For this board's core. Default: any core.")
    ] = None,
    core: Annotated[
        str | None, typer.Option("--core", help="For this core, such as cortex-m4.")
    ] = None,
    boards: BoardsDir = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The library's folder. Default: <name>_forecast.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What its symbols begin with. Default: the model's name."),
    ] = None,
    profile: BuildProfile = None,
    representative: Representative = None,
    as_json: Json = False,
) -> None:
    """Write the forecaster as a library for a firmware that is there already.

    The engine and the model, a header, an example that checks itself against the host, and what the
    build system expects. Several models, each with a name of its own, can be in one firmware.
    """
    console = Console(as_json=as_json)
    result = exporting.export(
        source, form, console.report, run=run, boards=boards, board=board, core=core,
        profile=profile, name=name, out=out, representative=representative,
    )  # fmt: skip
    console.result(
        {**asdict(result), "folder": str(result.folder), "format": form},
        f"{result.folder} is ready: include <{result.header}>. {result.folder}/README.md says how.",
    )


@app.command()
def fit(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files (.tflite, .keras, .h5, SavedModel folders) and shapes such as "
            "lstm:32x5x28, lstm:64x1@blocks70. Default: the project's network."
        ),
    ] = None,
    project: Annotated[
        Path, typer.Option("--project", help="A project file or its folder.")
    ] = HERE,
    run: RunPath = None,
    board: Annotated[
        list[str] | None, typer.Option("--board", help="A board; may be given several times.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every board of the catalog.")] = False,
    boards: BoardsDir = None,
    profile: BuildProfile = None,
    study: Annotated[
        bool, typer.Option("--study", help="The models that `shelfcast compress` tried, too.")
    ] = False,
    largest: Annotated[
        bool, typer.Option("--largest", help="Find the largest hidden size for each board.")
    ] = False,
    smallest_board: Annotated[
        bool, typer.Option("--smallest-board", help="Find the smallest board for each model.")
    ] = False,
    runtime: Annotated[
        Literal["engine", "both"],
        typer.Option(help="both: what the same takes with TensorFlow Lite Micro beside it."),
    ] = "engine",
    interval: Annotated[
        str, typer.Option(help="Time between forecasts, such as 15m, 1d: for the battery's life.")
    ] = "1d",
    battery_mah: Annotated[float, typer.Option(min=1, help="The battery.")] = 225,
    sleep_ua: Annotated[
        float | None,
        typer.Option(
            min=0, help="Microamperes between forecasts. Default: what the board's profile says."
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw boards by models, coloured by headroom, to a PNG.")
    ] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Show what was predicted of this run, and measured.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say which model fits which board, and how fast it is there, before anything is built.

    Flash, RAM, the deepest stack and instructions are predicted from the model and from what the
    catalog's boards measured; time and energy are estimated. Exit code 1 when nothing fits.
    """
    from toolchain.fitting import ask

    console = Console(as_json=as_json)
    if ledger:
        from toolchain.verdict.fit_table import ledger_table
        from toolchain.verdict.ledger import read

        folder = open_job(project, run=run, boards=boards).run.ledger
        entries = read(folder)
        rows = [{**asdict(entry), "error": entry.error} for entry in entries]
        console.result({"rows": rows}, ledger_table(entries))
        return
    words = list(models or [])
    if not words or study:
        job = open_job(project, run=run, boards=boards)
        words += pipeline.fit_words(job, network=not words, study=study)
    names = list(board or []) or ([] if every or smallest_board else [_usual_board()])
    answer = ask(
        words, names, boards or boards_dir(), profile, interval=interval, battery_mah=battery_mah,
        sleep_ua=sleep_ua, largest_of_board=largest, smallest=smallest_board,
        tflm=runtime == "both",
    )  # fmt: skip
    if picture is not None:
        from toolchain.verdict.fit_picture import draw

        draw(picture, answer.rows)
        console.say(f"{picture}: boards by models, by what stays free")
    console.result(answer.to_json(), answer.to_text(console.width))
    if not any(row.fits for row in answer.rows):
        raise typer.Exit(1)


@app.command()
def flash(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    runtime: RuntimeName = None,
    model: Model = None,
    port: Port = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the exact command for hardware; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the image onto the board, verify it, and see that it answers.

    A board at a port is written with the tool that its profile names, and has to answer at that
    port afterwards. An emulated board is flashed through its debug port and verified byte for
    byte; it forgets when it is switched off, so `validate` and `deploy` flash it again.
    """
    console = Console(as_json=as_json)
    job = open_job(
        project, run=run, board=board, boards=boards, port=port, model=model, runtime=runtime
    )
    if dry_run:
        values = pipeline.flash_plan(job)
        scripts = [f"\n{path}:\n{text}" for path, text in values["scripts"].items()]
        console.result(values, "\n".join([*map(shlex.join, values["commands"]), *scripts]))
        return
    job = plug_in(job, _asker(console))
    result = pipeline.flash(job, console.report)
    hint = f" --port {job.port}" if job.port else ""
    console.result(
        result, f"{job.board.name} runs the image. Next: shelfcast validate{_named(job)}{hint}"
    )


@app.command()
def validate(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    runtime: RuntimeName = None,
    oracle: OracleChoice = None,
    model: Model = None,
    port: Port = None,
    windows: Windows = None,
    limit: Limit = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Check what `shelfcast monitor --record` kept instead; needs no board."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay held-out windows over serial, compare with the host, and judge.

    Compares every output, every hidden value and cell of a sample of windows, and sequences with
    the state carried over; measures the error in sales units. Exit code 1 when anything differs.
    """
    console = Console(as_json=as_json)
    job = open_job(
        project, run=run, board=board, boards=boards, port=port, model=model, runtime=runtime,
        oracle=oracle,
    )  # fmt: skip
    if replay is not None:
        cli_shelf.check_replay(console, job, replay)
        return
    job = plug_in(job, _asker(console))
    verdict = pipeline.validate(job, console.report, windows=windows, limit=limit, again=True)
    _print_verdict(console, job, verdict)


@app.command()
def deploy(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    profile: BuildProfile = None,
    runtime: RuntimeName = None,
    tflm_include: TflmInclude = None,
    tflm_lib: TflmLib = None,
    oracle: OracleChoice = None,
    model: Model = None,
    representative: Representative = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Go the whole way: sales, training, INT8, firmware, board, verdict.

    What is done and unchanged is skipped. Without --port the board is emulated; at a port it is
    flashed first. With --model, the network is one that `shelfcast compress` trained. A finished
    model is not trained but taken in; without a project, only parity is judged.
    """
    console = Console(as_json=as_json)
    job = open_job(
        project, run=run, board=board, boards=boards, profile=profile, port=port, model=model,
        representative=representative, runtime=runtime, tflm_include=tflm_include,
        tflm_lib=tflm_lib, oracle=oracle,
    )  # fmt: skip
    job = plug_in(job, _asker(console))
    _print_verdict(console, job, pipeline.deploy(job, console.report))


@app.command()
def boards(
    name: Annotated[
        str | None, typer.Argument(help="Show one board wholly; `new`: write a profile.")
    ] = None,
    new_name: Annotated[str | None, typer.Argument(help="After `new`: the new board.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Build a firmware for the board and, if emulated, run it."),
    ] = False,
    like: Annotated[str | None, typer.Option(help="new: the board it resembles.")] = None,
    title: Annotated[str | None, typer.Option(help="new: what people call it.")] = None,
    vendor: Annotated[str | None, typer.Option(help="new: who makes it.")] = None,
    mcu: Annotated[str | None, typer.Option(help="new: the chip on it.")] = None,
    flash_bytes: Annotated[int | None, typer.Option("--flash", help="new: bytes of flash.")] = None,
    ram_bytes: Annotated[int | None, typer.Option("--ram", help="new: bytes of RAM.")] = None,
    clock_hz: Annotated[int | None, typer.Option("--clock", help="new: Hz of the core.")] = None,
    boards: BoardsDir = None,
    as_json: Json = False,
) -> None:
    """List the boards: tier 1 runs in the tests under emulation, tier 2 is only built there.

    `boards NAME` draws a board's memory map and the wiring of its serial pins; `--check` builds a
    small firmware for it, and runs it where it is emulated. `boards new NAME --like BOARD` writes
    the profile of another board of a known family, into --boards-dir (default: boards).
    """
    console = Console(as_json=as_json)
    folder = boards or boards_dir()
    if name == "new":
        path = _new_board(
            console, new_name, like, boards or Path("boards"), title=title, vendor=vendor,
            mcu=mcu, flash_bytes=flash_bytes, ram_bytes=ram_bytes, clock_hz=clock_hz,
        )  # fmt: skip
        hint = f"shelfcast boards {path.stem} --check --boards-dir {path.parents[1]}"
        console.result({"profile": str(path)}, f"{path} is ready. Next: {hint}")
        return
    found = (find_board(name, folder),) if name else read_boards(folder)
    checks = [pipeline.check(board, folder, console.report) for board in found] if check else []
    rows = [
        {
            "name": board.name,
            "vendor": board.vendor,
            "mcu": board.mcu,
            "core": board.core,
            "family": board.family,
            "tier": board.tier,
            "flash_bytes": board.flash.bytes,
            "ram_bytes": board.ram.bytes,
            "flasher": board.flasher.kind if board.flasher else None,
            "emulator": board.emulator.kind if board.emulator else None,
        }
        for board in found
    ]
    table = [("board", "mcu", "core", "flash", "RAM", "tier", "emulator")] + [
        (
            str(row["name"]),
            str(row["mcu"]),
            str(row["core"]),
            f"{row['flash_bytes']:,}",
            f"{row['ram_bytes']:,}",
            str(row["tier"]),
            str(row["emulator"] or ""),
        )
        for row in rows
    ]
    text = describe_board(found[0]) if name else aligned(table)
    console.result({"rows": rows, **({"checks": checks} if check else {})}, text)
    if not all(values["passed"] for values in checks):
        raise typer.Exit(1)


def _new_board(
    console: Console, name: str | None, like: str | None, out: Path, **values: Any
) -> Path:
    """Write a profile, asking for what the flags leave open when there is somebody to ask."""
    from toolchain.board_new import new_board

    if name is None:
        raise BoardError("boards new: needs a name, such as: shelfcast boards new shop --like pico")
    ask = sys.stdin.isatty() and not console.as_json
    if like is None:
        if not ask:
            raise BoardError(
                f"boards new {name}: --like names a board of the same family; "
                "`shelfcast boards` lists them."
            )
        like = typer.prompt("A board of the same family", err=True)
    pattern = find_board(like, out)
    if ask:
        for key, words, usual in (
            ("title", "What people call it", name),
            ("vendor", "Who makes it", pattern.vendor),
            ("mcu", "The chip on it", pattern.mcu),
            ("flash_bytes", "Bytes of flash", pattern.flash.bytes),
            ("ram_bytes", "Bytes of RAM", pattern.ram.bytes),
            ("clock_hz", "Hz of the core", pattern.clock_hz),
        ):
            if values[key] is None:
                values[key] = typer.prompt(words, default=usual, err=True)
    return new_board(name, pattern, out, **values)


@app.command()
def ports(boards: BoardsDir = None, as_json: Json = False) -> None:
    """List the serial ports that are plugged in, and which boards they look like by USB id."""
    from toolchain.device.ports import find_ports, looks_like

    known = read_boards(boards or boards_dir())
    found = [(port, looks_like(port, known)) for port in find_ports()]
    rows = [
        {
            "port": port.device,
            "usb": port.usb,
            "serial": port.serial,
            "location": port.location,
            "description": port.description,
            "boards": [{"name": board.name, "what": what} for board, what in likely],
        }
        for port, likely in found
    ]
    table = [("port", "usb", "description", "looks like")] + [
        (
            port.device,
            port.usb or "",
            port.description,
            ", ".join(f"{board.name} ({what})" for board, what in likely),
        )
        for port, likely in found
    ]
    text = aligned(table) if rows else "No serial port is plugged in."
    Console(as_json=as_json).result({"rows": rows}, text)


@app.command()
def doctor(
    board: BoardName = None,
    boards: BoardsDir = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, what is missing, and the one command that installs it.

    Exit code 0 when all is there that the board needs (compiler, make, and its emulator or, for a
    board without one, its flasher and the right to use serial ports), else 3. What only other
    boards need is listed, too, but fails nothing. Without --board: the project's board, or the
    default one.
    """
    from toolchain.doctor import examine

    folder = boards or boards_dir()
    diagnosis = examine(find_board(board or _usual_board(), folder), folder)
    Console(as_json=as_json).result(diagnosis.to_json(), diagnosis.to_text())
    if not diagnosis.healthy:
        raise typer.Exit(3)


for verb in cli_shelf.VERBS:
    app.command()(verb)


def _named(job: Job) -> str:
    """Return what the next verb has to be given: a model without a project, an unusual board."""
    words = "" if job.bare is None else f" {shlex.quote(str(job.bare))}"
    usual = job.board.name == job.project.board.name
    return words if usual else f"{words} --board {job.board.name}"


def _usual_board() -> str:
    """Return the board of the project here, or the one every new project has."""
    if find_project(HERE).exists():
        return read_project(HERE).board.name
    return BoardChoice().name


def _asker(console: Console) -> Ask | None:
    """Return how to let a person choose a port; None when no person is there."""
    if console.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str, choices: Sequence[FoundPort]) -> FoundPort:
        for number, port in enumerate(choices, 1):
            console.say(f"  {number}  {port}")
        number = 0
        while not 1 <= number <= len(choices):
            number = typer.prompt(question, type=int, prompt_suffix=" ", err=True)
        return choices[number - 1]

    return ask


def _print_verdict(console: Console, job: Job, verdict: dict[str, Any]) -> None:
    files = {"verdict": job.run.validation(job.place)}
    if job.bare is None:
        files["picture"] = job.run.picture(job.place)
    console.result(verdict, summarize(verdict, {key: str(path) for key, path in files.items()}))
    if verdict["verdict"] != "pass":
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; every way it can end has its exit code."""
    # Read before parsing: a usage error, too, must leave stdout to one JSON object.
    console = Console(as_json="--json" in sys.argv)
    try:
        code = app(standalone_mode=False)
    except ShelfcastError as error:
        console.error(str(error))
        if console.as_json:
            console.result({"error": type(error).__name__, "message": str(error)}, "")
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has gone; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except typer.TyperException as error:
        console.error(str(error))
        code = 2
    if code == INTERRUPTED:
        console.say("interrupted; what was finished is kept, the next call goes on from there")
    sys.exit(code if isinstance(code, int) else 0)
