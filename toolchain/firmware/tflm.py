"""Find the TensorFlow Lite Micro that the user built: folders with headers, and libraries.

Nothing here downloads or builds it. Lists are separated as PATH is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.board import Board, Core
from toolchain.errors import CompileError, ToolMissing
from toolchain.firmware.elf import read_arm_attributes

INCLUDE_VARIABLE = "SHELFCAST_TFLM_INCLUDE"
LIB_VARIABLE = "SHELFCAST_TFLM_LIB"
LIBRARY = "libtensorflow-microlite.a"
"""What TensorFlow Lite Micro's own makefile calls it."""

_BELOW = tuple(
    Path(place, name)
    for place in ("tensorflow/lite/micro/tools/make/downloads", "third_party")
    for name in ("flatbuffers/include", "gemmlowp", "ruy")
)
"""Where a checkout, after its makefile ran, and a tree of its project generation have the headers
of others."""
_DEMANDS = {
    "TAG_CPU_ARCH": "instructions of a larger core",
    "TAG_FP_ARCH": "a floating-point unit",
    "TAG_MVE_ARCH": "vector instructions",
    "TAG_DSP_EXTENSION": "DSP instructions",
}
"""What it means that an attribute of objects for Arm is larger than the core's."""
_HEADERS = {
    "tensorflow/lite/micro/micro_interpreter.h": "TensorFlow Lite Micro",
    "flatbuffers/flatbuffers.h": "flatbuffers",
    "fixedpoint/fixedpoint.h": "gemmlowp",
    "ruy/profiler/instrumentation.h": "ruy",
}
"""One of each folder that is needed."""


@dataclass(frozen=True)
class Tflm:
    """A TensorFlow Lite Micro to build with."""

    includes: tuple[Path, ...]
    """Folders with headers, absolute."""
    libraries: tuple[Path, ...]
    """Files, absolute."""


def find_tflm(
    include: str | None, lib: str | None, environment: Mapping[str, str] = os.environ
) -> Tflm:
    """Find what the flags, or else the environment, name.

    Args:
        include: folders; below a checkout's, those of flatbuffers, gemmlowp and ruy are found.
        lib: libraries, or folders with the one that TensorFlow Lite Micro's makefile makes.
        environment: the variables.

    Raises:
        ToolMissing: nothing is named, or something of it is not there.
    """
    includes = _named(include, "--tflm-include", INCLUDE_VARIABLE, environment)
    libraries = _named(lib, "--tflm-lib", LIB_VARIABLE, environment)
    folders: list[Path] = []
    for folder in includes:
        folders += [folder, *(folder / below for below in _BELOW if (folder / below).is_dir())]
    for header, project in _HEADERS.items():
        if not any((folder / header).is_file() for folder in folders):
            raise ToolMissing(
                f"{project}: {header} is in none of {os.pathsep.join(map(str, includes))}. Name "
                f"its folder too, as --tflm-include A{os.pathsep}B; docs/tflm.md says which."
            )
    files = tuple(path / LIBRARY if path.is_dir() else path for path in libraries)
    for file in files:
        if not file.is_file():
            raise ToolMissing(
                f"{file}: no such library. Build TensorFlow Lite Micro for the board's core "
                "(its makefile's target microlite), and name the file with --tflm-lib."
            )
    for path in (*folders, *files):
        if any(character.isspace() for character in str(path)):
            raise ToolMissing(
                f"{path}: make cannot work with a blank in a path. Put TensorFlow Lite Micro "
                "somewhere else, or make a link without one."
            )
    return Tflm(tuple(folders), files)


def _named(
    given: str | None, flag: str, variable: str, environment: Mapping[str, str]
) -> list[Path]:
    """Return the paths that a flag or a variable has."""
    words = given if given is not None else environment.get(variable, "")
    paths = [Path(word).absolute() for word in words.split(os.pathsep) if word]
    if not paths:
        raise ToolMissing(
            f"TensorFlow Lite Micro: --runtime tflm is built with your own. Name it with {flag}, "
            f"or in {variable}; docs/tflm.md says how it is built."
        )
    return paths


def refuse_other_core(image: Path, own: Path, board: Board, core: Core) -> None:
    """Refuse an image that demands more of the core than our own objects do.

    The linker joins objects for a larger core, or for one with a floating-point unit, without a
    word; they would fault on the board.

    Args:
        image: with the library.
        own: an object that was compiled for the board's core.
        board: its profile.
        core: the board's.

    Raises:
        CompileError: the library was built for another core.
    """
    wanted, allowed = read_arm_attributes(image), read_arm_attributes(own)
    for tag, words in _DEMANDS.items():
        if wanted.get(tag, 0) > allowed.get(tag, 0):
            image.unlink()
            raise CompileError(other_core(f"it needs {words}", board, core))


def other_core(words: str, board: Board, core: Core) -> str:
    """Say that a library was built for another core than a board's, in a linker's words."""
    return (
        f"{board.name}: the TensorFlow Lite Micro of --tflm-lib was built for another core or "
        f"float ABI ({words.rstrip('.')}). Build it with {' '.join(core.flags)}."
    )
