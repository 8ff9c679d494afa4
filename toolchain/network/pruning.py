"""Set weights of the LSTM layers to zero while they train: scattered, or in the engine's blocks.

Both raise the share of zeros along a cubic curve, fast while there is much to choose from and ever
slower (Zhu and Gupta, "To prune, or not to prune", 2017), and leave the rest of the epochs to the
weights that stay. Pruning a network that is already trained ruins it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ProjectError
from toolchain.network.descent import PRUNINGS, Arrays, Batch, Pruner
from toolchain.network.training import Judge, Keeper, Learned, Lesson, other_levels
from toolchain.progress import Progress, silent
from toolchain.project import Network

# Shares of all batches: the first zeros come when the weights say something, the last ones early
# enough for the others to make up for them.
START, END = 0.1, 0.5

BLOCK_COLUMNS = 2
"""Values of one unit, in all four gates, that are zero together: 8 weights."""

BLOCKS_FROM = 8
"""Values that a matrix must read for the engine to store it in blocks."""


def first_pruned(epochs: int) -> int:
    """Return the number of the first of `epochs` at whose end all zeros are there."""
    return math.floor(END * epochs) + 1


class BlockPruner:
    """Zeroes whole blocks, those with the least sum of squares."""

    def __init__(self, weights: Sequence[NDArray[np.float32]], sparsity: float) -> None:
        """Prepare to zero `sparsity` of all weights of the LSTM layers.

        Raises:
            ProjectError: the matrices that have blocks hold fewer weights than that.
        """
        kernels = list(lstm_kernels(weights))
        blocked = [place for place in kernels if weights[place].shape[0] >= BLOCKS_FROM]
        total = sum(weights[place].size for place in kernels)
        available = sum(weights[place].size for place in blocked)
        if sparsity * total > available * 0.99:
            raise ProjectError(
                f"sparsity: {sparsity:.1%} of the LSTM's {total:,} weights cannot be zero in "
                f"blocks: only {available:,} of them, those of matrices that read at least "
                f"{BLOCKS_FROM} values, can. Try less than {available / total:.2f}."
            )
        self._share = sparsity * total / available
        self._blocked = blocked
        self._final = False

    def __call__(self, done: float, weights: Arrays) -> Arrays | None:
        """Return the masks after the share `done` of all batches; None: as they are."""
        if done < START or self._final:
            return None
        self._final = done >= END
        share = self._share * grown(done)
        return [
            keep_blocks(array, share) if place in self._blocked else np.ones_like(array)
            for place, array in enumerate(weights)
        ]


def keep_zeros(weights: Sequence[NDArray[np.float32]]) -> Pruner:
    """Return a pruner that keeps the zeros which the kernels have, and adds none."""
    kernels = set(lstm_kernels(weights))
    masks = [
        (array != 0).astype(np.float32) if place in kernels else np.ones_like(array)
        for place, array in enumerate(weights)
    ]

    def pruner(_done: float, _weights: Arrays) -> Arrays:
        return masks

    return pruner


def lstm_kernels(weights: Sequence[Any]) -> Iterator[int]:
    """Give the places of the input and recurrent kernels among a network's weights."""
    for place in range(len(weights) - 2):
        if place % 3 != 2:
            yield place


def grown(done: float) -> float:
    """Return the share of the zeros that exist after the share `done` of all batches."""
    part = min(max((done - START) / (END - START), 0.0), 1.0)
    return 1 - (1 - part) ** 3


