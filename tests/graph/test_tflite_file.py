from __future__ import annotations

import contextlib

import numpy as np
import pytest
from tflite import BuiltinOperator, TensorType
from tflite_writer import ModelWriter, Recipe, dense_options, lstm_options, write_forecaster

from toolchain.errors import ModelError
from toolchain.graph.tflite_file import load_graph


def refusal(tmp_path, content: bytes) -> str:
    """Return what `load_graph` says of a file, without its path."""
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_graph(path)
    assert caught.value.exit_code == 2
    words = str(caught.value)
    assert "\n" not in words
    return words.removeprefix(f"{path}: ")


def chain(*codes: int, kind=np.int8) -> bytes:
    """Write a chain of operators without options."""
    writer = ModelWriter()
    tensors = [
        writer.tensor((1, 4, 1), kind, scale=None if kind is np.float32 else 0.1)
        for _ in range(len(codes) + 1)
    ]
    for number, code in enumerate(codes):
        writer.operator(code, [tensors[number]], [tensors[number + 1]])
    return writer.finish([tensors[0]], [tensors[-1]])


def test_reads_sizes_scales_and_operators(make_graph):
    graph = make_graph(Recipe(hidden=(8, 5), features=3, steps=9, dense=(2,)))

    assert (graph.steps, graph.features, graph.hidden_sizes, graph.outputs) == (9, 3, (8, 5), 2)
    assert not graph.whole_sequence
    assert [operator.name for operator in graph.operators] == [
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "STRIDED_SLICE",
        "FULLY_CONNECTED",
    ]
    assert graph.macs == 9 * 4 * 8 * (8 + 3) + 9 * 4 * 5 * (5 + 8) + 5 * 2


def test_reads_a_head_over_the_whole_sequence(make_graph):
    graph = make_graph(Recipe(hidden=(6,), whole_sequence=True, dense=(2,), steps=7))

    assert graph.whole_sequence
    assert graph.outputs == 14


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.tflite: no such file\."):
        load_graph(tmp_path / "absent.tflite")


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x89HDF\r\n\x1a\n" + b"\0" * 90])
def test_not_a_flatbuffer(tmp_path, content):
    assert refusal(tmp_path, content) == (
        f"not a .tflite file ({len(content):,} bytes without the mark TFL3 at byte 4). "
        "Give the file that a TFLite converter wrote."
    )


@pytest.mark.parametrize("kept", [9, 40, 200, 1000, 2000])
def test_truncated(tmp_path, kept):
    words = refusal(tmp_path, write_forecaster(Recipe())[:kept])

    assert words.endswith("Copy or convert it again.") or "damaged" in words


def test_no_flipped_byte_ends_in_a_traceback(tmp_path):
    whole = write_forecaster(Recipe(hidden=(3,), steps=4))
    path = tmp_path / "model.tflite"
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        with contextlib.suppress(ModelError):
            load_graph(path)
            continue
        refused += 1
    assert refused > 50


def test_a_float_model(tmp_path):
    assert refusal(tmp_path, chain(BuiltinOperator.RESHAPE, kind=np.float32)) == (
        "its input is float, and operator 0 RESHAPE computes with it; a model with int8 weights, "
        "activations and input is needed: convert with full-integer quantization, or give the "
        "Keras file itself, which shelfcast quantizes."
    )


def test_no_quantization_helps_against_an_unsupported_operator(tmp_path):
    content = chain(BuiltinOperator.RESHAPE, BuiltinOperator.CONV_2D, kind=np.float32)

    assert refusal(tmp_path, content) == (
        "operator 1 is CONV_2D: only LSTM and dense layers are supported. Train without "
        "convolutions."
    )


def test_float_inside_an_integer_shell(tmp_path):
    writer = ModelWriter()
    source = writer.tensor((1, 4, 1), np.int8, scale=0.1)
    middle = writer.tensor((1, 4), np.float32)
    writer.operator(BuiltinOperator.RESHAPE, [source], [middle])

    assert refusal(tmp_path, writer.finish([source], [middle])) == (
        "operator 0 RESHAPE computes in float; a model with int8 weights, activations and input is "
        "needed: convert with full-integer quantization, or give the Keras file itself, which "
        "shelfcast quantizes."
    )


