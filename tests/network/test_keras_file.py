"""Other people's Keras files: the same network from each kind of file, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from toolchain.errors import ModelError
from toolchain.network.float_network import LstmLayer
from toolchain.network.keras_config import network_of, read_chain
from toolchain.network.keras_file import read_network
from toolchain.network.keras_shapes import read_shapes
from toolchain.network.rebuild import LIMIT, main

STEPS, FEATURES = 6, 2
KINDS = ("keras2.h5", "keras3.h5", "keras3.keras", "saved_model")


def one_lstm(layers: Any) -> list[Any]:
    return [layers.LSTM(8), layers.Dense(1)]


def scaled_and_stacked(layers: Any) -> list[Any]:
    return [
        layers.Rescaling(0.5, offset=0.25),
        layers.LSTM(5, return_sequences=True, name="bottom"),
        layers.Dropout(0.2),
        layers.LSTM(4, use_bias=False),
        layers.Dense(3, activation="relu"),
        layers.Dense(2),
    ]


def dense_relu(layers: Any) -> list[Any]:
    return [layers.LSTM(6), layers.BatchNormalization(), layers.Dense(7, "relu"), layers.Dense(1)]


def whole_sequence(layers: Any) -> list[Any]:
    return [
        layers.LSTM(4, return_sequences=True),
        layers.TimeDistributed(layers.Dense(2)),
        layers.Flatten(),
        layers.Dense(3, "tanh"),
    ]


NETWORKS = (scaled_and_stacked, one_lstm, dense_relu, whole_sequence)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[..., Any]], Path]:
    """Write a network as each kind of file, with the same weights, once."""
    folder = tmp_path_factory.mktemp("theirs")

    def write(network: Callable[..., Any]) -> Path:
        target = folder / network.__name__
        if target.exists():
            return target
        # Not tf.keras: pruning, in the same process, makes that Keras 2.
        import keras as keras_3

        from toolchain.network.backend import keras as keras_2
        from toolchain.network.backend import quiet

        target.mkdir()
        with quiet():
            models = [
                keras.Sequential([keras.layers.Input((STEPS, FEATURES)), *network(keras.layers)])
                for keras in (keras_2, keras_3)
            ]
            rng = np.random.default_rng(5)
            # Variances, too, are drawn: above 0.
            weights = [rng.uniform(0.05, 0.6, it.shape) for it in models[0].get_weights()]
            for model in models:
                model.set_weights(weights)
            models[0].save(target / "keras2.h5", save_format="h5")
            models[0].save(target / "saved_model", save_format="tf")
            models[1].save(target / "keras3.h5")
            models[1].save(target / "keras3.keras")
        return target

    return write


def prove(path: Path, folder: Path) -> dict[str, Any]:
    """Rebuild and compare, in this process: what the child of `rebuild` does."""
    folder.mkdir(exist_ok=True)
    windows = np.random.default_rng(2).normal(0, 1, (20, STEPS, FEATURES)).astype(np.float32)
    np.save(folder / "windows.npy", windows)
    main(str(path), str(folder / "windows.npy"), str(folder))
    return json.loads((folder / "proof.json").read_text())


@pytest.mark.parametrize(
    "network",
    [NETWORKS[0], *(pytest.param(it, marks=pytest.mark.full) for it in NETWORKS[1:])],
)
def test_every_kind_of_file_is_rebuilt_equal_to_its_original_and_to_the_byte(
    files, network, tmp_path
) -> None:
    folder = files(network)

    proofs = {kind: prove(folder / kind, tmp_path / kind) for kind in KINDS}

    assert {kind: proof["windows"] for kind, proof in proofs.items()} == dict.fromkeys(KINDS, 84)
    assert all(proof["largest_difference"] <= LIMIT for proof in proofs.values())
    assert {"tf-keras", "Keras"} <= {proof["original"].split()[0] for proof in proofs.values()}
    rebuilt = {(tmp_path / kind / "float.h5").read_bytes() for kind in KINDS}
    assert len(rebuilt) == 1


def test_a_rebuilt_network_that_forecasts_otherwise_is_refused(
    files, tmp_path, monkeypatch
) -> None:
    import toolchain.network.rebuild as module

    def nudged(path: Path) -> Any:
        network = read_network(path)
        network.layers[-1].bias[0] += 1e-3
        return network

    monkeypatch.setattr(module, "read_network", nudged)

    with pytest.raises(ModelError, match=r"rebuilt in tf-keras it forecasts otherwise .* 0\.001"):
        prove(files(scaled_and_stacked) / "keras3.keras", tmp_path)


def test_a_saved_model_is_sized_without_its_weights(files) -> None:
    network = read_shapes(files(scaled_and_stacked) / "saved_model")

    assert [it.hidden_size for it in network.layers if isinstance(it, LstmLayer)] == [5, 4]


# What is refused needs no TensorFlow: a configuration is JSON.


def model_of(*layers: dict[str, Any]) -> dict[str, Any]:
    window = {"class_name": "InputLayer", "config": {"batch_shape": [None, 6, 2], "name": "in"}}
    return {"class_name": "Sequential", "config": {"layers": [window, *layers]}}


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": kind.lower(), **config}}


LSTM = layer("LSTM", units=3)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (model_of(layer("Bidirectional", layer=LSTM)), "reads the window from both ends"),
        (model_of(layer("GRU", units=3)), "no integer GRU in TFLite Micro"),
        (model_of(layer("SimpleRNN", units=3)), "no integer SimpleRNN"),
        (model_of(LSTM, layer("Lambda", function="x")), "Python code, which is never run"),
        (model_of(layer("Masking")), "fill missing days before the network"),
        (model_of(layer("Conv1D")), 'layer "conv1d" is Conv1D, which is not supported'),
        (model_of(layer("LSTM", units=3, go_backwards=True)), "with go_backwards=True"),
        (model_of(layer("LSTM", units=3, activation="relu")), "activation relu; tanh is supported"),
        (
            model_of(layer("LSTM", units=3, recurrent_activation="hard_sigmoid")),
            "recurrent_activation hard_sigmoid; sigmoid is",
        ),
        (model_of(LSTM, layer("Dense", units=1, activation="elu")), "with activation elu"),
        (model_of(layer("Dense", units=1), LSTM), "LSTM layers come first"),
        (model_of(LSTM, layer("Rescaling", scale=2.0, offset=0.0)), "scale the numbers outside"),
        (model_of(layer("Dense", units=1)), "has no LSTM layer"),
        ({"class_name": "MyNet", "config": {}}, "a class whose code is not in the file"),
        ({"class_name": "Sequential"}, "its configuration is damaged"),
        ([], "its configuration is damaged"),
        (
            model_of(layer("LSTM", units=3, kernel_initializer={"module": "os"})),
            "needs os., code that is not Keras's own and is never run",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_deployed_is_named_with_what_to_do(model, words) -> None:
    with pytest.raises(ModelError, match=r"^theirs: .*\.$") as caught:
        network_of(read_chain(model, "theirs"), None)

    assert words in str(caught.value)


def test_a_network_that_branches_is_refused() -> None:
    def node(kind: str, name: str, *sources: str, **config: Any) -> dict[str, Any]:
        nodes = [[[source, 0, 0, {}] for source in sources]] if sources else []
        return {**layer(kind, **{**config, "name": name}), "name": name, "inbound_nodes": nodes}

    window = node("InputLayer", "in", batch_shape=[None, 6, 2])
    layers = [window, node("LSTM", "a", "in", units=3), node("LSTM", "b", "in", units=3)]
    config = {"layers": layers, "input_layers": ["in", 0, 0], "output_layers": ["a", 0, 0]}

    with pytest.raises(ModelError, match=r'layer "in" is read by "a" and "b"; a chain of layers'):
        read_chain({"class_name": "Functional", "config": config}, "theirs")


def write_keras(path: Path, model: Any) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")


@pytest.mark.parametrize("kind", ["keras2.h5", "keras3.keras"])
def test_a_file_cut_short_anywhere_is_one_clear_error(files, tmp_path, kind) -> None:
    content = (files(scaled_and_stacked) / kind).read_bytes()
    path = tmp_path / kind

    for size in range(0, len(content) - 1, 997):
        path.write_bytes(content[:size])
        with pytest.raises(ModelError) as caught:
            read_network(path)
        assert "\n" not in str(caught.value)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["keras2.h5", "keras3.h5", "keras3.keras"])
def test_a_damaged_file_is_a_network_or_one_clear_error(files, tmp_path, kind) -> None:
    content = (files(scaled_and_stacked) / kind).read_bytes()
    path, rng, refused = tmp_path / kind, np.random.default_rng(9), 0

    for _ in range(100):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 8):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_shapes(path)
        except ModelError as error:
            refused += "\n" not in str(error)

    assert refused > 10


def test_a_file_that_ends_its_reader_is_one_clear_error(tmp_path) -> None:
    crash = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")

    with pytest.raises(ModelError) as caught:
        read_shapes(tmp_path / "theirs.h5", reader=crash)

    assert str(caught.value) == (
        "theirs.h5: damaged: what reads it ended with SIGSEGV. Save or copy it again."
    )


@pytest.mark.parametrize("kind", ["keras2.h5", "keras3.keras"])
def test_a_network_comes_whole_from_the_process_that_reads_it(files, kind) -> None:
    path = files(scaled_and_stacked) / kind

    network, wanted = read_shapes(path), read_network(path)

    assert (network.steps, network.features) == (wanted.steps, wanted.features)
    assert [type(it) for it in network.layers] == [type(it) for it in wanted.layers]
    assert np.array_equal(network.layers[0].kernel, wanted.layers[0].kernel)


def test_weights_of_another_shape_are_refused(files, tmp_path) -> None:
    path = tmp_path / "keras2.h5"
    shutil.copy(files(scaled_and_stacked) / "keras2.h5", path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/bottom"]
        name = group.attrs["weight_names"][0]
        del group[name]
        group[name] = np.zeros((9, 20), np.float32)

    with pytest.raises(ModelError, match=r'layer "bottom" has weights of shapes \(9, 20\)'):
        read_network(path)


def test_weights_without_layers_say_what_to_save(tmp_path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)

    with pytest.raises(ModelError, match=r"Save the whole model: model\.save"):
        read_network(path)


def test_a_saved_model_of_keras_3_says_what_to_save(tmp_path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")

    with pytest.raises(ModelError, match=r"Keras 3 exports nothing else\)\. Save the model as"):
        read_network(tmp_path)
