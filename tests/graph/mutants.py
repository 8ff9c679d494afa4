"""Mutate .tflite files, load each and forecast once; a process of its own, with bounded memory.

    python mutants.py FIRST LAST

writes one JSON object: how many ended in a forecast, how many in a refusal, and the slowest, in
seconds of the processor. Anything else that happens is written with its number, and ends in 1.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np
from claim import random_graph
from tflite_writer import Recipe, write_forecaster

from toolchain.errors import ModelError
from toolchain.graph import reference
from toolchain.graph.tflite_file import parse_graph

MEMORY_BYTES = 1 << 30
SECONDS = 2.0

SEEDS = [
    write_forecaster(recipe)
    for recipe in (
        Recipe(hidden=(3,), steps=4),
        Recipe(hidden=(4, 3), features=2, steps=5, dense=(3,), then=("softmax",), flat_input=True),
        Recipe(hidden=(5,), steps=3, whole_sequence=True, dense=(2, 2), then=("tanh", "sigmoid"),
               per_channel=True, input_type="float32", output_type="uint8"),
        *(random_graph(number, small=True) for number in range(5)),
    )
]  # fmt: skip

EXTREMES = (0, 1, 2, 3, 127, 128, 255, 256, 32_767, 65_535, 65_536, (1 << 31) - 1, 1 << 31,
            (1 << 32) - 1, 0x7F800000, 0x7FC00000, 0xFF800000, 0x00000001, 0x3F800000)  # fmt: skip
"""As fields of 32 bits: counts, indices, offsets; as float32 infinity, NaN, the least, one."""


def mutant(number: int) -> bytes:
    """Return one damaged file: bytes changed, cut off, moved, or words of it replaced."""
    rng = np.random.default_rng([11, number])
    content = bytearray(SEEDS[int(rng.integers(len(SEEDS)))])
    size = len(content)
    # Tables, vectors of shapes and scales lie outside the weights, most of them in the first half
    # and the last kilobyte: any place is as likely.
    kind = rng.choice(
        ["bytes", "bits", "words", "tail", "gap", "swap"], p=[0.2, 0.2, 0.4, 0.1, 0.05, 0.05]
    )
    if kind == "bytes":
        for place in rng.integers(0, size, rng.integers(1, 6)):
            content[place] = int(rng.integers(256))
    elif kind == "bits":
        for place in rng.integers(0, size, rng.integers(1, 4)):
            content[place] ^= 1 << int(rng.integers(8))
    elif kind == "words":
        for place in rng.integers(0, size // 4, rng.integers(1, 4)) * 4:
            content[place : place + 4] = int(rng.choice(EXTREMES)).to_bytes(4, "little")
    elif kind == "tail":
        del content[int(rng.integers(size)) :]
    elif kind == "gap":
        place = int(rng.integers(size))
        del content[place : place + int(rng.integers(1, 64))]
    else:
        a, b = (int(place) * 4 for place in rng.integers(2, size // 4 - 1, 2))
        content[a : a + 4], content[b : b + 4] = content[b : b + 4], content[a : a + 4]
    return bytes(content)


def outcome(number: int) -> str:
    """Load a mutant and forecast from one window: `forecast` or `refused`; all else is raised."""
    try:
        graph = parse_graph(mutant(number), "mutant.tflite")
    except ModelError as error:
        if "\n" in str(error) or not str(error).startswith("mutant.tflite: "):
            raise AssertionError(f"not one clear line: {error}") from error
        return "refused"
    window = np.zeros((1, graph.steps, graph.features), np.int8)
    outputs = reference.run(graph, window).outputs
    assert outputs.shape == (1, graph.outputs)
    return "forecast"


def main() -> int:
    first, last = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    counts, slowest, wrong = {"forecast": 0, "refused": 0}, 0.0, 0
    for number in range(first, last):
        started = time.process_time()
        try:
            counts[outcome(number)] += 1
        except BaseException as error:
            sys.stderr.write(f"mutant {number}: {type(error).__name__}: {error}\n")
            wrong += 1
        took = time.process_time() - started
        if took > SECONDS:
            sys.stderr.write(f"mutant {number}: took {took:.1f} s\n")
            wrong += 1
        slowest = max(slowest, took)
    sys.stdout.write(json.dumps({**counts, "slowest_s": round(slowest, 3)}) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