def test_a_dynamic_shape(tmp_path):
    writer = ModelWriter()
    source = writer.tensor((1, 28, 1), np.int8, scale=0.1, signature=(-1, 28, 1))
    target = writer.tensor((1, 28), np.int8, scale=0.1)
    writer.operator(BuiltinOperator.RESHAPE, [source], [target])

    assert refusal(tmp_path, writer.finish([source], [target])) == (
        "its input has the dynamic shape [-1, 28, 1]; convert a concrete function of shape "
        "[1, steps, features]."
    )


def test_a_batch(tmp_path):
    writer = ModelWriter()
    source = writer.tensor((8, 28, 1), np.int8, scale=0.1)
    target = writer.tensor((8, 28), np.int8, scale=0.1)
    writer.operator(BuiltinOperator.RESHAPE, [source], [target])

    assert refusal(tmp_path, writer.finish([source], [target])) == (
        "its input has shape [8, 28, 1]; [1, steps, features] is needed (fix the batch to 1 before "
        "converting)."
    )


def test_a_while_loop(tmp_path):
    assert refusal(tmp_path, chain(BuiltinOperator.TRANSPOSE, BuiltinOperator.WHILE)) == (
        "operator 1 is WHILE: the LSTM became a loop of small operators, as Keras 3 converts it. "
        "Give the Keras file itself (.keras, .h5): shelfcast rebuilds its layers so that each is "
        "one UNIDIRECTIONAL_SEQUENCE_LSTM."
    )


def test_an_unrolled_lstm(tmp_path):
    steps = [BuiltinOperator.FULLY_CONNECTED, BuiltinOperator.SPLIT, BuiltinOperator.LOGISTIC] * 2

    assert refusal(tmp_path, chain(*steps)) == (
        "operator 1 is SPLIT, one of 6 small operators: the LSTM was unrolled. Convert through "
        "tf-keras (Keras 2) with unroll=False, which gives one UNIDIRECTIONAL_SEQUENCE_LSTM."
    )


def test_an_unsupported_operator_is_named_with_its_index(tmp_path):
    assert refusal(tmp_path, chain(BuiltinOperator.RESHAPE, BuiltinOperator.MAXIMUM)) == (
        "operator 1 is MAXIMUM, which is not supported. Supported: UNIDIRECTIONAL_SEQUENCE_LSTM, "
        "FULLY_CONNECTED, TANH, LOGISTIC and SOFTMAX behind it, STRIDED_SLICE (last step), "
        "RESHAPE, QUANTIZE and DEQUANTIZE at the ends. Train with LSTM and Dense layers alone."
    )


def test_a_bidirectional_layer_is_refused_with_the_reason(tmp_path):
    assert refusal(tmp_path, chain(BuiltinOperator.BIDIRECTIONAL_SEQUENCE_LSTM)) == (
        "operator 0 is BIDIRECTIONAL_SEQUENCE_LSTM: a backward layer (Bidirectional) needs the "
        "whole window before its first output, so nothing can be fed day by day. Train LSTM layers "
        "that only go forward."
    )


def test_a_gru_is_refused_with_the_reason(tmp_path):
    writer = ModelWriter()
    tensors = [writer.tensor((1, 4, 1), np.int8, scale=0.1) for _ in range(4)]
    for number, code in enumerate(
        (BuiltinOperator.WHILE, BuiltinOperator.LOGISTIC, BuiltinOperator.SUB)
    ):
        writer.operator(code, [tensors[number]], [tensors[number + 1]])

    assert refusal(tmp_path, writer.finish(tensors[:1], tensors[-1:], subgraphs=2)) == (
        "operator 0 is WHILE, the loop of a GRU: TFLite has no int8 operator for a GRU, so there "
        "is nothing to be equal to. Train an LSTM layer instead."
    )


def test_a_softmax_that_follows_no_dense_layer(tmp_path):
    assert refusal(tmp_path, chain(BuiltinOperator.SOFTMAX)) == (
        "operator 0 SOFTMAX does not follow a FULLY_CONNECTED. Make it the activation of a dense "
        "layer."
    )


def test_a_softmax_of_too_many_values(tmp_path):
    recipe = Recipe(hidden=(2,), steps=2, dense=(512,), then=("softmax",), weight_scale=0.001)

    assert refusal(tmp_path, write_forecaster(recipe)) == (
        "operator 3 SOFTMAX is over 512 values; up to 511 are supported."
    )


