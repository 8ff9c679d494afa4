"""The command line: parse, call the pipeline, print. No other module prints or exits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from toolchain import __version__, pipeline
from toolchain.board import boards_dir, find_board, read_boards
from toolchain.console import Console
from toolchain.errors import ProjectError, ShelfcastError, nearest
from toolchain.project import PROJECT_FILE
from toolchain.resources import resource_dir
from toolchain.summary import summarize

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

ProjectPath = Annotated[
    Path, typer.Argument(help="The project: a shelfcast.toml, or a folder with one.")
]
RunPath = Annotated[
    Path | None, typer.Option("--run", help="The run folder. Default: runs/<project name>.")
]
BoardName = Annotated[
    str | None, typer.Option("--board", help="The board; `shelfcast boards` lists them.")
]
BoardsDir = Annotated[
    Path | None, typer.Option("--boards-dir", help="Use the boards of this folder instead.")
]
Port = Annotated[
    str | None,
    typer.Option(
        "--port", help="/dev/ttyACM0, COM3, socket://host:port. Default: the board's emulator."
    ),
]
Windows = Annotated[
    int | None, typer.Option("--windows", min=1, help="Replay this many held-out windows.")
]
Limit = Annotated[
    float | None,
    typer.Option(
        "--limit", min=0.001, help="Fail when the device's MAE is more percent above float's."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
HERE = Path()
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
    job = pipeline.open_job(project, run=run)
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
    job = pipeline.open_job(project, run=run)
    job = pipeline.with_network(job, hidden=hidden, epochs=epochs, seed=seed)
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
    job = pipeline.open_job(project, run=run)
    pipeline.quantize(job, console.report)
    path = job.run.model
    console.result({"model": str(path)}, f"{path} is ready. Next: shelfcast deploy")


@app.command()
def inspect(
    model: Annotated[Path, typer.Argument(help="A .tflite file.")], as_json: Json = False
) -> None:
    """Show a model's operators, shapes, scales, work and bytes; or why it cannot be deployed."""
    from toolchain.graph.show import describe, to_json

    graph = pipeline.inspect(model)
    Console(as_json=as_json).result(to_json(graph), describe(graph, model.name))


@app.command()
def render(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    as_json: Json = False,
) -> None:
    """Write the firmware's C sources for a board.

    The folder builds on its own with `make`; the same model and board give the same bytes.
    """
    console = Console(as_json=as_json)
    job = pipeline.open_job(project, run=run, board=board, boards=boards)
    sources = pipeline.render(job, console.report)
    console.result({"sources": str(sources)}, f"{sources} is ready. Next: shelfcast build")


@app.command()
def build(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    as_json: Json = False,
) -> None:
    """Compile and link the firmware, and say what it occupies."""
    console = Console(as_json=as_json)
    job = pipeline.open_job(project, run=run, board=board, boards=boards)
    image = pipeline.build(job, console.report)
    console.result(
        {
            "image": str(image.path),
            "flash": {"total": image.flash_bytes, "budget": job.board.flash.bytes},
            "ram": {"static": image.ram_bytes, "budget": job.board.ram.bytes},
        },
        f"{image.path} is ready. Next: shelfcast validate",
    )


@app.command()
def flash(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    as_json: Json = False,
) -> None:
    """Write the image onto the board, verify it, and see that it answers.

    Emulated boards only: they are flashed through their debug port and verified byte for byte.
    They forget when they are switched off, so `validate` and `deploy` flash them again. For a real
    board, write the image (`shelfcast build` names it) with its own tool, then
    `shelfcast validate --port`.
    """
    console = Console(as_json=as_json)
    job = pipeline.open_job(project, run=run, board=board, boards=boards)
    result = pipeline.flash(job, console.report)
    console.result(result, f"{job.board.name} runs the image. Next: shelfcast validate")


@app.command()
def validate(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    port: Port = None,
    windows: Windows = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Replay held-out windows over serial, compare with the host, and judge.

    Compares every output, every hidden value and cell of a sample of windows, and sequences with
    the state carried over; measures the error in sales units. Exit code 1 when anything differs.
    """
    console = Console(as_json=as_json)
    job = pipeline.open_job(project, run=run, board=board, boards=boards, port=port)
    verdict = pipeline.validate(job, console.report, windows=windows, limit=limit, again=True)
    _print_verdict(console, job, verdict)


@app.command()
def deploy(
    project: ProjectPath = HERE,
    run: RunPath = None,
    board: BoardName = None,
    boards: BoardsDir = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Go the whole way: sales, training, INT8, firmware, board, verdict.

    What is done and unchanged is skipped. Without --port the board is emulated.
    """
    console = Console(as_json=as_json)
    job = pipeline.open_job(project, run=run, board=board, boards=boards, port=port)
    _print_verdict(console, job, pipeline.deploy(job, console.report))


@app.command()
def boards(
    name: Annotated[str | None, typer.Argument(help="Show one board wholly.")] = None,
    boards: BoardsDir = None,
    as_json: Json = False,
) -> None:
    """List the boards: tier 1 runs in the tests under emulation, tier 2 is only built there."""
    folder = boards or boards_dir()
    found = (find_board(name, folder),) if name else read_boards(folder)
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
            "flasher": board.flasher,
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
    text = _columns(table)
    if name:
        text += "".join(f"\n{note}" for note in found[0].notes)
    Console(as_json=as_json).result({"rows": rows}, text)


def _print_verdict(console: Console, job: pipeline.Job, verdict: dict[str, Any]) -> None:
    name = job.board.name
    files = {"verdict": job.run.validation(name), "picture": job.run.picture(name)}
    console.result(verdict, summarize(verdict, {key: str(path) for key, path in files.items()}))
    if verdict["verdict"] != "pass":
        raise typer.Exit(1)


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Align a table; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


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
