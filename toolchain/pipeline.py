"""The whole line, from sales to a verdict, as a table of contents.

Each stage reads and writes files of one run folder and is skipped when they are up to date. The
rooms are imported where a stage needs them: what a verb does not use, it does not wait for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import ValidationError

from toolchain import __version__
from toolchain.board import Board, boards_dir, find_board, in_boards, read_cores, shared_files
from toolchain.errors import ProjectError, RunError
from toolchain.files import sha256_of, write_atomically
from toolchain.progress import Progress, part
from toolchain.project import Network, Project, find_project, read_project
from toolchain.resources import resource_dir
from toolchain.run import RunFolder
from toolchain.settings import describe

if TYPE_CHECKING:
    from toolchain.demand.metrics import Accuracy
    from toolchain.device.ports import Ask
    from toolchain.firmware.elf import Image
    from toolchain.graph.types import Graph


AUTO = "auto"
"""A port that is to be found by the board's USB id."""


class Stage(Protocol):
    """What a stage tells the person who waits for it."""

    def progress(self, fraction: float, words: str) -> None:
        """Say how far it is."""

    def result(self, words: str, *, skipped: bool) -> None:
        """Say in one line what came of it."""


Report = Callable[[str], AbstractContextManager[Stage]]
"""Called with a stage's name when it begins; the context ends with the stage."""


@dataclass(frozen=True)
class Job:
    """One project, one run folder, one board."""

    project: Project
    root: Path
    """The project's folder: its paths are relative to it."""
    run: RunFolder
    board: Board
    boards: Path
    port: str | None


def open_job(
    project: Path,
    *,
    run: Path | None = None,
    board: str | None = None,
    boards: Path | None = None,
    port: str | None = None,
) -> Job:
    """Put together what every stage needs to know; flags win over the project file.

    Raises:
        InputError: no project, no such board.
    """
    settings = read_project(project)
    folder = boards or boards_dir()
    return Job(
        project=settings,
        root=find_project(project).parent,
        run=RunFolder(run or Path("runs") / settings.name),
        board=find_board(board or settings.board.name, folder),
        boards=folder,
        port=port or settings.serial.port,
    )


def deploy(job: Job, report: Report) -> dict[str, Any]:
    """Go the whole way and return the verdict."""
    prepare(job, report)
    train(job, report)
    quantize(job, report)
    render(job, report)
    build(job, report)
    if job.port is not None:
        job = replace(job, port=flash(job, report)["port"])
    return validate(job, report)


def plug_in(job: Job, ask: Ask | None = None) -> Job:
    """Find out where the board is plugged in, unless it is emulated or its port was named.

    Raises:
        PortError: it cannot be told, and `ask` is None.
    """
    if job.port != AUTO and (job.port is not None or job.board.emulator is not None):
        return job
    from toolchain.device.ports import choose_port, find_ports

    return replace(job, port=choose_port(job.board, find_ports(), ask=ask).device)


