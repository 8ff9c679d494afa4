"""Convert a Keras model to an INT8 .tflite.

`python -m toolchain.network.convert MODEL SAMPLES OUT` is a process of its own, which
`quantization.py` starts: the converter can crash, and takes the process it runs in with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.network.float_model import load_model


def convert(path: Path, representative: NDArray[np.float32]) -> bytes:
    """Return the model at `path` as a .tflite of integers throughout, for one window at a time.

    `representative` (windows, steps, features) shows the converter the range of every tensor.

    Raises:
        ModelError: not a Keras 2 model, or one for windows of another shape.
    """
    from toolchain.network.backend import tf

    model = load_model(path)
    _, *shape = model.input_shape
    if representative.shape[1:] != tuple(shape):
        raise ModelError(
            f"{path}: reads windows of {' x '.join(map(str, shape))}, but the representative "
            f"windows are {' x '.join(map(str, representative.shape[1:]))}. Run `shelfcast train` "
            "again."
        )

    def samples() -> Iterator[list[NDArray[np.float32]]]:
        for window in representative:
            yield [window[None]]

    # A batch of 1, as a constant: with an open one the LSTM's state has no size, and is not fused.
    one_window = tf.TensorSpec((1, *shape), tf.float32, name="window")
    forecast = tf.function(lambda window: model(window, training=False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [forecast.get_concrete_function(one_window)], model
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    result: bytes = converter.convert()
    return result


def main(model: str, samples: str, out: str) -> None:
    """Convert the model file `model` with the representative windows in the .npy file `samples`."""
    Path(out).write_bytes(convert(Path(model), np.load(samples, allow_pickle=False)))


if __name__ == "__main__":
    main(*sys.argv[1:])
