"""The DSP kernel: its bytes, its rounding, and each way its C file is assembled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from on_core import constants_of, run_on_core, with_lstms
from turns import one_in

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.device.running import open_device
from toolchain.errors import ToolMissing
from toolchain.firmware.build import build
from toolchain.firmware.kernel import FORMATS, even, pad_columns
from toolchain.firmware.kernels import KERNELS, choose_kernel, dsp
from toolchain.firmware.pack import layer_instructions
from toolchain.firmware.render import render
from toolchain.graph import fixed_point, reference
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph
from toolchain.graph.verify import verify

BOARD = "netduinoplus2"
PROFILES = ("speed", "size")

SHAPES = st.tuples(st.just(4), st.integers(1, 20), st.integers(1, 20))
WEIGHTS = arrays(np.int8, SHAPES, elements=st.integers(-127, 127))
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


# Bytes.


@given(weights=WEIGHTS)
def test_dense_weights_come_back(weights):
    packed = dsp.pack_dense(weights)
    assert packed.nbytes == weights.nbytes
    assert dsp.unpack_dense(packed, weights.shape[2]).tolist() == weights.tolist()


@given(weights=WEIGHTS)
def test_blocks_come_back(weights):
    padded = pad_columns(weights, 2)
    blocks = dsp.pack_blocks(padded)
    assert blocks.shape == (weights.shape[1], even(weights.shape[2]) // 2, 8)
    assert dsp.unpack_blocks(blocks).tolist() == padded.tolist()


def test_two_weights_share_a_lane():
    weights = np.zeros((4, 1, 3), np.int8)
    weights[:, 0, 0] = [-127, -1, 3, 4]
    weights[:, 0, 1] = [5, -6, 7, -8]
    weights[:, 0, 2] = [9, -10, 11, -12]
    dense = dsp.pack_dense(weights)[0]
    assert dense[:8].tolist() == [127, 129, 122, 5, 132, 3, 120, 7]  # other + 128, one; two columns
    assert dense[8:].view(np.int8).tolist() == [9, -10, 11, -12]
    block = dsp.pack_blocks(weights[:, :, :2])[0, 0].view("<i2")
    assert block.tolist() == [-127 * 256 - 1, 5 * 256 - 6, 3 * 256 + 4, 7 * 256 - 8]


def test_few_columns_of_an_input_are_not_paired():
    weights = np.arange(4 * 20 * 2, dtype=np.int8).reshape(4, 20, 2)
    assert dsp.pack_dense(weights)[3].tolist() == weights[:, 3].T.reshape(-1).tolist()


# Rounding, in the instructions of the C file.


def smmlar(value: int, factor: int, added: int) -> int:
    return added + ((value * factor + (1 << 31)) >> 32)


def scaled(value: int, multiplier: int, shift: int) -> int:
    """Do what LSTM_SHIFT, LSTM_HIGH and LSTM_DIVIDE do, each kind that serves the shift."""
    kinds = [kind for kind in range(4) if dsp.serves(kind, shift)]
    assert 3 in kinds
    assert len(kinds) > 1
    results = set()
    for kind in kinds:
        number = value << max(shift, 0) if kind >= 2 else value
        high = smmlar(number, dsp.multiplier_word(multiplier), number)
        divisor = dsp.divisor_word(shift)
        with_itself = {0: 0, 1: high, 2: None, 3: high if divisor <= 0 else 0}[kind]
        results.add(high if with_itself is None else smmlar(high, divisor, with_itself))
    (result,) = results
    return result


@given(
    value=st.integers(-(1 << 30) + 1, (1 << 30) - 1),
    multiplier=st.integers(1 << 30, (1 << 31) - 1),
    shift=st.integers(-8, 6),
)
def test_two_multiplications_round_twice(value, multiplier, shift):
    value >>= max(shift, 0)
    exact = int(fixed_point.multiply(value, multiplier, shift))
    limited = max(-32_768, min(32_767, exact))
    assert max(-32_768, min(32_767, scaled(value, multiplier, shift))) == limited


@given(data=st.data(), multiplier=st.integers(1 << 30, (1 << 31) - 1), shift=st.integers(-31, -9))
def test_finer_scales_are_exact_within_the_bound_that_is_accepted(data, multiplier, shift):
    limit = (1 << (32 + shift)) - 1
    value = data.draw(st.integers(-limit, limit))
    exact = int(fixed_point.multiply(value, multiplier, shift))
    assert scaled(value, multiplier, shift) == exact


@given(
    first=st.integers(11, 32_757), second=st.integers(-32_768, 32_767), shift=st.integers(11, 20)
)
def test_one_multiplication_rounds_the_product_of_a_power_of_two_twice(first, second, shift):
    sign = 1 if second >= 0 else -1
    result = smmlar(first * second + sign, 1 << (31 - shift), 0)
    assert result == int(fixed_point.multiply(first * second, 1 << 30, -shift))


# What is folded, what is refused.


@given(
    weights=arrays(np.int8, (4, 3, 5)),
    bias=arrays(np.int32, (4, 3), elements=st.integers(-100_000, 100_000)),
    zero_point=st.integers(-128, 127),
    values=arrays(np.int8, 5),
)
def test_no_sum_leaves_its_bounds(weights, bias, zero_point, values):
    low, high = dsp.reach(weights, bias, zero_point)
    wide = weights.astype(np.int64)
    sums = (wide * (values.astype(np.int64) - zero_point)).sum(axis=-1) + bias
    assert (low[:, None] <= sums).all()
    assert (sums <= high[:, None]).all()
    lowest = (wide * (np.where(wide >= 0, -128, 127) - zero_point)).sum(axis=-1) + bias
    highest = (wide * (np.where(wide >= 0, 127, -128) - zero_point)).sum(axis=-1) + bias
    assert low.tolist() == lowest.min(axis=-1).tolist()
    assert high.tolist() == highest.max(axis=-1).tolist()


def test_layers_like_those_of_trained_networks_are_accepted():
    for hidden in (1, 7, 64, 256):
        for features in (1, 16, 256):
            (layer,) = constants_of(sample_graph(Shape((hidden,), features=features)))
            assert dsp.refuses(layer) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"input_weights": np.full((4, 20, 1), -128, np.int8)},
            "a weight of -128 does not fit beside another in 16 bits",
        ),
        ({"recurrent_multiplier": (0, 2**30, 2**30, 2**30)}, "a scale is zero"),
        (
            {"input_shift": (-9, 0, 0, 0), "input_bias": np.full((4, 20), 1 << 23, np.int32)},
            "sums that a shift by -9 brings to Q3.12 are too large",
        ),
        ({"hidden_shift": -1}, "a hidden shift of -1"),
    ],
)
def test_what_would_not_be_exact_is_refused(change, why):
    (layer,) = constants_of(sample_graph(Shape((20,))))
    assert dsp.refuses(replace(layer, **change)) == why


def test_a_refused_model_gets_the_portable_kernel():
    graph = sample_graph(Shape((20,)))
    (lstm,) = graph.lstms
    strange = replace(lstm, input_weights=np.full((4, 20, 1), -128, np.int8))
    assert choose_kernel("dsp", "speed", graph).name == "dsp"
    assert choose_kernel("dsp", "speed", replace(graph, lstms=(strange,))).name == "portable"


# On the cores, every h and c at every step. What a case is about stands beside it.


def largest_sums() -> Graph:
    """Bring every hidden value to its end, against weights at theirs: lanes sum up to 2^31."""
    graph = sample_graph(Shape((256,), features=100, steps=4))
    (lstm,) = graph.lstms
    signs = np.random.default_rng(1).choice(np.array([-127, 127], np.int8), (4, 256, 1))
    gates = np.array([8_000_000, 8_000_000, -8_000_000, 8_000_000], np.int32)
    return with_lstms(
        graph,
        input_weights=np.broadcast_to(signs[:, ::-1], (4, 256, 100)).copy(),
        input_weight_scales=(0.00005, 0.00006, 0.00005, 0.00007),
        recurrent_weights=np.broadcast_to(signs, (4, 256, 256)).copy(),
        recurrent_weight_scales=(0.0001, 0.00012, 0.0002, 0.00009),
        bias=np.broadcast_to(gates[:, None], (4, 256)).copy(),
        hidden=replace(lstm.hidden, zero_point=127, scale=0.003),
    )


def test_the_largest_sums_are_reached():
    graph = largest_sums()
    (layer,) = constants_of(graph)
    windows = np.zeros((1, graph.steps, graph.features), np.int8)
    (hidden,) = reference.run(graph, windows, trace=True).hidden
    assert (hidden[0, 1:] == -128).all()
    sums = layer.recurrent_weights.astype(np.int64).sum(axis=-1) * (-128 - 127)
    assert np.abs(256 * sums[0::2] + sums[1::2]).max() > 0.99 * 2**31


LARGE_SCALES = {
    "input_weight_scales": (0.05, 0.06, 0.05, 0.04),
    "recurrent_weight_scales": (0.05, 0.06, 0.05, 0.04),
}
SMALL_SCALES = {
    "input_weight_scales": (0.0009, 0.0011, 0.0012, 0.0008),
    "recurrent_weight_scales": (0.0009, 0.0011, 0.0012, 0.0008),
}

CASES: dict[str, tuple[Callable[[], Graph], dict[str, int]]] = {
    "one input, groups that fill the unrolled code": (
        lambda: sample_graph(Shape((64,), steps=5)),
        {
            "LSTM_ONE_INPUT": 1,
            "LSTM_INPUT_ROUNDING_0": 1,
            "LSTM_RECURRENT_ROUNDING_0": 0,
            "LSTM_INPUT_SATURATES": 0,
            "LSTM_RECURRENT_SATURATES": 1,
            "LSTM_UNEVEN_GROUPS": 0,
            "LSTM_SINGLE_COLUMNS": 0,
        },
    ),
    "a few inputs, five groups, pairs that are left": (
        lambda: sample_graph(Shape((46,), features=12, steps=9)),
        {
            "LSTM_ONE_INPUT": 0,
            "LSTM_FEW_INPUTS": 1,
            "LSTM_UNEVEN_GROUPS": 1,
            "LSTM_SINGLE_COLUMNS": 0,
        },
    ),
    "no group, a column that is left": (
        lambda: sample_graph(Shape((7,), features=2, steps=9)),
        {"LSTM_UNEVEN_GROUPS": 1, "LSTM_SINGLE_COLUMNS": 1},
    ),
    "groups and a column that is left": (
        lambda: sample_graph(Shape((17,), features=13, steps=9)),
        {"LSTM_FEW_INPUTS": 0, "LSTM_UNEVEN_GROUPS": 1, "LSTM_SINGLE_COLUMNS": 1},
    ),
    "one unit": (
        lambda: sample_graph(Shape((1,), steps=9)),
        {"LSTM_ONE_INPUT": 0, "LSTM_FEW_INPUTS": 0},
    ),
    "more inputs than units, then more units than inputs": (
        lambda: sample_graph(Shape((3, 24, 16), features=5, steps=9)),
        {"LSTM_FEW_INPUTS": 0, "LSTM_SINGLE_COLUMNS": 1},
    ),
    "few inputs of a wide layer above a wide input": (
        lambda: sample_graph(Shape((3, 50), features=40, steps=5)),
        {"LSTM_FEW_INPUTS": 0},
    ),
    "nothing saturates": (
        lambda: with_lstms(sample_graph(Shape((16,), steps=9)), **SMALL_SCALES),
        {
            "LSTM_INPUT_SATURATES": 0,
            "LSTM_RECURRENT_SATURATES": 0,
            "LSTM_INPUT_ROUNDING_0": 0,
        },
    ),
    "everything saturates, and shifts to the left": (
        lambda: with_lstms(sample_graph(Shape((24,), features=2, steps=9)), **LARGE_SCALES),
        {
            "LSTM_INPUT_SATURATES": 1,
            "LSTM_RECURRENT_SATURATES": 1,
            "LSTM_INPUT_ROUNDING_0": 2,
            "LSTM_RECURRENT_ROUNDING_0": 2,
        },
    ),
    "shifts to the left in three layers": (
        lambda: with_lstms(sample_graph(Shape((9, 6, 5), features=2, steps=9)), **LARGE_SCALES),
        {"LSTM_INPUT_ROUNDING_0": 2, "LSTM_RECURRENT_ROUNDING_0": 2},
    ),
    "shifts of any kind": (
        lambda: with_differing_scales(sample_graph(Shape((9, 16), steps=9))),
        {"LSTM_INPUT_ROUNDING_0": 3, "LSTM_INPUT_ROUNDING_2": 3, "LSTM_RECURRENT_ROUNDING_1": 3},
    ),
    "largest sums": (largest_sums, {"LSTM_FEW_INPUTS": 0, "LSTM_CLIP": 1}),
    "blocks, and rows of nothing": (
        lambda: sample_graph(
            Shape((26, 13), features=3, steps=9, structure="blocks", sparsity=0.9)
        ),
        {"LSTM_FEW_INPUTS": 0, "LSTM_SINGLE_COLUMNS": 1},
    ),
    "blocks beside a few inputs": (
        lambda: sample_graph(Shape((32,), steps=9, structure="blocks", sparsity=0.7)),
        {"LSTM_FEW_INPUTS": 1},
    ),
    "no clip, and updates that saturate": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)), cell_clip=0.0, cell_scale_power=-17
        ),
        {"LSTM_CLIP": 0, "LSTM_UPDATE_SATURATES": 1, "LSTM_CELL_BEYOND_TABLE": 0},
    ),
    "a clip that acts, and a coarse cell": (
        lambda: with_lstms(
            sample_graph(Shape((10,), steps=9)),
            cell_clip=0.5,
            cell_scale_power=-9,
            **LARGE_SCALES,
        ),
        {"LSTM_CLIP": 2, "LSTM_UPDATE_SATURATES": 0, "LSTM_CELL_BEYOND_TABLE": 1},
    ),
    "a clip in one layer only": (
        lambda: with_one_clip(sample_graph(Shape((10, 12), steps=12))),
        {"LSTM_CLIP": 2},
    ),
}  # fmt: skip


def with_differing_scales(graph: Graph) -> Graph:
    """Give the first of two layers large scales."""
    first, second = graph.lstms
    changed = replace(graph, lstms=(replace(first, **LARGE_SCALES), second))
    verify(changed, "a test")
    return changed


def with_one_clip(graph: Graph) -> Graph:
    """Clip the cells of the first of two layers, of the second not at all."""
    first, second = graph.lstms
    layers = (replace(first, cell_clip=0.2), replace(second, cell_clip=0.0))
    changed = with_lstms(graph, **LARGE_SCALES)
    clips = zip(changed.lstms, layers, strict=True)
    return replace(
        changed, lstms=tuple(replace(lstm, cell_clip=of.cell_clip) for lstm, of in clips)
    )


@pytest.mark.parametrize(("name", "profile"), one_in(5, CASES, PROFILES))
def test_each_way_of_assembling_is_exact(name, profile, tmp_path):
    make, facts = CASES[name]
    graph = make()
    assert facts.items() <= dsp.defines(constants_of(graph)).items()
    run_on_core(graph, BOARD, "dsp", profile, tmp_path)


@pytest.mark.parametrize(
    ("profile", "board_name"), one_in(3, PROFILES, ["mps2-an500", "mps2-an505"])
)
def test_the_other_cores_compute_the_same(profile, board_name, tmp_path):
    shape = Shape((26, 13), features=3, steps=6, structure="blocks", sparsity=0.6)
    run_on_core(sample_graph(shape), board_name, "dsp", profile, tmp_path)


@pytest.mark.parametrize(("chosen", "profile"), one_in(3, ["blocks", "scattered"], PROFILES))
def test_matrices_of_both_layers_are_exact_in_every_format(chosen, profile, tmp_path, monkeypatch):
    kernel = KERNELS["dsp"][profile]
    free = {"blocks": {"blocks_row": -9e9}, "scattered": {"scattered_row": -9e9}}[chosen]
    # By time, a format that costs less than nothing is what every matrix gets.
    cheap = replace(kernel, cost=replace(kernel.cost, **free))
    monkeypatch.setitem(KERNELS["dsp"], profile, cheap)
    # By flash, it depends on how the zeros lie; those of the inputs are few.
    shape = Shape((15, 9), features=16, steps=9, structure=chosen, sparsity=0.8)
    run_on_core(sample_graph(shape), BOARD, "dsp", profile, tmp_path)
    text = (tmp_path / "sources" / "model.c").read_text()
    assert text.count(f".format = LSTM_{chosen.upper()}") == (4 if profile == "speed" else 2)


@pytest.mark.parametrize(("inputs", "recurrent", "profile"), one_in(5, FORMATS, FORMATS, PROFILES))
def test_rows_are_exact_in_every_pair_of_formats(inputs, recurrent, profile, tmp_path, monkeypatch):
    features = 14  # too many to be multiplied one by one
    monkeypatch.setattr(
        "toolchain.firmware.pack.choose_format",
        lambda weights, _: inputs if weights.shape[2] == features else recurrent,
    )
    run_on_core(sample_graph(Shape((20,), features, 5)), BOARD, "dsp", profile, tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    masks = {"dense": 1, "blocks": 2, "scattered": 4}
    assert f"LSTM_INPUT_FORMATS {masks[inputs]}\n" in text
    assert f"LSTM_RECURRENT_FORMATS {masks[recurrent]}\n" in text


# What it costs.

SHAPES_WITH_A_COST = [
    Shape((8,)),
    Shape((16,), features=5),
    Shape((29,)),
    Shape((64,)),
    Shape((64,), features=16),
    Shape((64,), structure="blocks", sparsity=0.7),
    Shape((40,), features=14, structure="blocks", sparsity=0.5),
]


@pytest.mark.parametrize(("shape", "profile"), one_in(5, SHAPES_WITH_A_COST, PROFILES))
def test_a_step_takes_what_is_predicted(shape, profile, tmp_path):
    graphs = [sample_graph(replace(shape, steps=steps)) for steps in (4, 12)]
    few, many = (_instructions(graph, profile, tmp_path / str(graph.steps)) for graph in graphs)
    (layer,) = constants_of(graphs[0])
    predicted = layer_instructions(layer, KERNELS["dsp"][profile])
    assert predicted == pytest.approx((many - few) / 8, rel=0.02)


def _instructions(graph: Graph, profile: str, folder: Path) -> float:
    """Count the instructions of a window."""
    board = find_board("netduinoplus2", boards_dir())
    core = read_cores(boards_dir())[board.core]
    if shutil.which(f"{core.compiler}gcc") is None:
        pytest.skip(f"{core.compiler}gcc is not installed")
    render(graph, board, core, boards_dir(), folder, profile)
    image = build(folder, board, core)
    try:
        with open_device(board, image.path) as session:
            session.load(np.zeros((graph.steps, graph.features), np.int8))
            _, ticks = session.run()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    return board.emulator.instructions(ticks, board.clock_hz)
