"""Export a graph as a library for somebody else's firmware, in the form their build system wants.

Every form has the same sources below `src/`: a public header, and a copy of the engine that the
model was packed for, with names of its own. What differs is what lies around them.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from toolchain import __version__
from toolchain.board import Core
from toolchain.errors import InputError
from toolchain.firmware.kernel import Profile
from toolchain.firmware.kernels import choose_kernel
from toolchain.firmware.pack import PackedModel, pack
from toolchain.firmware.render import copy_engine, model_values, open_templates
from toolchain.graph.reference import run
from toolchain.graph.types import Graph
from toolchain.graph.units import UnitsFormat, dequantize_units, quantize_units, units_format
from toolchain.resources import resource_dir

Format = Literal["arduino", "cmake", "esp-idf", "make", "platformio", "zephyr"]
FORMATS: tuple[Format, ...] = get_args(Format)

MARK = "shelfcast-export.json"
"""The file by which a folder of ours is known."""

NO_CLIP = 7.99
"""Deviations that units are clamped to where nobody clipped inputs: what fixed point can hold."""

_TITLES: dict[Format, str] = {
    "arduino": "Arduino",
    "cmake": "CMake",
    "esp-idf": "ESP-IDF",
    "make": "make",
    "platformio": "PlatformIO",
    "zephyr": "Zephyr",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_EXAMPLE_HEADERS = ("golden.h", "example.h")
_FILES: dict[Format, dict[str, str]] = {
    "arduino": {
        "library.properties": "library.properties",
        "keywords.txt": "keywords.txt",
        "examples/Forecast/Forecast.ino": "sketch.ino",
    },
    "cmake": {"CMakeLists.txt": "CMakeLists.cmake", "examples/forecast/main.c": "main.c"},
    "esp-idf": {
        "CMakeLists.txt": "CMakeLists.idf",
        "idf_component.yml": "idf_component.yml",
        "examples/forecast/CMakeLists.txt": "example.CMakeLists.idf",
        "examples/forecast/main/CMakeLists.txt": "main.CMakeLists.idf",
        "examples/forecast/main/main.c": "main.c",
    },
    "make": {"Makefile": "Makefile", "examples/forecast/main.c": "main.c"},
    "platformio": {"library.json": "library.json", "examples/forecast/main.c": "main.c"},
    "zephyr": {
        "zephyr/module.yml": "module.yml",
        "CMakeLists.txt": "CMakeLists.zephyr",
        "Kconfig": "Kconfig",
        "samples/forecast/CMakeLists.txt": "sample.CMakeLists.zephyr",
        "samples/forecast/prj.conf": "prj.conf",
        "samples/forecast/sample.yaml": "sample.yaml",
        "samples/forecast/src/main.c": "main.c",
    },
}
_ENGINE = ("config.h", "model.h", "model.c", "tables.c")
_LIBRARY_VERSION = "1.0.0"
"""Of the exported library: ecosystems want one, and the model's CRC says more."""

