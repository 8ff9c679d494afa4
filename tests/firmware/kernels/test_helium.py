"""The Helium kernel: its bytes, its factors, its vectors lane by lane, all of it on the core."""

from __future__ import annotations

import itertools
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
from toolchain.device.emulation import emulate
from toolchain.device.link import open_link
from toolchain.errors import ToolMissing
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image
from toolchain.firmware.kernel import FORMATS, even, pad_columns
from toolchain.firmware.kernels import KERNELS, choose_kernel, helium
from toolchain.firmware.pack import layer_instructions, pack_matrix, unpack_matrix
from toolchain.firmware.render import render
from toolchain.graph import fixed_point
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph

PARTS = Path(__file__).parent / "helium_parts.c"
PROFILES = ("speed", "size")
BOARD = "mps3-an547"

WEIGHTS = arrays(np.int8, st.tuples(st.just(4), st.integers(1, 20), st.integers(1, 20)))


# Bytes.


@given(weights=WEIGHTS)
def test_dense_weights_come_back(weights):
    packed = helium.pack_dense(weights)
    assert packed.dtype == np.uint8
    assert len(packed) == weights.shape[1]
    assert helium.unpack_dense(packed, weights.shape[2]).tolist() == weights.tolist()


@given(weights=WEIGHTS)
def test_blocks_come_back(weights):
    padded = pad_columns(weights, 2)
    blocks = helium.pack_blocks(padded)
    assert blocks.shape == (weights.shape[1], even(weights.shape[2]) // 2, 8)
    assert helium.unpack_blocks(blocks).tolist() == padded.tolist()


@pytest.mark.parametrize("chosen", FORMATS)
@given(weights=WEIGHTS, kept=arrays(np.bool_, (20, 10)))
def test_matrices_come_back_in_every_format(chosen, weights, kept):
    _, hidden, columns = weights.shape
    there = kept.repeat(2, axis=1)[:hidden, :columns]
    sparse = np.where(there, weights, 0).astype(np.int8)
    packed = pack_matrix(sparse, helium.SPEED, chosen)
    assert unpack_matrix(packed, helium.SPEED, hidden).tolist() == sparse.tolist()


@given(weights=WEIGHTS)
def test_from_eight_units_on_nothing_is_added_to_dense_weights(weights):
    _, hidden, columns = weights.shape
    added = helium.pack_dense(weights).size - 4 * hidden * columns
    assert added == 0 if hidden >= 8 else 0 < added <= 9


def test_rows_lie_by_group_gate_unit():
    gate, unit, column = np.indices((4, 9, 5))
    weights = (gate * 30 + unit * 3 + column % 3).astype(np.int8)
    packed = helium.pack_dense(weights).reshape(-1).view(np.int8)
    first, second = packed[: 4 * 1 * 5], packed[4 * 1 * 5 :]
    # Input, forget, output, cell gate.
    assert first.reshape(4, 5).tolist() == weights[[0, 1, 3, 2], 0].tolist()
    assert second.reshape(4, 8, 5).tolist() == weights[[0, 1, 3, 2], 1:].tolist()


def test_columns_have_even_units_first():
    gate, unit, column = np.indices((4, 11, 2))
    weights = (gate * 30 + unit * 2 + column).astype(np.int8)
    packed = helium.pack_dense(weights).reshape(-1).view(np.int8)
    first = packed[: 4 * 2 * 3].reshape(4, 2, 3)
    second = packed[4 * 2 * 3 :].reshape(4, 2, 8)
    assert first[2].T.tolist() == weights[3, [0, 2, 1]].tolist()
    assert second[3].T.tolist() == weights[2, [3, 5, 7, 9, 4, 6, 8, 10]].tolist()


def test_blocks_of_a_unit_lie_gate_by_gate():
    weights = np.zeros((4, 1, 6), np.int8)
    weights[:, 0] = np.arange(1, 25).reshape(4, 6)
    weights[:, 0, 2:4] = 0
    packed = pack_matrix(weights, helium.SPEED, "blocks")
    assert packed.index.tolist() == [2, 0, 2]
    rows = packed.weights.view(np.int8).reshape(4, 4)
    assert rows.tolist() == weights[[0, 1, 3, 2], 0][:, [0, 1, 4, 5]].tolist()


def test_biases_lie_by_group_gate_unit_the_inputs_first():
    (layer,) = constants_of(sample_graph(Shape((10,), features=2)))
    words = np.array(helium.bias(layer))
    assert len(words) == 2 * 4 * 10
    for part, biases in zip(
        np.split(words, 2), (layer.input_bias, layer.recurrent_bias), strict=True
    ):
        assert part[:8].reshape(4, 2).tolist() == biases[[0, 1, 3, 2], :2].tolist()
        assert part[8:].reshape(4, 8).tolist() == biases[[0, 1, 3, 2], 2:].tolist()


def test_biases_of_few_units_are_as_many_as_are_read():
    (layer,) = constants_of(sample_graph(Shape((3,))))
    assert len(helium.bias(layer)) == 2 * 4 * 3 + 5


# Factors.


def vqrdmulh(value: np.ndarray, factor: int) -> np.ndarray:
    return (2 * value.astype(object) * factor + (1 << 31)) >> 32


@given(
    value=st.integers(-(1 << 30) + 1, (1 << 30) - 1),
    right=st.integers(0, helium.NARROW_SHIFT),
    near=st.integers(-1, 1),
)
def test_a_narrow_divisor_rounds_as_the_reference_before_int16(value, right, near):
    half = value // (1 << right) * (1 << right) + (1 << right >> 1) + near
    for one in (value, min(half, (1 << 30) - 1)):
        exact = int(fixed_point.rounding_divide(one, right))
        result = int(vqrdmulh(np.array([one]), helium.divisor(-right))[0])
        assert np.clip(result, -32_768, 32_767) == np.clip(exact, -32_768, 32_767)


@given(right=st.integers(helium.NARROW_SHIFT + 1, 30), data=st.data())
def test_a_wide_divisor_is_exact_below_its_bound(right, data):
    bound = (1 << (31 - right)) - 1
    value = data.draw(st.integers(-bound, bound))
    exact = int(fixed_point.rounding_divide(value, right))
    assert int(vqrdmulh(np.array([value]), helium.divisor(-right))[0]) == exact


@pytest.mark.parametrize("hidden", [1, 7, 8, 64, 256])
@pytest.mark.parametrize("features", [1, 16, 256])
def test_layers_like_those_of_trained_networks_are_accepted(hidden, features):
    graph = sample_graph(Shape((hidden,), features=features, steps=4))
    (layer,) = constants_of(graph)
    shifts = itertools.product((-3, 0, 2), (-1, -6), (-20, -23), (-11, -15))
    for given_shift, recurrent, shown, power in shifts:
        changed = replace(
            layer,
            input_shift=(given_shift,) * 4,
            recurrent_shift=(recurrent,) * 4,
            hidden_shift=shown,
            cell_scale_power=power,
        )
        assert helium.SPEED.refuses(changed) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hidden_shift": -15}, "The hidden scale's shift is -15: its values may pass 16 bits."),
        (
            {"recurrent_shift": (0, -20, 0, 0)},
            "A sum is shifted by -20, but too large to be rounded by a multiplication.",
        ),
    ],
)
def test_what_would_not_be_exact_is_refused(change, why):
    (layer,) = constants_of(sample_graph(Shape((8,))))
    assert helium.SPEED.refuses(replace(layer, **change)) == why


