"""From one network to many, and back to one: what `shelfcast compress` does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.board import read_cores
from toolchain.errors import ProjectError, ToolError, ToolMissing
from toolchain.files import sha256_of, write_atomically
from toolchain.job import Job, Report, Stage, compiler_version
from toolchain.pipeline import build, prepare, render, simple_rules
from toolchain.run import RunFolder

if TYPE_CHECKING:
    from toolchain.firmware.elf import Image
    from toolchain.project import Feature
    from toolchain.study.plan import Plan
    from toolchain.study.training import Outcome


def compress(
    job: Job, report: Report, *, quick: bool = False, workers: int = 1, scheduler: str | None = None
) -> dict[str, Any]:
    """Try the models of the project's study, measure each, and pick one; JSON values.

    Args:
        job: the project and the board that is built for.
        report: told how far it is.
        quick: the short form of the study, in a folder of its own.
        workers: processes that train at the same time.
        scheduler: a Dask cluster that trains instead.

    Raises:
        ToolError: no compiler for the board, no cluster, or nothing could be trained.
    """
    from toolchain.demand.windows import load_dataset
    from toolchain.study.firmware import measure_all
    from toolchain.study.picture import draw
    from toolchain.study.plan import make_plan
    from toolchain.study.results import make_results, to_csv

    if job.foreign is not None:
        raise ProjectError(
            f"{job.foreign}: is a finished model; compress trains networks of its own. Leave "
            "network.model out for that."
        )
    core = read_cores(job.boards)[job.board.core]
    if not compiler_version(f"{core.compiler}gcc"):
        # Said before hours of training, not after them.
        raise ToolMissing(
            f"{core.compiler}gcc: not found. Install it: "
            f"sudo apt-get install {' '.join(core.packages)}"
        )
    plan = make_plan(job.project, quick=quick)
    study = _study_of(job, plan.features, quick=quick)
    prepare(study, report)
    outcome = _train_all(study, plan, report, workers=workers, scheduler=scheduler)
    dataset = load_dataset(study.run.dataset)

    def build_one(run: RunFolder) -> Image:
        one = replace(study, run=run, runtime="engine")
        render(one, _unheard)
        return build(one, _unheard)

    trained = list(outcome.trained.values())
    with report("measure") as stage:
        costs = measure_all(
            trained,
            dataset,
            job.board,
            build_one,
            study.run.study_model,
            stage.progress,
            job.project.compression.oracle,
        )
        ran = "built" if job.board.emulator is None else "built and run"
        stage.result(f"{len(trained)} models {ran} for {job.board.name}", skipped=False)
    sizes = {name: study.run.study_model(name).model.stat().st_size for name in costs}
    with report("pick") as stage:
        results = make_results(
            outcome,
            plan.baseline.name,
            costs,
            job.project.study.budget,
            job.board.name,
            job.profile,
            {name: vars(accuracy) for name, accuracy in simple_rules(study).items()},
            sizes,
        )
        if any(row["flash_bytes"] is not None for row in results["rows"]):
            draw(study.run.study_picture, results)
        write_atomically(study.run.study_table, to_csv(results))
        text = json.dumps(results, indent=2)
        write_atomically(study.run.study_results, text + "\n")
        stage.result(results["reason"], skipped=False)
    return results


def study_files(job: Job, *, quick: bool) -> dict[str, Path]:
    """Return where `compress` leaves what it found out."""
    run = RunFolder(job.run.study(quick=quick))
    return {"rows": run.study_results, "table": run.study_table, "picture": run.study_picture}


def with_budget(
    job: Job, *, mape_points: float | None, mae_percent: float | None, flash_bytes: int | None
) -> Job:
    """Return the job with another budget for its study; None keeps the project's."""
    given = {"mape_points": mape_points, "mae_percent": mae_percent, "flash_bytes": flash_bytes}
    chosen = {name: value for name, value in given.items() if value is not None}
    study = job.project.study
    budget = study.budget.model_copy(update=chosen)
    study = study.model_copy(update={"budget": budget})
    return replace(job, project=job.project.model_copy(update={"study": study}))


def _study_of(job: Job, features: tuple[Feature, ...], *, quick: bool) -> Job:
    """Return the job that prepares a study's dataset: all that its models read, in its folder."""
    network = job.project.network
    update: dict[str, Any] = {"features": features}
    if quick:
        most = job.project.study.quick.max_windows
        update["max_windows"] = min(most, network.max_windows or most)
    project = job.project.model_copy(update={"network": network.model_copy(update=update)})
    return replace(job, project=project, run=RunFolder(job.run.study(quick=quick)))


def _train_all(
    study: Job, plan: Plan, report: Report, *, workers: int, scheduler: str | None
) -> Outcome:
    """Train what is not trained yet, here or on a cluster."""
    from toolchain.study.store import Store
    from toolchain.study.training import train_all

    run, settings = study.run, study.project.study

    def open_crew() -> Any:
        if scheduler is not None:
            from toolchain.study.cluster import ClusterCrew

            return ClusterCrew(scheduler, run.dataset)
        from toolchain.study.crew import LocalCrew

        return LocalCrew(workers, run.dataset, run.path / "logs")

    with report("train") as stage:
        outcome = train_all(
            plan,
            sha256_of(run.dataset),
            Store(run.path / "trained"),
            open_crew,
            stage.progress,
            margin_percent=settings.margin_percent if settings.search == "race" else None,
        )
        words = [f"{outcome.done} trained, {outcome.found} found from before"]
        words += [f"{outcome.rescored} scored again"] if outcome.rescored else []
        words += [f"{len(outcome.failures)} failed"] if outcome.failures else []
        words += [f"made again, because {'; '.join(outcome.damaged)}"] if outcome.damaged else []
        if plan.baseline.name not in outcome.trained:
            failures = [it for it in outcome.failures if it.name == plan.baseline.name]
            raise ToolError(
                f"study: {len(outcome.failures)} trainings failed, those of the baseline "
                f"{plan.baseline.name} among them; the first: {failures[0].why}"
            )
        stage.result(", ".join(words), skipped=not (outcome.done or outcome.rescored))
    return outcome


class _Unheard:
    """A stage that nobody waits for by itself."""

    def progress(self, fraction: float, words: str) -> None:
        """Tell nobody."""

    def result(self, words: str, *, skipped: bool) -> None:
        """Tell nobody."""


@contextmanager
def _unheard(_: str) -> Iterator[Stage]:
    yield _Unheard()
