"""Each known way to get the arithmetic slightly wrong is seen by the models we test with.

A trap is sprung in a copy of the engine; the comparison with the reference must then fail. These
are tests of the tests: without them, a model that saturates nothing would pass everything.
"""

from __future__ import annotations

import numpy as np
import pytest
from recipes import ALL
from tflite_writer import Recipe

from toolchain.graph import reference
from toolchain.graph.constants import lstm_constants
from toolchain.graph.fixed_point import quantize_multiplier

OWN = {
    "many shares": Recipe(
        hidden=(9,), dense=(60,), then=("softmax",), whole_sequence=True, output_scale=0.1,
        weight_scale=0.008,
    ),
}  # fmt: skip
"""Recipes for a trap that needs thousands of rows to be seen."""

TRAPS = {
    "one rounding instead of two": (
        "engine/fixed_point.h",
        "return fixed_rounding_divide((int32_t)((product + (INT32_C(1) << 30)) >> 31), right);",
        "return (int32_t)((product + (INT64_C(1) << (30 + right))) >> (31 + right));",
        "lstm16",
    ),
    "halves rounded up, not away from zero": (
        "engine/fixed_point.h", " - (value < 0)) >> exponent", ") >> exponent", "lstm64",
    ),
    "input and recurrent sums share a scale": (
        "engine/lstm_portable.c",
        "&constants->recurrent_scale[gate]", "&constants->input_scale[gate]", "lstm16",
    ),
    "input part not saturated": (
        "engine/lstm_portable.c",
        "fixed_saturate16(lstm_scaled(given_sums[gate], &constants->input_scale[gate]));",
        "lstm_scaled(given_sums[gate], &constants->input_scale[gate]);",
        "sums saturate Q3.12",
    ),
    "recurrent part not saturated": (
        "engine/lstm_portable.c",
        "int16_t r = fixed_saturate16(\n",
        "int32_t r = (\n",
        "recurrent sums shift left",
    ),
    "sum of both parts wraps": (
        "engine/lstm_portable.c",
        "fixed_saturate16((int32_t)a + r)", "(int16_t)(uint16_t)((uint16_t)a + (uint16_t)r)",
        "sums saturate Q3.12",
    ),
    "update of the cell not saturated before the sum": (
        "engine/lstm_portable.c", "int16_t added = fixed_saturate16(", "int32_t added = (",
        "finest cell",
    ),
    "cell sum wraps": (
        "engine/lstm_portable.c",
        "fixed_saturate16((int32_t)kept + added)",
        "(int16_t)(uint16_t)((uint16_t)kept + (uint16_t)added)",
        "fine cell saturates",
    ),
    "cell not clipped": (
        "engine/lstm_portable.c",
        "if (constants->cell_clip > 0) {", "if (constants->cell_clip > 32767) {",
        "coarse cell is clipped",
    ),
    "clip of a fine cell lets -32768 through": (
        "engine/lstm_portable.c", "if (constants->cell_clip > 0) {",
        "if (constants->cell_clip > 0 && constants->cell_clip < 32767) {", "fine cell saturates",
    ),
    "tanh of a fine cell without rounding": (
        "engine/activation.c", "(scaled + (INT32_C(1) << (-left - 1))) >> -left",
        "scaled >> -left", "cell of scale 2^-14",
    ),
    "tanh of a coarse cell without the shift": (
        "engine/activation.c", "scaled *= INT32_C(1) << left;", "scaled *= 1;", "coarsest cell",
    ),
    "reset to 0, not to the zero point": (
        "engine/forecast.c", "(uint8_t)layer->hidden_zero_point, layer->hidden_size)",
        "0, layer->hidden_size)", "lstm16",
    ),
    "hidden state updated while it is still read": (
        "engine/lstm_portable.c", "hidden[unit] = lstm_unit(",
        "recalled[unit] = hidden[unit] = lstm_unit(", "lstm16",
    ),
    "sigmoid of negative values mirrored without the last step": (
        "engine/activation.c", "(INT32_C(1) << 25) - line + half - 1",
        "(INT32_C(1) << 25) - line + half", "lstm64",
    ),
    "a value below zero looks tanh up past its table": (
        "engine/dense.c", "layer->lookup[result + 128]", "layer->lookup[result & 127]",
        "tanh and sigmoid",
    ),
    "softmax against zero, not against the largest": (
        "engine/softmax.c", "largest = *value > largest ? *value : largest;", "largest = 127;",
        "shares by a softmax",
    ),
    "two steps to the inverse of the sum": (
        "engine/softmax.c", "uint8_t left = 3;", "uint8_t left = 1;", "steep softmax",
    ),
    "exponentials cut off, not rounded, before they are summed": (
        "engine/softmax.c",
        "((uint32_t)exponentials[largest - *value] + (UINT32_C(1) << 11)) >> 12",
        "(uint32_t)exponentials[largest - *value] >> 12", "many shares",
    ),
    "an exponent past the integer bits comes round again": (
        "engine/softmax.c", "exponentials[largest - *values]",
        "exponentials[(largest - *values) % 80]", "softmax past its cut-off",
    ),
    "a share of 1 wraps": (
        "engine/softmax.c", "(rounded > 255 ? INT32_C(255) : (int32_t)rounded)",
        "(int32_t)rounded", "one share",
    ),
    "shares cut off, not rounded": (
        "engine/softmax.c", "((uint32_t)share + (UINT32_C(1) << (whole_bits + 22)))",
        "(uint32_t)share", "shares by a softmax",
    ),
}  # fmt: skip


HEAD = ("engine/dense.c", "engine/softmax.c")


@pytest.mark.parametrize("name", TRAPS)
def test_a_sprung_trap_is_seen(name, make_graph, make_windows, compile_mutant):
    file, right, wrong, recipe = TRAPS[name]
    graph = make_graph({**ALL, **OWN}[recipe])
    windows = make_windows(graph, 300)

    def spring(folder):
        path = folder / file
        text = path.read_text()
        assert text.count(right) == 1, f"{right!r} is not in {file}"
        path.write_text(text.replace(right, wrong))

    computed = compile_mutant(graph, spring).run(windows)

    expected = reference.run(graph, windows, trace=True)
    if file in HEAD:
        # No state tells of what comes after the layers.
        assert (computed.outputs != expected.outputs).any()
        return
    differences = sum(
        int((mine != theirs).sum())
        for mine, theirs in (
            *zip(computed.hidden, expected.hidden, strict=True),
            *zip(computed.cells, expected.cells, strict=True),
        )
    )
    assert differences > 0


def test_scales_are_multiplied_in_double_precision(make_graph):
    """Trap: a float32 product of input and weight scale gives another multiplier."""
    graph = make_graph(ALL["lstm16"])
    layer = graph.lstms[0]
    single = [
        quantize_multiplier(float(np.float32(layer.input.scale) * np.float32(scale)) * 2.0**12)[0]
        for scale in layer.input_weight_scales
    ]

    assert list(lstm_constants(layer).input_multiplier) != single
