from __future__ import annotations

import pytest

from toolchain.errors import ConversionError
from toolchain.network.operators import check_operators, operator_names


def float_tflite(*, keras_3: bool) -> bytes:
    """Convert layers of either Keras to a float .tflite for windows of 6 x 2."""
    from toolchain.network.backend import keras, quiet, tf

    layers = tf.keras if keras_3 else keras
    model = layers.Sequential(
        [layers.layers.Input((6, 2)), layers.layers.LSTM(4), layers.layers.Dense(1)]
    )
    forecast = tf.function(lambda window: model(window))
    with quiet():
        function = forecast.get_concrete_function(tf.TensorSpec((1, 6, 2), tf.float32))
        return tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert()


def test_each_layer_is_one_operator(converted) -> None:
    lstm = "UNIDIRECTIONAL_SEQUENCE_LSTM"

    found = check_operators(converted.read_bytes(), "model.tflite")

    assert found == (lstm, lstm, "STRIDED_SLICE", "FULLY_CONNECTED")


def test_a_float_model_is_refused() -> None:
    with pytest.raises(ConversionError) as error:
        check_operators(float_tflite(keras_3=False), "model.tflite")

    assert str(error.value) == (
        "model.tflite: its input is FLOAT32; only INT8 can be deployed. Convert with full integer "
        "quantization, inputs and outputs included."
    )


def test_a_keras_3_model_is_refused_for_its_while() -> None:
    model = float_tflite(keras_3=True)
    index = operator_names(model).index("WHILE")

    with pytest.raises(ConversionError) as error:
        check_operators(model, "model.tflite")

    assert str(error.value) == (
        f"model.tflite: operator {index} is WHILE; only FULLY_CONNECTED, RESHAPE, STRIDED_SLICE, "
        "UNIDIRECTIONAL_SEQUENCE_LSTM can be deployed. The LSTM was not fused: use tf_keras "
        "(Keras 2) LSTM layers with their default activations, and no dropout, mask or unroll."
    )
