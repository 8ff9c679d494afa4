"""A graph on an emulated core, compared with the host in every hidden value and cell."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.device.running import open_device
from toolchain.errors import ToolMissing
from toolchain.firmware.build import build
from toolchain.firmware.render import render
from toolchain.graph import reference
from toolchain.graph.constants import LstmConstants, graph_constants
from toolchain.graph.types import Graph
from toolchain.graph.verify import verify


def constants_of(graph: Graph) -> tuple[LstmConstants, ...]:
    """Return the constants of a graph's LSTM layers."""
    return graph_constants(graph)[0]


def with_lstms(graph: Graph, *each: dict[str, object], **change: object) -> Graph:
    """Change fields of every LSTM of a graph, and what reads its hidden values.

    `each` has further fields for each layer, where they differ.
    """
    own = each or ({},) * len(graph.lstms)
    lstms = [replace(lstm, **change, **it) for lstm, it in zip(graph.lstms, own, strict=True)]
    for before, after in itertools.pairwise(lstms):
        lstms[after.index] = replace(after, input=before.hidden)
    denses = tuple(replace(dense, input=lstms[-1].hidden) for dense in graph.denses)
    changed = replace(graph, lstms=tuple(lstms), denses=denses)
    verify(changed, "a test")
    return changed


def run_on_core(
    graph: Graph, board_name: str, kernel: str, profile: str, folder: Path
) -> list[float]:
    """Compare outputs, and states at every step of two windows; `kernel` has to be the one taken.

    Returns the instructions of each window, on an AVR its cycles.
    """
    board = find_board(board_name, boards_dir())
    core = read_cores(boards_dir())[board.core]
    if shutil.which(f"{core.compiler}gcc") is None:
        pytest.skip(f"{core.compiler}gcc is not installed")
    render(graph, board, core, boards_dir(), folder / "sources", profile)
    assert f"#define LSTM_KERNEL_{kernel.upper()} 1" in (folder / "sources/config.h").read_text()
    image = build(folder / "sources", board, core)
    shape = (2, graph.steps, graph.features)
    windows = np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)
    expected = reference.run(graph, windows, trace=True)
    counted = []
    try:
        with open_device(board, image.path) as session:
            for number, window in enumerate(windows):
                output, ticks = session.forecast(window)
                assert output.tolist() == expected.outputs[number].tolist()
                cycles = board.emulator.cycles(ticks)
                counted.append(
                    board.emulator.instructions(ticks, board.clock_hz) if cycles is None else cycles
                )
                session.reset()
                for step, sample in enumerate(window):
                    session.step(sample)
                    for layer in range(len(graph.lstms)):
                        hidden, cells = session.state(layer)
                        assert hidden.tolist() == expected.hidden[layer][number, step].tolist()
                        assert cells.tolist() == expected.cells[layer][number, step].tolist()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    return counted
