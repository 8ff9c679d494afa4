"""Write .tflite files with any weights, scales and operators, without TensorFlow.

What a converter never writes (weights that saturate every clamp, a WHILE, a dynamic shape) is what
the tests need most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from tflite import ActivationFunctionType, BuiltinOperator, BuiltinOptions, TensorType

TYPES = {
    np.dtype(np.int8): TensorType.INT8,
    np.dtype(np.uint8): TensorType.UINT8,
    np.dtype(np.int16): TensorType.INT16,
    np.dtype(np.int32): TensorType.INT32,
    np.dtype(np.float32): TensorType.FLOAT32,
}


@dataclass
class ModelWriter:
    """Collects tensors and operators, then writes the file."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    operators: list[dict[str, Any]] = field(default_factory=list)

    def tensor(
        self,
        shape: Sequence[int],
        kind: Any,
        *,
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        data: np.ndarray | None = None,
        variable: bool = False,
        signature: Sequence[int] | None = None,
    ) -> int:
        scales = [] if scale is None else np.atleast_1d(scale).tolist()
        self.tensors.append(
            {
                "shape": list(shape),
                "type": TYPES[np.dtype(kind)],
                "scales": scales,
                "zero_points": [zero_point] * len(scales),
                "data": None if data is None else np.ascontiguousarray(data, kind).tobytes(),
                "variable": variable,
                "signature": signature,
            }
        )
        return len(self.tensors) - 1

    def operator(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: tuple[int, Callable[[flatbuffers.Builder], int]] | None = None,
    ) -> None:
        self.operators.append(
            {"code": code, "inputs": inputs, "outputs": outputs, "options": options}
        )

    def finish(self, inputs: Sequence[int], outputs: Sequence[int], subgraphs: int = 1) -> bytes:
        builder = flatbuffers.Builder(1 << 16)

        def ints(values: Sequence[int]) -> int:
            return builder.CreateNumpyVector(np.asarray(values, dtype=np.int32))

        def table_vector(start: Callable[..., Any], items: Sequence[int]) -> int:
            start(builder, len(items))
            for item in reversed(items):
                builder.PrependUOffsetTRelative(item)
            return builder.EndVector()

        buffers = [self._buffer(builder, None)]
        tensors = []
        for number, tensor in enumerate(self.tensors):
            place = 0
            if tensor["data"] is not None:
                buffers.append(self._buffer(builder, tensor["data"]))
                place = len(buffers) - 1
            tensors.append(self._tensor(builder, ints, number, tensor, place))
        codes = sorted({operator["code"] for operator in self.operators})
        operators = [self._operator(builder, ints, item, codes) for item in self.operators]
        code_tables = []
        for code in codes:
            tflite.OperatorCodeStart(builder)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, 127))
            tflite.OperatorCodeAddBuiltinCode(builder, code)
            tflite.OperatorCodeAddVersion(builder, 4 if code in _VERSION_4 else 1)
            code_tables.append(tflite.OperatorCodeEnd(builder))
        tensor_vector = table_vector(tflite.SubGraphStartTensorsVector, tensors)
        operator_vector = table_vector(tflite.SubGraphStartOperatorsVector, operators)
        input_vector, output_vector = ints(inputs), ints(outputs)
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensor_vector)
        tflite.SubGraphAddInputs(builder, input_vector)
        tflite.SubGraphAddOutputs(builder, output_vector)
        tflite.SubGraphAddOperators(builder, operator_vector)
        graph = tflite.SubGraphEnd(builder)
        description = builder.CreateString("written by a test")
        code_vector = table_vector(tflite.ModelStartOperatorCodesVector, code_tables)
        graph_vector = table_vector(tflite.ModelStartSubgraphsVector, [graph] * subgraphs)
        buffer_vector = table_vector(tflite.ModelStartBuffersVector, buffers)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, code_vector)
        tflite.ModelAddSubgraphs(builder, graph_vector)
        tflite.ModelAddDescription(builder, description)
        tflite.ModelAddBuffers(builder, buffer_vector)
        builder.Finish(tflite.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def _buffer(builder: flatbuffers.Builder, data: bytes | None) -> int:
        vector = None
        if data is not None:
            # The runtime wants constants aligned to 16 bytes.
            builder.StartVector(1, len(data), 16)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        tflite.BufferStart(builder)
        if vector is not None:
            tflite.BufferAddData(builder, vector)
        return tflite.BufferEnd(builder)

    @staticmethod
    def _tensor(
        builder: flatbuffers.Builder,
        ints: Callable[[Sequence[int]], int],
        number: int,
        tensor: dict[str, Any],
        buffer: int,
    ) -> int:
        quantization = None
        if tensor["scales"]:
            scales = builder.CreateNumpyVector(np.asarray(tensor["scales"], dtype=np.float32))
            zeros = builder.CreateNumpyVector(np.asarray(tensor["zero_points"], dtype=np.int64))
            tflite.QuantizationParametersStart(builder)
            tflite.QuantizationParametersAddScale(builder, scales)
            tflite.QuantizationParametersAddZeroPoint(builder, zeros)
            quantization = tflite.QuantizationParametersEnd(builder)
        name = builder.CreateString(f"tensor{number}")
        shape = ints(tensor["shape"])
        signature = None if tensor["signature"] is None else ints(tensor["signature"])
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, shape)
        tflite.TensorAddType(builder, tensor["type"])
        tflite.TensorAddBuffer(builder, buffer)
        tflite.TensorAddName(builder, name)
        tflite.TensorAddIsVariable(builder, tensor["variable"])
        if quantization is not None:
            tflite.TensorAddQuantization(builder, quantization)
        if signature is not None:
            tflite.TensorAddShapeSignature(builder, signature)
        return tflite.TensorEnd(builder)

    @staticmethod
    def _operator(
        builder: flatbuffers.Builder,
        ints: Callable[[Sequence[int]], int],
        operator: dict[str, Any],
        codes: Sequence[int],
    ) -> int:
        inputs, outputs = ints(operator["inputs"]), ints(operator["outputs"])
        options = None
        if operator["options"] is not None:
            kind, build = operator["options"]
            options = (kind, build(builder))
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, codes.index(operator["code"]))
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(builder, options[0])
            tflite.OperatorAddBuiltinOptions(builder, options[1])
        return tflite.OperatorEnd(builder)


