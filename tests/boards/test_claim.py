"""Random graphs from all of the claim on emulated cores: what the host forecasts, they do.

A reset is drawn before every window or not, as for TFLite Micro in `tests/graph/test_claim.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from claim import random_graph

from toolchain.device.running import open_device
from toolchain.graph import reference

BOARDS = ("stm32vldiscovery", "hifive1-revb")
OTHER_KERNELS = ("microbit", "netduinoplus2", "mps3-an547", "arduino-mega2560")
WINDOWS = 6


def compare(board, number, build_firmware):
    profile = ("size", "speed")[number % 2]
    firmware = build_firmware(board, random_graph(number, small=True), profile=profile)
    graph = firmware.graph
    rng = np.random.default_rng(number)
    windows = rng.integers(-128, 128, (WINDOWS, graph.steps, graph.features), dtype=np.int8)
    windows[::3] = np.where(windows[::3] > 0, 127, -128)
    state = reference.zero_state(graph, 1)
    with open_device(firmware.board, firmware.image.path) as session:
        session.reset()
        for window, keep in zip(windows, rng.random(WINDOWS) < 0.5, strict=True):
            if not keep:
                state = reference.zero_state(graph, 1)
            expected = reference.run(graph, window[None], initial=state)
            state = expected.state
            outputs, _ = session.forecast(window, keep=bool(keep))
            assert outputs.tolist() == expected.outputs[0].tolist()
        for layer in range(len(graph.lstms)):
            hidden, cells = session.state(layer)
            assert hidden.tolist() == state.hidden[layer][0].tolist()
            assert cells.tolist() == state.cells[layer][0].tolist()


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("board", BOARDS)
def test_a_graph_of_the_claim_equals_the_host(board, number, build_firmware):
    compare(board, number, build_firmware)


@pytest.mark.full
@pytest.mark.parametrize("number", range(4, 300))
@pytest.mark.parametrize("board", [*BOARDS, *OTHER_KERNELS])
def test_300_graphs_of_the_claim_equal_the_host(board, number, build_firmware):
    compare(board, number, build_firmware)