# A function that a header declares, and an array or structure: what the linker would see.
_FUNCTION = re.compile(r"^(?!static|typedef|return)[a-z][\w *]*?\b(\w+)\(", re.MULTILINE)
_EXTERN = re.compile(r"^extern[^;]*?(\w+)(?:\[\w*\])?;", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """What a library is compiled for."""

    kernel: str
    standard: str
    flags: tuple[str, ...]
    """What the kernel needs of the compiler, whatever the user's own flags are."""


ANY_CORE = Target("portable", "c99", ())


@dataclass(frozen=True)
class Validated:
    """A verdict about the model that is exported."""

    board: str
    emulated: bool | None
    windows: int
    mismatches: int
    mae: float
    float_mae: float | None
    """None: the model came without a float network."""
    wape_percent: float | None
    verdict: str


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    kernel: str
    header: str
    constant_bytes: int
    state_bytes: int
    units: bool
    """Whether it has functions in sales units."""
    units_refused: str
    """Why it has none; empty where it has them."""


def target_of(core: Core) -> Target:
    """Return what a core's kernel needs; its other flags are the user's own."""
    unified = tuple(flag for flag in core.flags if flag == "-masm-syntax-unified")
    return Target(core.kernel, core.standard, unified)


def check_name(name: str) -> str:
    """Return a name that C identifiers can begin with.

    >>> check_name("shop")
    'shop'

    Raises:
        InputError: it is none.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f'--name "{name}": a name is 1 to 32 of a-z, 0-9 and _, and begins with a letter.'
        )
    return name


def usual_name(words: str) -> str:
    """Make a name of a file's or a project's.

    >>> usual_name("Store-Item 5"), usual_name("7-eleven")
    ('store_item_5', 'm7_eleven')
    """
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:31]
    return name if name[:1].isalpha() else f"m{name}"


def export(
    graph: Graph,
    form: Format,
    name: str,
    out: Path,
    *,
    target: Target = ANY_CORE,
    profile: Profile = "speed",
    limit: float = NO_CLIP,
    validated: Sequence[Validated] = (),
) -> Exported:
    """Write the library `name` into the folder `out`, whole or not at all.

    Args:
        limit: deviations from the mean that inputs in units are clamped to, as in training.
        validated: verdicts about this model, for the README.

    Raises:
        InputError: the name is none, or `out` has other files in it.
    """
    check_name(name)
    _refuse_other(out)
    note = ""
    if form == "arduino" and target.flags:
        note = (
            f" (`{target.kernel}` needs compiler flags, which Arduino's libraries cannot ask for)"
        )
        target = ANY_CORE
    model = pack(graph, choose_kernel(target.kernel, profile, graph))
    units, refused = _units(graph, limit)
    values = {
        **model_values(model),
        "api": f"{name}_forecast",
        "component": out.resolve().name,
        "flags": list(target.flags),
        "format": form,
        "golden": _golden(graph, units),
        "graph": graph,
        "library_version": _LIBRARY_VERSION,
        "macro": name.upper(),
        "name": name,
        "note": note,
        "sizes": {"constants": constant_bytes(model)},
        "standard": "gnu99" if model.kernel.name == "avr" else "c99",
        "title": _TITLES[form],
        "units": units,
        "units_refused": refused,
        "validated": validated,
        "version": __version__,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "library"
        _write(folder, form, model, values)
        if out.exists():
            out.replace(Path(scratch) / "old")
        folder.replace(out)
    return Exported(
        folder=out,
        kernel=model.kernel.name,
        header=f"{name}_forecast.h",
        constant_bytes=constant_bytes(model),
        state_bytes=model.state.bytes,
        units=units is not None,
        units_refused=refused,
    )


def constant_bytes(model: PackedModel) -> int:
    """Count the arrays of a model and the table of the activations, without their structures."""
    matrices = [matrix for layer in model.lstms for matrix in (layer.input, layer.recurrent)]
    words = sum(len(layer.bias) + len(layer.constants) for layer in model.lstms)
    dense = sum(len(it.weights) + 4 * len(it.bias) + 8 * len(it.scale) for it in model.denses)
    table = 2 * len(model_values(model)["activation_table"])
    return sum(matrix.bytes for matrix in matrices) + 4 * words + dense + table


def external_names(headers: Sequence[str]) -> list[str]:
    """Return what the headers of the engine declare for the linker, sorted.

    >>> external_names(["int f_go(int x);", "extern const int f_table[4];", "static int g(void);"])
    ['f_go', 'f_table']
    """
    found = {it for text in headers for it in (*_FUNCTION.findall(text), *_EXTERN.findall(text))}
    return sorted(found)


def _rename_in_assembly(text: str, symbols: Sequence[str], name: str) -> str:
    """Prefix the symbols that string literals spell out: no macro reaches into them."""
    words = re.compile(rf"\b(?<!text\.)({'|'.join(symbols)})\b")
    literal = re.compile(r'"[^"\n]*"')
    return "".join(
        line
        if line.lstrip().startswith("#")
        else literal.sub(lambda it: words.sub(rf"{name}_engine_\1", it[0]), line)
        for line in text.splitlines(keepends=True)
    )


def _refuse_other(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise InputError(
            f"{out}: has other files in it, and no {MARK}; it was left as it is. Name another "
            "folder with --out."
        )


def _units(graph: Graph, limit: float) -> tuple[dict[str, Any] | None, str]:
    """Return the formats of sales units, or why the model's values have none."""
    if graph.shares:
        return None, "its outputs are shares of 1, by a softmax, and no units sold"
    try:
        forms = {
            "input": units_format(graph.input, limit),
            "output": units_format(graph.output, limit),
        }
    except ValueError as cause:
        return None, str(cause)
    return {**forms, "limit": limit}, ""


def _golden(graph: Graph, units: dict[str, Any] | None) -> dict[str, Any]:
    """Invent a window, in int8 and in units, and forecast it with the host's reference."""
    rng = np.random.default_rng(graph.crc32)
    shape = (1, graph.steps, graph.features)
    window = rng.integers(-128, 128, shape, dtype=np.int8)
    golden: dict[str, Any] = {
        "window": window.reshape(-1),
        "outputs": run(graph, window).outputs.reshape(-1),
    }
    if units is None:
        return golden
    form: UnitsFormat = units["input"]
    mean, deviation = int(rng.integers(1 << 16, 100 << 16)), int(rng.integers(1 << 14, 40 << 16))
    sold = np.maximum(0, np.rint(rng.normal(mean, deviation, graph.steps))).astype(np.int64)
    sold = np.minimum(sold, (1 << 31) - 1)
    window = window.copy()
    window[0, :, 0] = quantize_units(sold, mean, deviation, form)
    outputs = run(graph, window).outputs.reshape(-1)
    return golden | {
        "mean": mean,
        "deviation": deviation,
        "units": sold,
        "others": window[0, :, 1:].reshape(-1),
        "units_outputs": dequantize_units(outputs, mean, deviation, units["output"]),
    }


def _write(folder: Path, form: Format, model: PackedModel, values: dict[str, Any]) -> None:
    templates = resource_dir("firmware_templates")
    environment = open_templates(templates)
    source, engine = folder / "src", folder / "src" / "engine"

    def write(path: Path, template: str, **more: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = environment.get_template(template).render({**values, **more})
        path.write_text(text, encoding="utf-8")

    copy_engine(model, templates, engine)
    if values["units"] is None:
        for path in engine.glob("units.*"):
            path.unlink()
    for file in _ENGINE:
        write(engine / file, f"{file}.j2")
    headers = [path.read_text(encoding="utf-8") for path in sorted(engine.glob("*.h"))]
    symbols = external_names(headers)
    for path in engine.glob("*.c"):
        text = _rename_in_assembly(path.read_text(encoding="utf-8"), symbols, values["name"])
        path.write_text(f'#include "prefix.h"\n\n{text}', encoding="utf-8")
    write(engine / "prefix.h", "export/prefix.h.j2", symbols=symbols)
    for suffix in ("h", "c"):
        write(source / f"{values['api']}.{suffix}", f"export/forecast.{suffix}.j2")
    sources = sorted(path.relative_to(folder).as_posix() for path in source.rglob("*.c"))
    for file, template in {**_FILES[form], "README.md": "README.md"}.items():
        path = folder / file
        write(path, f"export/{template}.j2", sources=sources)
        if path.name in ("main.c", "Forecast.ino"):
            for header in _EXAMPLE_HEADERS:
                write(path.with_name(header), f"export/{header}.j2")
    shutil.copyfile(resource_dir("LICENSE"), folder / "LICENSE")
    mark = {
        "shelfcast": __version__,
        "format": form,
        "name": values["name"],
        "model_crc": f"{model.graph.crc32:08x}",
        "model_sha256": model.graph.sha256,
        "kernel": model.kernel.name,
        "profile": model.kernel.profile,
    }
    (folder / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
