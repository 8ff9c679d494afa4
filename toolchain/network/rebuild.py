"""Rebuild somebody else's float model in tf-keras, and prove it equal to the original.

`python -m toolchain.network.rebuild MODEL WINDOWS OUT` is a process of its own, which `rebuild`
starts: two Kerases and a stranger's file are best kept out of the process of the user's command.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ConversionError, ModelError
from toolchain.files import write_atomically
from toolchain.network.child import model_error, run_child
from toolchain.network.float_model import refuse_not_finite, save_model
from toolchain.network.float_network import (
    ActivationLayer,
    DenseLayer,
    FloatNetwork,
    LstmLayer,
    ReshapeLayer,
)
from toolchain.network.keras_file import read_chain_of, read_network
from toolchain.progress import Progress, silent

TIME_LIMIT_S = 600.0
LIMIT = 1e-5
"""By how much an output may differ, as a share of the largest output, or of 1 when that is less."""
RANDOM_WINDOWS = 64

REBUILDER = (sys.executable, "-P", "-X", "faulthandler", "-m", "toolchain.network.rebuild")


@dataclass(frozen=True)
class Proof:
    """How the rebuilt network compares with the original."""

    windows: int
    """Compared: the representative ones, and random ones."""
    largest_difference: float | None
    """Of any output; None: the original could not be run."""
    limit: float
    original: str
    """What ran the original, or why nothing could."""

    @property
    def words(self) -> str:
        """Say it in a line."""
        if self.largest_difference is None:
            return f"NOT PROVEN equal to the original: {self.original}"
        return (
            f"equal to the original ({self.original}) to {self.largest_difference:.1e} in "
            f"{self.windows:,} windows"
        )


def build(network: FloatNetwork, steps: int) -> Any:
    """Return the tf-keras model of a network, for windows of (steps, network.features).

    Layers are named by kind and place, so that files of one network give the same bytes.
    """
    from toolchain.network.backend import keras

    make = keras.layers
    layers: list[Any] = []
    weights: list[list[NDArray[np.float32]]] = []

    def activate(activation: str, name: str) -> None:
        # A layer of its own: in files of tf-keras, relu6 is no name of an activation.
        it = make.ReLU(6.0, name=name) if activation == "relu6" else None
        layers.append(it or make.Activation(activation, name=name))
        weights.append([])

    for place, layer in enumerate(network.layers):
        name = f"{type(layer).__name__.removesuffix('Layer').lower()}_{place}"
        if isinstance(layer, LstmLayer):
            layers.append(
                make.LSTM(layer.hidden_size, return_sequences=layer.whole_sequence, name=name)
            )
            weights.append([layer.kernel, layer.recurrent, layer.bias])
        elif isinstance(layer, DenseLayer):
            alone = layer.activation == "relu6"
            layers.append(
                make.Dense(
                    layer.kernel.shape[1], "linear" if alone else layer.activation, name=name
                )
            )
            weights.append([layer.kernel, layer.bias])
            if alone:
                activate(layer.activation, f"activation_{place}")
        elif isinstance(layer, ActivationLayer):
            activate(layer.activation, name)
        else:
            assert isinstance(layer, ReshapeLayer)  # normalizations are folded
            layers.append(make.Reshape(layer.shape, name=name))
            weights.append([])
    window = make.Input((steps, network.features), name="window")
    model = keras.Sequential([window, *layers], name="forecaster")
    for made, values in zip(model.layers, weights, strict=True):
        made.set_weights(values)
    return model


def rebuild(
    path: Path,
    windows: NDArray[np.float32],
    out: Path,
    progress: Progress = silent,
    *,
    rebuilder: Sequence[str] = REBUILDER,
    time_limit_s: float = TIME_LIMIT_S,
) -> Proof:
    """Write the network at `path` to `out` as a Keras 2 file of our own layers, proven equal.

    `windows` (windows, steps, features) are compared, and random ones.

    Raises:
        ModelError: the file is damaged, cannot be deployed, or its twin forecasts otherwise.
        ConversionError: the process that rebuilds it failed.
    """
    refuse_not_finite(windows, "representative windows")
    progress(0.0, f"rebuilding {path.name} in tf-keras")
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as folder:
        shown = Path(folder, "windows.npy")
        np.save(shown, windows.astype(np.float32))
        ending = run_child([*rebuilder, str(path), str(shown), folder], time_limit_s=time_limit_s)
        if ending.how:
            raise model_error(ending) or ConversionError(
                f"{path}: rebuilding it in tf-keras failed ({ending.how}): "
                f"{ending.reason.rstrip('.') or 'it said nothing'}. Save the model again with "
                "LSTM and Dense layers."
            )
        proof = Proof(**json.loads(Path(folder, "proof.json").read_text(encoding="utf-8")))
        write_atomically(out, Path(folder, "float.h5").read_bytes())
    progress(1.0, proof.words)
    return proof


def main(model: str, windows: str, out: str) -> None:
    """Rebuild `model`, compare it on the windows of a .npy file, write into the folder `out`."""
    from toolchain.network.backend import quiet
    from toolchain.network.original import NotProven, run_original

    path = Path(model)
    network, chain = read_network(path), read_chain_of(path)
    shown: NDArray[np.float32] = np.load(windows, allow_pickle=False)
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 1, (RANDOM_WINDOWS, *shown.shape[1:])).astype(np.float32)
    every = np.concatenate([shown, drawn])
    twin = build(network, shown.shape[1])
    try:
        with quiet():
            wanted, words = run_original(path, chain, every)
    except NotProven as cause:
        proof = Proof(0, None, LIMIT, str(cause))
    else:
        given = np.asarray(twin.predict(every, batch_size=256, verbose=0)).reshape(len(every), -1)
        proof = _compare(path, wanted, given, words)
    save_model(twin, Path(out, "float.h5"))
    write_atomically(Path(out, "proof.json"), json.dumps(asdict(proof)))


def _compare(
    path: Path, wanted: NDArray[np.float32], given: NDArray[np.float32], words: str
) -> Proof:
    if wanted.shape != given.shape:
        raise ModelError(
            f"{path.name}: gives {wanted.shape[1]} values, rebuilt in tf-keras {given.shape[1]}."
        )
    difference = float(np.abs(wanted - given).max())
    limit = LIMIT * max(1.0, float(np.abs(wanted).max()))
    if not difference <= limit:
        raise ModelError(
            f"{path.name}: rebuilt in tf-keras it forecasts otherwise than by {words}: by up to "
            f"{difference:.2g}; {limit:.2g} is allowed. Save it with float32 layers, weights and "
            "activations."
        )
    return Proof(len(wanted), difference, limit, words)


if __name__ == "__main__":
    main(*sys.argv[1:])
