"""What every stage is told: which project, run folder, board and port are meant."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from toolchain.board import Board, boards_dir, find_board, without_storage
from toolchain.errors import ProjectError, RunError, nearest
from toolchain.firmware.profile import usual_profile
from toolchain.model_path import is_model
from toolchain.project import Data, Network, Project, Runtime, find_project, read_project
from toolchain.run import RunFolder
from toolchain.settings import describe

if TYPE_CHECKING:
    from toolchain.device.ports import Ask
    from toolchain.firmware.kernel import Profile
    from toolchain.graph.types import Oracle


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
    profile: Profile
    """What the firmware is made for."""
    port: str | None
    model: str | None = None
    """A model of the project's study, whose run folder this is; None: the project's network."""
    bare: Path | None = None
    """A model file that stands in a project's place: no sales, so only parity is judged."""
    samples: Path | None = None
    """Representative windows for it, an .npy file."""
    runtime: Runtime = "engine"
    """What computes the forecasts on the board."""
    tflm_include: str | None = None
    tflm_lib: str | None = None
    """The user's own TensorFlow Lite Micro; None: what the environment names."""

    @property
    def place(self) -> str:
        """Name the folder in the run's that the firmware and its verdict are in."""
        return self.board.name if self.runtime == "engine" else f"{self.board.name}-{self.runtime}"

    @property
    def foreign(self) -> Path | None:
        """The finished model that is deployed instead of a trained one."""
        if self.bare is not None or self.model is not None or self.project.network.model is None:
            return self.bare
        return self.root / self.project.network.model


def open_job(
    project: Path,
    *,
    run: Path | None = None,
    board: str | None = None,
    boards: Path | None = None,
    profile: Profile | None = None,
    port: str | None = None,
    model: str | None = None,
    representative: Path | None = None,
    runtime: Runtime | None = None,
    tflm_include: str | None = None,
    tflm_lib: str | None = None,
    oracle: Oracle | None = None,
) -> Job:
    """Put together what every stage needs to know; flags win over the project file.

    `project` may be a model file instead, which then is all there is; `representative` are windows
    for it. `model` is a model of the project's study, by its name, or `picked`.

    Raises:
        InputError: no project, no such board, no such model.
    """
    bare = project if is_model(project) else None
    if bare is None and representative is not None:
        raise ProjectError(
            f"{representative}: representative windows are for a model without a project; a "
            "project has its own."
        )
    if bare is not None and model is not None:
        raise ProjectError(f"{bare}: has no study to take --model {model} from.")
    settings = read_project(project) if bare is None else _project_of(bare)
    folder = boards or boards_dir()
    chosen = find_board(board or settings.board.name, folder)
    wanted = profile or settings.board.profile
    usual = usual_profile(chosen)
    if settings.firmware.application == "shelf":
        chosen = without_storage(chosen)
    if oracle is not None:
        compression = settings.compression.model_copy(update={"oracle": oracle})
        settings = settings.model_copy(update={"compression": compression})
    job = Job(
        project=settings,
        root=find_project(project).parent if bare is None else Path(),
        run=RunFolder(run or Path("runs") / settings.name),
        board=chosen,
        boards=folder,
        profile=usual if wanted == "auto" else wanted,
        port=port or settings.serial.port,
        bare=bare,
        samples=representative,
        runtime=runtime or settings.firmware.runtime,
        tflm_include=tflm_include,
        tflm_lib=tflm_lib,
    )
    return job if model is None else with_model(job, model)


def _project_of(model: Path) -> Project:
    """Return the project of a model that has none: its name, and defaults."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", model.stem).strip("_-") or "model"
    return Project(name=name, data=Data(source="none"))


def with_model(job: Job, name: str) -> Job:
    """Return the job for a model of the project's study: in its run folder, past its training.

    The study is the whole one if it was done, else the quick one.

    Raises:
        RunError: no study was done, or it has no such model.
    """
    for quick in (False, True):
        study = RunFolder(job.run.study(quick=quick))
        if study.study_results.exists():
            break
    else:
        raise RunError(f"{study.study_results}: not there yet. `shelfcast compress` makes it.")
    try:
        results = json.loads(study.study_results.read_text(encoding="utf-8"))
        models = {row["name"]: row["model"] for row in results["rows"] if row["quantized"]}
        floats = {row["name"] for row in results["rows"]} - set(models)
        picked, reason = results["picked"], results["reason"]
    except (ValueError, KeyError, TypeError) as cause:
        raise RunError(
            f"{study.study_results}: not the results of a study. `shelfcast compress` makes them "
            "again."
        ) from cause
    if name == "picked":
        if picked is None:
            raise RunError(f"{study.study_results}: nothing is picked: {reason}")
        name = picked
    trial = models.get(name, name)
    if trial not in models.values():
        if name in floats:
            raise RunError(f'"{name}" is a float model; boards run its INT8 twin: --model '
                           f"{name.removesuffix('-float')}-int8")  # fmt: skip
        raise RunError(f'unknown model "{name}"; {nearest(name, [*models, "picked"])}')
    run = study.study_model(trial)
    if not (run.model.exists() and run.dataset.exists()):
        raise RunError(f"{run.path}: the model is gone. `shelfcast compress` puts it back.")
    return replace(job, run=run, model=trial)


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


def need(job: Job, path: Path, verb: str, *, of_board: bool = False) -> None:
    """Refuse to begin before the stage that makes `path` is done, for its board if it is of one."""
    if not path.exists():
        words = f" {shlex.quote(str(job.bare))}" if job.bare is not None else ""
        words += f" --board {job.board.name}" if of_board else ""
        words += f" --runtime {job.runtime}" if of_board and job.runtime != "engine" else ""
        raise RunError(f"{path}: not there yet. `shelfcast {verb}{words}` makes it.")


def compiler_version(program: str) -> str:
    """Return what identifies a compiler: another one gives another image."""
    path = shutil.which(program)
    if path is None:
        return ""
    file = Path(path).resolve()
    return f"{file} {file.stat().st_size}"
