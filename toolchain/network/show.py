"""Describe a float network, before anything is made of it: as a table, and as JSON values."""

from __future__ import annotations

from typing import Any

from toolchain.network.float_network import (
    ActivationLayer,
    DenseLayer,
    FloatNetwork,
    Layer,
    LstmLayer,
    ReshapeLayer,
)
from toolchain.table import aligned


def to_json(network: FloatNetwork) -> dict[str, Any]:
    """Return what `inspect --json` prints of a float model."""
    return {
        "deployable": True,
        "float": True,
        "steps": network.steps,
        "features": network.features,
        "hidden": [it.hidden_size for it in network.layers if isinstance(it, LstmLayer)],
        "parameters": sum(map(_parameters, network.layers)),
        "layers": [
            {"name": layer.name, "kind": _kind(layer), "parameters": _parameters(layer)}
            for layer in network.layers
        ],
    }


def describe(network: FloatNetwork, name: str) -> str:
    """Write the layers from input to output, one a line."""
    rows = [(layer.name, _kind(layer), f"{_parameters(layer):,}") for layer in network.layers]
    total = sum(map(_parameters, network.layers))
    return "\n".join(
        [
            f"{name}: float, {network.window} features, {total:,} parameters",
            "",
            aligned([("layer", "becomes", "parameters"), *rows], words={0, 1}),
            "",
            f"deployable: shelfcast import {name} rebuilds and quantizes it; then inspect shows "
            "its operators",
        ]
    )


def _kind(layer: Layer) -> str:
    if isinstance(layer, LstmLayer):
        return f"LSTM {layer.hidden_size}, {'every step' if layer.whole_sequence else 'last step'}"
    if isinstance(layer, DenseLayer):
        return f"Dense {layer.kernel.shape[1]}, {layer.activation}"
    if isinstance(layer, ActivationLayer):
        return layer.activation
    return f"Reshape {layer.shape}" if isinstance(layer, ReshapeLayer) else "scaling"


def _parameters(layer: Layer) -> int:
    if isinstance(layer, LstmLayer):
        return int(layer.kernel.size + layer.recurrent.size + layer.bias.size)
    return int(layer.kernel.size + layer.bias.size) if isinstance(layer, DenseLayer) else 0
