"""The Armv6-M kernel: its bytes, what its variants count on, each way its C file is assembled."""

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

from toolchain.firmware.kernel import Kernel, even, pad_columns
from toolchain.firmware.kernels import KERNELS, armv6m, choose_kernel
from toolchain.firmware.pack import choose_format, layer_instructions
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph
from toolchain.graph.verify import verify

BOARD = "microbit"
PROFILES = ("speed", "size")

SHAPES = st.tuples(st.just(4), st.integers(1, 9), st.integers(1, 20))
WEIGHTS = arrays(np.int8, SHAPES)


# Bytes.


@pytest.mark.parametrize("profile", PROFILES)
@given(weights=WEIGHTS)
def test_dense_weights_come_back(profile, weights):
    kernel = KERNELS["armv6m"][profile]
    packed = kernel.pack_dense(weights)
    assert packed.dtype == np.uint8
    assert len(packed) == weights.shape[1]
    assert kernel.unpack_dense(packed, weights.shape[2]).tolist() == weights.tolist()


@pytest.mark.parametrize("profile", PROFILES)
@given(weights=WEIGHTS)
def test_blocks_come_back(profile, weights):
    kernel = KERNELS["armv6m"][profile]
    padded = pad_columns(weights, 2)
    blocks = kernel.pack_blocks(padded)
    assert blocks.shape == (weights.shape[1], even(weights.shape[2]) // 2, 8)
    assert kernel.unpack_blocks(blocks).tolist() == padded.tolist()


@pytest.mark.parametrize(("columns", "padded", "excess"), [(7, 7, 0), (9, 12, 128)])
def test_wide_rows_have_fours_of_columns_and_bytes_that_are_128_too_large(columns, padded, excess):
    weights = np.zeros((4, 1, columns), np.int8)
    weights[:, 0, 1] = [-127, 0, 5, 127]  # input, forget, cell, output gate
    packed = armv6m.pack_dense(weights)[0].reshape(padded, 4)
    expected = np.full((padded, 4), excess)
    expected[1] = [value % 256 for value in (excess, excess - 127, excess + 5, excess + 127)]
    assert packed.tolist() == expected.tolist()


@given(multiplier=st.integers(1 << 30, (1 << 31) - 1), shift=st.integers(-31, 8))
def test_pieces_add_up_to_the_multiplier(multiplier, shift):
    for cut, bits, count in ((armv6m._short_pieces, 10, 3), (armv6m._shorter_pieces, 8, 4)):
        *pieces, right = cut(multiplier, shift)
        assert len(pieces) == count
        assert all(piece < 1 << bits for piece in pieces[:-1])
        whole = sum(piece << bits * k for k, piece in enumerate(pieces))
        assert (whole, right) == (multiplier << max(shift, 0), max(-shift, 0))


def test_for_size_four_shifts_share_a_word():
    (layer,) = constants_of(sample_graph(Shape((8,))))
    words = KERNELS["armv6m"]["size"].constants(layer)
    assert len(words) == 15
    shifts = np.array(words[12:], np.int32).view(np.int8).tolist()
    assert shifts[:2] == [layer.recurrent_shift[0], layer.input_shift[0]]
    assert shifts[4] == layer.forget_shift
    assert shifts[-1] == layer.hidden_shift
    assert np.array(words[8:9], np.int32).view(np.int16).tolist() == [-32_767, 32_767]


@given(bias=arrays(np.int32, (4, 3), elements=st.integers(-(1 << 23) + 1, (1 << 23) - 1)))
def test_for_size_a_bias_has_three_bytes(bias):
    (layer,) = constants_of(sample_graph(Shape((3,))))
    kernel = KERNELS["armv6m"]["size"]
    assert kernel.refuses(replace(layer, input_bias=bias)) is None
    words = np.array(kernel.bias(replace(layer, input_bias=bias)), np.int32)
    parts = words.view(np.uint8).reshape(3, 4, 3).astype(np.int64)
    values = parts @ [1, 1 << 8, 1 << 16]
    assert (values - (values >> 23 << 24)).T.tolist() == bias.tolist()


def test_for_size_a_longer_bias_is_refused():
    (layer,) = constants_of(sample_graph(Shape((3,))))
    longer = replace(layer, input_bias=np.full_like(layer.input_bias, -(1 << 23)))
    assert KERNELS["armv6m"]["size"].refuses(longer) == "A bias passes 23 bits."


# What a variant counts on.


@given(
    weights=arrays(np.int8, (4, 3, 5)),
    bias=arrays(np.int32, (4, 3), elements=st.integers(-100_000, 100_000)),
    values=arrays(np.int8, 5),
)
def test_the_lowest_and_highest_sums_are_reached_and_never_passed(weights, bias, values):
    low, high = armv6m._sums(weights, bias)
    wide = weights.astype(np.int64)
    sums = (wide * values).sum(axis=-1) + bias
    assert (low <= sums).all()
    assert (sums <= high).all()
    assert ((wide * np.where(wide > 0, 127, -128)).sum(axis=-1) + bias).tolist() == high.tolist()
    assert ((wide * np.where(wide > 0, -128, 127)).sum(axis=-1) + bias).tolist() == low.tolist()


def test_layers_like_those_of_trained_networks_are_accepted():
    for hidden in (1, 7, 64, 256):
        for features in (1, 16, 256):
            graph = sample_graph(Shape((hidden,), features=features))
            assert choose_kernel("armv6m", "speed", graph).name == "armv6m"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"input_shift": (0, 0, 18, 0)},
            "A sum, shifted left as its scale says, may pass 8,388,607.",
        ),
        ({"cell_scale_power": -16}, "The cell's scale is below 2^-15: its products may saturate."),
        ({"input_multiplier": (0, 1 << 30, 1 << 30, 1 << 30)}, "A scale is zero."),
    ],
)
def test_what_no_variant_for_speed_can_compute_is_refused_there(change, why):
    (layer,) = constants_of(sample_graph(Shape((8,))))
    strange = replace(layer, **change)
    assert armv6m.LARGE_SUMS.refuses(strange) == why
    assert KERNELS["armv6m"]["size"].refuses(strange) is None


