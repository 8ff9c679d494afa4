"""Describe a graph: for people as a table, for programs as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolchain.graph.types import Graph, Quantization
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
        "input_type": graph.input_type,
        "output_type": graph.output_type,
        "oracle": graph.oracle,
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
            f"input: {_real(graph.input)}; "
            f"{graph.macs:,} multiply-accumulates a forecast; deployable",
            *_ends(graph),
        ]
    )


def describe_boards(boards: Sequence[tuple[str, str | None]]) -> str:
    """Say which boards a model fits, and of the others why not; given names and reasons."""
    fitting = [name for name, why in boards if why is None]
    lines = [f"fits, as predicted: {', '.join(fitting) or 'none'}"]
    lines += [f"does not fit {name}: {why}" for name, why in boards if why is not None]
    return "\n".join(lines)


def _ends(graph: Graph) -> list[str]:
    """Say what a device has instead of the real values, or uint8, at the ends of the file."""
    types = {"input": graph.input_type, "output": graph.output_type}
    ends = [f"{kind} at the {end}" for end, kind in types.items() if kind != "int8"]
    if not ends:
        return []
    flipped = ", 128 less than the uint8" if "uint8" in types.values() else ""
    return [
        f"{' and '.join(ends)} in the file, int8 on a device{flipped}; its `hello` has the "
        f"scales. Output: {_real(graph.output)}"
    ]


def _real(values: Quantization) -> str:
    """Say what an integer stands for.

    >>> _real(Quantization(0.5, -18))
    'real = 0.5 * (int8 + 18)'
    """
    sign = "-" if values.zero_point >= 0 else "+"
    return f"real = {values.scale:.6g} * (int8 {sign} {abs(values.zero_point)})"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
