"""Render a graph and a board into a folder of C sources that builds on its own.

Templates hold data and glue; behaviour is copied as it is. The same graph and board give the same
bytes. Layout of the folder::

    Makefile  link.ld  board.h  protocol.h  model.h  model.c  tables.c
    engine/   the forecaster, hand-written
    app/      the console, hand-written
    port/     start-up code of the core, port of the family and what it shares, hand-written
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

import jinja2

from toolchain import __version__
from toolchain.board import Board, Core, boards_dir, in_boards, shared_files
from toolchain.device import protocol
from toolchain.firmware.pack import Scale, pack
from toolchain.graph.fixed_point import sigmoid_table
from toolchain.graph.types import Graph
from toolchain.resources import resource_dir

ENGINE_VERSION = 1
"""FORECAST_ENGINE_VERSION of the engine that the templates are written for."""

_TEMPLATES = {
    "Makefile": "Makefile.j2",
    "board.h": "board.h.j2",
    "protocol.h": "protocol.h.j2",
    "model.h": "model.h.j2",
    "model.c": "model.c.j2",
    "tables.c": "tables.c.j2",
}


def render(graph: Graph, board: Board, core: Core, boards: Path, out: Path) -> None:
    """Write the sources of a firmware for `board`, whose profile lies below `boards`, into `out`.

    The folder appears whole or not at all; what was there before is replaced.
    """
    templates = resource_dir("firmware_templates")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "sources"
        _copy(templates / "engine", folder / "engine")
        _copy(templates / "app", folder / "app")
        (folder / "port").mkdir()
        for file in shared_files(boards, board.family):
            shutil.copyfile(file, folder / "port" / file.name)
        # A family of one's own may add files to one that ships; its files win.
        for place in (boards_dir(), boards):
            if (place / board.family).is_dir():
                _copy(place / board.family, folder / "port")
        shutil.copyfile(in_boards(boards, core.startup), folder / "port" / Path(core.startup).name)
        _render_all(folder, graph, board, core, templates)
        if out.exists():
            # Two renames, so that no moment sees a half-written folder under the final name.
            out.replace(Path(scratch) / "old")
        folder.replace(out)


def _copy(source: Path, target: Path) -> None:
    """Copy the C files of one folder."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.suffix in (".c", ".h", ".S"):
            shutil.copyfile(file, target / file.name)


def _render_all(folder: Path, graph: Graph, board: Board, core: Core, templates: Path) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - C, not HTML
    )
    environment.filters.update(
        float_bits=_float_bits,
        numbers=_numbers,
        parenthesized=_parenthesized,
        scale=_scale,
        scales=_scales,
    )
    sources = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.c"))
    values = {
        "activation_table": sigmoid_table(),
        "board": board,
        "core": core,
        "engine_version": ENGINE_VERSION,
        "model": pack(graph),
        "protocol": protocol,
        "sources": [*sources, "model.c", "tables.c"],
        "version": __version__,
    }
    for name, template in {**_TEMPLATES, "link.ld": core.linker_script}.items():
        text = environment.get_template(template).render(values)
        (folder / name).write_text(text, encoding="utf-8")


# Filters: they format numbers and nothing else.


def _numbers(values: Iterable[int]) -> str:
    """Write integers as the lines of an array."""
    words = [f"{int(value)}," for value in values]
    lines, line = [], "   "
    for word in words:
        if len(line) + 1 + len(word) > 100:
            lines.append(line)
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line])


def _parenthesized(value: int) -> str:
    """Write a number for a macro: a negative one must not meet a minus sign."""
    return f"({value})" if value < 0 else str(value)


def _float_bits(value: float) -> str:
    """Write a float32 as its bits, which have one spelling.

    >>> _float_bits(1.0)
    '0x3f800000u'
    """
    return f"0x{struct.unpack('<I', struct.pack('<f', value))[0]:08x}u"


def _scale(scale: Scale) -> str:
    """Write a `fixed_scale_t`."""
    return f"{{{scale.multiplier}, {scale.shift}}}"


def _scales(scales: Iterable[Scale]) -> str:
    """Write an array of `fixed_scale_t`."""
    return ", ".join(_scale(scale) for scale in scales)
