"""Make a float model an INT8 one, and refuse a result that could not be deployed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ConversionError, DataError, ModelError
from toolchain.files import write_atomically
from toolchain.graph.tflite_file import parse_graph
from toolchain.graph.types import Graph
from toolchain.network.child import Ending, model_error, run_child
from toolchain.network.float_model import refuse_not_finite, refuse_not_hdf5
from toolchain.progress import Progress, silent

if TYPE_CHECKING:
    from toolchain.demand.windows import Windows

TIME_LIMIT_S = 900.0

# -P: a folder named toolchain or tensorflow where the user stands must not be imported.
CONVERTER = (sys.executable, "-P", "-X", "faulthandler", "-m", "toolchain.network.convert")

# One in this many representative windows has one of the lowest forecasts, one in as many one of the
# highest.
_EXTREMES = 16

_REMEDIES = {
    "SIGKILL": "The system ended it, most likely for lack of memory: lower "
    "compression.representative_windows or network.hidden.",
    "SIGSEGV": "The converter crashed: use LSTM and Dense layers as `shelfcast train` makes them.",
    "SIGABRT": "The converter gave up: use LSTM and Dense layers as `shelfcast train` makes them.",
}


def representative(
    train: Windows, count: int, seed: int, forecasts: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Draw `count` training windows, or all when there are fewer: (count, steps, features).

    `forecasts` (windows,) are the float network's own of the training windows. With them, the
    windows with the lowest and the highest forecasts are always drawn: the output's range is that
    of the windows drawn, and what lies beyond it is cut off on the device. (On the Complete
    Journey, 512 windows drawn blindly cut off 2% of the forecasts, and MAE grew by 0.24 to 0.33%;
    with the extremes among them, by 0.02 to 0.12%.)
    """
    total = len(train.inputs)
    if count >= total:
        return train.inputs
    order = np.arange(total) if forecasts is None else np.argsort(forecasts, kind="stable")
    extremes = 0 if forecasts is None else max(count // _EXTREMES, min(count // 2, 1))
    ends = np.concatenate([order[:extremes], order[total - extremes :]])
    middle = order[extremes : total - extremes]
    drawn = np.random.default_rng(seed).choice(middle, count - len(ends), replace=False)
    return train.inputs[np.sort(np.concatenate([ends, drawn]))]


def quantize(
    model: Path,
    representative: NDArray[np.float32],
    out: Path,
    progress: Progress = silent,
    *,
    converter: Sequence[str] = CONVERTER,
    time_limit_s: float = TIME_LIMIT_S,
) -> None:
    """Convert the Keras model at `model` to integers, and write the .tflite to `out`.

    `representative` is (windows, steps, features). The same model and windows give the same bytes.
    `converter` is a command that is given a model, a .npy file and the file to write. When it
    fails, all that it said is kept beside `out`, as `<out>.log`.

    Raises:
        ModelError: not a Keras 2 model, or one for windows of another shape.
        DataError: no representative windows, or one that is not finite.
        ConversionError: the converter failed or took too long, or its result holds an operator
            that the integer engine does not have.
    """
    if len(representative) == 0:
        raise DataError("representative windows: there are none; at least 1 is needed.")
    refuse_not_finite(representative, "representative windows")
    refuse_not_hdf5(model)
    progress(0.0, f"converting to INT8 with {len(representative):,} representative windows")
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as folder:
        samples, result = Path(folder, "samples.npy"), Path(folder, "model.tflite")
        np.save(samples, representative.astype(np.float32))
        command = [*converter, str(model), str(samples), str(result)]
        ending = run_child(command, time_limit_s=time_limit_s)
        if ending.how:
            raise _failure(model, out, ending)
        content = result.read_bytes() if result.exists() else b""
    graph = _deployable(content, out.name)
    write_atomically(out, content)
    _log_of(out).unlink(missing_ok=True)
    progress(1.0, f"INT8 model of {len(content):,} bytes in {len(graph.operators)} operators")


def _deployable(content: bytes, name: str) -> Graph:
    """Check what the converter wrote, operator by operator."""
    try:
        return parse_graph(content, name)
    except ModelError as cause:
        raise ConversionError(f"the converter's result cannot be deployed: {cause}") from cause


def _failure(model: Path, out: Path, ending: Ending) -> ConversionError | ModelError:
    """Turn the converter's ending into an error, and keep its log."""
    said = model_error(ending)
    if said is not None:
        return said
    log = _log_of(out)
    write_atomically(log, ending.log)
    reason = f": {ending.reason}" if ending.reason else ""
    remedy = _REMEDIES.get(ending.how, "Use LSTM and Dense layers as `shelfcast train` makes them.")
    if ending.how.startswith("time limit"):
        remedy = "Lower compression.representative_windows or network.hidden."
    return ConversionError(
        f"{model}: conversion to INT8 failed ({ending.how}){reason.rstrip('.')}. {remedy} "
        f"All that it wrote: {log}"
    )


def _log_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.log")
