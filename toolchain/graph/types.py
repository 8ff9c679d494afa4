"""The network as the deployment sees it: LSTM layers over time, then dense layers, all integer.

Everything after this room (reference, firmware, cost, verdict) reads a `Graph` and nothing else;
only `tflite_file.py` knows the file format it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

GATES = ("input", "forget", "cell", "output")
"""Order of the gates in every array here: the order of the operator's inputs."""

Activation = Literal["none", "relu", "relu6", "relu_n1_to_1"]
"""What a FULLY_CONNECTED does itself: it bounds its outputs."""

EndType = Literal["int8", "uint8", "float32"]
"""Of the values that a file takes and gives; a device has int8 in any case."""

Oracle = Literal["double", "float32"]
"""How TFLite Micro multiplies an input's scale and a weight's: it changed."""


@dataclass(frozen=True)
class Quantization:
    """How an int8 value stands for a real one: `real = scale * (value - zero_point)`."""

    scale: float
    zero_point: int

    def quantize(self, real: NDArray[np.floating]) -> Int8:
        """Round to the nearest step, half away from zero, and saturate to int8."""
        return self._rounded(np.asarray(real, dtype=np.float64) / self.scale)

    def quantize_as_operator(self, real: NDArray[np.float32]) -> Int8:
        """Quantize as the operator QUANTIZE does, which divides in single precision.

        Source: TFLite `reference_ops::AffineQuantize`.
        """
        return self._rounded((real.astype(np.float32) / np.float32(self.scale)).astype(np.float64))

    def dequantize_as_operator(self, value: Int8) -> NDArray[np.float32]:
        """Dequantize as the operator DEQUANTIZE does: the nearest float32.

        Source: TFLite `reference_ops::Dequantize`.
        """
        return self.dequantize(value).astype(np.float32)

    def _rounded(self, steps: NDArray[np.float64]) -> Int8:
        rounded = np.trunc(steps + np.copysign(0.5, steps)) + self.zero_point
        return np.clip(rounded, -128, 127).astype(np.int8)

    def dequantize(self, value: Int8) -> NDArray[np.float64]:
        """Return the real value of each integer."""
        return (value.astype(np.float64) - self.zero_point) * self.scale


@dataclass(frozen=True, eq=False)
class Lstm:
    """One UNIDIRECTIONAL_SEQUENCE_LSTM: int8 activations and weights, int16 cell, int32 biases."""

    index: int
    """Position among the file's operators."""
    input_weights: Int8  # (4 gates, hidden, inputs)
    recurrent_weights: Int8  # (4 gates, hidden, hidden)
    bias: Int32  # (4 gates, hidden)
    input_weight_scales: tuple[float, ...]  # (4 gates)
    recurrent_weight_scales: tuple[float, ...]  # (4 gates)
    input: Quantization
    hidden: Quantization
    cell_scale_power: int
    """The cell's scale is 2**cell_scale_power."""
    cell_clip: float
    """Bound of the cell in real units; 0 means none."""

    @property
    def hidden_size(self) -> int:
        """Units of the layer."""
        return self.input_weights.shape[1]

    @property
    def input_size(self) -> int:
        """Values the layer reads per step."""
        return self.input_weights.shape[2]


@dataclass(frozen=True)
class Nonlinearity:
    """One TANH, LOGISTIC or SOFTMAX behind a dense layer, on each of its rows."""

    index: int
    kind: Literal["tanh", "sigmoid", "softmax"]
    output: Quantization
    beta: float = 1.0
    """What a softmax multiplies its values by."""


