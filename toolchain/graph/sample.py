"""Networks made up for a shape: to check boards, to measure kernels, to size what is not trained.

Scales and the spread of weights are like those of trained networks; what they forecast is noise.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from toolchain.graph.types import Dense, Graph, Int8, Lstm, Operator, Quantization
from toolchain.graph.verify import verify

Structure = Literal["dense", "blocks", "scattered"]


@dataclass(frozen=True)
class Shape:
    """A network without its numbers: LSTM layers, last step, one dense output."""

    hidden: tuple[int, ...] = (16,)
    features: int = 1
    steps: int = 28
    structure: Structure = "dense"
    """How the zeros of the recurrent weights lie; `blocks` are 2 columns x 4 gates."""
    sparsity: float = 0.0
    """Share of the recurrent weights that are zero."""


def sample_graph(shape: Shape, seed: int = 0) -> Graph:
    """Make up a network of a shape. The same every time for a seed."""
    rng = np.random.default_rng(seed)
    source = Quantization(0.0255, -30)
    given, inputs = source, shape.features
    lstms: list[Lstm] = []
    operators: list[Operator] = []
    for size in shape.hidden:
        hidden = Quantization(0.0062, -4)
        lstms.append(
            Lstm(
                index=len(lstms),
                input_weights=_weights(rng, 4, size, inputs),
                recurrent_weights=_pruned(rng, _weights(rng, 4, size, size), shape),
                bias=rng.integers(-10_000, 10_001, (4, size)).astype(np.int32),
                input_weight_scales=(0.0046, 0.0063, 0.0047, 0.0064),
                recurrent_weight_scales=(0.0064, 0.0057, 0.0039, 0.0060),
                input=given,
                hidden=hidden,
                cell_scale_power=-13,
                cell_clip=10.0,
            )
        )
        macs = shape.steps * 4 * size * (size + inputs)
        operators.append(
            Operator(
                len(operators), "LSTM", (1, shape.steps, inputs), (1, shape.steps, size), hidden,
                macs, lstms[-1].input_weights.nbytes + lstms[-1].recurrent_weights.nbytes,
            )
        )  # fmt: skip
        given, inputs = hidden, size
    target = Quantization(0.0137, -57)
    dense = Dense(
        index=len(lstms),
        weights=_weights(rng, 1, inputs),
        bias=np.array([466], np.int32),
        weight_scales=(0.0053,),
        input=given,
        output=target,
        activation="none",
    )
    operators.append(Operator(len(operators), "DENSE", (1, inputs), (1, 1), target, inputs, inputs))
    content = b"".join(
        array.tobytes()
        for layer in lstms
        for array in (layer.input_weights, layer.recurrent_weights, layer.bias)
    )
    content += dense.weights.tobytes()
    graph = Graph(
        steps=shape.steps,
        features=shape.features,
        input=source,
        output=target,
        whole_sequence=False,
        lstms=tuple(lstms),
        denses=(dense,),
        operators=tuple(operators),
        crc32=zlib.crc32(content),
        sha256=hashlib.sha256(content).hexdigest(),
        file_bytes=len(content),
    )
    verify(graph, "a made-up network")
    return graph


def _weights(rng: np.random.Generator, *shape: int) -> Int8:
    return np.clip(np.round(rng.normal(0.0, 40.0, shape)), -127, 127).astype(np.int8)


def _pruned(rng: np.random.Generator, weights: Int8, shape: Shape) -> Int8:
    """Zero the asked share, at random, of (4 gates, hidden, columns)."""
    _, hidden, columns = weights.shape
    if shape.structure == "dense":
        return weights
    if shape.structure == "scattered":
        count = round(shape.sparsity * weights.size)
        kept = np.ones(weights.size, np.bool_)
        kept[rng.permutation(weights.size)[:count]] = False
        return np.where(kept.reshape(weights.shape), weights, 0).astype(np.int8)
    pairs = -(-columns // 2)
    kept = np.ones(hidden * pairs, np.bool_)
    kept[rng.permutation(kept.size)[: round(shape.sparsity * kept.size)]] = False
    columns_kept = np.repeat(kept.reshape(hidden, pairs), 2, axis=1)[:, :columns]
    return np.where(columns_kept[None], weights, 0).astype(np.int8)
