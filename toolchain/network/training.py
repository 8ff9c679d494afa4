"""Train the float network: same windows and settings, same bytes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.windows import INPUT_LIMIT
from toolchain.errors import DataError, ProjectError
from toolchain.files import write_atomically
from toolchain.network.architecture import build
from toolchain.network.descent import Arrays, Batch, Descent, Forecaster, Forward, Pruner, descend
from toolchain.network.descent import forward as float_forward
from toolchain.network.float_model import refuse_not_finite, save_model
from toolchain.progress import Progress, silent
from toolchain.project import Network

if TYPE_CHECKING:
    from toolchain.demand.windows import Scaling, Windows

MODEL_FILE = "float.h5"
HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training windows achieved."""

    loss: float
    """Mean squared error over the training windows, scaled."""

    validation_mae: float
    """In sales units where the scale of the series is known, else in scaled ones."""


@dataclass(frozen=True)
class History:
    """How a training went. The model on disk is that of the best epoch."""

    epochs: tuple[Epoch, ...]
    best: int
    """Number of the epoch with the lowest validation MAE, counted from 1."""

    parameters: int
    windows: int
    """Training windows."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network learns from, and what it is judged on."""

    train: Windows
    validation: Windows
    scaling: Scaling | None = None
    """How units became scaled ones; errors are then in units."""

    def refuse_unusable(self) -> None:
        """Refuse windows that no network can be trained with.

        Raises:
            DataError: no windows, or an input or target that is not finite.
        """
        for windows, name in ((self.train, "training"), (self.validation, "validation")):
            if len(windows.targets) == 0:
                raise DataError(f"{name} windows: there are none. Shorten network.window.")
            refuse_not_finite(windows.inputs, f"{name} inputs")
            refuse_not_finite(windows.targets, f"{name} targets")


@dataclass(frozen=True, eq=False)
class Learned:
    """Where one descent ended."""

    weights: Arrays
    """Of the best epoch."""

    epochs: tuple[Epoch, ...]
    best: int
    """Counted from 1; 0 when the weights it began with were never bettered."""


def train(
    train: Windows,
    validation: Windows,
    network: Network,
    folder: Path,
    progress: Progress = silent,
    *,
    scaling: Scaling | None = None,
) -> History:
    """Train a network and write `float.h5` and `history.json` into `folder`.

    The model kept is that of the epoch with the lowest validation MAE: in sales units with
    `scaling`, else in scaled ones. Without `scaling`, `network.level_range` has no effect.

    Raises:
        DataError: no windows, or an input or target that is not finite.
        ProjectError: the training diverged.
    """
    lesson = Lesson(train, validation, scaling)
    lesson.refuse_unusable()
    model = untrained(lesson, network)
    learned = learn(model.get_weights(), lesson, network, progress)
    model.set_weights(learned.weights)
    return keep(model, (learned,), lesson, folder)


def untrained(lesson: Lesson, network: Network) -> Any:
    """Return the Keras model that a training begins with; it follows from the seed alone."""
    from toolchain.network.backend import keras, tf

    keras.backend.clear_session()
    keras.utils.set_random_seed(network.seed)
    tf.config.experimental.enable_op_determinism()
    _, steps, features = lesson.train.inputs.shape
    return build(steps, features, network.hidden)


def keep(model: Any, stages: Sequence[Learned], lesson: Lesson, folder: Path) -> History:
    """Write a trained model and how its training went, in one or more stages, one after another."""
    epochs = tuple(epoch for stage in stages for epoch in stage.epochs)
    best = ended = 0
    for stage in stages:
        best = ended + stage.best if stage.best else best
        ended += len(stage.epochs)
    history = History(epochs, best, int(model.count_params()), len(lesson.train.targets))
    save_model(model, folder / MODEL_FILE)
    write_atomically(
        folder / HISTORY_FILE, json.dumps(dataclasses.asdict(history), indent=2) + "\n"
    )
    return history


