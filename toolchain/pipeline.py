"""The whole line, from sales to a verdict, as a table of contents.

Each stage reads and writes files of one run folder and is skipped when they are up to date. The
rooms are imported where a stage needs them: what a verb does not use, it does not wait for.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolchain.board import (
    Board,
    boards_dir,
    in_boards,
    read_boards,
    read_cores,
    shared_files,
)
from toolchain.errors import (
    DoesNotFit,
    ModelError,
    ProjectError,
    RunError,
)
from toolchain.files import sha256_of, write_atomically
from toolchain.firmware.profile import usual_profile
from toolchain.job import AUTO, Job, Report, compiler_version, need
from toolchain.model_path import is_float
from toolchain.progress import Progress, part
from toolchain.project import Project
from toolchain.resources import resource_dir
from toolchain.run import code_version

if TYPE_CHECKING:
    from toolchain.demand.metrics import Accuracy
    from toolchain.firmware.elf import Image
    from toolchain.firmware.tflm import Tflm
    from toolchain.graph.types import Graph, Oracle
    from toolchain.verdict.validation import Validation


def check_fit(job: Job, report: Report) -> None:
    """Refuse what cannot fit the board, before anything is trained or built.

    Raises:
        DoesNotFit: flash or RAM is too small, with what would help.
    """
    from toolchain.fitting import find_models, network_shape
    from toolchain.verdict.fit import fit, ways_out, with_tflm

    board, core = job.board, read_cores(job.boards)[job.board.core]
    made = job.model is not None or job.foreign is not None
    word = str(job.run.model) if made else network_shape(job.project.network)
    (model,) = find_models([word])
    with report("fit") as stage:
        row = fit(model, board, core, job.profile)
        if job.runtime == "tflm":
            # Which kernels, and how they are compiled, is the user's: the linker has the last word.
            it = with_tflm(row).tflm
            stage.result(
                f"TensorFlow Lite Micro was never measured on a {board.core}: not checked"
                if it is None
                else f"flash {it['reference'].flash_bytes:,} of {board.flash.bytes:,} bytes, RAM "
                f"{it['reference'].ram_bytes:,} of {board.ram.bytes:,}: predicted for "
                "TensorFlow's own kernels",
                skipped=it is None,
            )
            return
        if row.prediction is None:
            stage.result(f"{row.why}: not checked", skipped=True)
            return
        if not row.fits:
            others = [
                fit(model, other, read_cores(job.boards)[other.core], usual_profile(other))
                for other in read_boards(job.boards)
            ]
            help_ = ways_out(row, others, job.profile)
            raise DoesNotFit(
                f"{board.name}: {row.why}. {'; '.join(help_) or 'No board is large enough'}."
            )
        own, shelf = row.prediction, job.project.firmware.application == "shelf"
        stage.result(
            f"flash {own.flash_bytes:,} of {board.flash.bytes:,} bytes, RAM {own.ram_bytes:,} and "
            f"{row.stack_needed:,} of stack of {board.ram.bytes:,}: predicted"
            + (" for the console's firmware; a shelf's takes more" if shelf else ""),
            skipped=False,
        )


def fit_words(job: Job, *, network: bool, study: bool) -> list[str]:
    """Return the models of a project that `fit` may be asked about: files and shapes."""
    from toolchain.fitting import network_shape

    words = []
    if network:
        trained = job.run.model.exists()
        words.append(str(job.run.model) if trained else network_shape(job.project.network))
    if study:
        words += [str(path) for path in sorted(job.run.study().glob("models/*/model.tflite"))]
    return words


def deploy(job: Job, report: Report) -> dict[str, Any]:
    """Go the whole way and return the verdict."""
    _refuse_runtime(job)
    _find_tflm(job)
    if job.foreign is not None:
        import_model(job, report)
    check_fit(job, report)
    if job.model is None and job.foreign is None:
        prepare(job, report)
        train(job, report)
        quantize(job, report)
    render(job, report)
    build(job, report)
    if job.port is not None:
        job = replace(job, port=flash(job, report)["port"])
    return validate(job, report)


def _find_tflm(job: Job) -> Tflm | None:
    """Find what the runtime is built with; None: the engine needs nothing.

    Raises:
        ToolMissing: there is no TensorFlow Lite Micro.
    """
    if job.runtime == "engine":
        return None
    from toolchain.firmware.tflm import find_tflm

    return find_tflm(job.tflm_include, job.tflm_lib)


def _refuse_runtime(job: Job) -> None:
    """Refuse what the chosen runtime cannot do.

    Raises:
        BoardError: it does not run on such a board.
        ProjectError: the project wants a shelf of it.
    """
    if job.runtime == "engine":
        return
    from toolchain.firmware.render_tflm import refuse_board

    refuse_board(job.board, read_cores(job.boards)[job.board.core])
    if job.project.firmware.application == "shelf":
        raise ProjectError(
            'firmware.application = "shelf" needs --runtime engine: it keeps the state of a '
            'stream, and the interpreter shows none. For --runtime tflm leave it at "console".'
        )


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
        "code": code_version("demand"),
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
    if job.foreign is not None:
        raise ProjectError(
            f"{job.foreign}: is a finished model, and nothing is trained. `shelfcast import` "
            "takes it in; without network.model the project trains its own."
        )
    need(job, run.dataset, "prepare")
    history = run.path / "history.json"
    inputs = {
        "code": code_version("network"),
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
                scaling=dataset.scaling,
            )

        done = run.do("train", inputs, [run.float_model, history], work)
        stage.result(_describe_training(project, history), skipped=not done)


def quantize(job: Job, report: Report) -> None:
    """Turn the float network into an integer .tflite, and keep what the host forecasts."""
    from toolchain.demand.windows import load_dataset
    from toolchain.graph.tflite_file import load_graph
    from toolchain.network.given import load_windows

    project, run = job.project, job.run
    windows = _windows_of(job)
    need(job, windows, "prepare")
    need(job, run.float_model, "train" if job.foreign is None else "import")
    inputs = {
        "code": code_version("network", "graph"),
        "tensorflow": metadata.version("tensorflow"),
        "dataset": sha256_of(windows),
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

            if job.bare is not None:
                samples = shown = load_windows(windows)
            else:
                dataset = load_dataset(windows)
                shown = dataset.test.inputs
                samples = representative(
                    dataset.train,
                    project.compression.representative_windows,
                    project.network.seed,
                    forecast_float(run.float_model, dataset.train.inputs),
                )
            convert(run.float_model, samples, run.model, part(stage.progress, 0.3, 0.8))
            stage.progress(0.8, "forecasting on the host")
            save_host_forecasts(run.host_forecasts, run.float_model, run.model, shown)

        done = run.do("quantize", inputs, [run.model, run.host_forecasts], work)
        graph = load_graph(run.model, job.project.compression.oracle)
        names = ", ".join(operator.name for operator in graph.operators)
        stage.result(f"{graph.file_bytes:,} bytes of .tflite: {names}", skipped=not done)


# A network that somebody else trained, in the place of one's own.


def import_model(job: Job, report: Report) -> None:
    """Take a finished model in, as far as `quantize` goes.

    A float one is rebuilt in tf-keras, compared with the original, and quantized; a .tflite is
    taken as it is.

    Raises:
        ProjectError: the project names no model.
        ModelError: damaged, not deployable, or for other windows than there are.
    """
    from toolchain.graph.tflite_file import load_graph
    from toolchain.network.given import refuse_other_windows, take_windows
    from toolchain.network.keras_shapes import read_shapes

    run, path = job.run, job.foreign
    if path is None:
        raise ProjectError(
            f'{job.root}: the project names no model. Write model = "theirs.keras" under '
            "[network], or say: shelfcast import theirs.keras"
        )
    if not path.exists():
        raise ModelError(f"{path}: no such file.")
    whole = is_float(path)
    if whole:
        network = read_shapes(path)
        steps, features, shares = network.steps, network.features, network.shares
    else:
        graph = load_graph(path)
        steps, features, shares = graph.steps, graph.features, graph.shares
    if job.bare is None and shares:
        raise ModelError(
            f"{path}: its outputs are shares of 1, by a softmax, and a project's forecasts are "
            f"units sold. Deploy it without the project: shelfcast deploy {path}"
        )
    if job.bare is None:
        prepare(job, report)
        refuse_other_windows(path, steps, features, run.dataset)
    else:
        with report("windows") as stage:
            words = take_windows(path, steps, features, job.samples, run)
            stage.result(words, skipped=False)
    if whole:
        _rebuild(job, path, report)
        quantize(job, report)
    else:
        _take(job, path, report)


def import_proof(job: Job) -> dict[str, Any] | None:
    """Return how a rebuilt network compares with its original; None for a .tflite."""
    if job.foreign is None or not is_float(job.foreign):
        return None
    proof: dict[str, Any] = json.loads(job.run.import_record.read_text(encoding="utf-8"))
    return proof


def _rebuild(job: Job, path: Path, report: Report) -> None:
    """Make a float network of somebody else one of ours, with a proof."""
    run, windows = job.run, _windows_of(job)
    inputs = {
        "code": code_version("network"),
        "tensorflow": metadata.version("tensorflow"),
        "windows": sha256_of(windows),
        "model": sha256_of(path),
    }
    with report("import") as stage:

        def work() -> None:
            from toolchain.network.given import some_windows
            from toolchain.network.rebuild import rebuild

            proof = rebuild(path, some_windows(windows), run.float_model, stage.progress)
            record = {**asdict(proof), "words": proof.words, "model_sha256": sha256_of(path)}
            write_atomically(run.import_record, json.dumps(record, indent=2) + "\n")

        done = run.do("import", inputs, [run.float_model, run.import_record], work)
        record = json.loads(run.import_record.read_text(encoding="utf-8"))
        stage.result(f"{path.name}: {record['words']}", skipped=not done)


def _take(job: Job, path: Path, report: Report) -> None:
    """Take an integer model as it is, and keep what LiteRT forecasts with it."""
    from toolchain.verdict.validation import load_host_forecasts

    run, windows = job.run, _windows_of(job)
    if job.project.validation.max_mae_loss_percent is not None:
        raise ProjectError(
            f"{path}: validation.max_mae_loss_percent compares with a float network, and a .tflite "
            "comes without one. Leave the limit out, or give the float model."
        )
    inputs = {
        "code": code_version("network", "graph"),
        "tensorflow": metadata.version("tensorflow"),
        "windows": sha256_of(windows),
        "model": sha256_of(path),
    }
    with report("import") as stage:

        def work() -> None:
            from toolchain.network.forecasts import save_host_forecasts
            from toolchain.network.given import held_out

            stage.progress(0.0, "forecasting on the host")
            write_atomically(run.model, path.read_bytes())
            run.float_model.unlink(missing_ok=True)
            save_host_forecasts(run.host_forecasts, None, run.model, held_out(windows))

        done = run.do("import", inputs, [run.model, run.host_forecasts], work)
        without = load_host_forecasts(run.host_forecasts).litert is None
        words = "; LiteRT does not run it, and is left out of verdicts" if without else ""
        stage.result(f"{path.name}: taken as it is{words}", skipped=not done)


def _windows_of(job: Job) -> Path:
    """Return the file with the windows that a job works with."""
    if job.bare is None:
        return job.run.dataset
    given = job.run.given_windows
    return given if given.exists() else job.run.random_windows


# From a network of a study to what the host forecasts with it.


def forecast_on_host(job: Job, report: Report) -> None:
    """Keep what the host's own runtimes forecast with a model of the study."""
    run = job.run
    inputs = {
        "code": code_version("network", "graph"),
        "tensorflow": metadata.version("tensorflow"),
        "dataset": sha256_of(run.dataset),
        "float": sha256_of(run.float_model),
        "model": sha256_of(run.model),
    }
    with report("forecast") as stage:

        def work() -> None:
            stage.progress(0.0, "starting TensorFlow")
            from toolchain.demand.windows import load_dataset
            from toolchain.network.forecasts import save_host_forecasts

            inputs = load_dataset(run.dataset).test.inputs
            save_host_forecasts(run.host_forecasts, run.float_model, run.model, inputs)

        done = run.do("forecast", inputs, [run.host_forecasts], work)
        stage.result(f"{job.model}, on the host", skipped=not done)


