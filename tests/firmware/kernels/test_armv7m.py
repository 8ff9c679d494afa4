"""The Armv7-M kernel: its bytes, what it takes for granted, each way its C file is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from on_core import constants_of, run_on_core, with_lstms
from tflite_writer import Recipe
from turns import one_in

from toolchain.firmware.kernel import even, pad_columns
from toolchain.firmware.kernels import KERNELS, armv7m
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph

BOARD = "netduino2"
PROFILES = ("speed", "size")

SHAPES = st.tuples(st.just(4), st.integers(1, 9), st.integers(1, 20))
WEIGHTS = arrays(np.int8, SHAPES)


# Bytes.


@pytest.mark.parametrize("profile", PROFILES)
@given(weights=WEIGHTS)
def test_dense_weights_come_back(profile, weights):
    kernel = KERNELS["armv7m"][profile]
    packed = kernel.pack_dense(weights)
    assert packed.nbytes == weights.nbytes
    assert kernel.unpack_dense(packed, weights.shape[2]).tolist() == weights.tolist()


@pytest.mark.parametrize("profile", PROFILES)
@given(weights=WEIGHTS)
def test_blocks_come_back(profile, weights):
    kernel = KERNELS["armv7m"][profile]
    padded = pad_columns(weights, 2)
    blocks = kernel.pack_blocks(padded)
    assert blocks.shape == (weights.shape[1], even(weights.shape[2]) // 2, 8)
    assert kernel.unpack_blocks(blocks).tolist() == padded.tolist()


@pytest.mark.parametrize(
    ("profile", "columns", "added"),
    [("speed", 5, 0), ("speed", 6, 128), ("size", 1, 128), ("size", 6, 128)],
)
def test_a_column_is_four_bytes_which_are_128_too_large_where_it_is_wide(profile, columns, added):
    weights = np.zeros((4, 1, columns), np.int8)
    weights[:, 0, -1] = [-127, 0, 5, 127]
    packed = KERNELS["armv7m"][profile].pack_dense(weights)[0].reshape(columns, 4)
    assert packed[:-1].tolist() == [[added] * 4] * (columns - 1)
    assert packed[-1].tolist() == [(value + added) % 256 for value in (-127, 0, 5, 127)]


# Facts.


def test_what_layers_differ_in_is_no_part_of_the_code():
    first, second = constants_of(sample_graph(Shape((16, 9))))
    alone, both = armv7m.defines([first]), armv7m.defines([first, second])
    assert alone["LSTM_INPUT_RIGHT_0"] == -first.input_shift[0]
    assert first.input_shift[0] != second.input_shift[0]
    assert both["LSTM_INPUT_RIGHT_0"] == armv7m.VARIES
    assert both["LSTM_UPDATE_RIGHT"] == alone["LSTM_UPDATE_RIGHT"] == -first.update_shift


@pytest.mark.parametrize(
    ("weight", "zero_point", "saturates"), [(50, 0, 0), (51, 0, 1), (50, 3, 1), (50, -3, 1)]
)
def test_a_sum_that_may_saturate_is_seen(weight, zero_point, saturates):
    """8 * 128 * 50 is 51,200 and its half 25,600; the input's part is 7,168 at most."""
    (layer,) = constants_of(sample_graph(Shape((8,))))
    plain = replace(
        layer,
        input_weights=np.full_like(layer.input_weights, -8),
        input_bias=np.full_like(layer.input_bias, 6_000),
        recurrent_weights=np.full_like(layer.recurrent_weights, -weight),
        input_multiplier=(2**30,) * 4,
        input_shift=(1,) * 4,
        recurrent_multiplier=(2**30,) * 4,
        recurrent_shift=(0,) * 4,
        hidden_zero_point=zero_point,
    )
    assert armv7m.defines([plain])["LSTM_SUM_SATURATES"] == saturates


# Refusals.


@pytest.mark.parametrize("profile", PROFILES)
def test_layers_like_those_of_trained_networks_are_accepted(profile):
    for hidden in (1, 7, 64, 256):
        for features in (1, 16, 256):
            (layer,) = constants_of(sample_graph(Shape((hidden,), features=features)))
            assert KERNELS["armv7m"][profile].refuses(layer) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"input_shift": (0, 0, 7, 0)}, "a sum needs a shift by 7"),
        ({"recurrent_shift": (-24, 0, 0, 0)}, "a sum needs a shift by -24"),
        ({"hidden_shift": -24}, "the hidden scale needs a shift by -24"),
        ({"hidden_shift": 0}, "the hidden scale needs a shift by 0"),
        (
            {"input_bias": np.full((4, 1), (1 << 23) - 1, np.int32)},
            "a sum over the inputs may reach 8,397,370",
        ),
    ],
)
def test_what_has_too_many_bits_is_refused(change, why):
    (layer,) = constants_of(sample_graph(Shape((1,))))
    plain = replace(layer, input_weights=np.full((4, 1, 1), 69, np.int8))
    assert armv7m.refuses(plain) is None
    assert armv7m.refuses(replace(plain, **change)) == why


