"""Read other people's Keras files without Keras: .keras, .h5 of Keras 2 and 3, SavedModel folders.

Nothing of a file is run. Only the weights of a SavedModel need TensorFlow, whose reader of
checkpoints is used.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toolchain.errors import ModelError
from toolchain.model_path import SAVED_MODEL
from toolchain.network.float_model import HDF5_SIGNATURE, first_line
from toolchain.network.float_network import FloatNetwork
from toolchain.network.keras_config import (
    WEIGHTS,
    Array,
    Chain,
    ReadWeights,
    Spec,
    network_of,
    read_chain,
)

_METADATA = "keras_metadata.pb"
_MAX_BYTES = 1 << 30
"""Unpacked, of one member of a .keras file: far more than any network that fits a board."""

# What zipfile, h5py and JSON raise, led by damage.
_DAMAGE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError,
           OverflowError, MemoryError, NotImplementedError, EOFError, zipfile.BadZipFile,
           zlib.error, RecursionError)  # fmt: skip


def read_network(path: Path) -> FloatNetwork:
    """Read a float network, weights and all. For a SavedModel this imports TensorFlow.

    A damaged file may end the process: see `keras_shapes.py`.

    Raises:
        ModelError: damaged, or a network that cannot be deployed, with the layer and what to do.
    """
    with _opened(path) as (chain, weights):
        return network_of(chain, weights)


def read_chain_of(path: Path) -> Chain:
    """Read the layers of a model without their weights.

    Raises:
        ModelError: as `read_network`.
    """
    if path.is_dir():
        return read_chain(_saved_model_config(path), path.name)
    with _opened(path) as (chain, _):
        return chain


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Chain, ReadWeights]]:
    """Open a model; every way in which it can be damaged is one clear error."""
    try:
        if path.is_dir():
            chain = read_chain(_saved_model_config(path), path.name)
            yield chain, _checkpoint_weights(path, chain)
            return
        start = _start_of(path)
        if start.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                chain = read_chain(json.loads(_member(archive, "config.json")), path.name)
                content = io.BytesIO(_member(archive, "model.weights.h5"))
                with _hdf5(content) as file:
                    yield chain, _archive_weights(file, chain)
        elif start == HDF5_SIGNATURE:
            with _hdf5(path) as file:
                if "model_config" not in file.attrs:
                    raise ModelError(
                        f"{path.name}: holds weights without the network's layers. Save the whole "
                        "model: model.save(...), not save_weights."
                    )
                chain = read_chain(json.loads(file.attrs["model_config"]), path.name)
                yield chain, _hdf5_weights(file)
        else:
            raise ModelError(
                f"{path.name}: not a Keras model: its first bytes are {start.hex() or 'missing'}, "
                f"those of a .keras are {b'PK'.hex()}, of an .h5 {HDF5_SIGNATURE.hex()}."
            )
    except ModelError:
        raise
    except _DAMAGE as cause:
        raise ModelError(
            f"{path.name}: damaged or cut short: {first_line(cause)} Save or copy it again."
        ) from cause


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_SIGNATURE))
    except FileNotFoundError as cause:
        raise ModelError(f"{path}: no such file.") from cause
    except OSError as cause:
        raise ModelError(f"{path}: cannot be read: {cause.strerror}.") from cause


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _MAX_BYTES:
        raise ValueError(f"{name} unpacks to {size:,} bytes, more than {_MAX_BYTES:,}.")
    return archive.read(name)


@contextmanager
def _hdf5(source: Any) -> Iterator[Any]:
    import h5py

    with h5py.File(source, "r") as file:
        yield file


def _array(dataset: Any) -> Array:
    if int(np.prod(dataset.shape, dtype=np.float64)) * 8 > _MAX_BYTES:
        raise ValueError(f"weights of shape {dataset.shape}.")
    return np.asarray(dataset[()], np.float32)


def _hdf5_weights(file: Any) -> ReadWeights:
    """Read weights by the names that a layer's group lists, in Keras's order."""

    def read(spec: Spec) -> Sequence[Array]:
        group = file["model_weights"][spec.name]
        names = [it.decode() if isinstance(it, bytes) else it for it in group.attrs["weight_names"]]
        wanted = WEIGHTS[spec.kind]
        return [_array(group[it]) for it in names if it.split("/")[-1].split(":")[0] in wanted]

    return read


def _archive_weights(file: Any, chain: Chain) -> ReadWeights:
    """Read weights of a .keras: groups are named by kind and number, not by the layer's name.

    Keras 3 writes the layer's name too, as an attribute, which then decides.
    """
    groups, names, count = file["layers"], {}, Counter[str]()
    for spec in chain.specs:
        kind = "time_distributed" if spec.inner else _snake_case(spec.kind)
        names[spec.name] = f"{kind}_{count[kind]}" if count[kind] else kind
        count[kind] += 1
    for place in groups:
        said = groups[place]["vars"].attrs.get("name") if "vars" in groups[place] else None
        if isinstance(said, bytes | str):
            names[said if isinstance(said, str) else said.decode()] = place

    def read(spec: Spec) -> Sequence[Array]:
        group = groups[names[spec.name]]
        if spec.inner:
            group = group["layer"]
        values = group["cell"]["vars"] if spec.kind == "LSTM" else group["vars"]
        return [_array(values[str(at)]) for at in range(len(values))]

    return read


def _snake_case(name: str) -> str:
    """Name a group as Keras does.

    >>> _snake_case("LSTM"), _snake_case("BatchNormalization")
    ('lstm', 'batch_normalization')
    """
    words = re.sub(r"([A-Z][a-z]+)", r"_\1", re.sub(r"([a-z])([A-Z])", r"\1_\2", name))
    return re.sub(r"_+", "_", words).strip("_").lower()


# SavedModel: the layers are JSON in a small file of Keras 2, the weights a TensorFlow checkpoint.


def _saved_model_config(path: Path) -> Any:
    if not (path / SAVED_MODEL).exists():
        raise ModelError(f"{path}: not a SavedModel: it holds no {SAVED_MODEL}.")
    file = path / _METADATA
    if not file.exists():
        raise ModelError(
            f"{path.name}: a SavedModel without {_METADATA}, the layers as Keras 2 writes them; "
            "what is left is a graph of operations (Keras 3 exports nothing else). Save the model "
            "as .keras."
        )
    try:
        for number, value in _fields(file.read_bytes()):
            node = dict(_fields(value)) if number == 1 else {}
            if node.get(3) == b"root":
                metadata = json.loads(node[5])
                break
        else:
            raise ValueError("it has no root.")
        if "model_config" not in metadata:
            raise ModelError(
                f"{path.name}: is a {metadata.get('class_name')}, a class whose code is not in the "
                "folder. Rebuild the network as a Sequential model, copy the weights with "
                "set_weights, and save that."
            )
        return metadata["model_config"]
    except (*_DAMAGE, UnicodeDecodeError) as cause:
        raise ModelError(
            f"{path.name}: its {_METADATA} is damaged: {first_line(cause)} Save or copy it again."
        ) from cause


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Read the fields of a protocol buffer message: numbers, and bytes.

    Source: protobuf.dev, Encoding.
    """
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(content):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
            continue
        if tag & 7 != 2:
            raise ValueError(f"a field has the wire type {tag & 7}.")
        size = varint()
        if at + size > len(content):
            raise ValueError(f"a field of {size:,} bytes ends after the file.")
        yield tag >> 3, content[at : at + size]
        at += size


