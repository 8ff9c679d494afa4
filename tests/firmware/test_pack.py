"""Weights in every format of every kernel: back again, and chosen for what they cost."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.firmware.kernel import FORMATS, Kernel
from toolchain.firmware.kernels import KERNELS
from toolchain.firmware.pack import choose_format, matrix_instructions, pack_matrix, unpack_matrix
from toolchain.graph.types import Int8

PROFILES = ("speed", "size")

each_kernel = pytest.mark.parametrize("name", KERNELS)
each_profile = pytest.mark.parametrize("profile", PROFILES)
each_format = pytest.mark.parametrize("chosen", FORMATS)


@st.composite
def matrices(draw: st.DrawFn) -> Int8:
    """Draw weights (4 gates, hidden, columns) with zeros in blocks, anywhere, or nowhere."""
    hidden, columns = draw(st.integers(1, 19)), draw(st.integers(1, 35))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(-127, 128, (4, hidden, columns)).astype(np.int8)
    share = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95, 1.0]))
    if draw(st.booleans()):
        return with_empty_blocks(weights, share, rng)
    return np.where(rng.random(weights.shape) < share, 0, weights).astype(np.int8)


def with_empty_blocks(weights: Int8, share: float, rng: np.random.Generator) -> Int8:
    _, hidden, columns = weights.shape
    kept = rng.random((hidden, -(-columns // 2))) >= share
    return weights * np.repeat(kept, 2, axis=1)[:, :columns].astype(np.int8)


def random_weights(*shape: int) -> Int8:
    """Return weights without a zero."""
    return np.random.default_rng(0).integers(1, 128, shape).astype(np.int8)


@each_kernel
@each_profile
@each_format
@given(weights=matrices())
def test_weights_come_back_from_every_format(name, profile, chosen, weights):
    kernel = KERNELS[name][profile]
    packed = pack_matrix(weights, kernel, chosen)
    assert packed.format == chosen
    assert unpack_matrix(packed, kernel, weights.shape[1]).tolist() == weights.tolist()


@each_kernel
@each_profile
@each_format
def test_a_matrix_of_zeros_comes_back(name, profile, chosen):
    kernel = KERNELS[name][profile]
    weights = np.zeros((4, 3, 5), np.int8)
    packed = pack_matrix(weights, kernel, chosen)
    assert not unpack_matrix(packed, kernel, 3).any()


@each_kernel
@each_profile
def test_zeros_take_nothing_but_their_index_in_formats_for_them(name, profile):
    kernel = KERNELS[name][profile]
    weights = np.zeros((4, 3, 5), np.int8)
    weights[2, 1, 4] = 9
    blocks = pack_matrix(weights, kernel, "blocks")
    scattered = pack_matrix(weights, kernel, "scattered")
    assert (len(blocks.weights), blocks.index.tolist()) == (8, [0, 1, 2, 0])
    # Gate 2 of the first column of the third pair.
    assert scattered.weights.tolist() == [9]
    assert scattered.index.tolist() == [0, 0, 0, 0, 0, 1 << 2, 0, 0, 0]


PAGE = Path(__file__).parents[2] / "docs" / "sparse.md"


def shown(kind: str) -> list[list[int]]:
    """Return the bytes of each array of weights, or each index, that the page shows."""
    arrays: list[list[int]] = []
    for line in re.findall(r"^(\w* +(?:[0-9a-f]{2} +)*[0-9a-f]{2})\b", PAGE.read_text(), re.M):
        word, _, rest = line.partition(" ")
        values = [int(byte, 16) for byte in rest.split()]
        if word:
            current = [] if word == kind else None
            arrays += [] if current is None else [current]
        if current is not None:
            current += values
    return arrays


def test_the_page_shows_the_bytes():
    weights = np.zeros((4, 2, 5), np.int8)
    weights[:, 0, 2:] = [[3, 0, 0], [-7, 5, 0], [12, -2, 0], [1, 9, -6]]
    weights[:, 1, :2] = [[1, 0], [2, 8], [0, 0], [-4, 0]]
    portable, rv32im = (KERNELS[name]["speed"] for name in ("portable", "rv32im"))
    packed = [pack_matrix(weights, portable, chosen) for chosen in FORMATS]
    packed.append(pack_matrix(weights, rv32im, "blocks"))
    assert shown("weights") == [matrix.weights.tolist() for matrix in packed]
    assert shown("index") == [matrix.index.tolist() for matrix in packed[1:3]]


def costs(weights: Int8, kernel: Kernel) -> dict[str, tuple[float, float]]:
    """Return, by format, what the profile looks at first and what it looks at then."""
    found = {}
    for chosen in FORMATS:
        time = matrix_instructions(weights, kernel, chosen)
        flash = pack_matrix(weights, kernel, chosen).bytes
        found[chosen] = (time, flash) if kernel.profile == "speed" else (flash, time)
    return found


@each_kernel
@each_profile
@given(weights=matrices())
def test_the_format_that_is_chosen_costs_least(name, profile, weights):
    kernel = KERNELS[name][profile]
    _, hidden, columns = weights.shape
    if columns <= kernel.few_columns and columns < hidden:
        assert choose_format(weights, kernel) == "dense"
        return
    found = costs(weights, kernel)
    first, then = found.pop(choose_format(weights, kernel))
    for other_first, other_then in found.values():
        assert first <= other_first
        assert first < other_first or then <= other_then


@each_kernel
@each_profile
def test_a_matrix_without_zeros_is_dense(name, profile):
    assert choose_format(random_weights(4, 24, 24), KERNELS[name][profile]) == "dense"


@each_kernel
@each_profile
def test_mostly_empty_blocks_are_left_out(name, profile):
    if (name, profile) == ("helium", "speed"):
        pytest.skip("a vector core reads whole rows faster than it follows an index")
    weights = with_empty_blocks(random_weights(4, 64, 64), 0.8, np.random.default_rng(1))
    assert choose_format(weights, KERNELS[name][profile]) == "blocks"


@each_kernel
def test_scattered_zeros_are_left_out_where_flash_counts(name):
    weights = random_weights(4, 64, 64)
    weights[np.random.default_rng(1).random(weights.shape) < 0.7] = 0
    assert choose_format(weights, KERNELS[name]["size"]) == "scattered"


@each_kernel
def test_the_profiles_differ_over_zeros_that_are_scattered(name):
    weights = random_weights(4, 64, 64)
    weights[np.random.default_rng(1).random(weights.shape) < 0.3] = 0
    assert choose_format(weights, KERNELS[name]["speed"]) == "dense"
    assert choose_format(weights, KERNELS[name]["size"]) == "scattered"
