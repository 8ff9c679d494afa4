"""Read a .tflite file into a `Graph`: the only module that knows the flatbuffer schema.

The operators are walked in order. Each must take what the one before it gave; LSTM layers come
first, dense layers after them. Reshapes, and slices that pick the last step, leave the values in
their order and so vanish: a `Graph` holds what computes.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.graph.types import Activation, Dense, Graph, Lstm, Operator, Quantization
from toolchain.graph.verify import verify

_OPERATOR_NAMES: dict[int, str] = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
_TYPE_NAMES: dict[int, str] = {
    code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)
}
_NUMPY_TYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.INT8: np.dtype("i1"),
    tflite.TensorType.INT16: np.dtype("<i2"),
    tflite.TensorType.INT32: np.dtype("<i4"),
}
_ACTIVATIONS: dict[int, Activation] = {
    tflite.ActivationFunctionType.NONE: "none",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
    tflite.ActivationFunctionType.RELU_N1_TO_1: "relu_n1_to_1",
}
_MAX_TENSORS = 20_000
"""More than any forecaster has; a damaged file may claim billions."""

_DAMAGE = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError,
           UnicodeDecodeError, MemoryError, KeyError)  # fmt: skip
"""What the flatbuffer reader raises when offsets point outside the file."""


def load_graph(path: Path) -> Graph:
    """Read, interpret and verify a .tflite file.

    Raises:
        ModelError: absent, damaged, float, dynamic, or built from operators that can't be deployed;
            the message names the operator, its index, and how to convert instead.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as cause:
        raise ModelError(f"{path}: no such file.") from cause
    except OSError as cause:
        raise ModelError(f"{path}: cannot be read: {cause.strerror}.") from cause
    return parse_graph(content, str(path))