_VERSION_4 = (BuiltinOperator.FULLY_CONNECTED,)


def lstm_options(*, clip: float, time_major: bool = False) -> tuple[int, Any]:
    def build(builder: flatbuffers.Builder) -> int:
        tflite.UnidirectionalSequenceLSTMOptionsStart(builder)
        tflite.UnidirectionalSequenceLSTMOptionsAddFusedActivationFunction(
            builder, ActivationFunctionType.TANH
        )
        tflite.UnidirectionalSequenceLSTMOptionsAddCellClip(builder, clip)
        tflite.UnidirectionalSequenceLSTMOptionsAddTimeMajor(builder, time_major)
        return tflite.UnidirectionalSequenceLSTMOptionsEnd(builder)

    return BuiltinOptions.UnidirectionalSequenceLSTMOptions, build


def dense_options(activation: int) -> tuple[int, Any]:
    def build(builder: flatbuffers.Builder) -> int:
        tflite.FullyConnectedOptionsStart(builder)
        tflite.FullyConnectedOptionsAddFusedActivationFunction(builder, activation)
        return tflite.FullyConnectedOptionsEnd(builder)

    return BuiltinOptions.FullyConnectedOptions, build


def softmax_options(beta: float) -> tuple[int, Any]:
    def build(builder: flatbuffers.Builder) -> int:
        tflite.SoftmaxOptionsStart(builder)
        tflite.SoftmaxOptionsAddBeta(builder, beta)
        return tflite.SoftmaxOptionsEnd(builder)

    return BuiltinOptions.SoftmaxOptions, build


NONLINEARITIES = {
    "tanh": (BuiltinOperator.TANH, 1 / 128, 0),
    "sigmoid": (BuiltinOperator.LOGISTIC, 1 / 256, -128),
    "softmax": (BuiltinOperator.SOFTMAX, 1 / 256, -128),
}


