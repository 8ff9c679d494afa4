"""What is trained, found, raced, and made again. A program of a few lines stands in for the worker:
it writes the files of a training, and its errors follow from the hidden size."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from toolchain.network.candidate import Candidate
from toolchain.study.crew import LocalCrew
from toolchain.study.keys import scoring_code
from toolchain.study.plan import Plan, Trial
from toolchain.study.store import Entry, Store
from toolchain.study.training import Outcome, Trained, _Clock, cost_of, train_all, worth_it

BASE = Candidate(hidden=(64,), features=("units",), window=28)

WORKER = """\
import json, pathlib, sys
for line in sys.stdin:
    request = json.loads(line)
    size, folder = request["candidate"]["hidden"][0], pathlib.Path(request["folder"])
    with open({log!r}, "a") as log:
        print(size, request["seed"], "train" if request["train"] else "score", file=log)
    if size == 13:
        print(json.dumps({{"failed": "training diverged"}}), flush=True)
        continue
    if request["train"]:
        for name in ("float.h5", "model.tflite", "history.json"):
            (folder / name).write_text(f"{{size}} {{request['seed']}}")
    print(json.dumps({{"at": 0.5, "words": "half"}}), flush=True)
    scores = {{"int8_validation": {{"mae": {errors!r}[str(size)] + request["seed"] / 100}}}}
    print(json.dumps({{"done": {{
        "candidate": request["candidate"], "seed": request["seed"], "seconds": 1.0,
        "nonzero": size, "scoring": {scoring!r}, "scores": scores,
    }}}}), flush=True)
"""
ERRORS = {"64": 6.0, "8": 7.0, "16": 8.0, "32": 6.1}


class Study:
    """A study of LSTM-64 and others, whose trainings are written down as they happen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "trained")
        self.log = folder / "log"
        self.said: list[str] = []

    def run(
        self, *sizes: int, seeds: tuple[int, ...] = (1,), margin: float | None = None
    ) -> Outcome:
        self.log.write_text("")
        program = self.folder / "worker.py"
        program.write_text(WORKER.format(log=str(self.log), errors=ERRORS, scoring=scoring_code()))
        trials = [Trial(f"lstm{size}", replace(BASE, hidden=(size,))) for size in (64, *sizes)]
        return train_all(
            Plan(tuple(trials), seeds),
            "dataset",
            self.store,
            lambda: LocalCrew(
                1, self.folder / "windows", self.folder, (sys.executable, str(program))
            ),
            lambda at, words: self.said.append(f"{at:.2f} {words}"),
            margin_percent=margin,
        )

    @property
    def work(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path)


def test_every_model_with_every_seed_the_longest_first(study):
    outcome = study.run(8, 16, seeds=(1, 2))

    assert study.work == [
        "64 1 train", "16 1 train", "8 1 train", "64 2 train", "16 2 train", "8 2 train",
    ]  # fmt: skip
    assert (outcome.done, outcome.found) == (6, 0)
    assert outcome.trained["lstm8"].error(2) == 7.02


def test_what_was_trained_before_is_found(study):
    study.run(8)

    outcome = study.run(8, 16)

    assert study.work == ["16 1 train"]
    assert (outcome.done, outcome.found) == (1, 2)


def test_progress_tells_how_much_and_how_long(study):
    study.run(8)

    assert study.said[0] == "0.00 2 to do, starting"
    assert study.said[1].startswith("0.37 0 of 2, about 0 s left; lstm64 seed 1, half")
    assert study.said[-1] == "1.00 2 of 2, about 0 s left; lstm8 seed 1 done"


def test_what_fails_is_named_tried_again_and_the_others_count(study):
    first = study.run(13, 8)
    again = study.run(13, 8)

    assert list(first.trained) == ["lstm64", "lstm8"]
    assert [(it.name, it.seed, it.why) for it in first.failures] == [
        ("lstm13", 1, "training diverged")
    ]
    assert study.work == ["13 1 train"]
    assert (again.found, len(again.failures)) == (2, 1)


def test_what_is_damaged_is_trained_again_with_a_word(study):
    first = study.run(8)
    folder = first.trained["lstm8"].entries[1].folder
    (folder / "model.tflite").write_text("other")

    outcome = study.run(8)

    assert study.work == ["8 1 train"]
    assert outcome.damaged == [f"lstm8 with seed 1: {folder / 'model.tflite'} was changed"]
    assert (folder / "model.tflite").read_text() == "8 1"


def test_what_other_code_scored_is_scored_again_not_trained(study):
    entry = study.run(8).trained["lstm8"].entries[1]
    with study.store.scratch() as made:
        for name in ("float.h5", "model.tflite", "history.json"):
            (made / name).write_bytes((entry.folder / name).read_bytes())
        study.store.keep(entry.folder.name, made, {**entry.about, "scoring": "older"})

    outcome = study.run(8)

    assert study.work == ["8 1 score"]
    assert (outcome.done, outcome.rescored, outcome.found) == (0, 1, 1)
    assert (entry.folder / "model.tflite").read_text() == "8 1"
    assert json.loads((entry.folder / "entry.json").read_text())["about"] == entry.about


def test_a_race_spends_no_further_seeds_on_what_is_worse_than_something_smaller(study):
    outcome = study.run(8, 16, 32, seeds=(1, 2, 3), margin=1.0)

    assert [line for line in study.work if line.startswith("16")] == ["16 1 train"]
    assert {name: len(it.entries) for name, it in outcome.trained.items()} == {
        "lstm64": 3, "lstm8": 3, "lstm16": 1, "lstm32": 3,
    }  # fmt: skip


def test_nothing_half_made_is_left(study):
    study.run(13, 8)

    assert [path.name for path in study.store.path.iterdir() if path.name.startswith(".")] == []


def trained(name: str, nonzero: int, *errors: float) -> Trained:
    entries = {
        seed: Entry(Path(), {"nonzero": nonzero, "scores": {"int8_validation": {"mae": error}}})
        for seed, error in enumerate(errors, 1)
    }
    return Trained(Trial(name, BASE), entries)


def test_the_seed_that_is_deployed_is_the_best_on_the_validation_days():
    assert trained("a", 100, 3.0, 2.0, 2.5).chosen_seed == 2


def test_of_equal_seeds_the_first():
    assert trained("a", 100, 3.0, 2.0, 2.0).chosen_seed == 2


def test_a_race_keeps_the_baseline_and_what_is_hardly_worse():
    found = [
        trained("base", 16_000, 9.0),
        trained("tiny", 100, 8.0),
        trained("worse", 200, 8.1),
        trained("hardly worse", 300, 8.04),
        trained("failed", 350),
        trained("better", 400, 6.0),
    ]
    plan = Plan(tuple(it.trial for it in found), (1, 2))

    kept = worth_it(plan, {it.trial.name: it for it in found}, 1.0)

    assert [trial.name for trial in kept] == ["base", "tiny", "hardly worse", "better"]


def test_the_time_left_goes_by_what_the_trainings_cost():
    now = 0.0
    clock = _Clock([30.0, 10.0], lambda: now)
    assert clock.left() == "time left not known yet"

    now = 60.0
    clock.at(0, 1.0)

    assert clock.fraction == 0.75
    assert clock.left() == "about 20 s left"


def test_wider_longer_and_sparser_trainings_take_longer():
    dense = cost_of(BASE)

    for change in (
        {"hidden": (64, 64)},
        {"window": 56},
        {"epochs": 16},
        {"structure": "blocks"},
        {"aware": True},
    ):
        assert cost_of(replace(BASE, **change)) > dense
