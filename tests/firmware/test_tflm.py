"""Finding a TensorFlow Lite Micro, and refusing one that does not suit, each in one line."""

from __future__ import annotations

import os
import subprocess

import pytest
from tflite_writer import Recipe
from tflm import render_recipe

from toolchain.board import boards_dir, find_board, read_cores
from toolchain.errors import CompileError, ToolMissing
from toolchain.firmware.build import build
from toolchain.firmware.tflm import LIBRARY, Tflm, find_tflm, refuse_other_core

HEADERS = {
    ".": "tensorflow/lite/micro/micro_interpreter.h",
    "third_party/flatbuffers/include": "flatbuffers/flatbuffers.h",
    "third_party/gemmlowp": "fixedpoint/fixedpoint.h",
    "third_party/ruy": "ruy/profiler/instrumentation.h",
}


@pytest.fixture
def checkout(tmp_path):
    """Folders as TensorFlow Lite Micro's project generation lays them out, and a library."""
    root = tmp_path / "tflm"
    for place, header in HEADERS.items():
        (root / place / header).parent.mkdir(parents=True, exist_ok=True)
        (root / place / header).touch()
    (root / LIBRARY).touch()
    return root


def test_a_root_brings_the_folders_below_it(checkout):
    found = find_tflm(str(checkout), str(checkout / LIBRARY), {})

    assert found.includes == tuple(checkout / place for place in HEADERS)
    assert found.libraries == (checkout / LIBRARY,)


def test_the_environment_names_what_no_flag_does_and_a_folder_means_its_library(checkout):
    environment = {
        "SHELFCAST_TFLM_INCLUDE": str(checkout),
        "SHELFCAST_TFLM_LIB": str(checkout),
    }

    assert find_tflm(None, None, environment) == find_tflm(str(checkout), str(checkout), {})


def test_several_folders_are_separated_as_in_path(checkout):
    roots = os.pathsep.join([str(checkout), *(str(checkout / place) for place in HEADERS)])

    assert find_tflm(roots, str(checkout), {}).includes[-1] == checkout / "third_party/ruy"


@pytest.mark.parametrize(("include", "flag"), [(False, "INCLUDE"), (True, "LIB")])
def test_nothing_named_is_one_line(checkout, include, flag):
    with pytest.raises(ToolMissing) as caught:
        find_tflm(str(checkout) if include else None, None, {})

    assert str(caught.value) == (
        "TensorFlow Lite Micro: --runtime tflm is built with your own. Name it with "
        f"--tflm-{flag.lower()}, or in SHELFCAST_TFLM_{flag}; docs/tflm.md says how it is built."
    )
    assert caught.value.exit_code == 3


def test_a_header_that_is_in_none_of_the_folders_is_named(checkout):
    (checkout / "third_party/gemmlowp/fixedpoint/fixedpoint.h").unlink()

    with pytest.raises(ToolMissing) as caught:
        find_tflm(str(checkout), str(checkout), {})

    assert str(caught.value) == (
        f"gemmlowp: fixedpoint/fixedpoint.h is in none of {checkout}. Name its folder too, as "
        f"--tflm-include A{os.pathsep}B; docs/tflm.md says which."
    )


def test_a_library_that_is_not_there_is_named(checkout):
    with pytest.raises(ToolMissing) as caught:
        find_tflm(str(checkout), str(checkout / "no.a"), {})

    assert str(caught.value) == (
        f"{checkout / 'no.a'}: no such library. Build TensorFlow Lite Micro for the board's core "
        "(its makefile's target microlite), and name the file with --tflm-lib."
    )


