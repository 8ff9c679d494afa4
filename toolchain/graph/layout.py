"""What an interpreter finds in a .tflite file: tensors and operators, with what they occupy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Tensor:
    """A tensor as an interpreter has to place it."""

    bytes: int
    kind: Literal["constant", "variable", "activation"]
    """In the file; in RAM and kept between forecasts; in RAM while it is needed."""
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
