"""Run an integer model with LiteRT: reported beside the oracle, never used as it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.network.float_model import first_line


def forecast_litert(path: Path, inputs: NDArray[Any]) -> NDArray[Any]:
    """Forecast windows (windows, steps, features) of the type that the file takes.

    Returns (windows, outputs) of the type that the file gives.

    The LSTM's state is reset before each window. Runs LiteRT's default kernels, which are what
    its users get; they differ from TFLite Micro's by a step now and then.

    Raises:
        ModelError: not a .tflite that LiteRT runs, or one for other windows.
    """
    from toolchain.network.backend import quiet, tf

    try:
        content = path.read_bytes()
    except FileNotFoundError as cause:
        raise ModelError(f"{path}: no such file. `shelfcast quantize` makes it.") from cause
    # It announces its own retirement in favour of a package with no wheels for every platform.
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        try:
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as cause:
            raise ModelError(
                f"{path}: not a .tflite that LiteRT runs: {first_line(cause)}"
            ) from cause
    source, target = interpreter.get_input_details(), interpreter.get_output_details()
    if len(source) != 1 or len(target) != 1:
        raise ModelError(f"{path}: has {len(source)} inputs and {len(target)} outputs, not 1 each.")
    shape = tuple(int(size) for size in source[0]["shape"])
    kind = np.dtype(source[0]["dtype"])
    # A batch of one has its values in one order, flat or time first.
    if inputs.dtype != kind or math.prod(inputs.shape[1:]) != math.prod(shape):
        raise ModelError(
            f"{path}: reads {kind} windows of {_by(shape[1:])}, not {inputs.dtype} windows of "
            f"{_by(inputs.shape[1:])}."
        )
    outputs = np.empty((len(inputs), math.prod(target[0]["shape"])), dtype=target[0]["dtype"])
    for index, window in enumerate(inputs):
        interpreter.reset_all_variables()
        interpreter.set_tensor(source[0]["index"], window.reshape(shape))
        interpreter.invoke()
        outputs[index] = interpreter.get_tensor(target[0]["index"]).reshape(-1)
    return outputs


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
