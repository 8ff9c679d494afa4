"""Run an integer model with LiteRT: reported beside the oracle, never used as it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.network.float_model import first_line


def forecast_litert(path: Path, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """Forecast quantized windows (windows, steps, features): int8 (windows, outputs).

    The LSTM's state is reset before each window. Runs LiteRT's default kernels, which are what
    its users get; they differ from TFLite Micro's by a step now and then.

    Raises:
        ModelError: not a .tflite, not one of integers, or one for windows of another shape.
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
    for words, tensor in (("input", source[0]), ("output", target[0])):
        if tensor["dtype"] is not np.int8:
            raise ModelError(
                f"{path}: its {words} is {np.dtype(tensor['dtype']).name}, not int8. Convert with "
                "full integer quantization."
            )
    shape = tuple(int(size) for size in source[0]["shape"])
    if inputs.dtype != np.int8 or (1, *inputs.shape[1:]) != shape:
        raise ModelError(
            f"{path}: reads int8 windows of {_by(shape[1:])}, not {inputs.dtype} windows of "
            f"{_by(inputs.shape[1:])}."
        )
    outputs = np.empty((len(inputs), int(np.prod(target[0]["shape"]))), dtype=np.int8)
    for index, window in enumerate(inputs):
        interpreter.reset_all_variables()
        interpreter.set_tensor(source[0]["index"], window[None])
        interpreter.invoke()
        outputs[index] = interpreter.get_tensor(target[0]["index"]).reshape(-1)
    return outputs


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
