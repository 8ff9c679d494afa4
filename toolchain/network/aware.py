"""Fine-tune a network with the integer engine's arithmetic, so that INT8 costs it less.

The network forecasts as the engine does: int8 weights with a scale for each gate's matrix, int8
inputs and hidden state, gates in Q3.12 that saturate, activations in Q0.15, an int16 cell whose
scale is a power of two, an int8 forecast. Gradients pass straight through every rounding, and stop
where a value saturates. The ranges are those the converter is going to choose: it is imitated, on
the same representative windows, after every epoch.

What is left out: the engine's tables are straight lines between 256 knots, within 0.0001 of the
functions, and some products are rounded twice. `tests/network/test_aware.py` counts how often the
forecast is another integer for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.network.descent import Arrays, Forward, Step, unroll
from toolchain.network.pruning import keep_zeros
from toolchain.network.training import Learned, Lesson, learn
from toolchain.progress import Progress, silent
from toolchain.project import Network

# Fine-tuning takes this share of the epochs and begins with this share of the learning rate.
EPOCHS, LEARNING_RATE = 0.25, 0.1

_GATE = 2.0**12  # steps of the gates per unit: Q3.12
_ACTIVATED = 2.0**15  # of what the activations give: Q0.15
_INT16 = (-32_768.0, 32_767.0)


def fine_tune(
    weights: Arrays,
    lesson: Lesson,
    network: Network,
    samples: NDArray[np.float32],
    progress: Progress = silent,
) -> Learned:
    """Return weights whose INT8 model is better on the validation days, or `weights` themselves.

    `samples` are the representative windows (windows, steps, features) that the converter will see.
    Weights of the LSTM layers that are zero stay so.
    """
    from toolchain.network.backend import tf

    ranges = tf.Variable(choose_ranges(weights, samples))
    shorter = network.model_copy(
        update={
            "epochs": max(1, math.ceil(EPOCHS * network.epochs)),
            "learning_rate": LEARNING_RATE * network.learning_rate,
        }
    )
    return learn(
        weights,
        lesson,
        shorter,
        progress,
        forward=integer_forward(ranges),
        pruner=keep_zeros(weights),
        after_epoch=lambda weights: ranges.assign(choose_ranges(weights, samples)),
        or_as_they_are=True,
    )


def choose_ranges(
    weights: Sequence[NDArray[np.float32]], samples: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Choose scales and zero points as the converter does, from representative windows.

    Returns scale and zero point of the input; those of the hidden state and the scale of the cell,
    for each layer; scale and zero point of the forecast: (4 + 3 x layers,).

    Like the converter, it does not reset the layers' state from one window to the next, and looks
    at the cells only after a window's last step: one that was larger before will saturate. The
    ranges of the converted file are the same to float32's last digits.
    """
    *layers, head, offset = weights
    depth = len(layers) // 3
    sizes = [layers[3 * index + 1].shape[0] for index in range(depth)]
    hidden = [np.zeros(size, np.float32) for size in sizes]
    cells = [np.zeros(size, np.float32) for size in sizes]
    shown = [(0.0, 0.0)] * depth
    largest = [0.0] * depth
    forecasts = []
    for window in samples:
        for values in window:
            for index in range(depth):
                kernel, recurrent, bias = layers[3 * index : 3 * index + 3]
                gates = values @ kernel + hidden[index] @ recurrent + bias
                enter, keep, new, show = gates.reshape(4, -1)
                cells[index] = _sigmoid(keep) * cells[index] + _sigmoid(enter) * np.tanh(new)
                values = hidden[index] = _sigmoid(show) * np.tanh(cells[index])
                low, high = shown[index]
                shown[index] = min(low, float(values.min())), max(high, float(values.max()))
        for index in range(depth):
            largest[index] = max(largest[index], float(np.abs(cells[index]).max()))
        forecasts.append(float(values @ head[:, 0] + offset[0]))
    chosen = [*_asymmetric(float(samples.min()), float(samples.max()))]
    for (low, high), cell in zip(shown, largest, strict=True):
        chosen += [*_asymmetric(low, high), 2.0 ** (math.ceil(math.log2(max(cell, 1e-6))) - 15)]
    chosen += _asymmetric(min(forecasts), max(forecasts))
    return np.array(chosen, np.float32)


