from __future__ import annotations

import numpy as np
import pytest

from toolchain.errors import ProjectError
from toolchain.network.pruning import BlockPruner, grown, keep_blocks, keep_zeros, lstm_kernels


def draw_weights(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


# Two layers: 3 values into 10 units, 10 units into 6.
SHAPES = ((3, 40), (10, 40), (40,), (10, 24), (6, 24), (24,), (6, 1), (1,))


def blocks_of(mask: np.ndarray) -> np.ndarray:
    """Turn a mask (values, 4 x units) into (pairs of values, units, 8 weights)."""
    values, columns = mask.shape
    parts = mask.reshape(values // 2, 2, 4, columns // 4)
    return parts.transpose(0, 3, 1, 2).reshape(values // 2, columns // 4, 8)


def test_kernels_are_found_among_the_weights() -> None:
    assert list(lstm_kernels(draw_weights(*SHAPES))) == [0, 1, 3, 4]


def test_the_weakest_blocks_become_zero() -> None:
    (kernel,) = draw_weights((8, 24))

    blocks = blocks_of(keep_blocks(kernel, 0.5))

    assert set(blocks.sum(axis=2).reshape(-1)) == {0, 8}
    assert (blocks == 0).mean() == 0.5
    energy = np.square(blocks_of(kernel)).sum(axis=2)
    kept = blocks[:, :, 0] == 1
    assert energy[~kept].max() < energy[kept].min()


def test_the_last_of_an_odd_number_of_values_is_a_block_of_its_own() -> None:
    kernel = np.ones((9, 8), np.float32)
    kernel[8] = 0.01

    mask = keep_blocks(kernel, 1 / 9)

    assert not mask[8].any()
    assert mask[:8].all()


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_blocks_hold_the_asked_share_of_all_lstm_weights(sparsity: float) -> None:
    weights = draw_weights(*SHAPES)
    pruner = BlockPruner(weights, sparsity)

    masks = pruner(1.0, weights)

    assert masks is not None
    zeros = sum(int((mask == 0).sum()) for mask in masks)
    total = sum(weights[place].size for place in lstm_kernels(weights))
    assert zeros == pytest.approx(sparsity * total, abs=16)
    assert masks[0].all()  # reads 3 values: the engine stores it dense
    assert masks[4].all()
    assert all(masks[place].all() for place in (2, 5, 6, 7))


def test_zeros_grow_and_the_last_masks_stay() -> None:
    weights = draw_weights(*SHAPES)
    pruner = BlockPruner(weights, 0.5)

    counts = []
    for done in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0):
        masks = pruner(done, weights)
        counts.append(None if masks is None else sum(int((mask == 0).sum()) for mask in masks))

    assert counts[0] is None
    assert counts[6:] == [None, None]
    grows = [count for count in counts[1:6] if count is not None]
    assert grows == sorted(set(grows))
    assert grows[0] == 0
    assert [grown(done) for done in (0.0, 0.1, 0.3, 0.5, 1.0)] == [0, 0, 0.875, 1, 1]


def test_more_zeros_than_blocks_hold_are_refused() -> None:
    with pytest.raises(ProjectError) as error:
        BlockPruner(draw_weights((5, 40), (10, 40), (40,), (10, 1), (1,)), 0.7)

    assert str(error.value) == (
        "sparsity: 70.0% of the LSTM's 600 weights cannot be zero in blocks: only 400 of them, "
        "those of matrices that read at least 8 values, can. Try less than 0.67."
    )


def test_zeros_are_kept_and_none_is_added() -> None:
    weights = draw_weights((3, 40), (10, 40), (40,), (10, 1), (1,))
    weights[1][4:6, ::10] = 0
    weights[2][:] = 0

    masks = keep_zeros(weights)(0.5, weights)

    assert masks is not None
    assert np.array_equal(masks[1] == 0, weights[1] == 0)
    assert all(masks[place].all() for place in (0, 2, 3, 4))
