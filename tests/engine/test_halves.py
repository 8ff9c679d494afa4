"""The multiplication for cores whose product has 32 bits, on the host: as exact as the others."""

from __future__ import annotations

import numpy as np
import pytest
from recipes import ALL

from toolchain.graph import reference


def halves(folder):
    header = folder / "engine" / "fixed_point.h"
    header.write_text("#define FIXED_HALVES 1\n" + header.read_text())


@pytest.mark.parametrize("name", ALL)
def test_every_state_and_output_is_exact(name, make_graph, make_windows, compile_mutant):
    graph = make_graph(ALL[name])
    windows = make_windows(graph, 100)

    computed = compile_mutant(graph, halves).run(windows)

    expected = reference.run(graph, windows, trace=True)
    assert np.array_equal(computed.outputs, expected.outputs)
    for mine, theirs in (
        *zip(computed.hidden, expected.hidden, strict=True),
        *zip(computed.cells, expected.cells, strict=True),
    ):
        assert np.array_equal(mine, theirs)
