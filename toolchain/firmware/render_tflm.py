"""Render a .tflite file and a board into a firmware around TensorFlow Lite Micro's interpreter.

The same folder as `render` writes, but for the runtime: `tflm/` with the file in the place of
`engine/` with its constants. It builds with the user's own TensorFlow Lite Micro.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from toolchain.board import Board, Core
from toolchain.device import protocol
from toolchain.errors import BoardError, ModelError
from toolchain.firmware.arena import Arena, Kernels, plan_arena
from toolchain.firmware.render import (
    copy_c,
    copy_port,
    leave_out_shelf,
    new_folder,
    render_templates,
)
from toolchain.graph.layout import Layout
from toolchain.graph.tflite_file import read_layout
from toolchain.graph.types import Graph
from toolchain.resources import resource_dir

_TEMPLATES = {
    "Makefile": "tflm/Makefile.j2",
    "board.h": "board.h.j2",
    "config.h": "tflm/config.h.j2",
    "protocol.h": "protocol.h.j2",
    "model.h": "tflm/model.h.j2",
    "model.c": "tflm/model.c.j2",
}
_ADD = {
    "DEQUANTIZE": "Dequantize",
    "EXPAND_DIMS": "ExpandDims",
    "FULLY_CONNECTED": "FullyConnected",
    "LOGISTIC": "Logistic",
    "QUANTIZE": "Quantize",
    "RESHAPE": "Reshape",
    "SOFTMAX": "Softmax",
    "SQUEEZE": "Squeeze",
    "STRIDED_SLICE": "StridedSlice",
    "TANH": "Tanh",
    "TRANSPOSE": "Transpose",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
"""What MicroMutableOpResolver calls the operators: AddTanh and so on."""


def render_tflm(
    content: bytes, graph: Graph, board: Board, core: Core, boards: Path, out: Path
) -> None:
    """Write the sources of a firmware for `board` that interprets `content`, a .tflite file.

    Args:
        content: the file's bytes.
        graph: what it holds.
        board: its profile, which lies below `boards`.
        core: the board's.
        boards: folder of the profiles.
        out: appears whole or not at all; what was there before is replaced.

    Raises:
        BoardError: a board that TensorFlow Lite Micro does not run on.
        ModelError: a file that needs no console of ours: it is fed real values.
    """
    refuse_board(board, core)
    refuse_other_ends(graph)
    templates = resource_dir("firmware_templates")
    layout = read_layout(content, "the model")
    with new_folder(out) as folder:
        copy_c(templates / "tflm", folder / "tflm")
        shutil.copyfile(templates / "engine" / "flash.h", folder / "tflm" / "flash.h")
        copy_c(templates / "app", folder / "app")
        leave_out_shelf(folder)
        copy_port(board, core, boards, folder / "port")
        values = {
            "graph": graph,
            "content": content,
            "operators": [_ADD[name] for name in layout.operators],
            "arenas": arenas(layout, core),
            "line_bytes": protocol.line_bytes_for(graph.features, board.line_bytes),
            "shelf": None,
        }
        render_templates(folder, _TEMPLATES, board, core, values)


def refuse_board(board: Board, core: Core) -> None:
    """Refuse a board whose pointers are too short for the interpreter.

    Raises:
        BoardError: it has an AVR.
    """
    if core.compiler.startswith("avr"):
        raise BoardError(
            f"{board.name}: its {board.core} is an 8-bit AVR with pointers of 16 bits, and "
            "TensorFlow Lite Micro needs 32. Use --runtime engine, or a board with a 32-bit core."
        )


def refuse_other_ends(graph: Graph) -> None:
    """Refuse a model whose interpreter is given other values than int8, which the wire carries.

    Raises:
        ModelError: it begins or ends with a QUANTIZE or DEQUANTIZE.
    """
    others = sorted({graph.input_type, graph.output_type} - {"int8"})
    if others:
        raise ModelError(
            f"the model has {' and '.join(others)} at its ends, and with --runtime tflm its "
            "QUANTIZE and DEQUANTIZE would run on the board, where the wire carries int8. Convert "
            "it with inference_input_type and inference_output_type int8, or use --runtime engine."
        )


def arenas(layout: Layout, core: Core) -> dict[Kernels, Arena]:
    """Return the arena that a model needs on a core, by whose kernels the library has."""
    # Only Arm's ABI for bare metal makes an enum as short as its values allow.
    enum_bytes: Literal[1, 4] = 1 if core.compiler.startswith("arm") else 4
    helium = core.kernel == "helium"
    return {
        "reference": plan_arena(layout, "reference", enum_bytes=enum_bytes),
        "cmsis_nn": plan_arena(layout, "cmsis_nn", enum_bytes=enum_bytes, helium=helium),
    }
