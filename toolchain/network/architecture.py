"""The network's layers: LSTM upon LSTM, then one dense unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def build(steps: int, features: int, hidden: Sequence[int]) -> Any:
    """Return an untrained Keras model: (windows, steps, features) to (windows, 1), scaled.

    The layers keep Keras's defaults where the converter depends on them: with another activation,
    with dropout, a mask or `unroll`, an LSTM no longer becomes one fused operator.
    """
    from toolchain.network.backend import keras

    last = len(hidden) - 1
    return keras.Sequential(
        [
            keras.layers.Input((steps, features), name="window"),
            *(
                keras.layers.LSTM(size, return_sequences=index < last, name=f"lstm_{index}")
                for index, size in enumerate(hidden)
            ),
            keras.layers.Dense(1, name="head"),
        ],
        name="forecaster",
    )
