"""The arena against what was measured: the smallest that works, and what stays in use."""

from __future__ import annotations

import pytest

from toolchain.firmware.arena import plan_arena
from toolchain.graph.layout import Layout, Node, Tensor, layout_of
from toolchain.graph.sample import Shape, sample_graph

# TensorFlow Lite Micro of 2026-08-20 on Cortex-M0, M3 and M4F alike; 28 steps of one value, a dense
# head of one. By hidden size: smallest arena, bytes that stay in use.
MEASURED = {
    "reference": {16: (2_816, 2_260), 32: (2_896, 2_884), 64: (4_144, 4_132)},
    "cmsis_nn": {16: (3_504, 2_996), 32: (4_112, 4_100), 64: (6_320, 6_308)},
}


@pytest.mark.parametrize("kernels", ["reference", "cmsis_nn"])
@pytest.mark.parametrize("hidden", [16, 32, 64])
def test_the_arena_is_the_smallest_that_was_measured_to_work(kernels, hidden):
    layout = layout_of(sample_graph(Shape((hidden,))))

    arena = plan_arena(layout, kernels)

    assert (arena.bytes, arena.used_bytes) == MEASURED[kernels][hidden]


def lstm_then(*shapes: tuple[int, ...]) -> Layout:
    """An operator for each shape, each reading what the one before it wrote."""
    tensors = tuple(Tensor(shape[0], "activation", 0, shape) for shape in shapes)
    nodes = tuple(Node("RESHAPE", (i,), (i + 1,)) for i in range(len(shapes) - 1))
    return Layout(tensors, nodes, (0,), (len(shapes) - 1,))


def used(layout: Layout) -> int:
    return plan_arena(layout, "reference").used_bytes


def test_buffers_share_memory_when_their_times_do_not_meet():
    # 800 and 1,600 are needed together; 800 of the last lies where the first was.
    assert used(lstm_then((800,), (1600,), (800,))) - used(lstm_then((800,), (1600,))) < 800


def test_a_layer_more_costs_its_states_and_descriptions():
    one, two = (layout_of(sample_graph(Shape(hidden))) for hidden in ((16,), (16, 16)))

    grown = plan_arena(two, "reference").used_bytes - plan_arena(one, "reference").used_bytes

    assert grown > 688 + 16 + 32 + 28 * 16 - 16


def test_wider_enums_and_vector_instructions_cost_more():
    layout = layout_of(sample_graph(Shape((64,))))

    assert plan_arena(layout, "reference", enum_bytes=4).used_bytes > 4_132
    assert plan_arena(layout, "cmsis_nn", helium=True).used_bytes > 6_308


@pytest.mark.parametrize("hidden", range(1, 40, 3))
def test_the_arena_ends_between_two_buffers(hidden):
    for kernels in ("reference", "cmsis_nn"):
        arena = plan_arena(layout_of(sample_graph(Shape((hidden,)))), kernels)
        assert arena.bytes % 16 == 0
        assert arena.bytes >= arena.used_bytes
