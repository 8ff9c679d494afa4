"""Random forecasters from all of what is claimed to be deployable, the same every time."""

from __future__ import annotations

import numpy as np
from tflite import ActivationFunctionType
from tflite_writer import Recipe

FUSED = (
    ActivationFunctionType.NONE,
    ActivationFunctionType.RELU,
    ActivationFunctionType.RELU6,
    ActivationFunctionType.RELU_N1_TO_1,
)


def random_graph(number: int, *, small: bool = False) -> Recipe:
    """Draw a forecaster: any sizes, heads, scales and ends; `small` ones fit into 2 KB of RAM."""
    rng = np.random.default_rng([7, number])
    whole = bool(rng.random() < 0.35)
    layers = int(rng.choice([1, 1, 2, 3]))
    most = 12 if small else int(rng.choice([8, 24, 24, 64, 256 if layers == 1 else 40]))
    depth = int(rng.integers(0, 4))
    widest = 8 if whole or small else int(rng.choice([4, 8, 64, 300]))
    flatten = whole and bool(rng.random() < 0.4)
    wild = bool(rng.random() < 0.4)
    longest = [2, 5, 9, 14] if small or whole else [1, 2, 7, 28, 60, 365 if most < 25 else 90]
    hidden = tuple(int(size) for size in rng.integers(1, most + 1, layers))
    hidden = tuple(256 if size > 240 else size for size in hidden)
    return Recipe(
        seed=number,
        steps=int(rng.choice(longest)),
        features=int(rng.choice([1, 2, 5] if small else [1, 1, 2, 5, 16, 256])),
        hidden=hidden,
        dense=tuple(int(size) for size in rng.integers(1, widest + 1, depth)),
        whole_sequence=whole,
        flatten=flatten,
        activation=int(rng.choice(FUSED)),
        then=tuple(str(it) for it in rng.choice(["", "tanh", "sigmoid", "softmax"], depth)),
        beta=float(rng.choice([1.0, 1.0, 0.25, 4.0])),
        bias=bool(rng.random() < 0.7),
        per_channel=bool(rng.random() < 0.4),
        time_major=bool(rng.random() < 0.3),
        flat_input=bool(rng.random() < 0.2),
        input_type=str(rng.choice(["int8", "int8", "uint8", "float32"])),
        output_type=str(rng.choice(["int8", "int8", "uint8", "float32"])),
        weight_scale=float(rng.uniform(0.01, 0.2) if wild else rng.uniform(0.001, 0.01)),
        bias_limit=200_000 if wild else 20_000,
        input_scale=float(rng.uniform(0.002, 0.2)),
        cell_power=int(rng.integers(-18, -8)) if wild else int(rng.integers(-15, -10)),
        cell_clip=float(rng.choice([0.0, 0.5, 10.0])),
        output_scale=float(rng.uniform(0.05, 1.0) if wild else rng.uniform(0.005, 0.1)),
        blocks=float(rng.choice([0.0, 0.0, 0.7])),
    )
