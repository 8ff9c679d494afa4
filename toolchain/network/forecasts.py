"""What the host's own runtimes forecast for the held-out windows, kept for the verdict.

The verdict does not import TensorFlow; it reads these.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.files import write_atomically
from toolchain.graph.tflite_file import load_graph
from toolchain.network.float_model import forecast_float
from toolchain.network.litert import forecast_litert


def save_host_forecasts(
    path: Path, float_model: Path | None, model: Path, inputs: NDArray[np.float32]
) -> None:
    """Forecast `inputs` (windows, steps, features) with both models; write both, scaled.

    Without a float model, what it would forecast is absent; so is what LiteRT would, of a model
    that it does not run: it judges nothing, so it stops nothing.
    """
    graph = load_graph(model)
    buffer = io.BytesIO()
    forecasts: dict[str, NDArray[np.float64]] = {}
    with suppress(ModelError):
        given = forecast_litert(model, graph.as_taken(graph.input.quantize(inputs)))
        next_day = graph.from_given(given[:, graph.next_day])
        forecasts["litert"] = graph.output.dequantize(next_day)
    if float_model is not None:
        forecasts["float"] = forecast_float(float_model, inputs).astype(np.float64)
    np.savez(buffer, **forecasts)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())