def _checkpoint_weights(path: Path, chain: Chain) -> ReadWeights:
    """Read weights by their place in the tree of objects that a checkpoint holds."""
    from toolchain.network.backend import quiet, tf

    try:
        from tensorflow.core.protobuf import trackable_object_graph_pb2

        with quiet():
            reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
            nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
                reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
            ).nodes
    except Exception as cause:  # TensorFlow and protobuf raise whatever the damage leads to
        raise ModelError(
            f"{path.name}: its weights are damaged or missing: {first_line(cause)} "
            "Save or copy the folder again."
        ) from cause

    def child(node: Any, name: str) -> Any:
        return nodes[next(it.node_id for it in node.children if it.local_name == name)]

    weighted = [spec.name for spec in chain.specs if spec.kind in WEIGHTS]

    def read(spec: Spec) -> Sequence[Array]:
        found = []
        try:
            node = child(nodes[0], f"layer_with_weights-{weighted.index(spec.name)}")
            if spec.inner:
                node = child(node, "layer")
            if spec.kind == "LSTM":
                node = child(node, "cell")
            held = {it.local_name for it in node.children}
            for name in WEIGHTS[spec.kind]:
                if name in held:
                    key = child(node, name).attributes[0].checkpoint_key
                    found.append(np.asarray(reader.get_tensor(key), np.float32))
        except (StopIteration, IndexError, tf.errors.OpError) as cause:
            raise ModelError(
                f'{path.name}: the weights of layer "{spec.name}" are missing. Save or copy the '
                "folder again."
            ) from cause
        return found

    return read
