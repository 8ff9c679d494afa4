"""A model as a library for somebody else's firmware: what `shelfcast export` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.errors import InputError, RunError, nearest
from toolchain.firmware.profile import usual_profile
from toolchain.job import Report, open_job
from toolchain.model_path import is_float, is_model
from toolchain.pipeline import import_model
from toolchain.project import read_project
from toolchain.run import RunFolder

if TYPE_CHECKING:
    from toolchain.firmware.export import Exported, Format, Validated
    from toolchain.firmware.kernel import Profile
    from toolchain.graph.types import Graph


def export(
    source: Path,
    form: Format,
    report: Report,
    *,
    run: Path | None = None,
    boards: Path | None = None,
    board: str | None = None,
    core: str | None = None,
    profile: Profile | None = None,
    name: str | None = None,
    out: Path | None = None,
    representative: Path | None = None,
) -> Exported:
    """Write a model, or a project's, as a library for somebody else's firmware.

    Without a board or a core, the library runs on any. A Keras file is taken in first.

    Raises:
        InputError: no such model, project, board or core; a bad name; a folder with other files.
    """
    from toolchain.demand.windows import INPUT_LIMIT
    from toolchain.firmware.export import ANY_CORE, NO_CLIP, target_of, usual_name
    from toolchain.firmware.export import export as write
    from toolchain.graph.tflite_file import load_graph

    folder = boards or boards_dir()
    cores = read_cores(folder)
    if board is not None and core is not None:
        raise InputError("--board and --core: name one of them; a board has a core.")
    if core is not None and core not in cores:
        raise InputError(f'unknown core "{core}"; {nearest(core, cores)}')
    target, usual = ANY_CORE, profile or "speed"
    if board is not None:
        found = find_board(board, folder)
        target, usual = target_of(cores[found.core]), profile or usual_profile(found)
    elif core is not None:
        target = target_of(cores[core])
    if is_model(source):
        path, words, limit, verdicts = source, source.stem, NO_CLIP, None
        if is_float(source):
            job = open_job(source, run=run, boards=folder, representative=representative)
            import_model(job, report)
            path = job.run.model
    else:
        project = read_project(source)
        verdicts = RunFolder(run or Path("runs") / project.name)
        path, words, limit = verdicts.model, project.name, INPUT_LIMIT
        if not path.exists():
            raise RunError(f"{path}: not there yet. `shelfcast quantize` makes it.")
    graph = load_graph(path)
    chosen = name if name is not None else usual_name(words)
    with report("export") as stage:
        result = write(
            graph,
            form,
            chosen,
            out or Path(f"{chosen}_forecast"),
            target=target,
            profile=usual,
            limit=limit,
            validated=() if verdicts is None else _verdicts(verdicts, graph),
        )
        stage.result(
            f"{result.folder}: kernel {result.kernel}, {result.constant_bytes:,} bytes of "
            f"constants, {result.state_bytes:,} of RAM for each state"
            + ("" if result.units else f"; no functions in sales units: {result.units_refused}"),
            skipped=False,
        )
    return result


def _verdicts(run: RunFolder, graph: Graph) -> list[Validated]:
    """Return what the boards of a run said about a model."""
    from toolchain.firmware.export import Validated

    found = []
    for path in sorted(run.path.glob("*/validation.json")):
        verdict = json.loads(path.read_text(encoding="utf-8"))
        if verdict["model_crc"] != f"{graph.crc32:08x}" or verdict["runtime"] == "tflm":
            continue
        device, parity = verdict["accuracy"]["device"], verdict["parity"]
        found.append(
            Validated(
                board=verdict["board"],
                emulated=verdict["emulated"],
                windows=parity["windows"],
                mismatches=parity["mismatches"],
                mae=device["mae"],
                float_mae=verdict["accuracy"].get("float", {}).get("mae"),
                wape_percent=device["wape_percent"],
                verdict=verdict["verdict"],
            )
        )
    return found