def test_bytes_without_a_sign_at_the_input(tmp_path):
    writer = ModelWriter()
    source = writer.tensor((1, 4, 1), np.int32)
    target = writer.tensor((1, 4, 1), np.int8, scale=0.1)
    writer.operator(BuiltinOperator.QUANTIZE, [source], [target])

    assert refusal(tmp_path, writer.finish([source], [target])) == (
        "its input is INT32; INT8 is needed, or UINT8 or float that a QUANTIZE makes INT8. "
        "Convert with inference_input_type = tf.int8, tf.uint8 or tf.float32."
    )


def test_several_outputs(tmp_path):
    writer = ModelWriter()
    source, low, high = (writer.tensor((1, 4, 1), np.int8, scale=0.1) for _ in range(3))

    assert refusal(tmp_path, writer.finish([source], [low, high])) == (
        "has 1 inputs and 2 outputs; one of each is needed. Put features side by side in one "
        "input, and forecasts (days, quantiles) into the units of one dense layer: the weights of "
        "several heads, side by side, are those of one."
    )


def test_an_lstm_whose_state_is_no_variable(tmp_path):
    def change(writer, inputs):
        writer.tensors[inputs[18]]["variable"] = False

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM has a state that is no variable tensor, so that "
        "TFLite Micro refuses it: convert an LSTM layer as Keras 2 has it, stateful or not."
    )


def test_weights_around_a_zero_point(tmp_path):
    def change(writer, inputs):
        writer.tensors[inputs[3]]["zero_points"] = [3]

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM has weights with a zero point, and not around 0 "
        "as TFLite Micro takes them: convert again."
    )


def test_real_values_at_both_ends_are_seen(make_graph):
    graph = make_graph(Recipe(input_type="float32", output_type="float32"))

    assert (graph.input_type, graph.output_type) == ("float32", "float32")
    assert [it.name for it in graph.operators][:: len(graph.operators) - 1] == [
        "QUANTIZE",
        "DEQUANTIZE",
    ]


def test_unsigned_ends_are_the_int8_values_with_128_added(make_graph):
    signed = make_graph(Recipe(seed=3))
    graph = make_graph(Recipe(seed=3, input_type="uint8", output_type="uint8"))

    assert (graph.input_type, graph.output_type) == ("uint8", "uint8")
    assert (graph.input, graph.output) == (signed.input, signed.output)
    values = np.array([[-128, -1, 127]], np.int8)
    assert graph.as_taken(values).tolist() == [[0, 127, 255]]
    assert graph.from_given(graph.as_taken(values)).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("end", "change", "words"),
    [
        (0, {"scales": [0.03]}, "operator 0 QUANTIZE rescales: uint8 has scale 0.03 and zero"),
        (-1, {"zero_points": [7]}, "operator 4 QUANTIZE rescales: uint8 has scale 0.01 and zero "),
        (0, {"type": TensorType.INT16}, "its input is INT16; INT8 is needed, or UINT8 or float"),
        (-1, {"type": TensorType.INT16}, "operator 4 QUANTIZE changes INT8 to INT16; only float"),
    ],
)
def test_other_types_and_steps_at_the_ends_are_refused(tmp_path, monkeypatch, end, change, words):
    finish = ModelWriter.finish

    def changed(writer, inputs, outputs):
        writer.tensors[(inputs[0], outputs[0])[end]].update(change)
        return finish(writer, inputs, outputs)

    monkeypatch.setattr(ModelWriter, "finish", changed)
    content = write_forecaster(Recipe(input_type="uint8", output_type="uint8"))

    assert refusal(tmp_path, content).startswith(words)


def test_the_time_may_come_first(make_graph):
    graph = make_graph(Recipe(steps=9, features=3, time_major=True))

    assert (graph.steps, graph.features) == (9, 3)


def test_a_file_far_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.tflite"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(ModelError, match=r"has 1,099,511,627,776 bytes; a forecaster of up to"):
        load_graph(path)


def test_a_model_without_an_lstm(tmp_path):
    assert refusal(tmp_path, chain(BuiltinOperator.RESHAPE)) == (
        "has no UNIDIRECTIONAL_SEQUENCE_LSTM; shelfcast deploys recurrent forecasters."
    )


