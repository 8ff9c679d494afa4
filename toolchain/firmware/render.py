"""Render a graph and a board into a folder of C sources that builds on its own.

Templates hold data and glue; behaviour is copied as it is. The same graph and board give the same
bytes. Layout of the folder::

    Makefile  link.ld  board.h  config.h  protocol.h  model.h  model.c  tables.c
    engine/   the forecaster with one LSTM kernel, hand-written
    app/      the console, and the shelf application if it is wanted (then with inputs.h, inputs.c)
    port/     start-up code of the core, port of the family and what it shares, hand-written
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from toolchain import __version__
from toolchain.board import (
    Board,
    Core,
    boards_dir,
    in_boards,
    shared_files,
    without_storage,
)
from toolchain.device import protocol
from toolchain.firmware.kernel import Bytes, Profile
from toolchain.firmware.kernels import choose_kernel
from toolchain.firmware.pack import PackedModel, Scale, pack
from toolchain.firmware.tables import activation_table
from toolchain.graph.types import Graph
from toolchain.resources import resource_dir
from toolchain.shelf.forecast import ShelfModel

ENGINE_VERSION = 2
"""FORECAST_ENGINE_VERSION of the engine that the templates are written for."""

_TEMPLATES = {
    "Makefile": "Makefile.j2",
    "board.h": "board.h.j2",
    "config.h": "config.h.j2",
    "protocol.h": "protocol.h.j2",
    "model.h": "model.h.j2",
    "model.c": "model.c.j2",
    "tables.c": "tables.c.j2",
}
_SHELF_TEMPLATES = {"inputs.h": "inputs.h.j2", "inputs.c": "inputs.c.j2"}
_OF_THE_SHELF = (
    "engine/units.c",
    "engine/units.h",
    *(
        f"app/{name}.{ending}"
        for name in ("calendar", "decimal", "sensor", "shelf", "shelf_verbs", "storage")
        for ending in ("c", "h")
    ),
)
"""Files that a firmware without the shelf application does not have."""


def render(
    graph: Graph,
    board: Board,
    core: Core,
    boards: Path,
    out: Path,
    profile: Profile = "speed",
    shelf: ShelfModel | None = None,
) -> None:
    """Write the sources of a firmware for `board`, whose profile lies below `boards`, into `out`.

    With `shelf`, the console and the shelf application around the graph; else the console alone.
    The folder appears whole or not at all; what was there before is replaced.
    """
    templates = resource_dir("firmware_templates")
    with new_folder(out) as folder:
        model = pack(graph, choose_kernel(core.kernel, profile, graph))
        copy_engine(model, templates, folder / "engine")
        copy_c(templates / "app", folder / "app")
        if shelf is None:
            leave_out_shelf(folder)
        else:
            board = without_storage(board)
        copy_port(board, core, boards, folder / "port")
        data = _TEMPLATES if shelf is None else {**_TEMPLATES, **_SHELF_TEMPLATES}
        line_bytes = protocol.line_bytes_for(graph.features, board.line_bytes)
        values = {**model_values(model), "shelf": shelf, "line_bytes": line_bytes}
        render_templates(folder, data, board, core, values)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to be filled, which then takes the place of `out`, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "sources"
        folder.mkdir()
        yield folder
        if out.exists():
            # Two renames, so that no moment sees a half-written folder under the final name.
            out.replace(Path(scratch) / "old")
        folder.replace(out)


def leave_out_shelf(folder: Path) -> None:
    """Remove what a firmware without the shelf application does not have."""
    for name in _OF_THE_SHELF:
        (folder / name).unlink(missing_ok=True)


def copy_port(board: Board, core: Core, boards: Path, target: Path) -> None:
    """Copy the port of a board's family, what it shares with others, and its core's start-up."""
    target.mkdir()
    for file in shared_files(boards, board.family):
        shutil.copyfile(file, target / file.name)
    # A family of one's own may add files to one that ships; its files win.
    for place in (boards_dir(), boards):
        if (place / board.family).is_dir():
            copy_c(place / board.family, target)
    shutil.copyfile(in_boards(boards, core.startup), target / Path(core.startup).name)


def copy_engine(model: PackedModel, templates: Path, target: Path) -> None:
    """Copy what a model needs of the engine: one LSTM kernel, softmax where it has one."""
    copy_c(templates / "engine", target)
    for file in target.glob("lstm_*.c"):
        if file.stem != f"lstm_{model.kernel.name}":
            file.unlink()
    if not model.has_softmax:
        for file in target.glob("softmax.*"):
            file.unlink()


def copy_c(source: Path, target: Path) -> None:
    """Copy the C and C++ files of one folder."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.suffix in (".c", ".cc", ".h", ".S"):
            shutil.copyfile(file, target / file.name)


def open_templates(templates: Path) -> jinja2.Environment:
    """Return the environment that templates of C are rendered in."""
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
        signed_bytes=_signed_bytes,
    )
    return environment


def model_values(model: PackedModel) -> dict[str, Any]:
    """Return what the templates of config.h, model.h, model.c and tables.c are rendered from."""
    return {
        "activation_table": activation_table(model.kernel.table),
        "engine_version": ENGINE_VERSION,
        "model": model,
        "shelf": None,
    }


def render_templates(
    folder: Path,
    templates: Mapping[str, str],
    board: Board,
    core: Core,
    values: Mapping[str, Any],
) -> None:
    """Render files of a firmware, and its linker script, into a folder with all others in it.

    Args:
        folder: the firmware's.
        templates: the files' names, and their templates below `firmware_templates/`.
        board: its profile.
        core: the board's.
        values: for the templates, beside what every firmware's are rendered from.
    """
    environment = open_templates(resource_dir("firmware_templates"))
    files = [file for file in folder.rglob("*.c*") if file.suffix in (".c", ".cc")]
    sources = sorted(file.relative_to(folder).as_posix() for file in files)
    sources += sorted(name for name in templates if name.endswith(".c"))
    values = {
        **values,
        "board": board,
        "core": core,
        "protocol": protocol,
        "sources": sources,
        "version": __version__,
    }
    for name, template in {**templates, "link.ld": core.linker_script}.items():
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


def _signed_bytes(values: Bytes) -> list[int]:
    """Read bytes as int8."""
    return [int(value) for value in values.view(np.int8)]
