"""Gradient descent on an LSTM's weights, with one compiled step for every way of training.

Weights are the arrays of a Keras model of `architecture.build`, in Keras's order: for each LSTM
layer its input kernel (inputs, 4 x hidden), its recurrent kernel (hidden, 4 x hidden) and its bias
(4 x hidden), then the head's kernel (hidden, 1) and bias (1). Gates are in the order input, forget,
cell, output: that of `graph.types.GATES`.

XLA compiles the step: LSTM-16 to 64 train 1.6 times as fast as with Keras's `fit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[np.float32]]

Forward = Callable[[Sequence[Any], Any], Any]
"""From weights and windows (windows, steps, features) to forecasts (windows,), as tensors."""

Step = Callable[[Any, Any, Any], tuple[Any, Any]]
"""From the values of a step, the hidden state and the cell to the next hidden state and cell."""

Stop = bool

Pruner = Callable[[float, Arrays], Arrays | None]
"""From the share of all batches that are done, above 0 to 1, and the weights, to a mask of 0 and 1
for each array of weights; None keeps the masks as they are."""

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

_PREDICTED = 2048  # windows forecast together: bounds memory, changes no result

PRUNINGS = 200
"""Times that a pruner is asked, from the first batch to the last."""

# Of Adam; those of Keras.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Descent:
    """How far and how fast to go."""

    epochs: int
    batch_size: int
    learning_rate: float
    """At the start; it falls to 0 along a cosine."""

    seed: int
    """Of the order of the windows."""


def forward(weights: Sequence[Any], windows: Any) -> Any:
    """Forecast in floating point, as Keras does."""
    from toolchain.network.backend import tf

    *layers, head, offset = weights
    depth = len(layers) // 3
    sequence = tf.transpose(windows, (1, 0, 2))  # (steps, windows, features)
    for index in range(depth):
        kernel, recurrent, bias = layers[3 * index : 3 * index + 3]
        step = _layer(kernel, recurrent, bias)
        start = tf.zeros((windows.shape[0], recurrent.shape[0]))
        sequence = unroll(step, sequence, start, last=index == depth - 1)
    return tf.matmul(sequence, head)[:, 0] + offset[0]


def _layer(kernel: Any, recurrent: Any, bias: Any) -> Step:
    from toolchain.network.backend import tf

    # One product of both is faster than two, and far faster than one of the inputs of all steps at
    # once, whose gradient is a product of awkward shape.
    both = tf.concat([kernel, recurrent], axis=0)

    def step(values: Any, hidden: Any, cell: Any) -> tuple[Any, Any]:
        gates = tf.matmul(tf.concat([values, hidden], axis=1), both) + bias
        enter, keep, new, show = tf.split(gates, 4, axis=1)
        cell = tf.sigmoid(keep) * cell + tf.sigmoid(enter) * tf.tanh(new)
        return tf.sigmoid(show) * tf.tanh(cell), cell

    return step


def unroll(step: Step, sequence: Any, start: Any, *, last: bool) -> Any:
    """Run `step` along the first axis of `sequence` (steps, windows, values).

    `step` takes the values, the hidden state and the cell, both like `start` (windows, hidden), and
    returns the next two. Returns the hidden states (steps, windows, hidden), or the last of them.
    """
    from toolchain.network.backend import tf

    steps = sequence.shape[0]
    given = tf.TensorArray(tf.float32, steps, element_shape=sequence.shape[1:]).unstack(sequence)
    # Not unrolled: XLA would take ten seconds to compile it, and it would run slower. Nor are
    # hidden states stored that nobody reads: it takes three times as long.
    if last:
        _, hidden, _ = tf.while_loop(
            lambda index, *_: index < steps,
            lambda index, hidden, cell: (index + 1, *step(given.read(index), hidden, cell)),
            (0, start, tf.zeros_like(start)),
            maximum_iterations=steps,
        )
        return hidden

    def advance(index: Any, hidden: Any, cell: Any, shown: Any) -> tuple[Any, Any, Any, Any]:
        hidden, cell = step(given.read(index), hidden, cell)
        return index + 1, hidden, cell, shown.write(index, hidden)

    shown = tf.TensorArray(tf.float32, steps, element_shape=start.shape)
    *_, shown = tf.while_loop(
        lambda index, *_: index < steps,
        advance,
        (0, start, tf.zeros_like(start), shown),
        maximum_iterations=steps,
    )
    return shown.stack()


def descend(
    weights: Sequence[NDArray[np.float32]],
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    descent: Descent,
    on_epoch_end: Callable[[int, float, Arrays], Stop],
    *,
    vary: Callable[[np.random.Generator, NDArray[np.int64]], Batch] | None = None,
    forward: Forward = forward,
    pruner: Pruner | None = None,
) -> None:
    """Minimise the squared error from `weights` on, by Adam.

    After each epoch `on_epoch_end` gets its number, counted from 1, the mean loss and the weights,
    and says whether to stop. The order of the windows is another in each; what does not fill a
    batch is left out. `vary` draws the windows with given places in other forms.
    """
    from toolchain.network.backend import tf

    count = len(targets)
    size = min(descent.batch_size, count)
    batches = count // size
    total = descent.epochs * batches
    pause = max(1, total // PRUNINGS)
    variables = [tf.Variable(array) for array in weights]
    means = [tf.Variable(tf.zeros_like(array)) for array in weights]
    squares = [tf.Variable(tf.zeros_like(array)) for array in weights]
    masks = [tf.Variable(tf.ones_like(array)) for array in weights]

    def step(windows: Any, wanted: Any, rate: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(forward(variables, windows) - wanted))
        for variable, gradient, mean, square, mask in zip(
            variables, tape.gradient(loss, variables), means, squares, masks, strict=True
        ):
            mean.assign(_BETA_1 * mean + (1 - _BETA_1) * gradient)
            square.assign(_BETA_2 * square + (1 - _BETA_2) * tf.square(gradient))
            variable.assign(mask * (variable - rate * mean / (tf.sqrt(square) + _EPSILON)))
        return loss

    compiled = tf.function(step, jit_compile=True)
    order = np.random.default_rng(descent.seed)
    done = 0
    for epoch in range(1, descent.epochs + 1):
        shuffled = order.permutation(count)
        losses = []
        for first in range(0, batches * size, size):
            if pruner is not None and done % pause == 0:
                # As at the end of the batch: however few there are, the last one has all zeros.
                new = pruner((done + pause) / total, [it.numpy() for it in variables])
                for mask, variable, array in zip(masks, variables, new or (), strict=False):
                    mask.assign(array)
                    variable.assign(variable * array)
            chosen = shuffled[first : first + size]
            rate = np.float32(_rate(descent.learning_rate, done, total))
            windows, wanted = (
                (inputs[chosen], targets[chosen]) if vary is None else vary(order, chosen)
            )
            losses.append(compiled(windows, wanted, rate))
            done += 1
        loss = float(np.mean([float(loss) for loss in losses]))
        if on_epoch_end(epoch, loss, [variable.numpy() for variable in variables]):
            return


def _rate(start: float, done: int, total: int) -> float:
    """Return the learning rate of batch number `done`, with Adam's correction for its zero start.

    Source: Kingma and Ba, Adam, section 2, the more efficient order.
    """
    number = done + 1
    correction = math.sqrt(1 - _BETA_2**number) / (1 - _BETA_1**number)
    return start * correction * (1 + math.cos(math.pi * done / total)) / 2


class Forecaster:
    """Forecasts with weights that change, compiled once."""

    def __init__(self, inputs: NDArray[np.float32], forward: Forward = forward) -> None:
        from toolchain.network.backend import tf

        self._size = min(_PREDICTED, len(inputs))
        # The last block is filled up with copies of a window: one shape, compiled once.
        fill = -len(inputs) % self._size
        self._inputs = np.concatenate([inputs, np.repeat(inputs[:1], fill, axis=0)])
        self._count = len(inputs)
        self._forward = tf.function(forward, jit_compile=True)

    def __call__(self, weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Forecast all windows: (windows,)."""
        from toolchain.network.backend import tf

        given = [tf.constant(array) for array in weights]
        parts = [
            self._forward(given, tf.constant(self._inputs[first : first + self._size])).numpy()
            for first in range(0, len(self._inputs), self._size)
        ]
        return np.concatenate(parts)[: self._count]