@dataclass(frozen=True, eq=False)
class Dense:
    """One FULLY_CONNECTED, applied to every row of `inputs` values of what comes before it."""

    index: int
    weights: Int8  # (outputs, inputs)
    bias: Int32  # (outputs)
    weight_scales: tuple[float, ...]
    """One for all outputs, or one for each."""
    input: Quantization
    output: Quantization
    """Of the FULLY_CONNECTED itself."""
    activation: Activation
    then: Nonlinearity | None = None

    @property
    def result(self) -> Quantization:
        """Of what is handed on."""
        return self.output if self.then is None else self.then.output

    @property
    def input_size(self) -> int:
        """Values a row has."""
        return self.weights.shape[1]

    @property
    def output_size(self) -> int:
        """Values a row becomes."""
        return self.weights.shape[0]


@dataclass(frozen=True)
class Operator:
    """An operator of the file as it stands there, for people to look at."""

    index: int
    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output: Quantization
    macs: int
    constant_bytes: int


@dataclass(frozen=True, eq=False)
class Graph:
    """A deployable forecaster. Made by `load_graph`, which verifies it."""

    steps: int
    features: int
    input: Quantization
    output: Quantization
    whole_sequence: bool
    """The dense layers read every step's hidden state, not only the last one's."""
    lstms: tuple[Lstm, ...]
    denses: tuple[Dense, ...]
    operators: tuple[Operator, ...]
    crc32: int
    """Of the file's bytes: what a device says it runs."""
    sha256: str
    """Of the file's bytes, in hex."""
    file_bytes: int
    oracle: Oracle = "double"
    """Which TFLite Micro is to be equalled."""
    input_type: EndType = "int8"
    """What TFLite's interpreter is given; a QUANTIZE makes int8 of it."""
    output_type: EndType = "int8"
    """What TFLite's interpreter gives; made of int8 by a DEQUANTIZE or a QUANTIZE."""

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units of each LSTM layer, first to last."""
        return tuple(layer.hidden_size for layer in self.lstms)

    @property
    def head_size(self) -> int:
        """Values the LSTM layers hand to the head."""
        return self.hidden_sizes[-1] * (self.steps if self.whole_sequence else 1)

    @property
    def rows(self) -> tuple[int, ...]:
        """How often each dense layer is applied in a forecast."""
        rows, size = [], self.head_size
        for layer in self.denses:
            rows.append(size // layer.input_size)
            size = rows[-1] * layer.output_size
        return tuple(rows)

    @property
    def outputs(self) -> int:
        """Values in a forecast."""
        return self.rows[-1] * self.denses[-1].output_size if self.denses else self.head_size

    @property
    def shares(self) -> bool:
        """Whether the outputs are shares of 1, by a softmax: no amount of anything."""
        then = self.denses[-1].then if self.denses else None
        return then is not None and then.kind == "softmax"

    @property
    def next_day(self) -> int:
        """Which output stands for the day after the window: the first of the last row.

        The first day of a horizon, the first of several quantiles, or the last step's of a head
        that answers at every step.
        """
        rows = self.rows[-1] if self.denses else self.head_size // self.hidden_sizes[-1]
        return self.outputs // rows * (rows - 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forecast from a whole window."""
        return sum(operator.macs for operator in self.operators)

    def as_taken(self, inputs: Int8) -> NDArray[Any]:
        """Return int8 windows in the type that TFLite's interpreter is given."""
        if self.input_type == "float32":
            return self.input.dequantize_as_operator(inputs)
        return _flip(inputs) if self.input_type == "uint8" else inputs

    def from_given(self, outputs: NDArray[Any]) -> Int8:
        """Return as int8 what TFLite's interpreter gives."""
        if self.output_type == "float32":
            return self.output.quantize(outputs)
        return _flip(outputs) if self.output_type == "uint8" else outputs


def _flip(values: NDArray[Any]) -> NDArray[Any]:
    """Turn int8 into the uint8 that is 128 more, and back.

    >>> _flip(np.array([-128, 0, 127], np.int8)), _flip(np.array([0, 128, 255], np.uint8))
    (array([  0, 128, 255], dtype=uint8), array([-128,    0,  127], dtype=int8))
    """
    other = np.uint8 if values.dtype == np.int8 else np.int8
    return (values.view(np.uint8) ^ np.uint8(0x80)).view(other)