def learn(
    weights: Arrays,
    lesson: Lesson,
    network: Network,
    progress: Progress = silent,
    *,
    forward: Forward = float_forward,
    pruner: Pruner | None = None,
    first: int = 1,
    or_as_they_are: bool = False,
    after_epoch: Callable[[Arrays], None] | None = None,
) -> Learned:
    """Descend from `weights` and return those of the epoch that is best on the validation days.

    Args:
        weights: in Keras's order, see `descent`.
        lesson: the windows.
        network: its `epochs`, `batch_size`, `learning_rate`, `patience`, `level_range` and `seed`.
        progress: told after each epoch.
        forward: how the network computes.
        pruner: sets weights to zero on the way.
        first: number of the first epoch that may be the best one.
        or_as_they_are: `weights` themselves may be the best ones.
        after_epoch: told the new weights before they are judged.

    Raises:
        ProjectError: the training diverged.
    """
    judge = Judge(lesson, forward)
    keeper = Keeper(network, progress, judge, first, after_epoch)
    if or_as_they_are:
        keeper.error, keeper.weights = judge.mae(weights), weights
    descend(
        weights,
        lesson.train.inputs,
        lesson.train.targets,
        Descent(network.epochs, network.batch_size, network.learning_rate, network.seed),
        keeper.on_epoch_end,
        forward=forward,
        pruner=pruner,
        vary=other_levels(lesson, network.level_range),
    )
    return keeper.learned


def other_levels(
    lesson: Lesson, level_range: float
) -> Callable[[np.random.Generator, NDArray[np.int64]], Batch] | None:
    """Return a function that draws windows as if their series sold more, or less, all along.

    Window and target are multiplied by a factor of their own, drawn evenly on a logarithmic axis
    from exp(-level_range) to exp(level_range). A network knows only the levels it was trained on:
    when sales have grown since, it forecasts too little. (On Store Item Demand, 500 series,
    LSTM-18: a bias of -2.1 units on the validation days without, of -0.1 with a range of 0.2.)
    """
    if level_range == 0 or lesson.scaling is None:
        return None
    inputs, targets = lesson.train.inputs, lesson.train.targets
    zero = lesson.scaling.offset / lesson.scaling.scale  # how far 0 units lie below the mean
    base = zero[lesson.train.series].astype(np.float32)

    def vary(rng: np.random.Generator, chosen: NDArray[np.int64]) -> Batch:
        factor = np.exp(rng.uniform(-level_range, level_range, len(chosen))).astype(np.float32)
        moved = (factor - 1) * base[chosen]
        windows = inputs[chosen]
        units = windows[:, :, 0] * factor[:, None] + moved[:, None]
        windows[:, :, 0] = np.clip(units, -INPUT_LIMIT, INPUT_LIMIT)
        return windows, targets[chosen] * factor + moved

    return vary


class Judge:
    """Measures weights on the validation windows."""

    def __init__(self, lesson: Lesson, forward: Forward = float_forward) -> None:
        windows, scaling = lesson.validation, lesson.scaling
        self._targets = windows.targets
        self._scale = np.ones(1) if scaling is None else scaling.scale[windows.series]
        self._forecast = Forecaster(windows.inputs, forward)
        self.measure = "standard deviations" if scaling is None else "units"

    def mae(self, weights: Arrays) -> float:
        """Return the mean absolute error."""
        forecasts = self._forecast(weights).astype(np.float64)
        return float(np.mean(np.abs(forecasts - self._targets) * self._scale))


class Keeper:
    """Keeps the weights of the best epoch so far; stops when none gets better, or all is lost."""

    def __init__(
        self,
        network: Network,
        progress: Progress,
        judge: Judge,
        first: int = 1,
        after_epoch: Callable[[Arrays], None] | None = None,
    ) -> None:
        self._network = network
        self._progress = progress
        self._judge = judge
        self._first = first
        self._after_epoch = after_epoch
        self.epochs: list[Epoch] = []
        self.best = 0
        self.error = math.inf
        self.weights: Arrays = []

    @property
    def learned(self) -> Learned:
        """What is kept."""
        return Learned(self.weights, tuple(self.epochs), self.best)

    def on_epoch_end(self, number: int, loss: float, weights: Arrays) -> bool:
        """Judge the epoch `number`, counted from 1, and say whether it was the last."""
        total = self._network.epochs
        if self._after_epoch is not None:
            self._after_epoch(weights)
        epoch = Epoch(loss, self._judge.mae(weights))
        if not (math.isfinite(epoch.loss) and math.isfinite(epoch.validation_mae)):
            raise ProjectError(
                f"network: training diverged in epoch {number} of {total}: loss {epoch.loss:g}, "
                f"validation MAE {epoch.validation_mae:g}. Lower network.learning_rate from "
                f"{self._network.learning_rate:g}."
            )
        self.epochs.append(epoch)
        if number >= self._first and epoch.validation_mae < self.error:
            self.best, self.error, self.weights = number, epoch.validation_mae, weights
        standing = f"best in epoch {self.best}" if self.best else "none is best yet"
        self._progress(
            number / total,
            f"epoch {number} of {total}: loss {epoch.loss:.4f}, validation MAE "
            f"{epoch.validation_mae:.3f} {self._judge.measure}, {standing}",
        )
        return number - max(self.best, self._first) >= self._network.patience
