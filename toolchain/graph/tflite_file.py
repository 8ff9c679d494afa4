"""Read a .tflite file into a `Graph`: the only module that knows the flatbuffer schema.

The operators are walked in order. Each must take what the one before it gave; LSTM layers come
first, dense layers after them. What leaves the values in their order (reshapes, slices that pick
the last step) vanishes, and so do QUANTIZE and DEQUANTIZE at the ends: a `Graph` holds what
computes.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tflite
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.graph.layout import Layout, Node, Tensor
from toolchain.graph.types import (
    Activation,
    Dense,
    EndType,
    Graph,
    Lstm,
    Nonlinearity,
    Operator,
    Oracle,
    Quantization,
)
from toolchain.graph.verify import verify

_OPERATOR_NAMES: dict[int, str] = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
_TYPE_NAMES: dict[int, str] = {
    code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)
}
_NUMPY_TYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.INT8: np.dtype("i1"),
    tflite.TensorType.UINT8: np.dtype("u1"),
    tflite.TensorType.INT16: np.dtype("<i2"),
    tflite.TensorType.INT32: np.dtype("<i4"),
}
_VALUE_BYTES: dict[int, int] = {
    tflite.TensorType.BOOL: 1,
    tflite.TensorType.FLOAT32: 4,
    **{code: kind.itemsize for code, kind in _NUMPY_TYPES.items()},
}
"""Bytes of a value; of the types that are not here, none has more than 8."""
_ACTIVATIONS: dict[int, Activation] = {
    tflite.ActivationFunctionType.NONE: "none",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
    tflite.ActivationFunctionType.RELU_N1_TO_1: "relu_n1_to_1",
}
_END_TYPES: dict[int, EndType] = {
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.FLOAT32: "float32",
}
_MAX_TENSORS = 20_000
"""More than any forecaster has; a damaged file may claim billions."""
_MAX_VALUES = 1 << 24
"""In one tensor, likewise."""
_MAX_DIMENSIONS = 8
_MAX_BYTES = 64 << 20
"""Of a file: the largest LSTM layer has half a megabyte of weights."""
_BIAS_TOLERANCE = 0.02
"""How far a bias may be from the product of the scales, in output steps: TFLM refuses more."""

_LAST_STEP = (
    "Pick the last step alone (return_sequences=False), or let the dense layers read all steps."
)
_FORWARD = (
    "a backward layer (Bidirectional) needs the whole window before its first output, so nothing "
    "can be fed day by day. Train LSTM layers that only go forward"
)
_ONE_PATH = (
    "only a chain of layers is supported. Give the network one path (several outputs are the units "
    "of one dense layer) and convert again"
)
_ADVICE = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": _FORWARD,
    "REVERSE_V2": _FORWARD,
    "REVERSE_SEQUENCE": _FORWARD,
    "UNIDIRECTIONAL_SEQUENCE_RNN": "TFLite has no int8 form of it. Use an LSTM layer",
    "RNN": "TFLite has no int8 form of it. Use an LSTM layer",
    "LSTM": "an LSTM over one step, of old converters. Convert through tf-keras (Keras 2), which "
    "gives UNIDIRECTIONAL_SEQUENCE_LSTM",
    "CONCATENATION": _ONE_PATH,
    "ADD": _ONE_PATH,
    "MUL": _ONE_PATH,
    "SPLIT": _ONE_PATH,
    "SPLIT_V": _ONE_PATH,
    "PACK": _ONE_PATH,
    "UNPACK": _ONE_PATH,
    "READ_VARIABLE": "its states are variables of their own, as stateful=True makes them. Convert "
    "with stateful=False: the state is carried over by not resetting it",
    "CONV_2D": "only LSTM and dense layers are supported. Train without convolutions",
    "DEPTHWISE_CONV_2D": "only LSTM and dense layers are supported. Train without convolutions",
    "RELU": "convert the activation as part of its dense layer",
    "RELU6": "convert the activation as part of its dense layer",
    "BATCH_MATMUL": "only LSTM and dense layers are supported: attention is not",
}
"""Why an operator is refused, and what to do instead."""

_DAMAGE = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError,
           UnicodeDecodeError, MemoryError, KeyError)  # fmt: skip
"""What the flatbuffer reader raises when offsets point outside the file."""


def load_graph(path: Path, oracle: Oracle = "double") -> Graph:
    """Read, interpret and verify a .tflite file, to be computed as `oracle` does.

    Raises:
        ModelError: absent, damaged, float, dynamic, or built from operators that can't be deployed;
            the message names the operator, its index, and how to convert instead.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ModelError(
                f"{path}: has {size:,} bytes; a forecaster of up to {_MAX_BYTES:,} is supported."
            )
        content = path.read_bytes()
    except FileNotFoundError as cause:
        raise ModelError(f"{path}: no such file.") from cause
    except OSError as cause:
        raise ModelError(f"{path}: cannot be read: {cause.strerror}.") from cause
    return parse_graph(content, str(path), oracle)