def parse_graph(content: bytes, name: str) -> Graph:
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
        return _Walk(name, content).graph()
    except ModelError:
        raise
    except _DAMAGE as cause:
        raise ModelError(
            f"{name}: damaged or truncated ({len(content):,} bytes): {cause}. "
            "Copy or convert it again."
        ) from cause


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the file."""

    index: int
    shape: tuple[int, ...]
    type: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    signature: tuple[int, ...]
    content: bytes

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
    lstms: list[Lstm] = field(default_factory=list)
    denses: list[Dense] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    whole_sequence: bool = False

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
            raise self._error(f"has {ends[0]} inputs and {ends[1]} outputs; one of each is needed.")
        self._refuse_loops()
        source = self._tensor(self._subgraph.Inputs(0))
        steps, features = self._input_shape(source)
        current = source
        for index in range(counts[1]):
            current = self._operator(index, current)
        if current.index != self._subgraph.Outputs(0):
            raise self._error("its output is not what its last operator computes.")
        if not self.lstms:
            raise self._error(
                "has no UNIDIRECTIONAL_SEQUENCE_LSTM; shelfcast deploys recurrent forecasters."
            )
        graph = Graph(
            steps=steps,
            features=features,
            input=source.quantization,
            output=current.quantization,
            whole_sequence=self.whole_sequence,
            lstms=tuple(self.lstms),
            denses=tuple(self.denses),
            operators=tuple(self.operators),
            crc32=zlib.crc32(self.content),
            sha256=hashlib.sha256(self.content).hexdigest(),
            file_bytes=len(self.content),
        )
        verify(graph, self.name)
        return graph

    # One operator

    def _operator(self, index: int, current: _Tensor) -> _Tensor:
        operator = self._subgraph.Operators(index)
        name = self._name(operator)
        handle: Callable[[int, Any, list[_Tensor | None]], None] | None = {
            "UNIDIRECTIONAL_SEQUENCE_LSTM": self._lstm,
            "FULLY_CONNECTED": self._dense,
            "STRIDED_SLICE": self._slice,
            "RESHAPE": self._reshape,
        }.get(name)
        if handle is None:
            raise self._unsupported(name, index)
        inputs = [
            None if number < 0 else self._tensor(int(number))
            for number in np.atleast_1d(operator.InputsAsNumpy())
        ]
        output = self._tensor(operator.Outputs(0))
        for tensor in (*inputs, output):
            if tensor is not None and tensor.type == tflite.TensorType.FLOAT32:
                raise self._error(
                    f"operator {index} {name} computes in float; a model with int8 weights, "
                    "activations and input is needed: convert with full-integer quantization "
                    "(`shelfcast quantize` does it for a project)."
                )
        if not inputs or inputs[0] is None or inputs[0].index != current.index:
            raise self._error(
                f"operator {index} {name} does not read what comes before it; "
                "only a chain of operators is supported."
            )
        handle(index, operator, inputs)
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
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        if options.FusedActivationFunction() != tflite.ActivationFunctionType.TANH:
            raise self._error(f"{words} has another activation than tanh.")
        self._expect(words, "input", needed[0], tflite.TensorType.INT8)
        self._expect(words, "cell state", needed[19], tflite.TensorType.INT16)
        self._expect(words, "hidden state", needed[18], tflite.TensorType.INT8)
        for place in range(1, 9):
            self._expect(words, "weights", needed[place], tflite.TensorType.INT8, constant=True)
        for place in range(12, 16):
            self._expect(words, "bias", needed[place], tflite.TensorType.INT32, constant=True)
        hidden = needed[18].shape[-1]
        shape = needed[0].shape
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
                cell_clip=float(options.CellClip()),
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
        options = tflite.FullyConnectedOptions()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        activation = _ACTIVATIONS.get(options.FusedActivationFunction())
        if activation is None:
            raise self._error(f"{words} has a fused activation other than ReLU.")
        if len(weights.shape) != 2:
            raise self._error(f"{words} has weights of shape {list(weights.shape)}.")
        count = weights.shape[0]
        if len(weights.scales) not in (1, count):
            raise self._error(
                f"{words} has {len(weights.scales)} weight scales for {count} outputs."
            )
        if bias is not None:
            self._expect(words, "bias", bias, tflite.TensorType.INT32, constant=True)
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

    def _slice(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        words = f"operator {index} STRIDED_SLICE"
        options = tflite.StridedSliceOptions()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        source, *bounds = inputs
        if source is None or len(bounds) != 3 or any(bound is None for bound in bounds):
            raise self._error(f"{words} has {len(inputs)} inputs; 4 are expected.")
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
        if np.array_equal(chosen, places.reshape(-1)):
            return
        if self.denses or not np.array_equal(chosen, places.reshape(-1)[-hidden:]):
            raise self._error(f"{words} picks other values than the last step of an LSTM.")
        self.whole_sequence = False

    def _reshape(self, index: int, operator: Any, inputs: list[_Tensor | None]) -> None:
        """Keep the values as they are: a batch of one has no other order."""

    # What the file says

    def _tensor(self, index: int) -> _Tensor:
        tensor = self._subgraph.Tensors(index)
        quantization = tensor.Quantization()
        scales: tuple[float, ...] = (0.0,)
        zero_points: tuple[int, ...] = (0,)
        if quantization is not None and quantization.ScaleLength():
            scales = tuple(float(scale) for scale in quantization.ScaleAsNumpy())
            zero_points = tuple(int(zero) for zero in quantization.ZeroPointAsNumpy())
        number = tensor.Buffer()
        buffer = self._model.Buffers(number).DataAsNumpy() if number else 0
        signature = tensor.ShapeSignatureAsNumpy() if tensor.ShapeSignatureLength() else ()
        shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
        return _Tensor(
            index=index,
            shape=tuple(int(size) for size in shape),
            type=tensor.Type(),
            scales=scales,
            zero_points=zero_points,
            signature=tuple(int(size) for size in signature),
            content=b"" if isinstance(buffer, int) else buffer.tobytes(),
        )

    def _input_shape(self, tensor: _Tensor) -> tuple[int, int]:
        """Return steps and features of the model's input."""
        if tensor.type == tflite.TensorType.FLOAT32:
            raise self._error(
                "its input is float; a model with int8 weights, activations and input is needed: "
                "convert with full-integer quantization and inference_input_type = tf.int8 "
                "(`shelfcast quantize` does it for a project)."
            )
        if tensor.type != tflite.TensorType.INT8:
            raise self._error(f"its input is {tensor.type_name}; INT8 is needed.")
        shape = tensor.shape
        if any(size < 1 for size in (*shape, *tensor.signature)):
            raise self._error(
                f"its input has the dynamic shape {list(tensor.signature or shape)}; convert a "
                "concrete function of shape [1, steps, features]."
            )
        if len(shape) != 3 or 1 not in shape[:2]:
            raise self._error(
                f"its input has shape {list(shape)}; [1, steps, features] is needed "
                "(fix the batch to 1 before converting)."
            )
        return shape[1] if shape[0] == 1 else shape[0], shape[2]

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

    def _name(self, operator: Any) -> str:
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
        if "WHILE" in names:
            raise self._error(
                f"operator {names.index('WHILE')} is WHILE: the LSTM became a loop of small "
                "operators, as Keras 3 converts it. Convert through tf-keras (Keras 2), which "
                "gives one UNIDIRECTIONAL_SEQUENCE_LSTM."
            )
        split = [i for i, name in enumerate(names) if name in ("SPLIT", "UNPACK", "LOGISTIC")]
        if len(split) > 1 and "UNIDIRECTIONAL_SEQUENCE_LSTM" not in names:
            raise self._error(
                f"operator {split[0]} is {names[split[0]]}, one of {len(names)} small operators: "
                "the LSTM was unrolled. Convert through tf-keras (Keras 2) with unroll=False, "
                "which gives one UNIDIRECTIONAL_SEQUENCE_LSTM."
            )

    def _unsupported(self, name: str, index: int) -> ModelError:
        return self._error(
            f"operator {index} is {name}, which is not supported. Supported: "
            "UNIDIRECTIONAL_SEQUENCE_LSTM, FULLY_CONNECTED, STRIDED_SLICE (last step), RESHAPE."
        )

    def _error(self, words: str) -> ModelError:
        return ModelError(f"{self.name}: {words}")