# On the core, every h and c at every step. What a case is about stands beside it.


def large_sums() -> Graph:
    """Make recurrent sums come as close to 2^23 as 230 columns can."""
    graph = sample_graph(Shape((230,), steps=4))
    (lstm,) = graph.lstms
    rng = np.random.default_rng(1)
    # Each row all of one sign: of all values alike, a sum is as large as can be.
    weights = rng.choice(np.array([-127, 127], np.int8), (4, 230, 1)).repeat(230, axis=2)
    return with_lstms(
        graph,
        recurrent_weights=weights,
        bias=rng.integers(30_000, 60_000, (4, 230)).astype(np.int32),
        recurrent_weight_scales=(0.00003, 0.00002, 0.00005, 0.00003),
        hidden=replace(lstm.hidden, zero_point=-128, scale=0.0039),
    )


def large_sums_in_one_layer() -> Graph:
    """Make a stack whose second layer alone has sums past 2^20."""
    graph = sample_graph(Shape((13, 90), steps=3))
    first, second = graph.lstms
    weights = np.where(second.recurrent_weights < 0, -127, 127).astype(np.int8)
    changed = replace(graph, lstms=(first, replace(second, recurrent_weights=weights)))
    verify(changed, "a test")
    return changed


CASES: dict[str, tuple[Callable[[], Graph], Kernel, dict[str, int]]] = {
    "one layer, one input": (
        lambda: sample_graph(Shape((16,), steps=12)),
        armv6m.SPEED,
        {"LSTM_INPUTS_NARROW": 1, "LSTM_RECURRENTS_WIDE": 1},
    ),
    "columns in threes of fours": (
        lambda: sample_graph(Shape((11,), features=7, steps=9)),
        armv6m.SATURATING,
        {"LSTM_INPUTS_NARROW": 1},
    ),
    "few units, many inputs": (
        lambda: sample_graph(Shape((5,), features=33, steps=9)),
        armv6m.SATURATING,
        {"LSTM_INPUTS_NARROW": 0, "LSTM_RECURRENTS_WIDE": 0},
    ),
    "a stack, its second layer narrow": (
        lambda: sample_graph(Shape((18, 6), features=3, steps=9)),
        armv6m.SPEED,
        {"LSTM_INPUTS_NARROW": 0, "LSTM_RECURRENTS_WIDE": 0},
    ),
    "everything saturates": (
        lambda: with_lstms(
            sample_graph(Shape((24,), features=2, steps=9)),
            input_weight_scales=(0.05, 0.06, 0.05, 0.04),
            recurrent_weight_scales=(0.05, 0.06, 0.05, 0.04),
        ),
        armv6m.SATURATING,
        {"LSTM_PARTS_SATURATE": 1, "LSTM_LARGE_SUMS": 0},
    ),
    "large sums": (large_sums, armv6m.LARGE_SUMS, {"LSTM_LARGE_SUMS": 1}),
    "large sums in one layer of two": (
        large_sums_in_one_layer,
        armv6m.LARGE_SUMS,
        {"LSTM_LARGE_SUMS": 1, "LSTM_INPUTS_NARROW": 0},
    ),
    "blocks, and rows of nothing": (
        lambda: sample_graph(
            Shape((26, 13), features=3, steps=9, structure="blocks", sparsity=0.9)
        ),
        armv6m.SPEED,
        {"LSTM_RECURRENTS_WIDE": 1},
    ),
    "no clip": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)), cell_clip=0.0, cell_scale_power=-15
        ),
        armv6m.SPEED,
        {},
    ),
    "a coarse cell, clipped": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)), cell_clip=1.5, cell_scale_power=-9
        ),
        armv6m.SPEED,
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), one_in(3, CASES, PROFILES))
def test_each_way_of_assembling_is_exact(name, profile, tmp_path):
    make, variant, facts = CASES[name]
    graph = make()
    assert choose_kernel("armv6m", "speed", graph) is variant
    assert facts.items() <= variant.defines(constants_of(graph)).items()
    run_on_core(graph, BOARD, "armv6m", profile, tmp_path)


