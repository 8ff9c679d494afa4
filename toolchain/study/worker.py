"""A process that trains and scores models, one after the other: `python -m toolchain.study.worker`.

It reads one request a line from standard input and answers in lines on standard output: how far it
is, then the result or what went wrong. When its input ends, whoever started it is gone or wants no
more: it ends at once, with whatever it has started itself.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from toolchain.demand.windows import EXPANDED, Dataset, Windows, load_dataset
from toolchain.errors import ShelfcastError, ToolError
from toolchain.network.candidate import (
    MODEL_FILE,
    Candidate,
    score_candidate,
    train_candidate,
)
from toolchain.progress import Progress, part
from toolchain.study.keys import scoring_code, training_code
from toolchain.study.plan import parameters_of

_TOLD_EVERY_S = 0.5


def candidate_from(values: dict[str, Any]) -> Candidate:
    """Return the candidate that `asdict` made `values` of, after a trip through JSON."""
    arguments: dict[str, Any] = {
        name: tuple(it) if isinstance(it, list) else it for name, it in values.items()
    }
    return Candidate(**arguments)


def cut_for(dataset: Dataset, candidate: Candidate) -> Dataset:
    """Keep of every window the days and the features that a candidate reads."""
    names = tuple(name for feature in candidate.features for name in EXPANDED[feature])
    places = [dataset.features.index(name) for name in names]
    in_a_row = places == list(range(places[0], places[0] + len(places)))
    # A slice is a view: nothing is copied.
    columns = slice(places[0], places[0] + len(places)) if in_a_row else places

    def cut(windows: Windows) -> Windows:
        inputs = windows.inputs[:, -candidate.window :, columns]
        return Windows(inputs, windows.targets, windows.series, windows.days)

    return Dataset(
        dataset.sales,
        dataset.scaling,
        names,
        train=cut(dataset.train),
        validation=cut(dataset.validation),
        test=cut(dataset.test),
    )


def do(request: dict[str, Any], dataset: Dataset, folder: Path, tell: Progress) -> dict[str, Any]:
    """Train a candidate into `folder`, unless it lies there already, and return its scores.

    Raises:
        ShelfcastError: it cannot be trained.
    """
    candidate = candidate_from(request["candidate"])
    own = cut_for(dataset, candidate)
    started = time.monotonic()
    if request["train"]:
        train_candidate(own, candidate, request["seed"], folder, part(tell, 0.0, 0.95))
    seconds = time.monotonic() - started
    tell(0.95, "scoring")
    scores = score_candidate(own, folder)
    parameters, nonzero = _count(folder / MODEL_FILE)
    _refuse_too_few_zeros(candidate, len(own.features), parameters - nonzero)
    return {
        "candidate": request["candidate"],
        "seed": request["seed"],
        "seconds": round(seconds, 1),
        "parameters": parameters,
        "nonzero": nonzero,
        "scoring": scoring_code(),
        "scores": asdict(scores),
    }


def _refuse_too_few_zeros(candidate: Candidate, inputs: int, zeros: int) -> None:
    """Refuse a model that is not what its name says; blocks leave some weights over.

    Raises:
        ToolError: it has fewer than half of the zeros that were asked for.
    """
    _, weights = parameters_of(candidate.hidden, inputs)
    wanted = candidate.sparsity * weights
    if zeros < wanted / 2:
        raise ToolError(
            f"pruning left {zeros:,} zeros, {wanted:,.0f} were asked for. Raise network.epochs, or "
            f"ask for another share than {candidate.sparsity:g}."
        )


def _count(model: Path) -> tuple[int, int]:
    """Count a float model's parameters, and those that are not zero."""
    from toolchain.network.float_model import load_model

    weights = load_model(model).get_weights()
    return sum(it.size for it in weights), sum(int((it != 0).sum()) for it in weights)


class _Datasets:
    """The dataset of the last request: the next one mostly has the same."""

    def __init__(self) -> None:
        self._path = ""
        self._dataset: Dataset | None = None

    def load(self, path: str) -> Dataset:
        if self._dataset is None or path != self._path:
            self._dataset, self._path = load_dataset(Path(path)), path
        return self._dataset


def main() -> None:
    """Answer requests until standard input ends."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, requests), daemon=True).start()
    datasets = _Datasets()
    while True:
        request = requests.get()
        if request["code"] != training_code():
            _say(answers, failed="another version of shelfcast or TensorFlow is installed here")
            continue
        try:
            dataset = datasets.load(request["dataset"])
            about = do(request, dataset, Path(request["folder"]), _teller(answers))
            _say(answers, done=about)
        except ShelfcastError as error:
            _say(answers, failed=str(error))
        except Exception as error:
            traceback.print_exc()
            _say(answers, failed=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _listen(source: TextIO, requests: queue.Queue[dict[str, Any]]) -> None:
    """Take requests, and end this process group when there will be no more."""
    for line in source:
        requests.put(json.loads(line))
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _teller(answers: TextIO) -> Callable[[float, str], None]:
    last = 0.0

    def tell(fraction: float, words: str) -> None:
        nonlocal last
        if time.monotonic() - last > _TOLD_EVERY_S:
            last = time.monotonic()
            _say(answers, at=fraction, words=words)

    return tell


def _say(answers: TextIO, **values: Any) -> None:
    try:
        answers.write(json.dumps(values) + "\n")
        answers.flush()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
