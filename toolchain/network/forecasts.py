"""What the host's own runtimes forecast for the held-out windows, kept for the verdict.

The verdict does not import TensorFlow; it reads these.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.files import write_atomically
from toolchain.graph.tflite_file import load_graph
from toolchain.network.float_model import forecast_float
from toolchain.network.litert import forecast_litert


def save_host_forecasts(
    path: Path, float_model: Path | None, model: Path, inputs: NDArray[np.float32]
) -> None:
    """Forecast `inputs` (windows, steps, features) with both models; write both, scaled.

    Without a float model, what it would forecast is absent.
    """
    graph = load_graph(model)
    litert = forecast_litert(model, graph.input.quantize(inputs))
    buffer = io.BytesIO()
    forecasts = {"litert": graph.output.dequantize(litert[:, graph.next_day])}
    if float_model is not None:
        forecasts["float"] = forecast_float(float_model, inputs).astype(np.float64)
    np.savez(buffer, **forecasts)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())