# From a quantized network to a board.


def inspect(path: Path, oracle: Oracle = "double") -> Graph:
    """Read a model and verify that it can be deployed."""
    from toolchain.graph.tflite_file import load_graph

    return load_graph(path, oracle)


def boards_for(graph: Graph, boards: Path) -> list[tuple[Board, str | None]]:
    """Say of every board why a model does not fit it, as predicted; None where it does."""
    from toolchain.verdict.fit import file_model, fit

    cores = read_cores(boards)
    model = file_model("model", graph)
    rows = (
        fit(model, board, cores[board.core], usual_profile(board)) for board in read_boards(boards)
    )
    return [(row.board, None if row.fits else row.why) for row in rows]


def render(job: Job, report: Report) -> Path:
    """Write the firmware's C sources."""
    from toolchain.firmware.render import render as write
    from toolchain.graph.tflite_file import load_graph
    from toolchain.shelf.forecast import shelf_model

    run, board = job.run, job.board
    _refuse_runtime(job)
    if job.foreign is not None:
        import_model(job, report)
    need(job, run.model, "quantize")
    sources = run.sources(job.place)
    core = read_cores(job.boards)[board.core]
    inputs = {
        "code": code_version("graph", "firmware", "shelf"),
        "application": _application(job),
        "protocol": sha256_of(Path(__file__).parent / "device" / "protocol.py"),
        "oracle": job.project.compression.oracle,
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
        "profile": job.profile,
    }
    with report("render") as stage:
        graph = load_graph(run.model, job.project.compression.oracle)
        shelf = None
        if (wanted := _application(job)) is not None:
            shelf = shelf_model(graph, **wanted)

        def work() -> None:
            if job.runtime == "engine":
                write(graph, board, core, job.boards, sources, job.profile, shelf)
                return
            from toolchain.firmware.render_tflm import render_tflm

            render_tflm(run.model.read_bytes(), graph, board, core, job.boards, sources)

        done = run.do(f"render {job.place}", inputs, [sources], work)
        count = sum(1 for file in sources.rglob("*") if file.is_file())
        stage.result(f"{count} files in {sources}", skipped=not done)
    return sources