def slice_options(begin_mask: int, end_mask: int, shrink_mask: int) -> tuple[int, Any]:
    def build(builder: flatbuffers.Builder) -> int:
        tflite.StridedSliceOptionsStart(builder)
        tflite.StridedSliceOptionsAddBeginMask(builder, begin_mask)
        tflite.StridedSliceOptionsAddEndMask(builder, end_mask)
        tflite.StridedSliceOptionsAddShrinkAxisMask(builder, shrink_mask)
        return tflite.StridedSliceOptionsEnd(builder)

    return BuiltinOptions.StridedSliceOptions, build


@dataclass(frozen=True)
class Recipe:
    """A random forecaster; the defaults are like a trained one, the stress ones like none."""

    seed: int = 0
    steps: int = 28
    features: int = 1
    hidden: tuple[int, ...] = (16,)
    dense: tuple[int, ...] = (1,)
    whole_sequence: bool = False
    flatten: bool = False
    """A whole sequence goes through the first dense layer at once, not step by step."""
    activation: int = ActivationFunctionType.NONE
    weight_limit: int = 127
    weight_scale: float = 0.004
    bias_limit: int = 20_000
    input_scale: float = 0.02
    cell_power: int = -12
    cell_clip: float = 10.0
    per_channel: bool = False
    output_scale: float = 0.01
    blocks: float = 0.0
    """Share of the blocks of 2 columns x 4 gates, of both matrices of a layer, that are zero."""
    scattered: float = 0.0
    """Share of the weights of both matrices of a layer that are zero, anywhere."""
    then: tuple[str, ...] = ()
    """Behind each dense layer: "", "tanh", "sigmoid" or "softmax"."""
    beta: float = 1.0
    bias: bool = True
    """Dense layers have one."""
    time_major: bool = False
    flat_input: bool = False
    """The input is (1, steps * features), and reshaped."""
    input_type: str = "int8"
    """Or "float32" or "uint8", which a QUANTIZE makes int8."""
    output_type: str = "int8"
    """Or "float32" by a DEQUANTIZE, or "uint8" by a QUANTIZE."""


