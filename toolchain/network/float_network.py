"""A float network that somebody else trained, as plain numbers: what the readers of files return.

Knows no file format and no TensorFlow; `rebuild.py` makes a tf-keras model of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError

Float = NDArray[np.floating]
Activation = Literal["linear", "relu", "relu6", "tanh", "sigmoid", "softmax"]


@dataclass(frozen=True, eq=False)
class LstmLayer:
    """An LSTM with tanh and sigmoid; gates in Keras's order: input, forget, cell, output."""

    name: str
    kernel: Float  # (inputs, 4 * hidden)
    recurrent: Float  # (hidden, 4 * hidden)
    bias: Float  # (4 * hidden)
    whole_sequence: bool

    @property
    def hidden_size(self) -> int:
        """Units of the layer."""
        return self.recurrent.shape[0]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer over the last axis."""

    name: str
    kernel: Float  # (inputs, outputs)
    bias: Float  # (outputs)
    activation: Activation


@dataclass(frozen=True)
class ActivationLayer:
    """An activation of its own."""

    name: str
    activation: Activation


@dataclass(frozen=True)
class ReshapeLayer:
    """Another shape for the same values in the same order; () stands for flat."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AffineLayer:
    """`scale * x + offset` along the last axis: a normalization after its training."""

    name: str
    scale: Float  # (values) or (1)
    offset: Float  # (values) or (1)


Layer = LstmLayer | DenseLayer | ActivationLayer | ReshapeLayer | AffineLayer


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A chain of layers and the windows it reads."""

    steps: int | None
    """None: any number; the windows it is given decide."""
    features: int
    layers: tuple[Layer, ...]

    @property
    def shares(self) -> bool:
        """Whether the outputs are shares of 1, by a softmax: no amount of anything."""
        return getattr(self.layers[-1], "activation", None) == "softmax"

    @property
    def window(self) -> str:
        """Say which windows it reads."""
        return f"{'any number of' if self.steps is None else self.steps} steps x {self.features}"


def folded(network: FloatNetwork, name: str) -> FloatNetwork:
    """Put every normalization into the layer after it: `W(sx + o) + b` is `(sW)x + (oW + b)`.

    Raises:
        ModelError: no LSTM or dense layer comes right after one.
    """
    layers: list[Layer] = []
    waiting: AffineLayer | None = None
    for layer in network.layers:
        if waiting is None:
            if isinstance(layer, AffineLayer):
                waiting = layer
            else:
                layers.append(layer)
            continue
        if not isinstance(layer, LstmLayer | DenseLayer):
            break
        scale, offset = (
            np.broadcast_to(values.astype(np.float64), layer.kernel.shape[:1])
            for values in (waiting.scale, waiting.offset)
        )
        kernel = layer.kernel.astype(np.float64)
        layers.append(
            replace(
                layer,
                kernel=(scale[:, None] * kernel).astype(np.float32),
                bias=(offset @ kernel + layer.bias).astype(np.float32),
            )
        )
        waiting = None
    if waiting is not None:
        raise ModelError(
            f'{name}: layer "{waiting.name}" scales values, and no LSTM or Dense layer comes right '
            "after it to take that over. Leave it out of the network and scale the numbers outside."
        )
    return replace(network, layers=tuple(layers))