def _application(job: Job) -> dict[str, Any] | None:
    """Return what `shelf_model` is told beside the graph; None: the console alone."""
    from toolchain.demand.windows import EXPANDED, load_dataset

    project = job.project
    if project.firmware.application == "console":
        return None
    features = project.network.features
    if job.model is not None:
        # A model of the study may have been trained on others than the project's network.
        known = load_dataset(job.run.dataset).features
        features = tuple(name for name, values in EXPANDED.items() if values[0] in known)
    return {
        "features": features,
        "method": project.shelf.forecast,
        "horizon": project.shelf.horizon,
    }


def build(job: Job, report: Report) -> Image:
    """Compile and link the firmware."""
    from toolchain.firmware.build import build as compile_
    from toolchain.firmware.elf import read_image

    run, board = job.run, job.board
    shelf = job.project.firmware.application == "shelf"
    sources, image = run.sources(job.place), run.image(job.place)
    need(job, sources, "render", of_board=True)
    _refuse_another_model(job)
    core = read_cores(job.boards)[board.core]
    tflm = _find_tflm(job)
    inputs = {
        "sources": sha256_of(sources),
        "compiler": compiler_version(f"{core.compiler}gcc"),
        "tflm": tflm and [
            *map(str, tflm.includes), *(sha256_of(library) for library in tflm.libraries)
        ],
    }  # fmt: skip
    with report("build") as stage:

        def work() -> None:
            compile_(
                sources, board, core, out=image.parent, tflm=tflm, progress=stage.progress
            )  # fmt: skip
            if not shelf and tflm is None:  # predictions are of console and engine alone
                _record_build(job)

        done = run.do(f"build {job.place}", inputs, [image], work)
        result = read_image(image)
        stage.result(
            f"flash {result.flash_bytes:,} of {board.flash.bytes:,} bytes, "
            f"RAM {result.ram_bytes:,} of {board.ram.bytes:,}",
            skipped=not done,
        )
    return result