# On the core, every h and c at every step. What a case is about stands beside it.


def largest_sums() -> Graph:
    """Make recurrent sums as large as they can be, close to 2^23."""
    graph = sample_graph(Shape((256,), steps=4))
    (lstm,) = graph.lstms
    rng = np.random.default_rng(1)
    # Some rows have one sign only: once the hidden values are at their ends, nothing is larger.
    weights = rng.choice(np.array([-128, 127], np.int8), (4, 256, 1)) * np.ones(256, np.int8)
    weights[:, ::2] = rng.choice(np.array([-128, 127], np.int8), (4, 128, 256))
    return with_lstms(
        graph,
        recurrent_weights=weights.astype(np.int8),
        bias=rng.integers(15_000, 40_000, (4, 256)).astype(np.int32),
        recurrent_weight_scales=(0.00003, 0.00002, 0.00005, 0.00003),
        hidden=replace(lstm.hidden, zero_point=-128, scale=0.0039),
    )


def dead_inputs() -> Graph:
    """Make a network of one input whose weights are zero but for a few units."""
    graph = sample_graph(Shape((24,), steps=6))
    weights = graph.lstms[0].input_weights.copy()
    weights[:, 2:] = 0
    return with_lstms(graph, input_weights=weights)


CASES: dict[str, tuple[Callable[[], Graph], dict[str, int]]] = {
    "one layer, one input": (
        lambda: sample_graph(Shape((16,), steps=12)),
        {"LSTM_ONE_INPUT": 1, "LSTM_SUM_SATURATES": 0, "LSTM_COLUMNS_AT_ONCE": 8},
    ),
    "columns are left, shifts vary": (
        lambda: sample_graph(Shape((18, 9), features=7, steps=9)),
        {"LSTM_COLUMNS_LEFT": 1, "LSTM_INPUT_WIDTHS": 2, "LSTM_INPUT_RIGHT_0": armv7m.VARIES},
    ),
    "fours of columns": (
        lambda: sample_graph(Shape((12,), features=8, steps=9)),
        {"LSTM_COLUMNS_AT_ONCE": 4, "LSTM_COLUMNS_LEFT": 0, "LSTM_INPUT_WIDTHS": 2},
    ),
    "few units, many inputs": (
        lambda: sample_graph(Shape((5,), features=33, steps=9)),
        {"LSTM_INPUT_WIDTHS": 2, "LSTM_RECURRENT_WIDTHS": 1},
    ),
    "inputs narrow and wide, units wide and narrow": (
        lambda: sample_graph(Shape((24, 3), features=5, steps=9)),
        {"LSTM_INPUT_WIDTHS": 3, "LSTM_RECURRENT_WIDTHS": 3},
    ),
    "one of everything": (
        lambda: sample_graph(Shape((1, 1), steps=9)),
        {"LSTM_ONE_INPUT": 1, "LSTM_RECURRENT_WIDTHS": 1},
    ),
    "one input, then many": (lambda: sample_graph(Shape((40, 3), steps=6)), {"LSTM_ONE_INPUT": 0}),
    "the largest sums": (largest_sums, {"LSTM_SUM_SATURATES": 1}),
    "only the sum of both parts saturates": (
        lambda: sample_graph(Shape((32,), steps=9)),
        {"LSTM_SUM_SATURATES": 1},
    ),
    "everything saturates": (
        lambda: with_lstms(
            sample_graph(Shape((24,), features=2, steps=9)),
            input_weight_scales=(0.05, 0.06, 0.05, 0.04),
            recurrent_weight_scales=(0.05, 0.06, 0.05, 0.04),
        ),
        {"LSTM_SUM_SATURATES": 1, "LSTM_INPUT_RIGHT_0": -3, "LSTM_RECURRENT_RIGHT_0": -1},
    ),
    "shifts to the left vary": (
        lambda: with_lstms(
            sample_graph(Shape((9, 6), features=2, steps=9)),
            input_weight_scales=(0.05, 0.06, 0.05, 0.04),
        ),
        {"LSTM_INPUT_RIGHT_0": armv7m.VARIES},
    ),
    "as far to the left and to the right as it goes": (
        lambda: with_lstms(
            sample_graph(Shape((9,), features=2, steps=9)),
            input_weight_scales=(0.6, 0.5, 1e-9, 0.4),
            recurrent_weight_scales=(2.0, 4e-9, 1.5, 6e-9),
        ),
        {"LSTM_INPUT_RIGHT_0": -6, "LSTM_RECURRENT_RIGHT_0": -6, "LSTM_RECURRENT_RIGHT_1": 23},
    ),
    "blocks, and rows of nothing": (
        lambda: sample_graph(
            Shape((26, 13), features=3, steps=9, structure="blocks", sparsity=0.9)
        ),
        {"LSTM_RECURRENT_WIDTHS": 2},
    ),
    "one input, in blocks": (dead_inputs, {"LSTM_ONE_INPUT": 1}),
    "no clip, and updates that saturate": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)), cell_clip=0.0, cell_scale_power=-17
        ),
        {"LSTM_CELL_CLIP": 0, "LSTM_CELL_SCALE_POWER": -17},
    ),
    "a coarse cell, clipped": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)), cell_clip=1.5, cell_scale_power=-9
        ),
        {"LSTM_CELL_CLIP": 768},
    ),
    "coarse hidden values, their zero point at an end": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)),
            hidden=replace(sample_graph(Shape((10,))).lstms[0].hidden, scale=0.015, zero_point=127),
        ),
        {"LSTM_HIDDEN_RIGHT": 23},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), one_in(3, CASES, PROFILES))