def with_network(
    job: Job, *, hidden: list[int] | None, epochs: int | None, seed: int | None
) -> Job:
    """Return the job with other settings of the network; None keeps the project's.

    Raises:
        ProjectError: an impossible value.
    """
    given = {"hidden": tuple(hidden) if hidden else None, "epochs": epochs, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        network = Network.model_validate({**job.project.network.model_dump(), **chosen})
    except ValidationError as cause:
        raise ProjectError(f"network.{describe(cause, Network)}") from cause
    return replace(job, project=job.project.model_copy(update={"network": network}))


def simple_rules(job: Job) -> dict[str, Accuracy]:
    """Measure the simple forecasts on the held-out days."""
    from toolchain.demand.metrics import measure
    from toolchain.demand.references import REFERENCES
    from toolchain.demand.windows import load_dataset

    dataset = load_dataset(job.run.dataset)
    actual = dataset.actual_units(dataset.test)
    return {
        name: measure(actual, forecast(dataset.sales, dataset.test))
        for name, forecast in REFERENCES.items()
    }


# From sales to a quantized network: the same for every board.


def prepare(job: Job, report: Report) -> None:
    """Read the sales, cut them into windows."""
    from toolchain.demand.source import fingerprint, load_sales
    from toolchain.demand.windows import load_dataset, save_dataset
    from toolchain.demand.windows import prepare as cut

    project, run = job.project, job.run
    inputs = {
        "code": _code("demand"),
        "source": fingerprint(project.data, job.root),
        "data": project.data.model_dump(),
        "network": project.network.model_dump(
            include={"window", "features", "max_windows", "seed"}
        ),
    }
    with report("prepare") as stage:

        def work() -> None:
            stage.progress(0.0, f"reading {project.data.source}")
            sales = load_sales(project.data, job.root)
            stage.progress(0.7, "cutting windows")
            save_dataset(run.dataset, cut(sales, project.data, project.network))

        done = run.do("prepare", inputs, [run.dataset], work)
        dataset = load_dataset(run.dataset)
        stage.result(
            f"{len(dataset.sales.names)} series, {len(dataset.sales.dates)} days "
            f"({dataset.sales.dates[0]} to {dataset.sales.dates[-1]}); windows: "
            f"{len(dataset.train):,} to train, {len(dataset.validation):,} to validate, "
            f"{len(dataset.test):,} held out",
            skipped=not done,
        )


def train(job: Job, report: Report) -> None:
    """Train the float network."""
    from toolchain.demand.windows import load_dataset

    project, run = job.project, job.run
    _need(run.dataset, "prepare")
    history = run.path / "history.json"
    inputs = {
        "code": _code("network"),
        "tensorflow": metadata.version("tensorflow"),
        "dataset": sha256_of(run.dataset),
        "network": project.network.model_dump(),
    }
    with report("train") as stage:

        def work() -> None:
            stage.progress(0.0, "starting TensorFlow")
            from toolchain.network.training import train as fit

            dataset = load_dataset(run.dataset)
            fit(
                dataset.train,
                dataset.validation,
                project.network,
                run.path,
                stage.progress,
                scale=dataset.scaling.scale,
            )

        done = run.do("train", inputs, [run.float_model, history], work)
        stage.result(_describe_training(project, history), skipped=not done)


def quantize(job: Job, report: Report) -> None:
    """Turn the float network into an integer .tflite, and keep what the host forecasts."""
    from toolchain.demand.windows import load_dataset
    from toolchain.graph.tflite_file import load_graph

    project, run = job.project, job.run
    _need(run.dataset, "prepare")
    _need(run.float_model, "train")
    inputs = {
        "code": _code("network", "graph"),
        "tensorflow": metadata.version("tensorflow"),
        "dataset": sha256_of(run.dataset),
        "model": sha256_of(run.float_model),
        "compression": project.compression.model_dump(),
        "seed": project.network.seed,
    }
    with report("quantize") as stage:

        def work() -> None:
            stage.progress(0.0, "starting TensorFlow")
            from toolchain.network.float_model import forecast_float
            from toolchain.network.forecasts import save_host_forecasts
            from toolchain.network.quantization import quantize as convert
            from toolchain.network.quantization import representative

            dataset = load_dataset(run.dataset)
            samples = representative(
                dataset.train,
                project.compression.representative_windows,
                project.network.seed,
                forecast_float(run.float_model, dataset.train.inputs),
            )
            convert(run.float_model, samples, run.model, part(stage.progress, 0.3, 0.8))
            stage.progress(0.8, "forecasting on the host")
            save_host_forecasts(run.host_forecasts, run.float_model, run.model, dataset.test.inputs)

        done = run.do("quantize", inputs, [run.model, run.host_forecasts], work)
        graph = load_graph(run.model)
        names = ", ".join(operator.name for operator in graph.operators)
        stage.result(f"{graph.file_bytes:,} bytes of .tflite: {names}", skipped=not done)


# From a quantized network to a board.


def inspect(path: Path) -> Graph:
    """Read a model and verify that it can be deployed."""
    from toolchain.graph.tflite_file import load_graph

    return load_graph(path)


def render(job: Job, report: Report) -> Path:
    """Write the firmware's C sources."""
    from toolchain.firmware.render import render as write
    from toolchain.graph.tflite_file import load_graph

    run, board = job.run, job.board
    _need(run.model, "quantize")
    sources = run.sources(board.name)
    core = read_cores(job.boards)[board.core]
    inputs = {
        "code": _code("graph", "firmware"),
        "protocol": sha256_of(Path(__file__).parent / "device" / "protocol.py"),
        "model": sha256_of(run.model),
        "board": board.model_dump(),
        "core": core.model_dump(),
        "family": [
            sha256_of(place / board.family)
            for place in (boards_dir(), job.boards)
            if (place / board.family).is_dir()
        ],
        "shared": {file.name: sha256_of(file) for file in shared_files(job.boards, board.family)},
        "startup": sha256_of(in_boards(job.boards, core.startup)),
        "templates": sha256_of(resource_dir("firmware_templates")),
    }
    with report("render") as stage:
        graph = load_graph(run.model)
        done = run.do(
            f"render {board.name}",
            inputs,
            [sources],
            lambda: write(graph, board, core, job.boards, sources),
        )
        count = sum(1 for file in sources.rglob("*") if file.is_file())
        stage.result(f"{count} files in {sources}", skipped=not done)
    return sources


def build(job: Job, report: Report) -> Image:
    """Compile and link the firmware."""
    from toolchain.firmware.build import build as compile_
    from toolchain.firmware.elf import read_image

    run, board = job.run, job.board
    sources, image = run.sources(board.name), run.image(board.name)
    _need(sources, "render", board)
    core = read_cores(job.boards)[board.core]
    inputs = {
        "sources": sha256_of(sources),
        "compiler": _compiler_version(f"{core.compiler}gcc"),
    }
    with report("build") as stage:

        def work() -> None:
            compile_(sources, board, core, out=image.parent, progress=stage.progress)

        done = run.do(f"build {board.name}", inputs, [image], work)
        result = read_image(image)
        stage.result(
            f"flash {result.flash_bytes:,} of {board.flash.bytes:,} bytes, "
            f"RAM {result.ram_bytes:,} of {board.ram.bytes:,}",
            skipped=not done,
        )
    return result


def flash_plan(job: Job) -> dict[str, Any]:
    """Return the commands that write the image onto the hardware, and run none.

    They say PORT where they need a port and none was named.
    """
    from toolchain.device.flashers.catalog import flasher_of, plan

    image = job.run.image(job.board.name)
    _need(image, "build", job.board)
    port = None if job.port == AUTO else job.port
    steps = plan(job.board, image, port or "PORT")
    return {
        "board": job.board.name,
        "flasher": flasher_of(job.board).kind,
        "port": port,
        "commands": [list(step.argv) for step in steps],
        "scripts": {str(step.script[0]): step.script[1] for step in steps if step.script},
    }


def flash(job: Job, report: Report) -> dict[str, Any]:
    """Write the image onto the board, verify it, and return what the board says it is."""
    from toolchain.device.running import open_device
    from toolchain.graph.tflite_file import load_graph

    image = job.run.image(job.board.name)
    _need(image, "build", job.board)
    graph = load_graph(job.run.model)
    with report("flash") as stage:
        port = job.port
        if port is not None:
            from toolchain.device.hardware import flash_board

            port = flash_board(job.board, image, port, part(stage.progress, 0.0, 0.9))
        rest = part(stage.progress, 0.0 if port is None else 0.9, 1.0)
        with open_device(
            job.board, image, port=port, model_crc=graph.crc32, progress=rest
        ) as session:
            greeting = session.greeting
        stage.result(
            f"flashed, verified, and answering: firmware {greeting.firmware}, "
            f"model {greeting.model_crc:08x}",
            skipped=False,
        )
        return {
            "board": greeting.board,
            "firmware": greeting.firmware,
            "model_crc": f"{greeting.model_crc:08x}",
            "emulated": port is None,
            "port": port,
        }


def validate(
    job: Job, report: Report, *, windows: int | None = None, limit: float | None = None,
    again: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Replay the held-out windows on the board and judge; the verdict as JSON values.

    An emulated board is a pure function of its image, so an unchanged verdict is not asked for
    again, unless `again`. A board at a port is always asked.
    """
    run, board, settings = job.run, job.board, job.project.validation
    for path, verb in ((run.dataset, "prepare"), (run.model, "quantize"),
                       (run.host_forecasts, "quantize")):  # fmt: skip
        _need(path, verb)
    _need(run.image(board.name), "build", board)
    wanted = settings.model_copy(
        update={
            "windows": windows or settings.windows,
            "max_mae_loss_percent": limit or settings.max_mae_loss_percent,
        }
    )
    inputs = {
        "code": _code("demand", "graph", "firmware", "device", "verdict"),
        "dataset": sha256_of(run.dataset),
        "model": sha256_of(run.model),
        "image": sha256_of(run.image(board.name)),
        "forecasts": sha256_of(run.host_forecasts),
        "board": board.model_dump(),
        "validation": wanted.model_dump(),
        # A verdict from a cable, or one asked for again, is never taken from the folder.
        "port": job.port,
    }
    stage_name = f"validate {board.name}"
    verdict, picture = run.validation(board.name), run.picture(board.name)
    if again or job.port is not None:
        run.forget(stage_name)
    with report("validate") as stage:

        def work() -> None:
            _replay_and_judge(job, wanted, stage.progress)

        done = run.do(stage_name, inputs, [verdict, picture], work)
        result: dict[str, Any] = json.loads(verdict.read_text(encoding="utf-8"))
        parity = result["parity"]
        stage.result(
            f"{parity['windows']:,} windows, {parity['mismatches']:,} mismatches; "
            f"{parity['state_values']:,} state values, {parity['state_mismatches']:,} mismatches",
            skipped=not done,
        )
    return result


def check(board: Board, boards: Path, report: Report) -> dict[str, Any]:
    """Build a small firmware for a board and, where it is emulated, run it."""
    from toolchain.board_check import check_board

    with report(board.name) as stage:
        result = check_board(board, read_cores(boards)[board.core], boards, stage.progress)
        ran = (
            f"{result.windows} forecasts, {result.mismatches} differ; {result.state_values:,} "
            f"states, {result.state_mismatches} differ"
            if result.ran
            else "built, not run: it has no emulator"
        )
        sizes = f"flash {result.flash_bytes:,}, RAM {result.ram_bytes:,}"
        stage.result(f"{sizes}; {ran}", skipped=False)
    return {
        "name": board.name,
        "flash_bytes": result.flash_bytes,
        "ram_bytes": result.ram_bytes,
        "ran": result.ran,
        "windows": result.windows,
        "mismatches": result.mismatches,
        "state_values": result.state_values,
        "state_mismatches": result.state_mismatches,
        "passed": result.passed,
    }


def _replay_and_judge(job: Job, wanted: Any, progress: Progress) -> None:
    from toolchain.demand.windows import load_dataset
    from toolchain.device.running import open_device
    from toolchain.firmware.elf import read_image
    from toolchain.graph.tflite_file import load_graph
    from toolchain.verdict.picture import draw
    from toolchain.verdict.plan import make_plan
    from toolchain.verdict.replay import replay
    from toolchain.verdict.validation import judge, load_host_forecasts

    run, board = job.run, job.board
    graph, dataset = load_graph(run.model), load_dataset(run.dataset)
    image = read_image(run.image(board.name))
    plan = make_plan(
        dataset.test.series,
        windows=wanted.windows,
        state_windows=wanted.state_windows,
        sequences=wanted.sequences,
    )
    progress(0.0, "starting the board")
    with open_device(board, image.path, port=job.port, model_crc=graph.crc32) as session:
        heard = replay(session, graph, graph.input.quantize(dataset.test.inputs), plan, progress)
    validation = judge(
        board=board,
        link=_link(job.port),
        graph=graph,
        image=image,
        dataset=dataset,
        host=load_host_forecasts(run.host_forecasts),
        replay=heard,
        max_mae_loss_percent=wanted.max_mae_loss_percent,
    )
    draw(run.picture(board.name), dataset, load_host_forecasts(run.host_forecasts), validation)
    text = json.dumps(validation.to_json(), indent=2)
    write_atomically(run.validation(board.name), text + "\n")


def _link(port: str | None) -> Literal["emulator", "socket", "serial"]:
    if port is None:
        return "emulator"
    return "socket" if "://" in port else "serial"


def _code(*rooms: str) -> str:
    """Name the version of the tool and of the code that a stage runs."""
    package = Path(__file__).parent
    files = [file for room in rooms for file in sorted((package / room).rglob("*.py"))]
    return f"{__version__} {' '.join(sha256_of(file) for file in files)}"


def _need(path: Path, verb: str, board: Board | None = None) -> None:
    """Refuse to begin before the stage that makes `path` is done."""
    if not path.exists():
        words = f" --board {board.name}" if board is not None else ""
        raise RunError(f"{path}: not there yet. `shelfcast {verb}{words}` makes it.")


def _describe_training(project: Project, history: Path) -> str:
    entries = json.loads(history.read_text(encoding="utf-8"))
    sizes = "-".join(map(str, project.network.hidden))
    best = entries["epochs"][entries["best"] - 1]
    return (
        f"LSTM-{sizes}, {entries['parameters']:,} parameters; epoch {entries['best']} of "
        f"{len(entries['epochs'])} is best: validation MAE {best['validation_mae']:.2f} units"
    )


def _compiler_version(program: str) -> str:
    """Return what identifies a compiler: another one gives another image."""
    path = shutil.which(program)
    if path is None:
        return ""
    file = Path(path).resolve()
    return f"{file} {file.stat().st_size}"