def write_forecaster(recipe: Recipe) -> bytes:
    """Write the forecaster that a recipe describes."""
    rng = np.random.default_rng(recipe.seed)
    writer = ModelWriter()

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        return rng.integers(-recipe.weight_limit, recipe.weight_limit + 1, shape)

    def weights(shape: tuple[int, ...], scale: float | Sequence[float]) -> int:
        return writer.tensor(shape, np.int8, scale=scale, data=drawn(shape))

    def gates(units: int, columns: int, scales: Sequence[float]) -> list[int]:
        data = np.stack([drawn((units, columns)) for _ in range(4)])
        if recipe.blocks:
            kept = rng.random((units, -(-columns // 2))) >= recipe.blocks
            data *= np.repeat(kept, 2, axis=1)[:, :columns]
        if recipe.scattered:
            data *= rng.random(data.shape) >= recipe.scattered
        return [
            writer.tensor((units, columns), np.int8, scale=float(scale), data=part)
            for scale, part in zip(scales, data, strict=True)
        ]

    def biases(count: int, scale: float | Sequence[float]) -> int:
        data = rng.integers(-recipe.bias_limit, recipe.bias_limit + 1, count)
        return writer.tensor((count,), np.int32, scale=scale, data=data)

    scale, zero = recipe.input_scale, int(rng.integers(-20, 21))
    size = recipe.features

    def sequence(values: int) -> tuple[int, int, int]:
        return (recipe.steps, 1, values) if recipe.time_major else (1, recipe.steps, values)

    shape: tuple[int, ...] = (1, recipe.steps * size) if recipe.flat_input else sequence(size)
    source = current = writer.tensor(shape, np.int8, scale=scale, zero_point=zero)
    if recipe.input_type != "int8":
        if recipe.input_type == "float32":
            source = writer.tensor(shape, np.float32)
        else:
            source = writer.tensor(shape, np.uint8, scale=scale, zero_point=zero + 128)
        writer.operator(BuiltinOperator.QUANTIZE, [source], [current])
    if recipe.flat_input:
        wanted = writer.tensor((3,), np.int32, data=np.array(sequence(size)))
        output = writer.tensor(sequence(size), np.int8, scale=scale, zero_point=zero)
        writer.operator(BuiltinOperator.RESHAPE, [current, wanted], [output])
        current = output
    for units in recipe.hidden:
        jitter = rng.uniform(0.7, 1.3, 8) * recipe.weight_scale
        inputs = gates(units, size, jitter[:4])
        recurrents = gates(units, units, jitter[4:])
        bias = [biases(units, float(scale * jitter[gate])) for gate in range(4)]
        hidden_scale, hidden_zero = float(rng.uniform(0.003, 0.0078)), int(rng.integers(-20, 21))
        hidden = writer.tensor(
            (1, units), np.int8, scale=hidden_scale, zero_point=hidden_zero, variable=True
        )
        cell = writer.tensor((1, units), np.int16, scale=2.0**recipe.cell_power, variable=True)
        output = writer.tensor(sequence(units), np.int8, scale=hidden_scale, zero_point=hidden_zero)
        writer.operator(
            BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM,
            [current, *inputs, *recurrents, -1, -1, -1, *bias, -1, -1, hidden, cell, *[-1] * 4],
            [output],
            lstm_options(clip=recipe.cell_clip, time_major=recipe.time_major),
        )
        current, size, scale, zero = output, units, hidden_scale, hidden_zero
    rows = recipe.steps
    if not recipe.whole_sequence:
        rows = 1
        begin, masks = ((-1, 0, 0), (6, 6, 1)) if recipe.time_major else ((0, -1, 0), (5, 5, 2))
        bounds = [
            writer.tensor((3,), np.int32, data=np.array(values))
            for values in (begin, (0, 0, 0), (1, 1, 1))
        ]
        output = writer.tensor((1, size), np.int8, scale=scale, zero_point=zero)
        writer.operator(
            BuiltinOperator.STRIDED_SLICE, [current, *bounds], [output], slice_options(*masks)
        )
        current = output
    elif recipe.flatten:
        rows, size = 1, rows * size
        shape = writer.tensor((2,), np.int32, data=np.array([1, size]))
        output = writer.tensor((1, size), np.int8, scale=scale, zero_point=zero)
        writer.operator(BuiltinOperator.RESHAPE, [current, shape], [output])
        current = output
    for number, units in enumerate(recipe.dense):
        last = number + 1 == len(recipe.dense)
        channel_scales = (rng.uniform(0.5, 2.0, units) * recipe.weight_scale).tolist()
        scales = channel_scales if recipe.per_channel else channel_scales[:1]
        kernel = weights((units, size), scales)
        bias = biases(units, [scale * value for value in scales]) if recipe.bias else -1
        out_scale, out_zero = recipe.output_scale, int(rng.integers(-20, 21))
        shape = sequence(units) if recipe.whole_sequence and not recipe.flatten else (1, units)
        output = writer.tensor(shape, np.int8, scale=out_scale, zero_point=out_zero)
        writer.operator(
            BuiltinOperator.FULLY_CONNECTED,
            [current, kernel, bias],
            [output],
            dense_options(ActivationFunctionType.NONE if last else recipe.activation),
        )
        current, size, scale, zero = output, units, out_scale, out_zero
        if number < len(recipe.then) and recipe.then[number]:
            code, scale, zero = NONLINEARITIES[recipe.then[number]]
            output = writer.tensor(shape, np.int8, scale=scale, zero_point=zero)
            options = softmax_options(recipe.beta) if code == BuiltinOperator.SOFTMAX else None
            writer.operator(code, [current], [output], options)
            current = output
    shape = writer.tensors[current]["shape"]
    if recipe.output_type == "float32":
        output = writer.tensor(shape, np.float32)
        writer.operator(BuiltinOperator.DEQUANTIZE, [current], [output])
        current = output
    elif recipe.output_type == "uint8":
        output = writer.tensor(shape, np.uint8, scale=scale, zero_point=zero + 128)
        writer.operator(BuiltinOperator.QUANTIZE, [current], [output])
        current = output
    return writer.finish([source], [current])
