"""Run somebody else's float model as it is, to compare its rebuilt twin with: in a child process.

Its configuration was read before (`keras_config.py`), so that Keras is shown none but its own
layers. The graph of a SavedModel is run only when it is made of arithmetic.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.model_path import SAVED_MODEL
from toolchain.network.keras_config import Chain

_BATCH = 256

# Operations that read nothing but their inputs and the network's own variables.
_ARITHMETIC = frozenset(
    [
        "Add",
        "AddN",
        "AddV2",
        "BatchMatMulV2",
        "BiasAdd",
        "Cast",
        "ConcatV2",
        "Const",
        "Enter",
        "ExpandDims",
        "Fill",
        "Greater",
        "Identity",
        "IdentityN",
        "Less",
        "LogicalAnd",
        "LogicalOr",
        "MatMul",
        "Max",
        "Maximum",
        "Mean",
        "Min",
        "Minimum",
        "Mul",
        "Neg",
        "NoOp",
        "Pack",
        "PartitionedCall",
        "Placeholder",
        "Prod",
        "Range",
        "RealDiv",
        "ReadVariableOp",
        "Relu",
        "Relu6",
        "Reshape",
        "ReverseV2",
        "Rsqrt",
        "Select",
        "SelectV2",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "SplitV",
        "Sqrt",
        "Square",
        "Squeeze",
        "StatefulPartitionedCall",
        "StatelessWhile",
        "StatelessIf",
        "StopGradient",
        "StridedSlice",
        "Sub",
        "Sum",
        "Tanh",
        "TensorListElementShape",
        "TensorListFromTensor",
        "TensorListGetItem",
        "TensorListReserve",
        "TensorListSetItem",
        "TensorListStack",
        "Tile",
        "Transpose",
        "Unpack",
        "VarHandleOp",
        "While",
        "ZerosLike",
    ]
)


class NotProven(Exception):
    """The original could not be run, so nothing can be compared with it."""


def run_original(
    path: Path, chain: Chain, windows: NDArray[np.float32]
) -> tuple[NDArray[np.float32], str]:
    """Forecast `windows` (windows, steps, features); return outputs (windows, values), and by what.

    Raises:
        NotProven: what it needs cannot be imported, or would run more than arithmetic.
    """
    batch = chain.batch or _BATCH
    count = -(-len(windows) // batch) * batch
    padded = np.concatenate([windows, np.zeros((count - len(windows), *windows.shape[1:]),
                                               np.float32)])  # fmt: skip
    if len(chain.input_shape) == 2:
        padded = padded.reshape(count, -1)
    forecast, words = _forecaster(path)
    outputs = []
    for first in range(0, count, batch):
        some = padded[first : first + batch]
        result = np.asarray(forecast(some.swapaxes(0, 1) if chain.time_major else some))
        outputs.append(result.reshape(len(some), -1))
    return np.concatenate(outputs)[: len(windows)].astype(np.float32), words


def _forecaster(path: Path) -> tuple[Any, str]:
    if path.is_dir():
        return _signature(path), "TensorFlow, from its SavedModel"
    if _by_keras_3(path):
        try:
            os.environ["KERAS_BACKEND"] = "tensorflow"
            import keras  # type: ignore[import-untyped, unused-ignore]
        except ImportError as cause:
            raise NotProven(f"Keras 3 cannot be imported ({cause})") from cause
        words = f"Keras {keras.__version__}"
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    else:
        from toolchain.network.backend import keras as keras_2

        words = f"tf-keras {keras_2.__version__}"
        safe = {} if path.suffix == ".h5" else {"safe_mode": True}
        model = keras_2.models.load_model(path, compile=False, **safe)

    def forecast(batch: NDArray[np.float32]) -> Any:
        for layer in model.layers:
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
                layer.reset_states()
            elif getattr(layer, "stateful", False):
                layer.reset_state()
        return model(batch, training=False)

    return forecast, words


def _by_keras_3(path: Path) -> bool:
    """Tell which Keras wrote a file."""
    import json
    import zipfile

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
            # Keras 2 writes .keras files, too.
            return version.startswith("3")
    import h5py

    with h5py.File(path, "r") as file:
        return str(file.attrs.get("keras_version", "2")).startswith("3")


def _signature(path: Path) -> Any:
    """Load the serving signature of a SavedModel.

    Raises:
        NotProven: it holds operations that could reach beyond their inputs.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    from toolchain.network.backend import tf

    saved = saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL).read_bytes())
    graph = saved.meta_graphs[0]
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    served = graph.object_graph_def.concrete_functions
    if any(
        node.WhichOneof("kind") in ("asset", "resource") for node in graph.object_graph_def.nodes
    ):
        raise NotProven("it holds files or tables of its own, which are not loaded")
    names = [name for name in served if "signature_wrapper" in name]
    waiting, seen = list(names), set(names)
    while waiting:
        for node in library[waiting.pop()].node_def:
            if node.op not in _ARITHMETIC and node.op not in library:
                raise NotProven(f"its graph holds {node.op}, which is not run")
            called = [value.func.name for value in node.attr.values() if value.func.name]
            called += [node.op] if node.op in library else []
            waiting += [name for name in called if name not in seen]
            seen.update(called)
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def forecast(batch: NDArray[np.float32]) -> Any:
        return next(iter(signature(**{name: tf.constant(batch)}).values())).numpy()

    forecast.loaded = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return forecast
