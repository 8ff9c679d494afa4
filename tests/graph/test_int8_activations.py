"""Tanh, sigmoid and softmax against TFLite Micro's own operators, one operator a model."""

from __future__ import annotations

import numpy as np
import pytest
from tflite import BuiltinOperator
from tflite_writer import NONLINEARITIES, ModelWriter, softmax_options

from toolchain.graph import int8_activations
from toolchain.graph.types import Quantization

runtime = pytest.importorskip(
    "tflite_micro.python.tflite_micro.runtime",
    reason="the tflite-micro wheel exists for Linux on x86-64 only",
    exc_type=ImportError,
)


def operator(kind, given, values, beta=1.0):
    """Run one operator of TFLite Micro on rows (rows, values)."""
    code, scale, zero = NONLINEARITIES[kind]
    writer = ModelWriter()
    source = writer.tensor(values.shape, np.int8, scale=given.scale, zero_point=given.zero_point)
    target = writer.tensor(values.shape, np.int8, scale=scale, zero_point=zero)
    options = softmax_options(beta) if code == BuiltinOperator.SOFTMAX else None
    writer.operator(code, [source], [target], options)
    interpreter = runtime.Interpreter.from_bytes(writer.finish([source], [target]))
    interpreter.set_input(values, 0)
    interpreter.invoke()
    return interpreter.get_output(0)


def scales(seed, count):
    """Draw scales from far too fine to far too coarse, and powers of two."""
    rng = np.random.default_rng(seed)
    drawn = np.exp2(rng.uniform(-24, 6, count)).astype(np.float32)
    return [*map(float, drawn), *(2.0**power for power in range(-26, 8))]


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_every_int8_value_becomes_what_the_operator_makes_of_it(kind):
    values = np.arange(-128, 128, dtype=np.int8)[None]
    make = getattr(int8_activations, f"{kind}_table")
    for number, scale in enumerate(scales(1, 300)):
        given = Quantization(scale, (number * 37) % 256 - 128)

        np.testing.assert_array_equal(make(given), operator(kind, given, values)[0], str(given))


def test_a_softmax_gives_the_shares_that_the_operator_gives():
    rng = np.random.default_rng(2)
    for number, scale in enumerate(scales(3, 300)):
        given, beta = Quantization(scale, 5), [1.0, 0.5, 3.0][number % 3]
        if beta * scale < 2.0**-25:
            continue
        rows = rng.integers(-128, 128, (9, int(rng.integers(1, 40))), dtype=np.int8)
        rows[0] = rows[0, 0]
        table = int8_activations.exponential_table(given, beta)

        mine = int8_activations.softmax(rows.astype(np.int64), table)

        np.testing.assert_array_equal(mine, operator("softmax", given, rows, beta), str(given))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 510, 511])
def test_a_softmax_of_any_size_that_is_let_in(size):
    given = Quantization(0.01, 0)
    rows = np.stack([np.zeros(size), np.arange(size) % 256 - 128]).astype(np.int8)
    table = int8_activations.exponential_table(given, 1.0)

    mine = int8_activations.softmax(rows.astype(np.int64), table)

    np.testing.assert_array_equal(mine, operator("softmax", given, rows))