def parse_graph(content: bytes, name: str, oracle: Oracle = "double") -> Graph:
    """Interpret and verify the bytes of a .tflite file; `name` is what messages call it.

    Raises:
        ModelError: as `load_graph`.
    """
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise ModelError(
            f"{name}: not a .tflite file ({len(content):,} bytes without the mark TFL3 at byte 4). "
            "Give the file that a TFLite converter wrote."
        )
    try:
        return _Walk(name, content, oracle).graph()
    except ModelError:
        raise
    except _DAMAGE as cause:
        raise ModelError(
            f"{name}: damaged or truncated ({len(content):,} bytes): {_one_line(cause)}. "
            "Copy or convert it again."
        ) from cause


def read_layout(content: bytes, name: str) -> Layout:
    """List the tensors and operators of a file that `parse_graph` accepts, for an interpreter.

    Raises:
        ModelError: as `parse_graph`.
    """
    parse_graph(content, name)
    return _Walk(name, content, "double").layout()


def _one_line(cause: BaseException) -> str:
    return " ".join(str(cause).split())[:200]


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the file."""

    index: int
    shape: tuple[int, ...]
    type: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    quantized_axis: int
    signature: tuple[int, ...]
    variable: bool
    content: bytes

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def type_name(self) -> str:
        return _TYPE_NAMES.get(self.type, str(self.type))

    @property
    def quantization(self) -> Quantization:
        return Quantization(self.scales[0], self.zero_points[0])

    def array(self) -> NDArray[Any]:
        """Return the constant's values in its shape."""
        values = np.frombuffer(self.content, dtype=_NUMPY_TYPES[self.type])
        return values.reshape(self.shape)


