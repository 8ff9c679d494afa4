from __future__ import annotations

import pytest

from toolchain.errors import ModelError
from toolchain.graph.tflite_file import load_graph, parse_graph


def float_tflite(*, keras_3: bool) -> bytes:
    """Convert layers of either Keras to a float .tflite for windows of 6 x 2."""
    # Not tf.keras: pruning, in the same process, makes that Keras 2.
    import keras as keras_3_library

    from toolchain.network.backend import keras, quiet, tf

    layers = keras_3_library if keras_3 else keras
    model = layers.Sequential(
        [layers.layers.Input((6, 2)), layers.layers.LSTM(4), layers.layers.Dense(1)]
    )
    forecast = tf.function(lambda window: model(window))
    with quiet():
        function = forecast.get_concrete_function(tf.TensorSpec((1, 6, 2), tf.float32))
        return tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert()


def test_each_layer_is_one_operator(converted) -> None:
    lstm = "UNIDIRECTIONAL_SEQUENCE_LSTM"

    operators = load_graph(converted).operators

    assert [operator.name for operator in operators] == [
        lstm,
        lstm,
        "STRIDED_SLICE",
        "FULLY_CONNECTED",
    ]


def test_a_float_model_is_refused() -> None:
    with pytest.raises(
        ModelError,
        match=r"^model\.tflite: its input is float, and operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM "
        "computes with it; a model with int8",
    ):
        parse_graph(float_tflite(keras_3=False), "model.tflite")


def test_a_keras_3_model_is_refused_for_its_while() -> None:
    with pytest.raises(ModelError, match=r"operator \d+ is WHILE: .* Give the Keras file itself"):
        parse_graph(float_tflite(keras_3=True), "model.tflite")
