"""Have every trial trained with every seed: what is stored is taken, the rest done and stored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from toolchain.network.candidate import Candidate
from toolchain.progress import Progress
from toolchain.study.crew import Advance, Crew, Done, Task
from toolchain.study.keys import scoring_code, training_key
from toolchain.study.plan import Plan, Trial
from toolchain.study.store import FILES, Damaged, Entry, Store


@dataclass(frozen=True)
class Trained:
    """One trial's models, those that came to something."""

    trial: Trial
    entries: dict[int, Entry]
    """By seed."""

    def error(self, seed: int) -> float:
        """Return the INT8 model's MAE on the validation days, what everything is chosen by."""
        return float(self.entries[seed].about["scores"]["int8_validation"]["mae"])

    @property
    def chosen_seed(self) -> int:
        """The seed whose integer model is best on the validation days."""
        return min(self.entries, key=lambda seed: (self.error(seed), seed))

    @property
    def chosen(self) -> Entry:
        """The model that is built, measured and deployed."""
        return self.entries[self.chosen_seed]

    @property
    def mean_error(self) -> float:
        """Mean over the seeds."""
        return sum(map(self.error, self.entries)) / len(self.entries)


@dataclass(frozen=True)
class Failure:
    """A training that came to nothing."""

    name: str
    seed: int
    why: str


@dataclass
class Outcome:
    """What came of all trainings."""

    trained: dict[str, Trained] = field(default_factory=dict)
    """By the trial's name, without those of which no seed came to anything."""
    failures: list[Failure] = field(default_factory=list)
    done: int = 0
    """Trainings of this call."""
    rescored: int = 0
    """Trained in earlier calls, scored by this one: the code that scores has changed."""
    found: int = 0
    """Trainings of earlier calls."""
    damaged: list[str] = field(default_factory=list)
    """What was stored, was not what had been written, and was made again."""


def train_all(
    plan: Plan,
    dataset: str,
    store: Store,
    open_crew: Callable[[], Any],
    progress: Progress,
    *,
    margin_percent: float | None = None,
) -> Outcome:
    """Train every trial of a plan with every seed.

    Args:
        plan: the trials.
        dataset: the sha256 of the dataset the crew has.
        store: where models are found and kept.
        open_crew: returns a context with a `Crew`; called when there is something to do.
        progress: told how far it is, and how long it will take.
        margin_percent: train only those with the second and later seeds whose MAE with the first
            is at most this much above that of every smaller model; None: all of them.
    """
    store.tidy()
    outcome = Outcome({trial.name: Trained(trial, {}) for trial in plan.trials})
    if margin_percent is None:
        rounds: list[tuple[int, ...]] = [plan.seeds]
    else:
        rounds = [plan.seeds[:1], plan.seeds[1:]]
    with ExitStack() as stack:
        crew: Crew | None = None
        for number, seeds in enumerate(rounds):
            trials = plan.trials
            if number:
                assert margin_percent is not None
                trials = worth_it(plan, outcome.trained, margin_percent)
            missing = _look_up(trials, seeds, dataset, store, outcome)
            if not missing:
                continue
            if crew is None:
                crew = stack.enter_context(open_crew())
            _train(missing, crew, store, outcome, progress)
    outcome.trained = {name: it for name, it in outcome.trained.items() if it.entries}
    return outcome


def worth_it(plan: Plan, trained: dict[str, Trained], margin_percent: float) -> tuple[Trial, ...]:
    """Keep the baseline, and what is hardly worse than everything smaller."""
    finished = sorted(
        (it for it in trained.values() if it.entries),
        key=lambda it: (it.chosen.about["nonzero"], it.mean_error),
    )
    kept = {plan.baseline.name}
    best = float("inf")
    for it in finished:
        if it.mean_error <= best * (1 + margin_percent / 100):
            kept.add(it.trial.name)
        best = min(best, it.mean_error)
    return tuple(trial for trial in plan.trials if trial.name in kept)