def _record_build(job: Job) -> None:
    """Set what was predicted of a firmware beside what the linker made of it."""
    from toolchain.firmware.elf import read_image
    from toolchain.firmware.predict import predict
    from toolchain.firmware.stack import stack_of
    from toolchain.graph.tflite_file import load_graph
    from toolchain.verdict.ledger import record

    board, path = job.board, job.run.image(job.board.name)
    core = read_cores(job.boards)[board.core]
    predicted = predict(
        load_graph(job.run.model, job.project.compression.oracle), board, core, job.profile
    )
    if predicted is None:
        return
    image = read_image(path)
    record(
        job.run.ledger,
        "build",
        board.name,
        {
            "flash": predicted.flash_bytes,
            "ram": predicted.ram_bytes,
            "stack": predicted.stack_bytes,
        },
        {
            "flash": image.flash_bytes,
            "ram": image.ram_bytes,
            "stack": stack_of(path.parent, core),
        },
    )


def flash_plan(job: Job) -> dict[str, Any]:
    """Return the commands that write the image onto the hardware, and run none.

    They say PORT where they need a port and none was named.
    """
    from toolchain.device.flashers.catalog import flasher_of, plan

    image = job.run.image(job.place)
    need(job, image, "build", of_board=True)
    _refuse_another_model(job)
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

    image = job.run.image(job.place)
    need(job, image, "build", of_board=True)
    _refuse_another_model(job)
    graph = load_graph(job.run.model, job.project.compression.oracle)
    with report("flash") as stage:
        port = job.port
        if port is not None:
            from toolchain.device.hardware import flash_board

            port = flash_board(job.board, image, port, part(stage.progress, 0.0, 0.9))
        rest = part(stage.progress, 0.0 if port is None else 0.9, 1.0)
        with open_device(
            job.board, image, port=port, model_crc=graph.crc32, runtime=job.runtime, progress=rest
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
    if job.bare is not None and limit is not None:
        raise ProjectError(
            f"{job.bare}: --limit bounds errors in sales units, and a model without a project has "
            "no sales. Leave it out, or name the model in a project."
        )
    if job.model is not None:
        forecast_on_host(job, report)
    windows_file = _windows_of(job)
    made = "quantize" if job.foreign is None else "render"
    for path, verb in ((windows_file, "prepare" if job.foreign is None else "render"),
                       (run.model, made), (run.host_forecasts, made)):  # fmt: skip
        need(job, path, verb)
    need(job, run.image(job.place), "build", of_board=True)
    _refuse_another_model(job)
    wanted = settings.model_copy(
        update={
            "windows": windows or settings.windows,
            "max_mae_loss_percent": limit or settings.max_mae_loss_percent,
        }
    )
    inputs = {
        "code": code_version("demand", "graph", "firmware", "device", "verdict"),
        "dataset": sha256_of(windows_file),
        "model": sha256_of(run.model),
        "oracle": job.project.compression.oracle,
        "image": sha256_of(run.image(job.place)),
        "forecasts": sha256_of(run.host_forecasts),
        "board": board.model_dump(),
        "validation": wanted.model_dump(),
        # A verdict from a cable, or one asked for again, is never taken from the folder.
        "port": job.port,
    }
    stage_name = f"validate {job.place}"
    verdict, picture = run.validation(job.place), run.picture(job.place)
    if again or job.port is not None:
        run.forget(stage_name)
    with report("validate") as stage:

        def work() -> None:
            _replay_and_judge(job, wanted, stage.progress)

        outputs = [verdict, picture] if job.bare is None else [verdict]
        done = run.do(stage_name, inputs, outputs, work)
        result: dict[str, Any] = json.loads(verdict.read_text(encoding="utf-8"))
        parity = result["parity"]
        stage.result(
            f"{parity['windows']:,} windows, {parity['mismatches']:,} mismatches; "
            + (
                "states not compared"
                if parity["state_values"] is None
                else f"{parity['state_values']:,} state values, "
                f"{parity['state_mismatches']:,} mismatches"
            ),
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


def _record_validation(job: Job, validation: Validation) -> None:
    """Set stack and instructions, as predicted, beside what the device said."""
    from toolchain.firmware.predict import predict
    from toolchain.verdict.ledger import record

    core = read_cores(job.boards)[job.board.core]
    predicted = predict(validation.graph, job.board, core, job.profile)
    counted = validation.instructions(validation.ticks) or validation.cycles(validation.ticks)
    stack = validation.stack_predicted
    if predicted is None or counted is None or stack is None or not validation.emulated:
        return
    record(
        job.run.ledger,
        "validate",
        job.board.name,
        {"stack": stack, "instructions": predicted.instructions},
        {"stack": validation.replay.stack_used, "instructions": counted},
    )


def _replay_and_judge(job: Job, wanted: Any, progress: Progress) -> None:
    import numpy as np

    from toolchain.demand.windows import load_dataset
    from toolchain.device.running import open_device
    from toolchain.firmware.elf import read_image
    from toolchain.firmware.stack import stack_of
    from toolchain.graph.tflite_file import load_graph
    from toolchain.network.given import held_out
    from toolchain.verdict.picture import draw
    from toolchain.verdict.plan import make_plan
    from toolchain.verdict.replay import replay
    from toolchain.verdict.validation import judge, load_host_forecasts

    run, board = job.run, job.board
    graph = load_graph(run.model, job.project.compression.oracle)
    dataset = load_dataset(run.dataset) if job.bare is None else None
    shown = held_out(_windows_of(job)) if dataset is None else dataset.test.inputs
    # Without sales there are no series: the windows count as those of one, in the order given.
    series = np.zeros(len(shown), np.int32) if dataset is None else dataset.test.series
    image = read_image(run.image(job.place))
    plan = make_plan(
        series,
        windows=wanted.windows,
        state_windows=wanted.state_windows,
        sequences=wanted.sequences,
    )
    progress(0.0, "starting the board")
    with open_device(
        board, image.path, port=job.port, model_crc=graph.crc32, runtime=job.runtime
    ) as session:
        heard = replay(session, graph, graph.input.quantize(shown), plan, progress)
    validation = judge(
        board=board,
        link=_link(job.port),
        graph=graph,
        image=image,
        dataset=dataset,
        host=load_host_forecasts(run.host_forecasts),
        replay=heard,
        # The compiler says nothing of what is in a library.
        stack_predicted=stack_of(image.path.parent, read_cores(job.boards)[board.core])
        if job.runtime == "engine"
        else None,
        max_mae_loss_percent=wanted.max_mae_loss_percent,
    )
    if dataset is not None:
        draw(run.picture(job.place), dataset, load_host_forecasts(run.host_forecasts), validation)
    _record_validation(job, validation)
    text = json.dumps(validation.to_json(), indent=2)
    write_atomically(run.validation(job.place), text + "\n")


def _link(port: str | None) -> Literal["emulator", "socket", "serial"]:
    if port is None:
        return "emulator"
    return "socket" if "://" in port else "serial"


def _refuse_another_model(job: Job) -> None:
    """Refuse a finished model that is not the one the run folder was made from."""
    path, run = job.foreign, job.run
    if path is None or not path.exists():
        return
    if is_float(path):
        taken = json.loads(run.import_record.read_text(encoding="utf-8")).get("model_sha256")
    else:
        taken = sha256_of(run.model)
    if sha256_of(path) != taken:
        raise RunError(
            f"{path}: is another model than the one that {run.path} was made from. `shelfcast "
            f"deploy{'' if job.bare is None else ' ' + shlex.quote(str(path))}` takes it in, or "
            "name another folder with --run."
        )


def _describe_training(project: Project, history: Path) -> str:
    entries = json.loads(history.read_text(encoding="utf-8"))
    sizes = "-".join(map(str, project.network.hidden))
    best = entries["epochs"][entries["best"] - 1]
    return (
        f"LSTM-{sizes}, {entries['parameters']:,} parameters; epoch {entries['best']} of "
        f"{len(entries['epochs'])} is best: validation MAE {best['validation_mae']:.2f} units"
    )
