from __future__ import annotations

import pytest

from toolchain.errors import InputError
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.shapes import parse_shape, shape_name


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("lstm:32x5x28", Shape((32,), 5, 28)),
        ("lstm:32,16x1x60", Shape((32, 16), 1, 60)),
        ("lstm:64x1x28@blocks70", Shape((64,), 1, 28, "blocks", 0.7)),
        ("lstm:64x1x28@scattered35", Shape((64,), 1, 28, "scattered", 0.35)),
    ],
)
def test_a_shape_is_read_and_written_back(text, shape):
    assert parse_shape(text) == shape
    assert shape_name(shape) == text


def test_steps_may_be_left_out():
    assert parse_shape("lstm:8x3") == Shape((8,), 3, 28)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lstm:32", "not a shape. Write hidden x features x steps, such as lstm:32x5x28"),
        ("lstm:0x1", "the hidden size is 0, and may be 1 to 256"),
        ("lstm:16,300x1", "the hidden size is 300, and may be 1 to 256"),
        ("lstm:16x1x400", "the number of steps is 400, and may be 2 to 365"),
        ("lstm:16x1@dense50", "not a shape"),
    ],
)
def test_what_is_no_shape_says_why(text, why):
    with pytest.raises(InputError, match=why):
        parse_shape(text)


@pytest.mark.parametrize("structure", ["blocks", "scattered"])
def test_a_sample_has_as_many_zeros_as_its_shape_says(structure):
    graph = sample_graph(Shape((32, 16), 5, 9, structure, 0.7))

    assert graph.hidden_sizes == (32, 16)
    assert (graph.features, graph.steps) == (5, 9)
    for layer in graph.lstms:
        zeros = (layer.recurrent_weights == 0).mean()
        assert 0.69 < zeros < 0.72
    assert sample_graph(Shape((32, 16), 5, 9, structure, 0.7)).crc32 == graph.crc32