@dataclass
class _Walk:
    """One walk through the operators of one file."""

    name: str
    content: bytes
    oracle: Oracle
    lstms: list[Lstm] = field(default_factory=list)
    denses: list[Dense] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    whole_sequence: bool = False
    source: Quantization | None = None
    """Of the integers that the first layer reads."""
    ended: str = ""
    """The operator that gave the last values another type: it has to be the last."""

    def graph(self) -> Graph:
        """Walk the file."""
        self._model = tflite.Model.GetRootAsModel(self.content, 0)
        if self._model.SubgraphsLength() != 1:
            self._refuse_loops()
            raise self._error(f"has {self._model.SubgraphsLength()} subgraphs; one is supported.")
        self._subgraph = self._model.Subgraphs(0)
        counts = (self._subgraph.TensorsLength(), self._subgraph.OperatorsLength())
        if max(counts) > _MAX_TENSORS:
            raise self._error(f"claims {counts[0]:,} tensors and {counts[1]:,} operators: damaged.")
        ends = (self._subgraph.InputsLength(), self._subgraph.OutputsLength())
        if ends != (1, 1):
            raise self._error(
                f"has {ends[0]} inputs and {ends[1]} outputs; one of each is needed. Put features "
                "side by side in one input, and forecasts (days, quantiles) into the units of one "
                "dense layer: the weights of several heads, side by side, are those of one."
            )
        self._refuse_loops()
        for index in range(counts[1]):
            # Before what could be mended: no quantization helps against a convolution.
            if (name := self._name(self._subgraph.Operators(index))) not in self._handlers:
                raise self._unsupported(name, index)
        source = self._tensor(self._subgraph.Inputs(0))
        self._check_input(source, counts[1])
        current = source
        for index in range(counts[1]):
            if self.ended:
                raise self._error(f"operator {index - 1} {self.ended} is not the last operator.")
            current = self._operator(index, current)
        if current.index != self._subgraph.Outputs(0):
            raise self._error("its output is not what its last operator computes.")
        if not self.lstms:
            raise self._error(
                "has no UNIDIRECTIONAL_SEQUENCE_LSTM; shelfcast deploys recurrent forecasters."
            )
        first = self.lstms[0]
        graph = Graph(
            steps=source.values // first.input_size,
            features=first.input_size,
            input=first.input if self.source is None else self.source,
            output=self.denses[-1].result if self.denses else self.lstms[-1].hidden,
            whole_sequence=self.whole_sequence,
            lstms=tuple(self.lstms),
            denses=tuple(self.denses),
            operators=tuple(self.operators),
            crc32=zlib.crc32(self.content),
            sha256=hashlib.sha256(self.content).hexdigest(),
            file_bytes=len(self.content),
            oracle=self.oracle,
            input_type=_END_TYPES[source.type],
            output_type=_END_TYPES[current.type],
        )
        verify(graph, self.name)
        return graph

    def layout(self) -> Layout:
        """List what an interpreter has to place, of a file that is known to be whole."""
        self._model = tflite.Model.GetRootAsModel(self.content, 0)
        self._subgraph = subgraph = self._model.Subgraphs(0)
        tensors = [self._tensor(index) for index in range(subgraph.TensorsLength())]
        nodes = []
        for index in range(subgraph.OperatorsLength()):
            operator = subgraph.Operators(index)
            inputs = [int(place) for place in np.atleast_1d(operator.InputsAsNumpy())]
            nodes.append(
                Node(
                    name=self._name(operator),
                    inputs=tuple(place for place in inputs if place >= 0),
                    outputs=tuple(operator.Outputs(i) for i in range(operator.OutputsLength())),
                )
            )
        return Layout(
            tensors=tuple(
                Tensor(
                    bytes=tensor.values * _VALUE_BYTES.get(tensor.type, 8),
                    kind="constant" if tensor.content
                    else "variable" if tensor.variable
                    else "activation",
                    channels=len(tensor.scales) if any(tensor.scales) else 0,
                    shape=tensor.shape,
                )
                for tensor in tensors
            ),
            nodes=tuple(nodes),
            inputs=tuple(subgraph.Inputs(i) for i in range(subgraph.InputsLength())),
            outputs=tuple(subgraph.Outputs(i) for i in range(subgraph.OutputsLength())),
        )  # fmt: skip

    # One operator

    @property
    def _handlers(self) -> dict[str, Callable[[int, Any, list[_Tensor | None]], None]]:
        return {
            "UNIDIRECTIONAL_SEQUENCE_LSTM": self._lstm,
            "FULLY_CONNECTED": self._dense,
            "TANH": self._nonlinearity,
            "LOGISTIC": self._nonlinearity,
            "SOFTMAX": self._nonlinearity,
            "STRIDED_SLICE": self._slice,
            "RESHAPE": self._reshape,
            "SQUEEZE": self._reshape,
            "EXPAND_DIMS": self._reshape,
            "TRANSPOSE": self._transpose,
            "QUANTIZE": self._quantize,
            "DEQUANTIZE": self._dequantize,
        }

    def _operator(self, index: int, current: _Tensor) -> _Tensor:
        operator = self._subgraph.Operators(index)
        name = self._name(operator)
        if operator.OutputsLength() != 1 or operator.InputsLength() > _MAX_TENSORS:
            raise self._error(f"operator {index} {name} has {operator.OutputsLength()} outputs.")
        inputs = [
            None if number < 0 else self._tensor(int(number))
            for number in np.atleast_1d(operator.InputsAsNumpy())
        ]
        output = self._tensor(operator.Outputs(0))
        for tensor in (*inputs, output):
            if (
                tensor is not None
                and tensor.type == tflite.TensorType.FLOAT32
                and name not in ("QUANTIZE", "DEQUANTIZE")
            ):
                raise self._error(
                    f"operator {index} {name} computes in float; a model with int8 weights, "
                    "activations and input is needed: convert with full-integer quantization, or "
                    "give the Keras file itself, which shelfcast quantizes."
                )
        if not inputs or inputs[0] is None or inputs[0].index != current.index:
            raise self._error(
                f"operator {index} {name} does not read what comes before it; "
                "only a chain of operators is supported."
            )
        self._handlers[name](index, operator, inputs)
        if name != "STRIDED_SLICE" and output.values != self._given(name, inputs[0]):
            raise self._error(
                f"operator {index} {name} gives {output.values:,} values in the shape "
                f"{list(output.shape)}, not {self._given(name, inputs[0]):,}: damaged."
            )
        constants = [tensor for tensor in inputs[1:] if tensor is not None and tensor.content]
        self.operators.append(
            Operator(
                index=index,
                name=name,
                input_shape=inputs[0].shape,
                output_shape=output.shape,
                output=output.quantization,
                macs=self._macs(name, output),
                constant_bytes=sum(len(tensor.content) for tensor in constants),
            )
        )
        return output

    def _given(self, name: str, source: _Tensor) -> int:
        """Count the values that the operator just read makes of its input's."""
        if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            return source.values // self.lstms[-1].input_size * self.lstms[-1].hidden_size
        if name == "FULLY_CONNECTED":
            return source.values // self.denses[-1].input_size * self.denses[-1].output_size
        return source.values

    def _macs(self, name: str, output: _Tensor) -> int:
        if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            layer = self.lstms[-1]
            steps = math.prod(output.shape) // layer.hidden_size
            return steps * 4 * layer.hidden_size * (layer.hidden_size + layer.input_size)
        if name == "FULLY_CONNECTED":
            return math.prod(output.shape) * self.denses[-1].input_size
        return 0

    def _lstm(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        if self.denses or (self.lstms and not self.whole_sequence):
            raise self._error(
                f"operator {index} UNIDIRECTIONAL_SEQUENCE_LSTM comes after a dense layer or a "
                "slice; LSTM layers must come first."
            )
        words = f"operator {index} UNIDIRECTIONAL_SEQUENCE_LSTM"
        if len(inputs) not in (20, 24):
            raise self._error(f"{words} has {len(inputs)} inputs; 24 are expected.")
        padded = inputs + [None] * (24 - len(inputs))
        for kind, places in (
            ("peephole weights", range(9, 12)),
            ("a projection", range(16, 18)),
            ("layer normalization", range(20, 24)),
        ):
            if any(padded[place] is not None for place in places):
                raise self._error(f"{words} has {kind}, which TFLite Micro cannot run either.")
        needed = {}
        for place in (*range(9), *range(12, 16), 18, 19):
            tensor = padded[place]
            if tensor is None:
                raise self._error(
                    f"{words} lacks its input {place}; coupled (CIFG) or bias-free layers are not "
                    "supported."
                )
            needed[place] = tensor
        options = tflite.UnidirectionalSequenceLSTMOptions()
        self._read_options(words, operator, options)
        if options.FusedActivationFunction() != tflite.ActivationFunctionType.TANH:
            raise self._error(f"{words} has another activation than tanh.")
        self._expect(words, "input", needed[0], tflite.TensorType.INT8)
        self._expect(words, "cell state", needed[19], tflite.TensorType.INT16)
        self._expect(words, "hidden state", needed[18], tflite.TensorType.INT8)
        for place in range(1, 9):
            self._expect(words, "weights", needed[place], tflite.TensorType.INT8, constant=True)
            self._expect_symmetric(words, needed[place])
        for place in range(12, 16):
            self._expect(words, "bias", needed[place], tflite.TensorType.INT32, constant=True)
        output = self._tensor(operator.Outputs(0))
        self._expect(words, "output", output, tflite.TensorType.INT8)
        if not (needed[18].variable and needed[19].variable):
            raise self._error(
                f"{words} has a state that is no variable tensor, so that TFLite Micro refuses it: "
                "convert an LSTM layer as Keras 2 has it, stateful or not."
            )
        if output.quantization != needed[18].quantization:
            raise self._error(
                f"{words} gives other steps (scale {output.scales[0]:g}) than its hidden state has "
                f"(scale {needed[18].scales[0]:g}); convert again."
            )
        if needed[19].zero_points[0] != 0:
            raise self._error(f"{words} has a cell whose zero point is not 0.")
        hidden = needed[18].shape[-1]
        shape = needed[0].shape
        if needed[18].values != hidden or needed[19].values != hidden:
            raise self._error(
                f"{words} has states of {needed[18].values} and {needed[19].values} values; "
                "the batch must be 1."
            )
        if len(shape) != 3 or shape[1 if options.TimeMajor() else 0] != 1:
            raise self._error(f"{words} has an input of shape {list(shape)}; the batch must be 1.")
        wanted = {**dict.fromkeys(range(1, 5), (hidden, shape[2])),
                  **dict.fromkeys(range(5, 9), (hidden, hidden)),
                  **dict.fromkeys(range(12, 16), (hidden,))}  # fmt: skip
        for place, dimensions in wanted.items():
            if needed[place].shape != dimensions:
                raise self._error(
                    f"{words} has an input {place} of shape {list(needed[place].shape)}; "
                    f"{list(dimensions)} is expected."
                )
        power = math.log2(needed[19].scales[0])
        if power != int(power):
            raise self._error(
                f"{words} has a cell scale of {needed[19].scales[0]:g}; it must be a power of two."
            )
        clip = float(options.CellClip())
        if not 0 <= clip < math.inf:
            raise self._error(f"{words} has a cell clip of {clip:g}.")
        self.lstms.append(
            Lstm(
                index=index,
                input_weights=np.stack([needed[place].array() for place in range(1, 5)]),
                recurrent_weights=np.stack([needed[place].array() for place in range(5, 9)]),
                bias=np.stack([needed[place].array() for place in range(12, 16)]),
                input_weight_scales=tuple(needed[place].scales[0] for place in range(1, 5)),
                recurrent_weight_scales=tuple(needed[place].scales[0] for place in range(5, 9)),
                input=needed[0].quantization,
                hidden=needed[18].quantization,
                cell_scale_power=int(power),
                cell_clip=clip,
            )
        )
        self.whole_sequence = True

    def _dense(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        words = f"operator {index} FULLY_CONNECTED"
        if not self.lstms:
            raise self._error(f"{words} comes before the LSTM; LSTM layers must come first.")
        source, weights = inputs[0], inputs[1]
        bias = inputs[2] if len(inputs) > 2 else None
        if source is None or weights is None:
            raise self._error(f"{words} lacks its weights.")
        output = self._tensor(operator.Outputs(0))
        self._expect(words, "input", source, tflite.TensorType.INT8)
        self._expect(words, "output", output, tflite.TensorType.INT8)
        self._expect(words, "weights", weights, tflite.TensorType.INT8, constant=True)
        self._expect_symmetric(words, weights)
        options = tflite.FullyConnectedOptions()
        self._read_options(words, operator, options)
        activation = _ACTIVATIONS.get(options.FusedActivationFunction())
        if activation is None:
            raise self._error(
                f"{words} has a fused activation other than ReLU, which TFLite Micro leaves out. "
                "Convert tanh and sigmoid as operators of their own, as the TFLite converter does."
            )
        if options.WeightsFormat() != 0:
            raise self._error(f"{words} has shuffled weights; convert for TFLite Micro.")
        if len(weights.shape) != 2:
            raise self._error(f"{words} has weights of shape {list(weights.shape)}.")
        count = weights.shape[0]
        if len(weights.scales) not in (1, count):
            raise self._error(
                f"{words} has {len(weights.scales)} weight scales for {count} outputs."
            )
        if len(weights.scales) > 1 and weights.quantized_axis != 0:
            raise self._error(f"{words} has weight scales per input; one per output is supported.")
        if bias is not None:
            self._expect(words, "bias", bias, tflite.TensorType.INT32, constant=True)
            off = abs(source.scales[0] * weights.scales[0] - bias.scales[0]) / output.scales[0]
            if len(weights.scales) == 1 and not off <= _BIAS_TOLERANCE:
                raise self._error(
                    f"{words} has a bias of scale {bias.scales[0]:g}, and not the product "
                    f"{source.scales[0] * weights.scales[0]:g} of input and weight scale, so that "
                    "TFLite Micro refuses it: convert again."
                )
        if source.values % weights.shape[1]:
            raise self._error(
                f"{words} reads rows of {weights.shape[1]} values from {source.values:,}."
            )
        self.denses.append(
            Dense(
                index=index,
                weights=weights.array(),
                bias=np.zeros(count, np.int32) if bias is None else bias.array().reshape(count),
                weight_scales=weights.scales,
                input=source.quantization,
                output=output.quantization,
                activation=activation,
            )
        )

    def _nonlinearity(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        name = self._name(operator)
        words = f"operator {index} {name}"
        (source, output) = inputs[0], self._tensor(operator.Outputs(0))
        if source is None or not self.denses or self.denses[-1].then is not None:
            raise self._error(
                f"{words} does not follow a FULLY_CONNECTED. Make it the activation of a dense "
                "layer."
            )
        self._expect(words, "input", source, tflite.TensorType.INT8)
        self._expect(words, "output", output, tflite.TensorType.INT8)
        dense = self.denses[-1]
        if source.quantization != dense.output:
            raise self._error(f"{words} reads another scale than it is given.")
        wanted = Quantization(1 / 128, 0) if name == "TANH" else Quantization(1 / 256, -128)
        if output.quantization != wanted:
            raise self._error(
                f"{words} has an output of scale {output.scales[0]:g} and zero point "
                f"{output.zero_points[0]}; TFLite has {wanted.scale:g} and {wanted.zero_point}."
            )
        beta = 1.0
        if name == "SOFTMAX":
            options = tflite.SoftmaxOptions()
            self._read_options(words, operator, options)
            beta = float(options.Beta())
            if source.shape[-1] != dense.output_size:
                raise self._error(
                    f"{words} is over {source.shape[-1]} values, and the dense layer before it has "
                    f"{dense.output_size} units. Make it the activation of the dense layer."
                )
        kinds: dict[str, Literal["tanh", "sigmoid", "softmax"]] = {
            "TANH": "tanh",
            "LOGISTIC": "sigmoid",
            "SOFTMAX": "softmax",
        }
        then = Nonlinearity(index, kinds[name], output.quantization, beta)
        self.denses[-1] = replace(dense, then=then)

    def _quantize(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        words = f"operator {index} QUANTIZE"
        source, output = inputs[0], self._tensor(operator.Outputs(0))
        types = (None if source is None else source.type, output.type)
        at_input = index == 0 and types in (
            (tflite.TensorType.FLOAT32, tflite.TensorType.INT8),
            (tflite.TensorType.UINT8, tflite.TensorType.INT8),
        )
        at_output = self.lstms and types == (tflite.TensorType.INT8, tflite.TensorType.UINT8)
        if source is None or not (at_input or at_output):
            raise self._error(
                f"{words} changes {'?' if source is None else source.type_name} to "
                f"{output.type_name}; only float or uint8 at the input and uint8 at the output are "
                "supported. Convert with inference_input_type and inference_output_type of "
                "tf.int8, tf.uint8 or tf.float32."
            )
        if source.type != tflite.TensorType.FLOAT32:
            self._expect(words, "input", source, source.type)
        self._expect(words, "output", output, output.type)
        if tflite.TensorType.UINT8 in types:
            self._expect_flipped(words, *((source, output) if at_input else (output, source)))
        if at_input:
            self.source = output.quantization
        else:
            self._end("QUANTIZE", words, source)

    def _dequantize(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        words = f"operator {index} DEQUANTIZE"
        source, output = inputs[0], self._tensor(operator.Outputs(0))
        if source is None or output.type != tflite.TensorType.FLOAT32 or not self.lstms:
            raise self._error(
                f"{words} gives {output.type_name}; only float at the output "
                "is supported. Convert with inference_output_type = tf.int8 or tf.float32."
            )
        self._expect(words, "input", source, tflite.TensorType.INT8)
        self._end("DEQUANTIZE", words, source)

    def _end(self, name: str, words: str, source: _Tensor) -> None:
        """Note that the last values were given another type."""
        given = self.denses[-1].result if self.denses else self.lstms[-1].hidden
        if source.quantization != given:
            raise self._error(f"{words} reads another scale than it is given.")
        self.ended = name

    def _expect_flipped(self, words: str, unsigned: _Tensor, signed: _Tensor) -> None:
        """Refuse uint8 that is not the int8 with 128 added: its steps would have to be rescaled."""
        if unsigned.quantization != replace(
            signed.quantization, zero_point=signed.quantization.zero_point + 128
        ):
            raise self._error(
                f"{words} rescales: uint8 has scale {unsigned.scales[0]:g} and zero point "
                f"{unsigned.zero_points[0]}, int8 {signed.scales[0]:g} and "
                f"{signed.zero_points[0]}; equal scales and zero points 128 apart are supported, "
                "as the TFLite converter writes them. Convert again, or with tf.int8."
            )

    def _transpose(self, index: int, _operator: Any, inputs: list[_Tensor | None]) -> None:
        words = f"operator {index} TRANSPOSE"
        if len(inputs) != 2 or inputs[0] is None or inputs[1] is None:
            raise self._error(f"{words} has {len(inputs)} inputs; 2 are expected.")
        self._expect(words, "axes", inputs[1], tflite.TensorType.INT32, constant=True)
        order = inputs[1].array().reshape(-1)
        places = np.arange(inputs[0].values).reshape(inputs[0].shape)
        if not np.array_equal(places.transpose(order).reshape(-1), places.reshape(-1)):
            raise self._error(
                f"{words} changes the order of the values; only axes of size 1 may move. Feed the "
                "network (steps, features) as its LSTM reads them."
            )

    def _slice(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        words = f"operator {index} STRIDED_SLICE"
        options = tflite.StridedSliceOptions()
        self._read_options(words, operator, options)
        source, *bounds = inputs
        if source is None or len(bounds) != 3 or any(bound is None for bound in bounds):
            raise self._error(f"{words} has {len(inputs)} inputs; 4 are expected.")
        for bound in bounds:
            if bound is not None:
                self._expect(words, "bounds", bound, tflite.TensorType.INT32, constant=True)
        begin, end, strides = (bound.array().reshape(-1) for bound in bounds if bound is not None)
        if options.EllipsisMask() or options.NewAxisMask():
            raise self._error(f"{words} has an ellipsis or a new axis, which is not supported.")
        picks: list[slice | int] = []
        for axis in range(len(source.shape)):
            if options.ShrinkAxisMask() >> axis & 1:
                picks.append(int(begin[axis]))
                continue
            first = None if options.BeginMask() >> axis & 1 else int(begin[axis])
            last = None if options.EndMask() >> axis & 1 else int(end[axis])
            picks.append(slice(first, last, int(strides[axis])))
        places = np.arange(math.prod(source.shape)).reshape(source.shape)
        chosen = places[tuple(picks)].reshape(-1)
        hidden = self.lstms[-1].hidden_size if self.lstms else 0
        given = self._tensor(operator.Outputs(0)).values
        if given != len(chosen):
            raise self._error(f"{words} picks {len(chosen):,} values for {given:,}: damaged.")
        if np.array_equal(chosen, places.reshape(-1)):
            return
        if self.denses or not np.array_equal(chosen, places.reshape(-1)[-hidden:]):
            raise self._error(
                f"{words} picks other values than the last step of an LSTM. {_LAST_STEP}"
            )
        self.whole_sequence = False

    def _reshape(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        """Keep the values as they are: a batch of one has no other order."""

    # What the file says

    def _read_options(self, words: str, operator: Any, options: Any) -> None:
        """Read an operator's options, if it has any: without them all are at their defaults."""
        table = operator.BuiltinOptions()
        if table is None:
            raise self._error(f"{words} has no options: damaged.")
        options.Init(table.Bytes, table.Pos)

    def _tensor(self, index: int) -> _Tensor:
        if not 0 <= index < self._subgraph.TensorsLength():
            raise self._error(
                f"names tensor {index} of {self._subgraph.TensorsLength():,}: damaged."
            )
        tensor = self._subgraph.Tensors(index)
        quantization = tensor.Quantization()
        scales: tuple[float, ...] = (0.0,)
        zero_points: tuple[int, ...] = (0,)
        if quantization is not None and quantization.ScaleLength():
            scales = tuple(float(scale) for scale in quantization.ScaleAsNumpy())
            zero_points = tuple(int(zero) for zero in quantization.ZeroPointAsNumpy())
        number = tensor.Buffer()
        if not 0 <= number < self._model.BuffersLength():
            raise self._error(f"names buffer {number} of {self._model.BuffersLength():,}: damaged.")
        buffer = self._model.Buffers(number).DataAsNumpy() if number else 0
        signature = tensor.ShapeSignatureAsNumpy() if tensor.ShapeSignatureLength() else ()
        shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
        # Python's integers: those of NumPy would wrap.
        values = math.prod(int(size) for size in shape)
        if len(shape) > _MAX_DIMENSIONS or values > _MAX_VALUES:
            raise self._error(
                f"tensor {index} claims {len(shape)} dimensions and {values:,} values: damaged."
            )
        return _Tensor(
            index=index,
            shape=tuple(int(size) for size in shape),
            type=tensor.Type(),
            scales=scales,
            zero_points=zero_points,
            quantized_axis=0 if quantization is None else quantization.QuantizedDimension(),
            signature=tuple(int(size) for size in signature),
            variable=bool(tensor.IsVariable()),
            content=b"" if isinstance(buffer, int) else buffer.tobytes(),
        )

    def _check_input(self, tensor: _Tensor, operators: int) -> None:
        """Refuse an input that no window of int8, or of what becomes int8, fits into."""
        name = self._name(self._subgraph.Operators(0)) if operators else ""
        quantized = name == "QUANTIZE"
        first = f", and operator 0 {name} computes with it" if name else ""
        if tensor.type == tflite.TensorType.FLOAT32 and not quantized:
            raise self._error(
                f"its input is float{first}; a model with int8 weights, activations and input is "
                "needed: convert with full-integer quantization, or give the Keras file itself, "
                "which shelfcast quantizes."
            )
        if tensor.type != tflite.TensorType.INT8 and not (quantized and tensor.type in _END_TYPES):
            raise self._error(
                f"its input is {tensor.type_name}; INT8 is needed, or UINT8 or float that a "
                "QUANTIZE makes INT8. Convert with inference_input_type = tf.int8, tf.uint8 or "
                "tf.float32."
            )
        shape = tensor.shape
        if any(size < 1 for size in (*shape, *tensor.signature)):
            raise self._error(
                f"its input has the dynamic shape {list(tensor.signature or shape)}; convert a "
                "concrete function of shape [1, steps, features]."
            )
        if len(shape) not in (2, 3) or 1 not in shape[:2]:
            raise self._error(
                f"its input has shape {list(shape)}; [1, steps, features] is needed "
                "(fix the batch to 1 before converting)."
            )

    def _expect(
        self, words: str, what: str, tensor: _Tensor, type_code: int, *, constant: bool = False
    ) -> None:
        if tensor.type != type_code:
            raise self._error(
                f"{words} has {what} of type {tensor.type_name}; "
                f"{_TYPE_NAMES[type_code]} is needed."
            )
        wanted = math.prod(tensor.shape) * _NUMPY_TYPES[type_code].itemsize
        if constant and len(tensor.content) != wanted:
            raise self._error(
                f"{words} has {what} of {len(tensor.content):,} bytes where its shape "
                f"{list(tensor.shape)} needs {wanted:,}."
            )
        if type_code != tflite.TensorType.INT32 and not all(
            0 < scale < math.inf for scale in tensor.scales
        ):
            raise self._error(f"{words} has {what} with no usable scale.")
        if type_code == tflite.TensorType.INT8 and not all(
            -128 <= zero <= 127 for zero in tensor.zero_points
        ):
            raise self._error(f"{words} has {what} with a zero point outside int8.")
        if any(size < 1 for size in tensor.shape):
            raise self._error(f"{words} has {what} of shape {list(tensor.shape)}.")

    def _expect_symmetric(self, words: str, weights: _Tensor) -> None:
        if any(weights.zero_points):
            raise self._error(
                f"{words} has weights with a zero point, and not around 0 as TFLite Micro takes "
                "them: convert again."
            )

    def _name(self, operator: Any) -> str:
        if not 0 <= operator.OpcodeIndex() < self._model.OperatorCodesLength():
            raise self._error("names an operator code that it does not have: damaged.")
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        # Codes above 127 moved to a wider field; older files fill only the narrow one.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == tflite.BuiltinOperator.CUSTOM:
            custom = code.CustomCode()
            return f"CUSTOM {custom.decode('utf-8', 'replace') if custom else '?'}"
        return _OPERATOR_NAMES.get(number, f"operator code {number}")

    def _refuse_loops(self) -> None:
        """Recognize an LSTM that the converter took apart, before anything else is said."""
        if self._model.SubgraphsLength() < 1:
            raise self._error("has no subgraph.")
        subgraph = self._model.Subgraphs(0)
        if subgraph.OperatorsLength() > _MAX_TENSORS:
            raise self._error(f"claims {subgraph.OperatorsLength():,} operators: damaged.")
        names = [self._name(subgraph.Operators(i)) for i in range(subgraph.OperatorsLength())]
        if "WHILE" in names and self._loops_a_gru():
            raise self._error(
                f"operator {names.index('WHILE')} is WHILE, the loop of a GRU: TFLite has no int8 "
                "operator for a GRU, so there is nothing to be equal to. Train an LSTM layer "
                "instead."
            )
        if "WHILE" in names:
            raise self._error(
                f"operator {names.index('WHILE')} is WHILE: the LSTM became a loop of small "
                "operators, as Keras 3 converts it. Give the Keras file itself (.keras, .h5): "
                "shelfcast rebuilds its layers so that each is one "
                "UNIDIRECTIONAL_SEQUENCE_LSTM."
            )
        split = [i for i, name in enumerate(names) if name in ("SPLIT", "UNPACK", "LOGISTIC")]
        if len(split) > 1 and "UNIDIRECTIONAL_SEQUENCE_LSTM" not in names:
            raise self._error(
                f"operator {split[0]} is {names[split[0]]}, one of {len(names)} small operators: "
                "the LSTM was unrolled. Convert through tf-keras (Keras 2) with unroll=False, "
                "which gives one UNIDIRECTIONAL_SEQUENCE_LSTM."
            )

    def _loops_a_gru(self) -> bool:
        """Tell the body of a GRU, which takes a gate from 1, from that of an LSTM."""
        for number in range(1, min(self._model.SubgraphsLength(), _MAX_TENSORS)):
            body = self._model.Subgraphs(number)
            count = min(body.OperatorsLength(), _MAX_TENSORS)
            names = {self._name(body.Operators(place)) for place in range(count)}
            if {"LOGISTIC", "SUB"} <= names:
                return True
        return False

    def _unsupported(self, name: str, index: int) -> ModelError:
        if name in _ADVICE:
            return self._error(f"operator {index} is {name}: {_ADVICE[name]}.")
        return self._error(
            f"operator {index} is {name}, which is not supported. Supported: "
            "UNIDIRECTIONAL_SEQUENCE_LSTM, FULLY_CONNECTED, TANH, LOGISTIC and SOFTMAX behind it, "
            "STRIDED_SLICE (last step), RESHAPE, QUANTIZE and DEQUANTIZE at the ends. Train with "
            "LSTM and Dense layers alone."
        )

    def _error(self, words: str) -> ModelError:
        return ModelError(f"{self.name}: {words}")