def test_one_column_is_always_dense_for_speed():
    """Scratch has no more room for it: a start and int16 of the hidden values, and an int32."""
    assert armv6m.scratch_bytes(1, 16) == (4 + 2 * 16) + 4
    kernel = KERNELS["armv6m"]["speed"]
    for hidden in (1, 16, 256):
        assert choose_format(np.zeros((4, hidden, 1), np.int8), kernel) == "dense"


@pytest.mark.parametrize(("hidden", "layers"), [(8, 1), (9, 2), (124, 1), (125, 1)])
def test_ends_of_values_are_exact_where_sizes_say_them_and_where_they_do_not(
    hidden, layers, tmp_path
):
    graph = sample_graph(Shape(layers * (hidden,), steps=4))
    run_on_core(graph, BOARD, "armv6m", "speed", tmp_path)


@pytest.mark.parametrize(("chosen", "profile"), one_in(3, ["blocks", "scattered"], PROFILES))
def test_both_matrices_of_both_layers_are_exact_in_every_format(
    chosen, profile, tmp_path, monkeypatch
):
    kernel = KERNELS["armv6m"][profile]
    free = {"blocks": {"blocks_row": -9e9}, "scattered": {"scattered_row": -9e9}}[chosen]
    # By time, a format that costs less than nothing is what every matrix gets.
    cheap = replace(kernel, cost=replace(kernel.cost, **free))
    monkeypatch.setitem(KERNELS["armv6m"], profile, cheap)
    shape = Shape((15, 9), features=3, steps=9, structure="scattered", sparsity=0.8)
    run_on_core(sample_graph(shape), BOARD, "armv6m", profile, tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    bits = {"blocks": 2, "scattered": 4}[chosen]
    if profile == "speed":
        assert f"LSTM_INPUT_FORMATS {bits}\n" in text
        assert f"LSTM_RECURRENT_FORMATS {bits}\n" in text


def test_a_stack_of_dense_and_blocks_is_exact(tmp_path):
    """Rows in blocks, wide and narrow: what is taken for each is decided as it runs."""
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
    run_on_core(replace(graph, lstms=lstms), BOARD, "armv6m", "speed", tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    assert "LSTM_INPUT_FORMATS 3\n" in text
    assert "LSTM_RECURRENT_FORMATS 3\n" in text


SHAPES_WITH_A_COST = [
    Shape((8,), steps=12),
    Shape((33,), features=9, steps=12),
    Shape((48,), features=2, steps=12, structure="blocks", sparsity=0.7),
    Shape((24,), features=16, steps=12, structure="scattered", sparsity=0.9),
]


@pytest.mark.parametrize(("shape", "profile"), one_in(3, SHAPES_WITH_A_COST, PROFILES))
def test_what_a_step_takes_is_predicted(shape, profile, tmp_path):
    graph = sample_graph(shape)
    shorter = sample_graph(replace(shape, steps=2))
    longer, short = (
        max(run_on_core(one, BOARD, "armv6m", profile, tmp_path / str(one.steps)))
        for one in (graph, shorter)
    )
    (layer,) = constants_of(graph)
    predicted = layer_instructions(layer, choose_kernel("armv6m", profile, graph))
    assert predicted == pytest.approx((longer - short) / 10, rel=0.02)


def test_a_model_without_bits_to_spare_gets_the_portable_kernel(tmp_path):
    graph = with_lstms(sample_graph(Shape((9,), steps=4)), cell_scale_power=-17)
    run_on_core(graph, BOARD, "portable", "speed", tmp_path)