def test_several_subgraphs(tmp_path):
    writer = ModelWriter()
    tensors = [writer.tensor((1, 4, 1), np.int8, scale=0.1) for _ in range(2)]
    writer.operator(BuiltinOperator.RESHAPE, tensors[:1], tensors[1:])

    assert refusal(tmp_path, writer.finish(tensors[:1], tensors[1:], subgraphs=2)) == (
        "has 2 subgraphs; one is supported."
    )


def test_a_dense_layer_before_the_lstm(tmp_path):
    writer = ModelWriter()
    source = writer.tensor((1, 4, 1), np.int8, scale=0.1)
    weights = writer.tensor((1, 1), np.int8, scale=0.1, data=np.ones((1, 1)))
    target = writer.tensor((1, 4, 1), np.int8, scale=0.1)
    writer.operator(
        BuiltinOperator.FULLY_CONNECTED, [source, weights, -1], [target], dense_options(0)
    )

    assert refusal(tmp_path, writer.finish([source], [target])) == (
        "operator 0 FULLY_CONNECTED comes before the LSTM; LSTM layers must come first."
    )


def lstm_with(tmp_path, change) -> str:
    """Write one LSTM, `change` its operator's inputs, and return the refusal."""
    writer = ModelWriter()
    source = writer.tensor((1, 4, 1), np.int8, scale=0.1)
    weights = [
        writer.tensor((2, size), np.int8, scale=0.1, data=np.ones((2, size)))
        for size in (1, 1, 1, 1, 2, 2, 2, 2)
    ]
    biases = [writer.tensor((2,), np.int32, scale=0.01, data=np.ones(2)) for _ in range(4)]
    hidden = writer.tensor((1, 2), np.int8, scale=0.007, variable=True)
    cell = writer.tensor((1, 2), np.int16, scale=2.0**-12, variable=True)
    target = writer.tensor((1, 4, 2), np.int8, scale=0.007)
    inputs = [source, *weights, -1, -1, -1, *biases, -1, -1, hidden, cell, -1, -1, -1, -1]
    change(writer, inputs)
    writer.operator(
        BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [target], lstm_options(clip=10.0)
    )
    return refusal(tmp_path, writer.finish([source], [target]))


def test_an_lstm_with_a_projection(tmp_path):
    def change(writer, inputs):
        inputs[16] = writer.tensor((2, 2), np.int8, scale=0.1, data=np.ones((2, 2)))

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM has a projection, which TFLite Micro cannot run "
        "either."
    )


def test_a_coupled_lstm(tmp_path):
    def change(writer, inputs):
        inputs[1] = -1

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM lacks its input 1; coupled (CIFG) or bias-free "
        "layers are not supported."
    )


def test_a_cell_scale_that_is_no_power_of_two(tmp_path):
    def change(writer, inputs):
        inputs[19] = writer.tensor((1, 2), np.int16, scale=0.0003, variable=True)

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM has a cell scale of 0.0003; it must be a power of "
        "two."
    )


def test_weights_of_the_wrong_shape(tmp_path):
    def change(writer, inputs):
        inputs[6] = writer.tensor((2, 3), np.int8, scale=0.1, data=np.ones((2, 3)))

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM has an input 6 of shape [2, 3]; [2, 2] is "
        "expected."
    )


def test_weights_shorter_than_their_shape(tmp_path):
    def change(writer, inputs):
        inputs[2] = writer.tensor((2, 1), np.int8, scale=0.1, data=np.ones((1, 1)))

    assert lstm_with(tmp_path, change) == (
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM has weights of 1 bytes where its shape [2, 1] "
        "needs 2."
    )


def test_sums_that_overflow(tmp_path):
    def change(writer, inputs):
        inputs[12] = writer.tensor((2,), np.int32, scale=0.01, data=np.full(2, 2**31 - 1))

    words = lstm_with(tmp_path, change)

    assert words.startswith(
        "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM: a sum may reach 2,147,483,775 and is shifted "
        "left by"
    )


def test_too_many_steps(tmp_path):
    assert refusal(tmp_path, write_forecaster(Recipe(hidden=(2,), steps=366))) == (
        "has 366 steps; 1 to 365 are supported."
    )
