"""TFLite Micro itself: the wheel, fed and read in whatever layout and type a file has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from toolchain.graph.types import Graph

runtime = pytest.importorskip(
    "tflite_micro.python.tflite_micro.runtime",
    reason="the tflite-micro wheel exists for Linux on x86-64 only",
    exc_type=ImportError,
)


def oracle(content: bytes, windows: np.ndarray, resets: Iterable[bool]) -> np.ndarray:
    """Forecast windows (windows, steps, features), which are of the type that the file takes.

    Returns (windows, outputs) in the type that the file gives.
    """
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=4 << 20)
    shape = interpreter.get_input_details(0)["shape"]
    outputs = []
    for window, reset in zip(windows, resets, strict=True):
        if reset:
            interpreter.reset()
        interpreter.set_input(window.reshape(shape), 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0).reshape(-1).copy())
    return np.array(outputs)


def as_taken(graph: Graph, windows: np.ndarray) -> np.ndarray:
    """Turn int8 windows into what the file takes: real values or uint8 where a QUANTIZE is first.

    Written once more, and not `Graph.as_taken`, which this tests.
    """
    if graph.input_type == "uint8":
        return (windows.astype(int) + 128).astype(np.uint8)
    return graph.input.dequantize_as_operator(windows) if graph.input_type != "int8" else windows


def as_given(graph: Graph, outputs: np.ndarray) -> np.ndarray:
    """Turn int8 outputs into what the file gives: real values, or uint8."""
    if graph.output_type == "uint8":
        return (outputs.astype(int) + 128).astype(np.uint8)
    return graph.output.dequantize_as_operator(outputs) if graph.output_type != "int8" else outputs