def integer_forward(ranges: Any) -> Forward:
    """Return the engine's arithmetic, differentiable, with the ranges in a tensor.

    `ranges` is as from `choose_ranges`, and may change from call to call.
    """
    from toolchain.network.backend import tf

    def rounded(value: Any) -> Any:
        return value + tf.stop_gradient(tf.round(value) - value)

    def stored(value: Any, scale: Any, zero_point: Any) -> Any:
        steps = tf.clip_by_value(value / scale + zero_point, -128.0, 127.0)
        return (rounded(steps) - zero_point) * scale

    def fixed(value: Any, steps: Any) -> Any:
        return rounded(tf.clip_by_value(value * steps, *_INT16)) / steps

    def weighed(kernel: Any, gates: int) -> Any:
        """Round weights to int8, with a scale for each gate."""
        parts = []
        for part in tf.split(kernel, gates, axis=1):
            largest = tf.stop_gradient(tf.reduce_max(tf.abs(part)))
            scale = tf.maximum(largest, 1e-12) / 127.0
            parts.append(rounded(part / scale) * scale)
        return tf.concat(parts, axis=1)

    def layer(
        kernel: Any, recurrent: Any, bias: Any, scale: Any, zero_point: Any, cell_scale: Any
    ) -> Step:
        cell_steps = 1.0 / cell_scale

        def step(values: Any, hidden: Any, cell: Any) -> tuple[Any, Any]:
            given = fixed(tf.matmul(values, kernel) + bias, _GATE)
            kept = fixed(tf.matmul(hidden, recurrent), _GATE)
            gates = tf.clip_by_value(given + kept, -8.0, 8.0 - 1.0 / _GATE)
            enter, keep, new, show = tf.split(gates, 4, axis=1)
            old = fixed(fixed(tf.sigmoid(keep), _ACTIVATED) * cell, cell_steps)
            update = fixed(tf.sigmoid(enter), _ACTIVATED) * fixed(tf.tanh(new), _ACTIVATED)
            cell = fixed(old + fixed(update, cell_steps), cell_steps)
            shown = fixed(tf.tanh(cell), _ACTIVATED) * fixed(tf.sigmoid(show), _ACTIVATED)
            return stored(shown, scale, zero_point), cell

        return step

    def forward(weights: Sequence[Any], windows: Any) -> Any:
        *layers, head, offset = weights
        depth = len(layers) // 3
        sequence = stored(tf.transpose(windows, (1, 0, 2)), ranges[0], ranges[1])
        for index in range(depth):
            kernel, recurrent, bias = layers[3 * index : 3 * index + 3]
            chosen = [ranges[2 + 3 * index + place] for place in range(3)]
            step = layer(weighed(kernel, 4), weighed(recurrent, 4), bias, *chosen)
            start = tf.zeros((windows.shape[0], recurrent.shape[0]))
            sequence = unroll(step, sequence, start, last=index == depth - 1)
        forecasts = tf.matmul(sequence, weighed(head, 1))[:, 0] + offset[0]
        return stored(forecasts, ranges[-2], ranges[-1])

    return forward


def _asymmetric(low: float, high: float) -> tuple[float, float]:
    """Return scale and zero point of an int8 tensor with this range, 0 among it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-9) / 255
    return scale, float(np.clip(np.round(-128 - low / scale), -128, 127))


def _sigmoid(value: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = np.float32(0.5) * np.tanh(np.float32(0.5) * value) + np.float32(
        0.5
    )
    return result
