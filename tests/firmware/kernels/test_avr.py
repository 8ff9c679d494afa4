"""The AVR kernel: its bytes, what it refuses, its C on the host, every way it is compiled."""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from on_core import constants_of, run_on_core, with_lstms
from recipes import ALL
from strict_c import SANITIZERS, WARNINGS
from turns import one_in

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.firmware.kernel import even, pad_columns
from toolchain.firmware.kernels import avr, choose_kernel
from toolchain.firmware.render import render
from toolchain.graph import reference
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph

BOARD = "arduino-uno"
PROFILES = ("speed", "size")
HARNESS = Path(__file__).parents[2] / "engine" / "harness.c"
FORMAT_BITS = {"dense": 1, "blocks": 2, "scattered": 4}

WEIGHTS = arrays(np.int8, st.tuples(st.just(4), st.integers(1, 9), st.integers(1, 20)))


# Bytes.


@given(weights=WEIGHTS)
def test_dense_weights_come_back(weights):
    packed = avr.pack_dense(weights)
    assert packed.shape == (weights.shape[1], 4 * weights.shape[2])
    assert avr.unpack_dense(packed, weights.shape[2]).tolist() == weights.tolist()


@given(weights=WEIGHTS)
def test_blocks_come_back(weights):
    padded = pad_columns(weights, 2)
    blocks = avr.pack_blocks(padded)
    assert blocks.shape == (weights.shape[1], even(weights.shape[2]) // 2, 8)
    assert avr.unpack_blocks(blocks).tolist() == padded.tolist()


def test_a_column_is_four_bytes_128_too_large():
    weights = np.zeros((4, 1, 2), np.int8)
    weights[:, 0, 1] = [-128, 0, 5, 127]
    assert avr.pack_dense(weights).tolist() == [[128, 128, 128, 128, 0, 128, 133, 255]]


@given(seed=st.integers(0, 1 << 32), zero_points=st.tuples(*[st.integers(-128, 127)] * 2))
def test_biases_are_right_for_bytes_that_are_128_too_large(seed, zero_points):
    graph = sample_graph(Shape((5,), features=3), seed)
    (lstm,) = graph.lstms
    given_zero, hidden_zero = zero_points
    lstm = replace(
        lstm,
        input=replace(lstm.input, zero_point=given_zero),
        hidden=replace(lstm.hidden, zero_point=hidden_zero),
    )
    (layer,) = constants_of(replace(graph, lstms=(lstm,)))
    data = struct.pack(f"<{5 * 2 * 3}i", *avr.bias(layer))
    biases = [
        int.from_bytes(data[at : at + 3], "little", signed=True) for at in range(0, len(data), 3)
    ]
    rng = np.random.default_rng(seed)
    for part, weights, zero, bias in (
        (0, lstm.input_weights, given_zero, lstm.bias),
        (1, lstm.recurrent_weights, hidden_zero, np.zeros_like(lstm.bias)),
    ):
        values = rng.integers(-128, 128, weights.shape[2])
        wanted = (weights.astype(int) * (values - zero)).sum(axis=2) + bias  # (4, hidden)
        plus = ((weights.astype(int) + 128) * (values + 128)).sum(axis=2)
        found = np.array(biases).reshape(5, 2, 4)[:, part].T + plus - 128 * (values + 128).sum()
        assert found.tolist() == wanted.tolist()


def test_a_shift_is_a_power_a_half_or_a_count():
    assert [avr._scale(1 << 30, shift)[4:] for shift in (-1, -3, -8)] == [
        bytes([128, 1]), bytes([32, 4]), bytes([1, 128]),
    ]  # fmt: skip
    assert [avr._scale(1 << 30, shift)[4:] for shift in (0, 2, 30, -9, -31)] == [
        bytes([0, 0]), bytes([0, 2]), bytes([0, 16]), bytes([0, 129]), bytes([0, 144]),
    ]  # fmt: skip


# Facts and refusals.


def test_what_layers_differ_in_is_no_part_of_the_code():
    (layer,) = constants_of(sample_graph(Shape((8,))))
    layer = replace(layer, input_shift=(-3, -3, -1, -8))
    other = replace(layer, cell_scale_power=-12, update_shift=-17)
    assert avr.defines([layer, layer]) == {
        "LSTM_FAR_SCALES": 0,
        "LSTM_SAME_CELLS": 1,
        "LSTM_CELL_LEFT": -1,
        "LSTM_CELL_RIGHT": 1,
        "LSTM_CELL_LOW": -32_767,
        "LSTM_CELL_HIGH": 32_767,
    }
    assert avr.defines([layer, other]) == {"LSTM_FAR_SCALES": 0, "LSTM_SAME_CELLS": 0}
    assert avr.defines([replace(layer, cell_clip=0)])["LSTM_CELL_LOW"] == -32_768


@pytest.mark.parametrize("shift", [-31, -9, 0, 30])
@pytest.mark.parametrize("part", ["input_shift", "recurrent_shift"])
def test_uncommon_scales_are_noticed(part, shift):
    (layer,) = constants_of(sample_graph(Shape((8,))))
    layer = replace(layer, input_shift=(-1, -1, -1, -1))
    strange = replace(layer, **{part: (-1, -8, shift, -2)})
    assert avr.defines([layer, strange])["LSTM_FAR_SCALES"] == 1


def test_layers_like_those_of_trained_networks_are_accepted():
    for hidden in (1, 7, 64, 256):
        for features in (1, 16, 256):
            (layer,) = constants_of(sample_graph(Shape((hidden,), features=features)))
            assert avr.refuses(layer) is None


def test_sums_of_more_than_24_bits_are_refused():
    graph = sample_graph(Shape((2,)))
    (lstm,) = graph.lstms
    (layer,) = constants_of(graph)
    magnitude = 128 * np.abs(layer.input_weights.astype(int)).sum(axis=-1)
    most = replace(layer, input_bias=((1 << 23) - 1 - magnitude).astype(np.int32))
    assert avr.refuses(most) is None
    above = replace(most, input_bias=most.input_bias + (np.arange(2) == 1).astype(np.int32))
    assert avr.refuses(above) == (
        "a sum of the inputs may reach 8,388,608; less than 8,388,608 is possible"
    )
    huge = replace(graph, lstms=(replace(lstm, bias=np.full_like(lstm.bias, 1 << 23)),))
    assert choose_kernel("avr", "speed", huge).name == "portable"


# The C, on the host.


def expected_bytes(graph: Graph, windows: np.ndarray) -> bytes:
    """Return what harness.c writes: states after every step, then outputs, window by window."""
    expected = reference.run(graph, windows, trace=True)
    parts = []
    for number in range(len(windows)):
        for step in range(graph.steps):
            for hidden, cells in zip(expected.hidden, expected.cells, strict=True):
                parts += [hidden[number, step].tobytes(), cells[number, step].tobytes()]
        parts.append(expected.outputs[number].tobytes())
    return b"".join(parts)


@pytest.mark.parametrize(("name", "profile"), one_in(5, ALL, PROFILES))
def test_the_c_beside_the_assembly_is_exact(name, profile, make_graph, make_windows, tmp_path):
    graph = make_graph(ALL[name])
    windows = make_windows(graph, 60)
    board = find_board("netduinoplus2", boards_dir())
    core = read_cores(boards_dir())[board.core].model_copy(update={"kernel": "avr"})
    folder = tmp_path / "sources"
    render(graph, board, core, boards_dir(), folder, profile)
    sources = [folder / "model.c", folder / "tables.c", HARNESS, *(folder / "engine").glob("*.c")]
    subprocess.run(
        ["cc", "-std=c99", "-O1", "-g", *WARNINGS, *SANITIZERS, "-I", folder, "-I",
         folder / "engine", *sources, "-o", tmp_path / "harness"],
        check=True,
    )  # fmt: skip
    result = subprocess.run(
        [tmp_path / "harness"], input=windows.tobytes(), capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    assert result.stdout == expected_bytes(graph, windows)


# On the core, every h and c at every step. What a case is about stands beside it.


NEAR: dict[str, object] = {"input_weight_scales": (0.003, 0.002, 0.0024, 0.0031)}

CASES: dict[str, tuple[Callable[[], Graph], dict[str, int]]] = {
    "one layer, some parts not shifted": (
        lambda: sample_graph(Shape((16,), steps=12)),
        {"LSTM_FAR_SCALES": 1, "LSTM_SAME_CELLS": 1},
    ),
    "one layer, all parts shifted to the right": (
        lambda: with_lstms(sample_graph(Shape((16,), steps=12)), NEAR),
        {"LSTM_FAR_SCALES": 0, "LSTM_SAME_CELLS": 1},
    ),
    "cells of different scales": (
        lambda: with_lstms(
            sample_graph(Shape((7, 6, 5), features=2, steps=9)),
            NEAR | {"cell_scale_power": -17, "cell_clip": 0.0},
            NEAR | {"cell_scale_power": -15},
            NEAR | {"cell_scale_power": -9, "cell_clip": 0.3},
        ),
        {"LSTM_FAR_SCALES": 0, "LSTM_SAME_CELLS": 0},
    ),
    "shifts to the left, none, and far to the right": (
        lambda: with_lstms(
            sample_graph(Shape((9,), features=2, steps=9)),
            {
                "input_weight_scales": (0.009, 0.05, 0.04, 0.00005),
                "recurrent_weight_scales": (0.04, 0.00009, 9.0, 0.000001),
            },
        ),
        {"LSTM_FAR_SCALES": 1, "LSTM_SAME_CELLS": 1},
    ),
    "columns in every number left over": (
        lambda: sample_graph(Shape((4, 5, 6, 7), features=1, steps=9)),
        {"LSTM_SAME_CELLS": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), one_in(3, CASES, PROFILES))
def test_each_way_of_compiling_is_exact(name, profile, tmp_path):
    make, facts = CASES[name]
    graph = make()
    assert facts.items() <= avr.defines(constants_of(graph)).items()
    run_on_core(graph, BOARD, "avr", profile, tmp_path)


@pytest.mark.parametrize(
    ("given", "recurrent", "profile"), one_in(5, FORMAT_BITS, FORMAT_BITS, PROFILES)
)
def test_any_two_formats_go_together(given, recurrent, profile, tmp_path, monkeypatch):
    # Rows share few registers: which the compiler finds depends on what else is there.
    chosen = itertools.cycle([given, recurrent])
    monkeypatch.setattr("toolchain.firmware.pack.choose_format", lambda *_: next(chosen))
    shape = Shape((13,), features=3, steps=6, structure="scattered", sparsity=0.8)
    run_on_core(sample_graph(shape), "arduino-mega2560", "avr", profile, tmp_path)
    text = (tmp_path / "sources" / "config.h").read_text()
    assert f"LSTM_INPUT_FORMATS {FORMAT_BITS[given]}\n" in text
    assert f"LSTM_RECURRENT_FORMATS {FORMAT_BITS[recurrent]}\n" in text


@pytest.mark.parametrize("profile", PROFILES)
def test_256_columns_are_exact_dense_and_in_blocks(profile, tmp_path):
    # Counters of 8 bits: 256 columns, 128 blocks in a row, and 64 turns of four columns.
    shape = Shape((256, 8), features=1, steps=2, structure="blocks", sparsity=0.97)
    graph = sample_graph(shape)
    first, _ = graph.lstms
    full = first.recurrent_weights.copy()
    full[:, 7, :] = -101
    graph = with_lstms(graph, {"recurrent_weights": full}, {})
    run_on_core(graph, "arduino-mega2560", "avr", profile, tmp_path)
    text = (tmp_path / "sources" / "model.c").read_text()
    assert "// (256 units, 256 columns, 4 gates), blocks\n" in text
    assert "// (8 units, 256 columns, 4 gates), dense\n" in text