def keep_blocks(kernel: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return a mask of `kernel` (values, 4 gates x hidden) in which `share` of it is zero.

    A block is two adjacent values of one unit in all four gates; with an odd number of values, the
    last one has only itself. The share is met from below, to a block.
    """
    values, columns = kernel.shape
    units = columns // 4
    pairs = -(-values // BLOCK_COLUMNS)
    whole = np.zeros((pairs * BLOCK_COLUMNS, columns))
    whole[:values] = kernel
    energy = np.square(whole).reshape(pairs, BLOCK_COLUMNS * 4, units).sum(axis=1)
    sizes = np.full((pairs, units), 4 * BLOCK_COLUMNS)
    sizes[-1] = 4 * (values - (pairs - 1) * BLOCK_COLUMNS)
    order = np.argsort((energy / sizes).reshape(-1), kind="stable")
    # Half of a weight: 0.7 of 10 is 6.9999... in floating point.
    dropped = order[np.cumsum(sizes.reshape(-1)[order]) <= share * kernel.size + 0.5]
    kept = np.ones(pairs * units, np.float32)
    kept[dropped] = 0
    blocks = np.tile(kept.reshape(pairs, 1, units), (1, BLOCK_COLUMNS, 4))
    return blocks.reshape(pairs * BLOCK_COLUMNS, columns)[:values]


def learn_scattered(
    model: Any, lesson: Lesson, network: Network, sparsity: float, progress: Progress = silent
) -> Learned:
    """Train a Keras model while `sparsity` of each LSTM kernel becomes zero, the smallest weights.

    tensorflow-model-optimization does the pruning, Keras the training.

    Raises:
        ProjectError: the training diverged, or is too short to prune.
    """
    from toolchain.network.backend import keras, quiet

    with quiet():
        from tensorflow_model_optimization.sparsity import keras as sparsity_keras

    size = min(network.batch_size, len(lesson.train))
    batches = len(lesson.train) // size
    total = network.epochs * batches
    begin, pause = int(START * total), max(1, total // PRUNINGS)
    schedule = sparsity_keras.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=begin,
        # The schedule only looks every `pause` steps: the last look has to be at its end.
        end_step=begin + pause * max(1, int((END - START) * total) // pause),
        frequency=pause,
    )

    def wrap(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.LSTM):
            return layer
        return sparsity_keras.prune_low_magnitude(layer, pruning_schedule=schedule)

    keeper = Keeper(network, progress, Judge(lesson), first_pruned(network.epochs))
    pruned = keras.models.clone_model(model, clone_function=wrap)
    for wrapped, layer in zip(pruned.layers, model.layers, strict=True):
        getattr(wrapped, "layer", wrapped).set_weights(layer.get_weights())

    def on_epoch_end(index: int, logs: dict[str, float]) -> None:
        pruned.stop_training = keeper.on_epoch_end(index + 1, float(logs["loss"]), _own(pruned))

    rate = keras.optimizers.schedules.CosineDecay(network.learning_rate, total)
    pruned.compile(keras.optimizers.Adam(rate), loss="mse")
    pruned.fit(
        _batches(lesson, network, size),
        epochs=network.epochs,
        steps_per_epoch=batches,
        verbose=0,
        callbacks=[
            sparsity_keras.UpdatePruningStep(),
            keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end),
        ],
    )
    learned = keeper.learned
    kernels = [learned.weights[place] for place in lstm_kernels(learned.weights)]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    if zeros < 0.98 * sparsity * sum(kernel.size for kernel in kernels):
        raise ProjectError(
            f"network: {total:,} batches are too few to prune to {sparsity:.0%}. Raise "
            "network.epochs or lower network.batch_size."
        )
    return learned


def _own(pruned: Any) -> Arrays:
    """Return the network's weights without what the wrappers add."""
    return [
        array for layer in pruned.layers for array in getattr(layer, "layer", layer).get_weights()
    ]


def _batches(lesson: Lesson, network: Network, size: int) -> Iterator[Batch]:
    """Draw batches as `descend` does, without end."""
    train, vary = lesson.train, other_levels(lesson, network.level_range)
    rng = np.random.default_rng(network.seed)
    while True:
        order = rng.permutation(len(train))
        for first in range(0, len(train) - size + 1, size):
            chosen = order[first : first + size]
            yield (train.inputs[chosen], train.targets[chosen]) if not vary else vary(rng, chosen)