def test_a_small_sum_may_be_shifted_far():
    (layer,) = constants_of(sample_graph(Shape((8,))))
    quiet = replace(
        layer,
        recurrent_weights=np.ones_like(layer.recurrent_weights),
        recurrent_bias=np.zeros_like(layer.recurrent_bias),
        recurrent_shift=(-18,) * 4,
    )
    assert helium.SPEED.refuses(quiet) is None
    assert helium.SPEED.refuses(replace(quiet, recurrent_shift=(-22,) * 4)) is not None


# On the core.


def build_for_core(graph: Graph, profile: str, folder: Path, main: str | None = None) -> Image:
    board = find_board(BOARD, boards_dir())
    core = read_cores(boards_dir())[board.core]
    if shutil.which(f"{core.compiler}gcc") is None:
        pytest.skip(f"{core.compiler}gcc is not installed")
    assert core.kernel == "helium"
    render(graph, board, core, boards_dir(), folder / "sources", profile)
    if main is not None:
        (folder / "sources" / "app" / "main.c").write_text(main)
    return build(folder / "sources", board, core)


def with_interrupts_of_vectors(sources: Path) -> None:
    """Let the interrupt of the tick counter change every vector that a function may change."""
    file = sources / "port" / "startup.c"
    text = file.read_text()
    assert text.count("void startup_systick(void) {\n") == 1
    lines = [f'"vmov.i8 q{register}, #0x55\\n"' for register in range(4)]
    clobbers = '"q0", "q1", "q2", "q3", "p0", "lr", "cc"'
    loop = '"vctp.8 %0\\n" "dlstp.8 lr, %0\\n" "1: vadd.i8 q0, q0, q1\\n" "letp lr, 1b\\n"'
    code = (
        "    extern volatile uint32_t interrupts;\n"
        "    interrupts++;\n"
        f'    __asm__ volatile({" ".join(lines)} {loop} :: "r"(21) : {clobbers});\n'
    )
    file.write_text(
        text.replace("void startup_systick(void) {\n", f"void startup_systick(void) {{\n{code}")
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_lane_is_exact_and_interrupts_change_nothing(profile, tmp_path):
    graph = sample_graph(Shape((21,), features=5, steps=3))
    board = find_board(BOARD, boards_dir())
    core = read_cores(boards_dir())[board.core]
    build_for_core(graph, profile, tmp_path, PARTS.read_text())
    with_interrupts_of_vectors(tmp_path / "sources")
    image = build(tmp_path / "sources", board, core)
    try:
        with emulate(board) as emulator:
            emulator.flash(image.path)
            with open_link(emulator.port, board.uart.baud) as link:
                emulator.start()
                assert link.read_line(60.0) == b"right"
    except ToolMissing as missing:
        pytest.skip(str(missing))


def with_hidden_zero_point(graph: Graph, zero_point: int) -> Graph:
    (lstm,) = graph.lstms
    return with_lstms(graph, hidden=replace(lstm.hidden, zero_point=zero_point))


def with_cell_powers(graph: Graph, *powers: int) -> Graph:
    lstms = tuple(
        replace(lstm, cell_scale_power=power, cell_clip=2.0 if power > -12 else 10.0)
        for lstm, power in zip(graph.lstms, powers, strict=True)
    )
    return replace(graph, lstms=lstms)


SATURATING = (0.05, 0.06, 0.05, 0.04)
CASES: dict[str, tuple[Callable[[], Graph], dict[str, int | None]]] = {
    "one input": (
        lambda: sample_graph(Shape((16,), steps=9)),
        {"LSTM_SHIFTS_LEFT": 0, "LSTM_MANY_INPUTS": 0, "LSTM_FEW_UNITS": 0,
         "LSTM_CELL_POWER": -13, "LSTM_CELL_CLIP": 32_767},
    ),
    "four inputs, a first group of one": (
        lambda: sample_graph(Shape((33,), features=4, steps=9)),
        {"LSTM_MANY_INPUTS": 0},
    ),
    "inputs by rows, a first group of seven": (
        lambda: sample_graph(Shape((23,), features=5, steps=9)),
        {"LSTM_MANY_INPUTS": 1},
    ),
    "more than one turn of inputs and units": (
        lambda: sample_graph(Shape((40,), features=37, steps=6)),
        {"LSTM_MANY_INPUTS": 1},
    ),
    "few units, many inputs": (
        lambda: sample_graph(Shape((5,), features=19, steps=9)),
        {"LSTM_FEW_UNITS": 1, "LSTM_MANY_INPUTS": 0},
    ),
    "one unit": (lambda: sample_graph(Shape((1,), steps=9)), {"LSTM_FEW_UNITS": 1}),
    "few units and many in a stack, cells apart": (
        lambda: with_cell_powers(
            sample_graph(Shape((13, 3, 9), features=2, steps=9)), -9, -13, -15
        ),
        {"LSTM_FEW_UNITS": 1, "LSTM_MANY_INPUTS": 0, "LSTM_CELL_POWER": None,
         "LSTM_CELL_CLIP": None},
    ),
    "sums shift left and saturate": (
        lambda: with_lstms(
            sample_graph(Shape((24, 12), features=2, steps=9)),
            input_weight_scales=SATURATING, recurrent_weight_scales=SATURATING,
        ),
        {"LSTM_SHIFTS_LEFT": 1, "LSTM_MANY_INPUTS": 1},
    ),
    "the finest cell": (
        lambda: with_cell_powers(sample_graph(Shape((12,), steps=9)), -18),
        {"LSTM_CELL_POWER": -18},
    ),
    "a coarse cell, clipped": (
        lambda: with_cell_powers(sample_graph(Shape((12,), steps=9)), -9),
        {"LSTM_CELL_POWER": -9, "LSTM_CELL_CLIP": 1024},
    ),
    "no clip": (
        lambda: with_lstms(sample_graph(Shape((12,), steps=9)), cell_clip=0.0),
        {"LSTM_CELL_CLIP": 0},
    ),
    "the lowest zero point": (
        lambda: with_hidden_zero_point(sample_graph(Shape((12,), steps=9)), -128), {},
    ),
    "the highest zero point": (
        lambda: with_hidden_zero_point(sample_graph(Shape((12,), steps=9)), 127), {},
    ),
    "as many units as there may be": (
        lambda: sample_graph(Shape((256,), features=200, steps=3)), {"LSTM_MANY_INPUTS": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), one_in(5, CASES, PROFILES))
def test_each_way_of_compiling_is_exact(name, profile, tmp_path):
    make, facts = CASES[name]
    graph = make()
    assert choose_kernel("helium", profile, graph) is KERNELS["helium"][profile]
    defines = helium.defines(constants_of(graph))
    assert {macro: defines.get(macro) for macro in facts} == facts
    run_on_core(graph, BOARD, "helium", profile, tmp_path)


TWO_FORMATS = [
    # of inputs, of units, whether scales shift to the left
    ("dense", "blocks", False),
    ("dense", "scattered", True),
    ("blocks", "dense", True),
    ("blocks", "blocks", True),
    ("scattered", "blocks", False),
    ("scattered", "scattered", False),
]


@pytest.mark.parametrize(("case", "profile"), one_in(3, TWO_FORMATS, PROFILES), ids=str)
def test_inputs_and_units_are_exact_in_every_format(case, profile, tmp_path, monkeypatch):
    *formats, shifts_left = case

    def in_formats(weights, kernel):
        return formats[int(weights.shape[1] == weights.shape[2])]

    monkeypatch.setattr("toolchain.firmware.pack.choose_format", in_formats)
    shape = Shape((21, 6), features=3, steps=6, structure="scattered", sparsity=0.6)
    graph = sample_graph(shape)
    if shifts_left:
        graph = with_lstms(
            graph, input_weight_scales=SATURATING, recurrent_weight_scales=SATURATING
        )
    assert helium.defines(constants_of(graph))["LSTM_SHIFTS_LEFT"] == shifts_left
    run_on_core(graph, BOARD, "helium", profile, tmp_path)


def test_rows_of_no_block_and_stacks_of_both_formats_are_exact(tmp_path):
    graph = sample_graph(Shape((40, 16), features=1, steps=6, structure="blocks", sparsity=0.9))
    first, second = graph.lstms
    recurrent = first.recurrent_weights.copy()
    recurrent[:, 5] = 0
    second = replace(second, recurrent_weights=np.ones_like(second.recurrent_weights))
    run_on_core(
        replace(graph, lstms=(replace(first, recurrent_weights=recurrent), second)),
        BOARD,
        "helium",
        "speed",
        tmp_path,
    )
    assert "LSTM_RECURRENT_FORMATS 3\n" in (tmp_path / "sources" / "config.h").read_text()


def test_a_model_that_is_refused_gets_the_portable_kernel(tmp_path):
    graph = sample_graph(Shape((9,), steps=4))
    (lstm,) = graph.lstms
    tiny = with_lstms(graph, hidden=replace(lstm.hidden, scale=0.00001))
    run_on_core(tiny, BOARD, "portable", "speed", tmp_path)


SHAPES_WITH_A_COST = [
    Shape((8,), steps=12),
    Shape((33,), features=9, steps=12),
    Shape((64,), features=4, steps=12),
    Shape((48,), features=2, steps=12, structure="blocks", sparsity=0.8),
    Shape((128,), features=16, steps=12, structure="blocks", sparsity=0.7),
]


@pytest.mark.parametrize(("shape", "profile"), one_in(3, SHAPES_WITH_A_COST, PROFILES), ids=str)
def test_what_a_step_takes_is_predicted(shape, profile, tmp_path):
    graph = sample_graph(shape)
    shorter = sample_graph(replace(shape, steps=2))
    longer, short = (
        max(run_on_core(one, BOARD, "helium", profile, tmp_path / str(one.steps)))
        for one in (graph, shorter)
    )
    (layer,) = constants_of(graph)
    predicted = layer_instructions(layer, choose_kernel("helium", profile, graph))
    assert predicted == pytest.approx((longer - short) / 10, rel=0.02)
