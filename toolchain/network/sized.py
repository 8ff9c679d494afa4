"""A float network as a graph to size: its own weights rounded, the scales made up.

`fit` predicts flash, RAM and instructions from it, without TensorFlow. What the weights' zeros save
is theirs; the scales decide nothing that is predicted.
"""

from __future__ import annotations

import numpy as np

from toolchain.errors import ModelError
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Dense, Graph, Int8, Lstm, Operator, Quantization
from toolchain.graph.verify import verify
from toolchain.network.float_network import DenseLayer, FloatNetwork, LstmLayer


def sized(network: FloatNetwork, name: str) -> Graph:
    """Return the graph that a network will be, but for its scales.

    Raises:
        ModelError: larger than what is supported, or for windows of any length.
    """
    if network.steps is None:
        raise ModelError(
            f"{name}: reads windows of any length. Begin the model with Input((steps, features)), "
            "or import it with representative windows."
        )
    steps = network.steps
    lstms = [layer for layer in network.layers if isinstance(layer, LstmLayer)]
    shape = Shape(tuple(layer.hidden_size for layer in lstms), network.features, steps)
    pattern = sample_graph(shape)
    hidden = pattern.lstms[-1].hidden
    layers = tuple(_lstm(layer, like) for layer, like in zip(lstms, pattern.lstms, strict=True))
    whole = lstms[-1].whole_sequence
    operators = list(pattern.operators[: len(lstms)])
    denses: list[Dense] = []
    values = lstms[-1].hidden_size * (steps if whole else 1)
    given: Quantization = hidden
    for layer in network.layers:
        if not isinstance(layer, DenseLayer):
            continue
        inputs, outputs = layer.kernel.shape
        target = pattern.output
        denses.append(
            Dense(
                index=len(operators),
                weights=_rounded(layer.kernel.T),
                bias=np.zeros(outputs, np.int32),
                weight_scales=(0.0053,),
                input=given,
                output=target,
                activation="relu6" if layer.activation == "relu6" else
                "relu" if layer.activation == "relu" else "none",
            )
        )  # fmt: skip
        rows = values // inputs
        operators.append(
            Operator(len(operators), "FULLY_CONNECTED", (rows, inputs), (rows, outputs), target,
                     rows * inputs * outputs, inputs * outputs)
        )  # fmt: skip
        values, given = rows * outputs, target
    graph = Graph(
        steps=steps, features=network.features, input=pattern.input, output=given,
        whole_sequence=whole, lstms=layers, denses=tuple(denses), operators=tuple(operators),
        crc32=0, sha256="", file_bytes=sum(it.constant_bytes for it in operators),
    )  # fmt: skip
    verify(graph, name)
    return graph


def _lstm(layer: LstmLayer, like: Lstm) -> Lstm:
    size = layer.hidden_size
    return Lstm(
        index=like.index,
        input_weights=_rounded(layer.kernel.T).reshape(4, size, -1),
        recurrent_weights=_rounded(layer.recurrent.T).reshape(4, size, size),
        bias=np.zeros((4, size), np.int32),
        input_weight_scales=like.input_weight_scales,
        recurrent_weight_scales=like.recurrent_weight_scales,
        input=like.input,
        hidden=like.hidden,
        cell_scale_power=like.cell_scale_power,
        cell_clip=like.cell_clip,
    )


def _rounded(weights: np.ndarray) -> Int8:
    """Round to int8 as the converter does: the largest weight becomes 127."""
    largest = float(np.abs(weights).max(initial=0)) or 1.0
    return np.round(weights * (127 / largest)).astype(np.int8)