def cost_of(candidate: Candidate) -> float:
    """Estimate how long a training takes beside others: each step a little, and its products.

    Measured over 80,000 windows and 15 epochs, in seconds: LSTM-16 27, LSTM-32 29, LSTM-64 58;
    LSTM-32 with zeros in blocks 67, with scattered ones 214.
    """
    step = sum(24 + size for size in candidate.hidden)
    extra = {"dense": 1.0, "blocks": 2.0, "scattered": 7.0}[candidate.structure]
    return candidate.window * step * candidate.epochs * (extra + 1.5 * candidate.aware)


@dataclass(frozen=True)
class _Missing:
    trial: Trial
    seed: int
    key: str
    stored: Entry | None
    """Trained, but scored by another version of the code."""


def _look_up(
    trials: Sequence[Trial], seeds: Sequence[int], dataset: str, store: Store, outcome: Outcome
) -> list[_Missing]:
    """Take what is stored into the outcome, and list the rest: by seed, the longest first."""
    missing = []
    ordered = sorted(trials, key=lambda trial: -cost_of(trial.candidate))
    for seed in seeds:
        for trial in ordered:
            key = training_key(dataset, trial.candidate, seed)
            entry = None
            try:
                entry = store.find(key)
            except Damaged as damage:
                outcome.damaged.append(f"{trial.name} with seed {seed}: {damage}")
                store.drop(key)
            if entry is not None and entry.about["scoring"] == scoring_code():
                outcome.trained[trial.name].entries[seed] = entry
                outcome.found += 1
            else:
                missing.append(_Missing(trial, seed, key, entry))
    return missing


def _train(
    missing: Sequence[_Missing],
    crew: Crew,
    store: Store,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """Have the crew do what is missing, and store each as soon as it is finished."""
    clock = _Clock([cost_of(it.trial.candidate) for it in missing])
    with store.scratch() as scratch:
        tasks = []
        for number, it in enumerate(missing):
            folder = scratch / str(number)
            folder.mkdir()
            if it.stored is not None:
                for name in FILES:
                    shutil.copyfile(it.stored.folder / name, folder / name)
            tasks.append(
                Task(it.trial.name, it.key, it.trial.candidate, it.seed, folder, it.stored is None)
            )
        places = {task: number for number, task in enumerate(tasks)}
        finished = 0
        progress(0.0, f"{len(tasks)} to do, starting")
        for event in crew.work(tasks):
            task, place = event.task, places[event.task]
            if isinstance(event, Advance):
                clock.at(place, event.fraction)
                words = f"{task.name} seed {task.seed}, {event.words}"
            else:
                clock.at(place, 1.0)
                finished += 1
                if isinstance(event, Done):
                    outcome.trained[task.name].entries[task.seed] = store.keep(
                        task.key, task.folder, event.about
                    )
                    outcome.done += task.train
                    outcome.rescored += not task.train
                    words = f"{task.name} seed {task.seed} done"
                else:
                    outcome.failures.append(Failure(task.name, task.seed, event.why))
                    words = f"{task.name} seed {task.seed} FAILED: {event.why}"
            progress(clock.fraction, f"{finished} of {len(tasks)}, {clock.left()}; {words}")


class _Clock:
    """Estimates the time left from what the trainings cost beside each other."""

    def __init__(self, costs: Sequence[float], now: Callable[[], float] = time.monotonic) -> None:
        self._costs = costs
        self._fractions = [0.0] * len(costs)
        self._now = now
        self._started = now()

    def at(self, place: int, fraction: float) -> None:
        """Note how far a training is."""
        self._fractions[place] = fraction

    @property
    def fraction(self) -> float:
        """How far all of them are."""
        done = sum(cost * it for cost, it in zip(self._costs, self._fractions, strict=True))
        return done / sum(self._costs)

    def left(self) -> str:
        """Say how long the rest takes at the speed so far."""
        at = self.fraction
        if at < 0.01:
            return "time left not known yet"
        return f"about {duration((self._now() - self._started) * (1 - at) / at)} left"


def duration(seconds: float) -> str:
    """Say a length of time as people do.

    >>> duration(4), duration(59), duration(150), duration(2 * 3600 + 300)
    ('4 s', '59 s', '3 min', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
