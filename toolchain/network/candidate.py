"""Make one candidate of a study: train it, compress it, convert it, score it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.metrics import Accuracy, measure
from toolchain.demand.windows import EXPANDED
from toolchain.graph import reference
from toolchain.graph.tflite_file import load_graph
from toolchain.network.aware import fine_tune
from toolchain.network.descent import Forecaster
from toolchain.network.float_model import forecast_float
from toolchain.network.pruning import BlockPruner, first_pruned, learn_scattered
from toolchain.network.quantization import quantize, representative
from toolchain.network.training import (
    HISTORY_FILE,
    MODEL_FILE,
    Learned,
    Lesson,
    keep,
    learn,
    untrained,
)
from toolchain.progress import Progress, part, silent
from toolchain.project import Feature, Network

if TYPE_CHECKING:
    from toolchain.demand.windows import Dataset, Windows

Structure = Literal["dense", "scattered", "blocks"]

INTEGER_FILE = "model.tflite"

__all__ = [
    "HISTORY_FILE",
    "INTEGER_FILE",
    "MODEL_FILE",
    "Candidate",
    "Scores",
    "Structure",
    "candidate_of",
    "score_candidate",
    "train_candidate",
]


@dataclass(frozen=True)
class Candidate:
    """How one model is made; `dataclasses.asdict` of it is JSON."""

    hidden: tuple[int, ...]
    features: tuple[Feature, ...]
    window: int
    structure: Structure = "dense"
    sparsity: float = 0.0
    """Share of the LSTM weights (input and recurrent kernels) that are zero."""

    aware: bool = False
    """Fine-tuned with the integer engine's arithmetic."""

    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 0.002
    patience: int = 5
    """Epochs without a better validation error before training stops."""

    level_range: float = 0.0
    """Trained as if series sold more or less, see `network.level_range` of a project."""

    representative_windows: int = 512


@dataclass(frozen=True)
class Scores:
    """What a candidate's two models achieve; the INT8 one computed as devices compute it."""

    float_validation: Accuracy
    int8_validation: Accuracy
    float_test: Accuracy
    int8_test: Accuracy
    """Nobody chooses by the test scores: they are for the end."""


def candidate_of(network: Network, representative_windows: int = 512) -> Candidate:
    """Return the dense candidate that a project's network is."""
    return Candidate(
        hidden=network.hidden,
        features=network.features,
        window=network.window,
        epochs=network.epochs,
        batch_size=network.batch_size,
        learning_rate=network.learning_rate,
        patience=network.patience,
        level_range=network.level_range,
        representative_windows=representative_windows,
    )


def train_candidate(
    dataset: Dataset, candidate: Candidate, seed: int, folder: Path, progress: Progress = silent
) -> None:
    """Write `float.h5`, `model.tflite` and `history.json` of a candidate into `folder`.

    The same dataset, candidate and seed give the same bytes, whatever else the machine does.
    `dataset` is cut with the candidate's window and features.

    Raises:
        ProjectError: the training diverged, or the candidate cannot have that many zeros.
    """
    _refuse_other_windows(dataset, candidate)
    network = _network_of(candidate, seed)
    lesson = Lesson(dataset.train, dataset.validation, dataset.scaling)
    lesson.refuse_unusable()
    model = untrained(lesson, network)
    training = part(progress, 0.0, 0.6 if candidate.aware else 0.9)
    stages = [_learn(model, lesson, network, candidate, training)]
    shown = representative(
        dataset.train,
        candidate.representative_windows,
        seed,
        Forecaster(dataset.train.inputs)(stages[0].weights),
    )
    if candidate.aware:
        tuning = part(progress, 0.6, 0.9)
        stages.append(fine_tune(stages[0].weights, lesson, network, shown, tuning))
    model.set_weights(stages[-1].weights)
    keep(model, stages, lesson, folder)
    quantize(folder / MODEL_FILE, shown, folder / INTEGER_FILE, part(progress, 0.9, 1.0))


def _learn(
    model: Any, lesson: Lesson, network: Network, candidate: Candidate, progress: Progress
) -> Learned:
    """Train in floating point, with the zeros that the candidate has."""
    weights = model.get_weights()
    if candidate.sparsity == 0 or candidate.structure == "dense":
        return learn(weights, lesson, network, progress)
    if candidate.structure == "scattered":
        return learn_scattered(model, lesson, network, candidate.sparsity, progress)
    return learn(
        weights,
        lesson,
        network,
        progress,
        pruner=BlockPruner(weights, candidate.sparsity),
        first=first_pruned(network.epochs),
    )


def _network_of(candidate: Candidate, seed: int) -> Network:
    return Network(
        window=candidate.window,
        features=candidate.features,
        hidden=candidate.hidden,
        epochs=candidate.epochs,
        batch_size=candidate.batch_size,
        learning_rate=candidate.learning_rate,
        patience=candidate.patience,
        level_range=candidate.level_range,
        seed=seed,
    )


def score_candidate(dataset: Dataset, folder: Path) -> Scores:
    """Score what `train_candidate` wrote into `folder`, on the days it was not trained on."""

    def real(windows: Windows) -> Accuracy:
        scaled = forecast_float(folder / MODEL_FILE, windows.inputs)
        return _accuracy(dataset, windows, scaled)

    def integer(windows: Windows) -> Accuracy:
        graph = load_graph(folder / INTEGER_FILE)
        outputs = reference.run(graph, graph.input.quantize(windows.inputs)).outputs
        return _accuracy(dataset, windows, graph.output.dequantize(outputs[:, 0]))

    return Scores(
        float_validation=real(dataset.validation),
        int8_validation=integer(dataset.validation),
        float_test=real(dataset.test),
        int8_test=integer(dataset.test),
    )


def _accuracy(dataset: Dataset, windows: Windows, scaled: NDArray[np.floating]) -> Accuracy:
    return measure(dataset.actual_units(windows), dataset.to_units(windows.series, scaled))


def _refuse_other_windows(dataset: Dataset, candidate: Candidate) -> None:
    names = tuple(name for feature in candidate.features for name in EXPANDED[feature])
    if (dataset.steps, dataset.features) != (candidate.window, names):
        raise ValueError(
            f"the dataset's windows are {dataset.steps} days of {', '.join(dataset.features)}; the "
            f"candidate reads {candidate.window} days of {', '.join(names)}."
        )
