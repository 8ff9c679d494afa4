"""Render a small model for TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tflite_writer import Recipe, write_forecaster

from toolchain.board import Board, Core, boards_dir, find_board, read_cores
from toolchain.firmware.render_tflm import render_tflm
from toolchain.graph.tflite_file import parse_graph
from toolchain.graph.types import Graph


@dataclass(frozen=True)
class Rendered:
    """A folder of sources, and what it was made from."""

    sources: Path
    content: bytes
    graph: Graph
    board: Board
    core: Core


def render_recipe(recipe: Recipe, board_name: str, folder: Path) -> Rendered:
    """Write `folder`/sources."""
    content = write_forecaster(recipe)
    graph = parse_graph(content, "recipe")
    board = find_board(board_name, boards_dir())
    core = read_cores(boards_dir())[board.core]
    render_tflm(content, graph, board, core, boards_dir(), folder / "sources")
    return Rendered(folder / "sources", content, graph, board, core)
