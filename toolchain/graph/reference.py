"""The exact integer forecast on the host: what every device must equal, bit for bit.

Vectorised over windows. All sums and products are integers held in float64, where they are exact
up to 2**53; `verify` bounds them far below. That way the matrix products run in BLAS and the
rounding in SIMD, on any OS, and still give the same integers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from toolchain.graph import fixed_point
from toolchain.graph.constants import DenseConstants, LstmConstants, graph_constants
from toolchain.graph.int8_activations import softmax
from toolchain.graph.types import Graph, Int8, Int16

Float64 = NDArray[np.float64]

_BLOCK = 256
"""Windows computed together: what a second-level cache holds."""


@dataclass(frozen=True, eq=False)
class State:
    """Where the LSTM layers stand, for each window."""

    hidden: tuple[Int8, ...]  # per layer (windows, hidden)
    cells: tuple[Int16, ...]  # per layer (windows, hidden)


@dataclass(frozen=True, eq=False)
class Forecasts:
    """What `run` computed."""

    outputs: Int8  # (windows, outputs)
    state: State
    """After the last step."""
    hidden: tuple[Int8, ...]
    """Per layer (windows, steps, hidden), or () unless traced."""
    cells: tuple[Int16, ...]
    """Per layer (windows, steps, hidden), or () unless traced."""


def zero_state(graph: Graph, windows: int) -> State:
    """Return the state after a reset: hidden at its zero point, cells at 0."""
    return State(
        hidden=tuple(
            np.full((windows, layer.hidden_size), layer.hidden.zero_point, np.int8)
            for layer in graph.lstms
        ),
        cells=tuple(np.zeros((windows, size), np.int16) for size in graph.hidden_sizes),
    )


def run(
    graph: Graph, inputs: Int8, *, initial: State | None = None, trace: bool = False
) -> Forecasts:
    """Forecast from each window (windows, steps, features), starting from `initial` or a reset.

    With `trace`, every layer's h and c after every step are kept too.
    """
    if inputs.dtype != np.int8 or inputs.shape[1:] != (graph.steps, graph.features):
        raise ValueError(
            f"inputs are {inputs.dtype} {inputs.shape}; "
            f"int8 (windows, {graph.steps}, {graph.features}) is needed."
        )
    count = len(inputs)
    start = initial or zero_state(graph, count)
    layers, head = _prepare(graph)
    blocks = [slice(first, first + _BLOCK) for first in range(0, count, _BLOCK)]

    def compute(block: slice) -> _Block:
        return _run_block(graph, layers, head, inputs[block], start, block, trace)

    # NumPy releases the interpreter's lock: the cores share the windows, so BLAS must not share
    # its small products among them as well.
    with _blas().limit(limits=1), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        parts = list(pool.map(compute, blocks))
    depth = range(len(layers))
    return Forecasts(
        outputs=_join([part.outputs for part in parts], (0, graph.outputs), np.int8),
        state=State(
            hidden=tuple(
                _join([p.hidden[k] for p in parts], (0, graph.hidden_sizes[k]), np.int8)
                for k in depth
            ),
            cells=tuple(
                _join([p.cells[k] for p in parts], (0, graph.hidden_sizes[k]), np.int16)
                for k in depth
            ),
        ),
        hidden=tuple(np.concatenate([p.traced_hidden[k] for p in parts]) for k in depth)
        if trace and parts
        else (),
        cells=tuple(np.concatenate([p.traced_cells[k] for p in parts]) for k in depth)
        if trace and parts
        else (),
    )


def stream(graph: Graph, samples: Int8, *, initial: State | None = None) -> Forecasts:
    """Feed samples (count, features) one by one and forecast after each: outputs (count, outputs).

    What a device does that gets a sample a day and keeps its state; `initial` or a reset begins it.
    """
    if graph.whole_sequence:
        raise ValueError("the head reads whole windows: there is no forecast after one sample")
    if not len(samples):
        state = initial or zero_state(graph, 1)
        return Forecasts(np.zeros((0, graph.outputs), np.int8), state, (), ())
    long = replace(graph, steps=len(samples))
    traced = run(long, samples[None], initial=initial, trace=True)
    _, head = _prepare(graph)
    outputs = _head(traced.hidden[-1][0].astype(np.float64), head).astype(np.int8)
    return replace(traced, outputs=outputs)


class Stepper:
    """A network that is fed step by step, for many independent states at once."""

    def __init__(self, graph: Graph) -> None:
        """Prepare a graph whose head reads the last step alone.

        Raises:
            ValueError: the head reads whole windows.
        """
        if graph.whole_sequence:
            raise ValueError("the head reads whole windows: there is no forecast after one sample")
        self._layers, self._head = _prepare(graph)

    def step(self, samples: Int8, state: State) -> State:
        """Feed one sample each, (states, features)."""
        given = samples.astype(np.float64)
        hidden, cells = [], []
        for layer, before, cell in zip(self._layers, state.hidden, state.cells, strict=True):
            given, after = layer.step(given, before.astype(np.float64), cell.astype(np.float64))
            hidden.append(given.astype(np.int8))
            cells.append(after.astype(np.int16))
        return State(tuple(hidden), tuple(cells))

    def outputs(self, state: State) -> Int8:
        """Return the forecasts of the states as they are, (states, outputs)."""
        return _head(state.hidden[-1].astype(np.float64), self._head).astype(np.int8)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _join(parts: Sequence[NDArray[Any]], empty: tuple[int, int], kind: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(empty, kind)


class _Requantizer:
    """Scale sums by per-column multipliers, rounding twice, as `fixed_point.multiply` does.

    Exact in float64: a sum of at most 21 bits times a multiplier of 31 has 52, and halves are kept.
    Sums with more bits take the integer path.
    """

    def __init__(self, multiplier: Float64, shift: Float64, bound: int) -> None:
        self._multiplier = np.asarray(multiplier, dtype=np.int64)
        self._shift = np.asarray(shift, dtype=np.int64)
        left = np.maximum(self._shift, 0)
        self._factor = np.ldexp(self._multiplier.astype(np.float64), left - 31)
        self._divide = np.ldexp(1.0, np.minimum(self._shift, 0))
        self._fits = (bound << int(left.max(initial=0))) < 1 << 21

    def __call__(self, sums: Float64) -> Float64:
        """Requantize `sums` (windows, columns), in place where that is possible."""
        if not self._fits:
            return fixed_point.multiply(sums, self._multiplier, self._shift).astype(np.float64)
        sums *= self._factor
        sums += 0.5
        np.floor(sums, out=sums)
        sums *= self._divide
        return _round_half_away(sums)


def _round_half_away(value: Float64) -> Float64:
    value += np.copysign(0.5, value)
    return np.trunc(value, out=value)


def _saturate16(value: Float64) -> Float64:
    # maximum and minimum with a scalar are several times faster than np.clip.
    np.maximum(value, fixed_point.INT16_MIN, out=value)
    return np.minimum(value, fixed_point.INT16_MAX, out=value)


class _Layer:
    """One LSTM layer, its four gates side by side: columns are (4 gates, hidden)."""

    def __init__(self, constants: LstmConstants) -> None:
        units = constants.hidden_size
        self._units = units
        self._constants = constants
        self._input = _Part(
            constants.input_weights,
            constants.input_bias,
            constants.input_multiplier,
            constants.input_shift,
        )
        self._recurrent = _Part(
            constants.recurrent_weights,
            constants.recurrent_bias,
            constants.recurrent_multiplier,
            constants.recurrent_shift,
        )
        self._sigmoid = _sigmoid_lookup()
        self._gate_tanh = _tanh_lookup(-12)
        self._cell_tanh = _tanh_lookup(constants.cell_scale_power)
        # Where the input is one value of 256, its part is looked up.
        self._by_value = (
            self._input(np.arange(-128.0, 128.0).reshape(256, 1))
            if constants.input_size == 1
            else None
        )

    def step(self, inputs: Float64, hidden: Float64, cells: Float64) -> tuple[Float64, Float64]:
        """Advance (windows, inputs), (windows, hidden), (windows, hidden) by one step."""
        units, constants = self._units, self._constants
        if self._by_value is None:
            gates = self._input(inputs)
        else:
            gates = self._by_value[inputs[:, 0].astype(np.intp) + 128]
        gates += self._recurrent(hidden)
        places = (_saturate16(gates) - fixed_point.INT16_MIN).astype(np.intp)
        keep = self._sigmoid.take(places[:, units : 2 * units])
        keep *= cells
        cells = _power_of_two_product(keep, constants.forget_shift)
        update = self._sigmoid.take(places[:, :units])
        update *= self._gate_tanh.take(places[:, 2 * units : 3 * units])
        cells += _power_of_two_product(update, constants.update_shift)
        _saturate16(cells)
        if constants.cell_clip:
            np.maximum(cells, -constants.cell_clip, out=cells)
            np.minimum(cells, constants.cell_clip, out=cells)
        shown = self._cell_tanh.take((cells - fixed_point.INT16_MIN).astype(np.intp))
        shown *= self._sigmoid.take(places[:, 3 * units :])
        hidden = _high_product(shown, constants.hidden_multiplier, constants.hidden_shift)
        hidden += constants.hidden_zero_point
        np.maximum(hidden, -128, out=hidden)
        np.minimum(hidden, 127, out=hidden)
        return hidden, cells


class _Part:
    """One matrix product of an LSTM layer, requantized to Q3.12 and saturated."""

    def __init__(
        self,
        weights: Int8,
        bias: NDArray[np.int32],
        multiplier: tuple[int, ...],
        shift: tuple[int, ...],
    ) -> None:
        gates, units, size = weights.shape
        self._matrix = np.ascontiguousarray(
            weights.reshape(gates * units, size).T.astype(np.float64)
        )
        self._bias = bias.reshape(-1).astype(np.float64)
        bound = np.abs(weights.astype(np.int64)).sum(axis=2) * 128 + np.abs(bias.astype(np.int64))
        self._requantize = _Requantizer(
            np.repeat(multiplier, units), np.repeat(shift, units), int(bound.max())
        )

    def __call__(self, values: Float64) -> Float64:
        sums = values @ self._matrix
        sums += self._bias
        return _saturate16(self._requantize(sums))


def _power_of_two_product(product: Float64, shift: int) -> Float64:
    """Requantize an int32 product by 2**30 and `shift`, saturated to int16."""
    product += 1
    product *= 0.5
    np.floor(product, out=product)
    product *= 2.0**shift
    return _saturate16(_round_half_away(product))


def _high_product(product: Float64, multiplier: int, shift: int) -> Float64:
    """Requantize an int32 product by a full multiplier.

    The product needs 31 bits and the multiplier 31 more: past float64. The integer path it is.
    """
    return fixed_point.multiply(product, multiplier, shift).astype(np.float64)


@functools.cache
def _sigmoid_lookup() -> Float64:
    """Return sigmoid of every int16, from the lowest up."""
    return fixed_point.sigmoid(np.arange(-32_768, 32_768)).astype(np.float64)


@functools.cache
def _tanh_lookup(scale_power: int) -> Float64:
    return fixed_point.tanh(np.arange(-32_768, 32_768), scale_power).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Block:
    outputs: Int8
    hidden: list[Int8]
    cells: list[Int16]
    traced_hidden: list[Int8]
    traced_cells: list[Int16]


def _prepare(graph: Graph) -> tuple[list[_Layer], tuple[DenseConstants, ...]]:
    lstms, denses = graph_constants(graph)
    return [_Layer(constants) for constants in lstms], denses


def _run_block(
    graph: Graph,
    layers: list[_Layer],
    head: tuple[DenseConstants, ...],
    inputs: Int8,
    start: State,
    block: slice,
    trace: bool,
) -> _Block:
    count = len(inputs)
    values = inputs.astype(np.float64)
    hidden = [state[block].astype(np.float64) for state in start.hidden]
    cells = [state[block].astype(np.float64) for state in start.cells]
    traced_hidden = [
        np.zeros((count, graph.steps, size), np.int8) for size in graph.hidden_sizes if trace
    ]
    traced_cells = [
        np.zeros((count, graph.steps, size), np.int16) for size in graph.hidden_sizes if trace
    ]
    sequence = np.zeros((count, graph.steps if graph.whole_sequence else 1, graph.hidden_sizes[-1]))
    for step in range(graph.steps):
        given = values[:, step]
        for k, layer in enumerate(layers):
            hidden[k], cells[k] = layer.step(given, hidden[k], cells[k])
            given = hidden[k]
            if trace:
                traced_hidden[k][:, step] = hidden[k]
                traced_cells[k][:, step] = cells[k]
        sequence[:, step if graph.whole_sequence else 0] = given
    return _Block(
        outputs=_head(sequence.reshape(count, graph.head_size), head).astype(np.int8),
        hidden=[state.astype(np.int8) for state in hidden],
        cells=[state.astype(np.int16) for state in cells],
        traced_hidden=traced_hidden,
        traced_cells=traced_cells,
    )


def _head(values: Float64, layers: tuple[DenseConstants, ...]) -> Float64:
    """Apply the dense layers (windows, head size) -> (windows, outputs)."""
    windows = len(values)
    for layer in layers:
        rows = values.reshape(-1, layer.weights.shape[1])
        sums = rows @ layer.weights.T.astype(np.float64) + layer.bias
        scaled = fixed_point.multiply(sums, layer.multiplier, layer.shift)
        result = np.clip(scaled + layer.output_zero_point, layer.output_min, layer.output_max)
        if layer.lookup is not None:
            result = layer.lookup[result + 128].astype(np.int64)
        if layer.exponentials is not None:
            result = softmax(result, layer.exponentials)
        values = result.astype(np.float64).reshape(windows, -1)
    return values
