"""The RV32IM kernel: its bytes, what it takes for granted, and each way its C file is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from on_core import constants_of, run_on_core, with_lstms
from turns import one_in

from toolchain.firmware.kernel import even, pad_columns
from toolchain.firmware.kernels import KERNELS, rv32im
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph

BOARD = "hifive1"
PROFILES = ("speed", "size")

SHAPES = st.tuples(st.just(4), st.integers(1, 9), st.integers(1, 20))
WEIGHTS = arrays(np.int8, SHAPES)


# Bytes.


@pytest.mark.parametrize("profile", PROFILES)
@given(weights=WEIGHTS)
def test_dense_weights_come_back(profile, weights):
    kernel = KERNELS["rv32im"][profile]
    packed = kernel.pack_dense(weights)
    assert packed.nbytes == weights.nbytes
    assert kernel.unpack_dense(packed, weights.shape[2]).tolist() == weights.tolist()


@pytest.mark.parametrize("profile", PROFILES)
@given(weights=WEIGHTS)
def test_blocks_come_back(profile, weights):
    kernel = KERNELS["rv32im"][profile]
    padded = pad_columns(weights, 2)
    blocks = kernel.pack_blocks(padded)
    assert blocks.shape == (weights.shape[1], even(weights.shape[2]) // 2, 8)
    assert kernel.unpack_blocks(blocks).tolist() == padded.tolist()


@pytest.mark.parametrize(("columns", "added"), [(7, 0), (8, 128)])
def test_a_column_is_four_bytes_which_are_128_too_large_where_there_are_many(columns, added):
    weights = np.zeros((4, 1, columns), np.int8)
    weights[:, 0, 1] = [-127, 0, 5, 127]
    packed = rv32im.pack_dense(weights)[0].reshape(columns, 4)
    assert packed[0].tolist() == [added] * 4
    assert packed[1].tolist() == [
        value % 256 for value in (added - 127, added, added + 5, added + 127)
    ]


# Facts.


@given(
    weights=arrays(np.int8, (4, 3, 5)),
    bias=arrays(np.int32, (4, 3), elements=st.integers(-100_000, 100_000)),
    zero_point=st.integers(-128, 127),
    values=arrays(np.int8, 5),
)
def test_the_largest_sum_is_reached_and_never_passed(weights, bias, zero_point, values):
    bounds = rv32im._largest(weights, bias, zero_point)
    wide = weights.astype(np.int64)

    def sums(given_values: np.ndarray) -> np.ndarray:
        return np.abs((wide * (given_values - zero_point)).sum(axis=-1) + bias)

    assert (sums(values.astype(np.int64)) <= bounds).all()
    highest = sums(np.where(wide >= 0, 127, -128))
    lowest = sums(np.where(wide >= 0, -128, 127))
    assert bounds.tolist() == np.maximum(highest, lowest).tolist()


def test_what_layers_differ_in_is_no_part_of_the_code():
    first, second = constants_of(sample_graph(Shape((16, 9))))
    alone, both = rv32im.defines([first]), rv32im.defines([first, second])
    assert alone["LSTM_INPUT_RIGHT_0"] == -first.input_shift[0]
    assert first.input_shift[0] != second.input_shift[0]
    assert both["LSTM_INPUT_RIGHT_0"] == rv32im.VARIES
    assert both["LSTM_UPDATE_RIGHT"] == alone["LSTM_UPDATE_RIGHT"] == -first.update_shift


def test_a_shift_with_which_one_addition_could_overflow_is_no_part_of_the_code():
    (layer,) = constants_of(sample_graph(Shape((8,))))
    strange = replace(
        layer,
        input_weights=np.zeros_like(layer.input_weights),
        input_bias=np.full_like(layer.input_bias, (1 << 30) - 1),
        input_multiplier=(2**31 - 1, 2**31 - 1, 2**30, 2**30),
        input_shift=(-1, 0, -1, 0),
        recurrent_shift=(-31, -30, -29, -28),
    )
    named = rv32im.defines([strange])
    varies = rv32im.VARIES
    assert [named[f"LSTM_INPUT_RIGHT_{gate}"] for gate in range(4)] == [varies, varies, 1, 0]
    assert [named[f"LSTM_RECURRENT_RIGHT_{gate}"] for gate in range(4)] == [varies, 30, 29, 28]


# Refusals.


def test_layers_like_those_of_trained_networks_are_accepted():
    for hidden in (1, 7, 64, 256):
        for features in (1, 16, 256):
            (layer,) = constants_of(sample_graph(Shape((hidden,), features=features)))
            assert rv32im.refuses(layer) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"input_weights": np.full((4, 1, 256), -128, np.int8)},
            "the products of its inputs may sum up to 2^22 or more",
        ),
        ({"hidden_shift": 0}, "its hidden scale is 2^-30 or less"),
    ],
)
def test_what_the_part_for_speed_cannot_compute_is_refused_there(change, why):
    (layer,) = constants_of(sample_graph(Shape((1,), features=256)))
    strange = replace(layer, **change)
    assert KERNELS["rv32im"]["speed"].refuses(strange) == why
    assert KERNELS["rv32im"]["size"].refuses(strange) is None


# On the core, every h and c at every step. What a case is about stands beside it.


def large_sums() -> Graph:
    """Make recurrent sums pass 2^22: doubled, they would need more than 24 bits."""
    graph = sample_graph(Shape((220,), steps=5))
    (lstm,) = graph.lstms
    rng = np.random.default_rng(1)
    weights = rng.choice(np.array([-127, 120, 125, 127], np.int8), (4, 220, 220))
    return with_lstms(
        graph,
        recurrent_weights=weights,
        bias=rng.integers(15_000, 40_000, (4, 220)).astype(np.int32),
        recurrent_weight_scales=(0.00003, 0.00002, 0.00005, 0.00003),
        hidden=replace(lstm.hidden, zero_point=-128, scale=0.004),
    )


CASES: dict[str, tuple[Callable[[], Graph], dict[str, int]]] = {
    "one layer, one input": (
        lambda: sample_graph(Shape((16,), steps=12)),
        {"LSTM_ONE_INPUT": 1, "LSTM_SUM_SATURATES": 0, "LSTM_COLUMNS_AT_ONCE": 8},
    ),
    "columns are left, shifts vary": (
        lambda: sample_graph(Shape((18, 9), features=3, steps=9)),
        {"LSTM_COLUMNS_LEFT": 1, "LSTM_INPUT_WIDTHS": 3, "LSTM_INPUT_RIGHT_0": rv32im.VARIES},
    ),
    "fours of columns": (
        lambda: sample_graph(Shape((12,), features=8, steps=9)),
        {"LSTM_COLUMNS_AT_ONCE": 4, "LSTM_COLUMNS_LEFT": 0, "LSTM_INPUT_WIDTHS": 2},
    ),
    "few units, many inputs": (
        lambda: sample_graph(Shape((5,), features=33, steps=9)),
        {"LSTM_INPUT_WIDTHS": 2, "LSTM_RECURRENT_WIDTHS": 1},
    ),
    "large sums": (large_sums, {"LSTM_RECURRENT_LEFT": 0}),
    "everything saturates": (
        lambda: with_lstms(
            sample_graph(Shape((24,), features=2, steps=9)),
            input_weight_scales=(0.05, 0.06, 0.05, 0.04),
            recurrent_weight_scales=(0.05, 0.06, 0.05, 0.04),
        ),
        {
            "LSTM_INPUT_SATURATES": 1,
            "LSTM_RECURRENT_SATURATES": 1,
            "LSTM_SUM_SATURATES": 1,
            "LSTM_SHIFTS_LEFT": 1,
        },
    ),
    "shifts to the left vary": (
        lambda: with_lstms(
            sample_graph(Shape((9, 6), features=2, steps=9)),
            input_weight_scales=(0.05, 0.06, 0.05, 0.04),
        ),
        {"LSTM_SHIFTS_LEFT": 1, "LSTM_INPUT_RIGHT_0": rv32im.VARIES},
    ),
    "only the sum of both parts saturates": (
        lambda: sample_graph(Shape((32,), steps=9)),
        {"LSTM_INPUT_SATURATES": 0, "LSTM_RECURRENT_SATURATES": 0, "LSTM_SUM_SATURATES": 1},
    ),
    "blocks, and rows of nothing": (
        lambda: sample_graph(
            Shape((26, 13), features=3, steps=9, structure="blocks", sparsity=0.9)
        ),
        {"LSTM_RECURRENT_WIDTHS": 2},
    ),
    "no clip, and updates that saturate": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)), cell_clip=0.0, cell_scale_power=-17
        ),
        {"LSTM_CELL_CLIP": 0, "LSTM_CELL_SCALE_POWER": -17},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), one_in(3, CASES, PROFILES))
def test_each_way_of_compiling_is_exact(name, profile, tmp_path):
    make, facts = CASES[name]
    graph = make()
    assert facts.items() <= rv32im.defines(constants_of(graph)).items()
    run_on_core(graph, BOARD, "rv32im", profile, tmp_path)


@pytest.mark.parametrize(("chosen", "profile"), one_in(3, ["blocks", "scattered"], PROFILES))
def test_both_matrices_of_both_layers_are_exact_in_every_format(
    chosen, profile, tmp_path, monkeypatch
):
    kernel = KERNELS["rv32im"][profile]
    free = {"blocks": {"blocks_row": -9e9}, "scattered": {"scattered_row": -9e9}}[chosen]
    # By time, a format that costs less than nothing is what every matrix gets.
    cheap = replace(kernel, cost=replace(kernel.cost, **free))
    monkeypatch.setitem(KERNELS["rv32im"], profile, cheap)
    shape = Shape((15, 9), features=3, steps=9, structure="scattered", sparsity=0.8)
    graph = sample_graph(shape)
    run_on_core(graph, BOARD, "rv32im", profile, tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    bits = {"blocks": 2, "scattered": 4}[chosen]
    if profile == "speed":
        assert f"LSTM_INPUT_FORMATS {bits}\n" in text
        assert f"LSTM_RECURRENT_FORMATS {bits}\n" in text