def test_a_blank_in_a_path_is_refused_before_make_stumbles_over_it(checkout):
    other = checkout.rename(checkout.with_name("my tflm"))

    with pytest.raises(ToolMissing, match="make cannot work with a blank in a path"):
        find_tflm(str(other), str(other), {})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("-mcpu=cortex-m3", None),
        ("-mcpu=cortex-m4 -mfloat-abi=soft", "it needs instructions of a larger core"),
        ("-mcpu=cortex-m33+nodsp -mfloat-abi=softfp -mfpu=fpv5-sp-d16", "it needs"),
    ],
)
def test_an_image_that_demands_more_than_the_core_is_refused(flags, words, tmp_path, arm_gcc):
    (tmp_path / "one.c").write_text("float one(float x) { return x * x; }\n")
    for name, of in (("own.o", "-mcpu=cortex-m3"), ("image.elf", flags)):
        command = [arm_gcc, "-mthumb", *of.split(), "-c", "one.c", "-o", name]
        subprocess.run(command, cwd=tmp_path, check=True)
    board = find_board("stm32vldiscovery", boards_dir())
    given = (
        tmp_path / "image.elf",
        tmp_path / "own.o",
        board,
        read_cores(boards_dir())[board.core],
    )
    if words is None:
        refuse_other_core(*given)
        return

    with pytest.raises(CompileError) as caught:
        refuse_other_core(*given)

    assert str(caught.value).startswith(
        "stm32vldiscovery: the TensorFlow Lite Micro of --tflm-lib was built for another core or "
        f"float ABI ({words}"
    )
    assert str(caught.value).endswith("Build it with -mcpu=cortex-m3 -mthumb.")
    assert not (tmp_path / "image.elf").exists()  # nothing to run by mistake


LD = "/usr/lib/gcc/arm-none-eabi/12.2.1/../../../arm-none-eabi/bin/ld: "


@pytest.mark.parametrize(
    ("board", "line", "error", "message"),
    [
        (
            "stm32vldiscovery",
            "tflm/forecast.cc:3:10: fatal error: cstdarg: No such file or directory",
            ToolMissing,
            "C++ library of arm-none-eabi-g++: not found. Install it: "
            "sudo apt-get install libstdc++-arm-none-eabi-newlib",
        ),
        (
            "hifive1",
            "tflm/forecast.cc:3:10: fatal error: cstdarg: No such file or directory",
            ToolMissing,
            "C++ library of riscv64-unknown-elf-g++: not found, and Debian has none. Put a "
            "compiler that comes with one first in PATH, or use --runtime engine.",
        ),
        (
            "netduinoplus2",
            f"{LD}error: libm.a(lstm.o) uses VFP register arguments, firmware.elf does not",
            CompileError,
            "netduinoplus2: the TensorFlow Lite Micro of --tflm-lib was built for another core or "
            "float ABI (libm.a(lstm.o) uses VFP register arguments, firmware.elf does not). Build "
            "it with -mcpu=cortex-m4 -mthumb -mfloat-abi=soft.",
        ),
        (
            "netduinoplus2",
            f"{LD}forecast.cc:50: undefined reference to `tflite::Register_TANH()'",
            CompileError,
            "netduinoplus2: the TensorFlow Lite Micro of --tflm-lib lacks tflite::Register_TANH. "
            "Its headers are of another version, or it was built without what the model needs.",
        ),
        (
            "netduinoplus2",
            "tflm/forecast.cc:20:37: error: static assertion failed: this TensorFlow Lite Micro "
            "reads another version of the .tflite schema",
            CompileError,
            "netduinoplus2: tflm/forecast.cc:20:37: error: static assertion failed: this "
            "TensorFlow Lite Micro reads another version of the .tflite schema. Repeat it: make",
        ),
    ],
    ids=["no C++ library", "none in Debian", "float ABI", "operator", "schema"],
)
def test_what_compiler_and_linker_say_becomes_one_line(board, line, error, message, tmp_path):
    rendered = render_recipe(Recipe(hidden=(4,), steps=3), board, tmp_path)
    (rendered.sources / "said.txt").write_text(f"{line}\n")
    (rendered.sources / "Makefile").write_text("all:\n\t@cat said.txt; exit 1\n")

    with pytest.raises(error) as caught:
        build(rendered.sources, rendered.board, rendered.core, tflm=Tflm((), ()))

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_compiler_without_its_c_plus_plus_part_is_named(tmp_path):
    rendered = render_recipe(Recipe(hidden=(4,), steps=3), "stm32vldiscovery", tmp_path)

    with pytest.raises(ToolMissing) as caught:
        build(
            rendered.sources, rendered.board, rendered.core, tflm=Tflm((), ()),
            which=lambda name: None if name.endswith("g++") else name,
        )  # fmt: skip

    assert str(caught.value).startswith("arm-none-eabi-g++: not found. Install it: ")