def test_each_way_of_compiling_is_exact(name, profile, tmp_path):
    make, facts = CASES[name]
    graph = make()
    assert facts.items() <= armv7m.defines(constants_of(graph)).items()
    run_on_core(graph, BOARD, "armv7m", profile, tmp_path)


@pytest.mark.parametrize(
    ("chosen", "features", "profile"), one_in(3, ["blocks", "scattered"], [1, 3], PROFILES)
)
def test_both_matrices_of_both_layers_are_exact_in_every_format(
    chosen, features, profile, tmp_path, monkeypatch
):
    kernel = KERNELS["armv7m"][profile]
    free = {"blocks": {"blocks_row": -9e9}, "scattered": {"scattered_row": -9e9}}[chosen]
    # By time, a format that costs less than nothing is what every matrix gets.
    cheap = replace(kernel, cost=replace(kernel.cost, **free))
    monkeypatch.setitem(KERNELS["armv7m"], profile, cheap)
    hidden = (15, 9) if features > 1 else (15,)
    shape = Shape(hidden, features=features, steps=9, structure="scattered", sparsity=0.8)
    run_on_core(sample_graph(shape), BOARD, "armv7m", profile, tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    bits = {"blocks": 2, "scattered": 4}[chosen]
    if profile == "speed":
        assert f"LSTM_INPUT_FORMATS {bits}\n" in text
        assert f"LSTM_RECURRENT_FORMATS {bits}\n" in text


def test_a_stack_of_dense_and_blocks_is_exact(tmp_path):
    """What each row takes is decided as it runs."""
    graph = sample_graph(Shape((20, 7), features=9, steps=6))
    first, second = graph.lstms
    kept = np.zeros((4, 20, 20), bool)
    kept[:, ::2, 4:10] = True
    recurrent = np.where(kept, first.recurrent_weights, 0).astype(np.int8)
    inputs = np.where(kept[:, :7], second.input_weights, 0).astype(np.int8)
    lstms = (
        replace(first, recurrent_weights=recurrent),
        replace(second, input_weights=inputs),
    )
    run_on_core(replace(graph, lstms=lstms), BOARD, "armv7m", "speed", tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    assert "LSTM_INPUT_FORMATS 3\n" in text
    assert "LSTM_RECURRENT_FORMATS 3\n" in text


@pytest.mark.parametrize("profile", PROFILES)
def test_a_layer_that_reads_one_unit_of_a_stack_has_room_for_it(profile, make_graph, tmp_path):
    """What lies behind scratch is the sequence: without the room its first values change."""
    recipe = Recipe(hidden=(3, 1, 9), steps=5, whole_sequence=True, dense=())
    run_on_core(make_graph(recipe), BOARD, "armv7m", profile, tmp_path)


def test_a_model_that_shifts_too_far_gets_the_portable_kernel(tmp_path):
    graph = with_lstms(sample_graph(Shape((5,), steps=4)), input_weight_scales=(1.2, 0.5, 0.5, 0.5))
    run_on_core(graph, BOARD, "portable", "speed", tmp_path)
