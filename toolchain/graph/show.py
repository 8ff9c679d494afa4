"""Describe a graph: for people as a table, for programs as JSON values."""

from __future__ import annotations

from typing import Any

from toolchain.graph.types import Graph
from toolchain.table import aligned


def to_json(graph: Graph) -> dict[str, Any]:
    """Return what `inspect --json` prints; sizes in bytes."""
    return {
        "deployable": True,
        "model_crc": f"{graph.crc32:08x}",
        "file_bytes": graph.file_bytes,
        "steps": graph.steps,
        "features": graph.features,
        "hidden": list(graph.hidden_sizes),
        "outputs": graph.outputs,
        "whole_sequence": graph.whole_sequence,
        "input": vars(graph.input),
        "output": vars(graph.output),
        "macs": graph.macs,
        "operators": [
            {
                "index": operator.index,
                "name": operator.name,
                "input_shape": list(operator.input_shape),
                "output_shape": list(operator.output_shape),
                "scale": operator.output.scale,
                "zero_point": operator.output.zero_point,
                "macs": operator.macs,
                "constant_bytes": operator.constant_bytes,
            }
            for operator in graph.operators
        ],
    }


def describe(graph: Graph, name: str) -> str:
    """Write the operators from input to output, one a line."""
    rows = [
        (
            str(operator.index),
            operator.name,
            f"{_shape(operator.input_shape)} -> {_shape(operator.output_shape)}",
            f"{operator.output.scale:.6g}",
            str(operator.output.zero_point),
            f"{operator.macs:,}",
            f"{operator.constant_bytes:,}",
        )
        for operator in graph.operators
    ]
    head = ("#", "operator", "shape", "scale", "zero", "MACs", "bytes")
    sizes = "-".join(map(str, graph.hidden_sizes))
    return "\n".join(
        [
            f"{name}: LSTM-{sizes}, {graph.steps} steps x {graph.features} features -> "
            f"{graph.outputs} outputs; {graph.file_bytes:,} bytes, CRC {graph.crc32:08x}",
            "",
            aligned([head, *rows], words={1, 2}),
            "",
            f"input: real = {graph.input.scale:.6g} * (int8 - {graph.input.zero_point}); "
            f"{graph.macs:,} multiply-accumulates a forecast; deployable",
        ]
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
