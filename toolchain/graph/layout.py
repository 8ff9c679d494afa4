"""What an interpreter finds in a .tflite file: tensors and operators, with what they occupy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from toolchain.graph.types import Dense, Graph

Kind = Literal["constant", "variable", "activation"]
"""In the file; in RAM and kept between forecasts; in RAM while it is needed."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as an interpreter has to place it."""

    bytes: int
    kind: Kind
    channels: int
    """Scales it is quantized with; 0: none."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """An operator: its name, and which tensors it reads and writes."""

    name: str
    inputs: tuple[int, ...]
    """Without those it leaves out."""
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The one subgraph of a file."""

    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators used, each once, in the order of their first use."""
        return tuple(dict.fromkeys(node.name for node in self.nodes))


def layout_of(graph: Graph) -> Layout:
    """Lay a graph out as the converter does, for one that has no file."""
    return _Writer(graph).layout()


class _Writer:
    """Tensors and operators as they are written, first to last."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors: list[Tensor] = []
        self._nodes: list[Node] = []

    def layout(self) -> Layout:
        """Write all layers."""
        graph = self._graph
        first = given = self._tensor("activation", 1, (1, graph.steps, graph.features))
        for lstm in graph.lstms:
            given = self._lstm(given, lstm.hidden_size, lstm.input_size)
        if not graph.whole_sequence:
            given = self._slice(given)
        for dense, rows in zip(graph.denses, graph.rows, strict=True):
            given = self._dense(given, dense, rows)
        return Layout(tuple(self._tensors), tuple(self._nodes), (first,), (given,))

    def _lstm(self, given: int, hidden: int, inputs: int) -> int:
        weights = [self._tensor("constant", 1, (hidden, inputs)) for _ in range(4)]
        weights += [self._tensor("constant", 1, (hidden, hidden)) for _ in range(4)]
        biases = [self._tensor("constant", 4, (hidden,)) for _ in range(4)]
        states = [
            self._tensor("variable", 1, (1, hidden)),
            self._tensor("variable", 2, (1, hidden)),
        ]
        for channels in (0, 0, 0, 0, 1):  # it never looks at these
            self._tensor("activation", 1, (0,), channels)
        output = self._tensor("activation", 1, (1, self._graph.steps, hidden))
        return self._node(
            "UNIDIRECTIONAL_SEQUENCE_LSTM", (given, *weights, *biases, *states), output
        )

    def _slice(self, given: int) -> int:
        places = [self._tensor("constant", 4, (3,), 0) for _ in ("begin", "end", "strides")]
        output = self._tensor("activation", 1, (1, self._graph.hidden_sizes[-1]))
        return self._node("STRIDED_SLICE", (given, *places), output)

    def _dense(self, given: int, layer: Dense, rows: int) -> int:
        shape = (layer.output_size,)
        inputs = (
            self._tensor("constant", 1, layer.weights.shape, len(layer.weight_scales)),
            self._tensor("constant", 4, shape, len(layer.weight_scales)),
        )
        output = self._node(
            "FULLY_CONNECTED", (given, *inputs), self._tensor("activation", 1, (rows, *shape))
        )
        if layer.then is None:
            return output
        name = {"tanh": "TANH", "sigmoid": "LOGISTIC", "softmax": "SOFTMAX"}[layer.then.kind]
        return self._node(name, (output,), self._tensor("activation", 1, (rows, *shape)))

    def _tensor(self, kind: Kind, size: int, shape: tuple[int, ...], channels: int = 1) -> int:
        self._tensors.append(Tensor(size * math.prod(shape), kind, channels, shape))
        return len(self._tensors) - 1

    def _node(self, name: str, inputs: tuple[int, ...], output: int) -> int:
        self._nodes.append(Node(name, inputs, (output,)))
        return output
