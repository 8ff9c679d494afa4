"""How fast the host reference is beside TFLite Micro's interpreter called in a loop, as a ratio."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from tflite_writer import Recipe, write_forecaster

from toolchain.graph import reference
from toolchain.graph.tflite_file import load_graph

WINDOWS = 10_000


def best_of(count: int, work: Callable[[], object]) -> float:
    """Return the shortest time in seconds."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Print the times and their ratio for LSTM-32, 28 steps, 1 feature."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lstm32.tflite")
        path.write_bytes(write_forecaster(Recipe(hidden=(32,))))
        graph = load_graph(path)
        content = path.read_bytes()
    rng = np.random.default_rng(0)
    windows = rng.integers(-128, 128, (WINDOWS, graph.steps, graph.features), dtype=np.int8)
    mine = best_of(3, lambda: reference.run(graph, windows))
    print(f"host reference   {mine:6.3f} s for {WINDOWS:,} windows of LSTM-32")
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        print("tflite-micro     not available on this platform")
        return
    interpreter = runtime.Interpreter.from_bytes(content)

    def loop() -> None:
        for window in windows:
            interpreter.reset()
            interpreter.set_input(window[None], 0)
            interpreter.invoke()
            interpreter.get_output(0)

    theirs = best_of(3, loop)
    print(f"tflite-micro     {theirs:6.3f} s, {theirs / mine:.1f} times as long")


if __name__ == "__main__":
    main()
