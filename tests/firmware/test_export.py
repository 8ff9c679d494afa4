"""Exported libraries, built with what their users have, and their examples run."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from strict_c import SANITIZERS, WARNINGS
from tflite_writer import Recipe

from toolchain.board import boards_dir, read_cores
from toolchain.errors import InputError
from toolchain.firmware.export import (
    ANY_CORE,
    FORMATS,
    MARK,
    Format,
    Validated,
    export,
    external_names,
    target_of,
)
from toolchain.graph.reference import run
from toolchain.graph.types import Graph
from toolchain.graph.units import dequantize_units, quantize_units, units_format

HERE = Path(__file__).parent
MakeGraph = Callable[[Recipe], Graph]
CORES = ("cortex-m0", "cortex-m4", "atmega328p", "rv32imac")
WIDE = Recipe(hidden=(9, 5), features=3, steps=7, dense=(4, 2), seed=3)


def _run(*command: str | Path) -> str:
    result = subprocess.run(
        [str(it) for it in command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _sources(folder: Path) -> list[Path]:
    return sorted((folder / "src").rglob("*.c"))


def _strict(*files: Path, include: tuple[Path, ...], out: Path) -> None:
    paths = [f"-I{path}" for path in include]
    _run("cc", "-std=c99", "-O1", "-g", *WARNINGS, *SANITIZERS, *paths, *files, "-o", out)


@pytest.mark.parametrize("form", FORMATS)
def test_the_example_forecasts_what_the_host_does(
    form: Format, make_graph: MakeGraph, tmp_path: Path
) -> None:
    folder = tmp_path / "library"
    export(make_graph(WIDE), form, "shop", folder)
    (header,) = [*folder.rglob("example.h")]
    main = tmp_path / "main.c"
    main.write_text('#include "example.h"\nint main(void) { return shop_example(); }\n')
    program = tmp_path / "example"
    _strict(main, *_sources(folder), include=(folder / "src", header.parent), out=program)
    _run(program)


def test_the_example_notices_a_wrong_forecast(make_graph: MakeGraph, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    export(make_graph(WIDE), "make", "shop", folder)
    _spoil(folder / "examples/forecast/golden.h")
    _run("make", "-s", "-C", folder, "example")
    result = subprocess.run([folder / "build/example"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "1 values differ" in result.stdout


def test_make_and_cmake_build_and_run_the_example(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(Recipe())
    export(graph, "make", "shop", tmp_path / "make")
    _run("make", "-s", "-C", tmp_path / "make", "example")
    assert "0 values differ" in _run(tmp_path / "make/build/example")
    export(graph, "cmake", "shop", tmp_path / "cmake")
    build = tmp_path / "build"
    _run("cmake", "-S", tmp_path / "cmake", "-B", build)
    _run("cmake", "--build", build)
    _run("ctest", "--test-dir", build, "--output-on-failure")


def test_two_models_are_linked_into_one_cxx_program_by_cmake(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    other = Recipe(hidden=(6,), whole_sequence=True, flatten=True, dense=(5, 2), steps=7)
    export(make_graph(other), "cmake", "bakery", tmp_path / "bakery")
    export(make_graph(WIDE), "cmake", "dairy", tmp_path / "dairy")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(two LANGUAGES C CXX)\n"
        "add_subdirectory(bakery)\nadd_subdirectory(dairy)\n"
        "add_executable(two main.cpp)\n"
        "target_compile_options(two PRIVATE -Wall -Wextra -Wconversion -Wshadow -Werror)\n"
        "target_link_libraries(two PRIVATE bakery::forecast dairy::forecast)\n"
    )
    (tmp_path / "main.cpp").write_text(
        '#include "bakery/examples/forecast/example.h"\n'
        '#include "dairy/examples/forecast/example.h"\n'
        "int main() { return bakery_example() + dairy_example(); }\n"
    )
    build = tmp_path / "build"
    _run("cmake", "-S", tmp_path, "-B", build)
    _run("cmake", "--build", build)
    _run(build / "two")


@pytest.mark.parametrize("name", CORES)
def test_libraries_compile_for_a_core_and_every_symbol_has_the_prefix(
    name: str, make_graph: MakeGraph, tmp_path: Path
) -> None:
    core = read_cores(boards_dir())[name]
    folder = tmp_path / "library"
    export(make_graph(WIDE), "make", "shop", folder, target=target_of(core))
    flags = [flag for flag in core.flags if flag != "-masm-syntax-unified"]
    warnings = [it for it in WARNINGS if it != "-Wundef"]
    _run("make", "-s", "-C", folder, f"CC={core.compiler}gcc", f"AR={core.compiler}ar",
         f"CFLAGS={' '.join([*flags, *warnings, '-Os'])}")  # fmt: skip
    library = folder / "build/libshop_forecast.a"
    listed = _run(f"{core.compiler}nm", "-g", "--defined-only", library).splitlines()
    symbols = [line.split()[-1] for line in listed if len(line.split()) == 3]
    assert len(symbols) > 15
    assert [it for it in symbols if not it.startswith("shop_")] == []
    main = folder / "examples/forecast/main.c"
    _run(f"{core.compiler}gcc", f"-std={core.standard}", *core.flags, "-Os", *warnings,
         f"-I{folder / 'src'}", "-c", main, "-o", tmp_path / "main.o")  # fmt: skip


@dataclass(frozen=True)
class Bare:
    """A machine of QEMU that runs a program with nothing under it."""

    command: tuple[str, ...]
    code: int
    """Where the machine begins to read."""
    ram: int


SEMIHOSTING = ("-nographic", "-monitor", "none", "-serial", "none",
               "-semihosting-config", "enable=on,target=native")  # fmt: skip
BARE = {
    "cortex-m0": Bare(("qemu-system-arm", "-M", "microbit"), 0, 0x20000000),
    "cortex-m4": Bare(("qemu-system-arm", "-M", "mps2-an386"), 0, 0x20000000),
    "rv32imac": Bare(
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none"), 0x80000000, 0x80100000
    ),
}


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("wrong", [0, 1])
def test_an_emulated_core_forecasts_int8_and_units_as_the_host_does(
    name: str, wrong: int, make_graph: MakeGraph, tmp_path: Path
) -> None:
    core, machine = read_cores(boards_dir())[name], BARE[name]
    folder, program = tmp_path / "library", tmp_path / "example.elf"
    export(make_graph(WIDE), "make", "shop", folder, target=target_of(core))
    if wrong:
        _spoil(folder / "examples/forecast/golden.h")
    script = tmp_path / "bare.ld"
    script.write_text(
        "SECTIONS {\n"
        f"    .text {machine.code:#x} : {{ KEEP(*(.vectors)) *(.text* .rodata* .srodata*) }}\n"
        f"    .data {machine.ram:#x} : {{ *(.data* .sdata* .bss* .sbss* COMMON) }}\n}}\n"
    )
    _run(f"{core.compiler}gcc", f"-std={core.standard}", *core.flags, *core.link_flags, "-Os",
         *WARNINGS[:4], "-nostartfiles", f"-I{folder / 'src'}", f"-I{folder / 'examples/forecast'}",
         HERE / "bare_example.c", *_sources(folder), "-T", script, "-Wl,-e,_start",
         "-o", program)  # fmt: skip
    result = subprocess.run(
        [*machine.command, *SEMIHOSTING, "-kernel", program],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (wrong, b"")


def _spoil(golden: Path) -> None:
    """Change one of the units that the example expects."""
    text = golden.read_text()
    start = text.index("{", text.index("units_outputs["))
    value = re.compile(r"-?\d+").search(text, start)
    assert value is not None
    golden.write_text(f"{text[: value.start()]}{int(value[0]) ^ 1}{text[value.end() :]}")


def test_the_sketch_compiles_as_cxx(make_graph: MakeGraph, tmp_path: Path) -> None:
    """With a stand-in for Arduino's Serial: this checks the language, not the board."""
    folder = tmp_path / "library"
    export(make_graph(WIDE), "arduino", "shop", folder)
    stand_in = (
        "struct { void begin(long) {} operator bool() { return true; }"
        " template <class T> void print(T) {} template <class T> void println(T) {}"
        " void println() {} } Serial;\n"
    )
    sketch = folder / "examples/Forecast/Forecast.ino"
    main = sketch.with_suffix(".cpp")
    main.write_text(stand_in + sketch.read_text())
    for compiler, flags in (("c++", ()), ("avr-g++", ("-mmcu=atmega328p",))):
        _run(compiler, "-std=c++11", *flags, "-Wall", "-Wextra", "-Werror",
             f"-I{folder / 'src'}", "-c", main, "-o", tmp_path / "main.o")  # fmt: skip


def test_units_equal_the_hosts_in_every_bit(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph, shelves = make_graph(WIDE), 60
    folder, limit = tmp_path / "library", 4.0
    export(graph, "make", "shop", folder, limit=limit)
    rng = np.random.default_rng(1)
    mean = rng.integers(0, 1 << 30, shelves)
    deviation = rng.integers(1, 1 << 29, shelves)
    deviation[:5], mean[5:10] = 1, 0
    sold = rng.integers(0, (1 << 31) - 1, (shelves, graph.steps))
    sold[::2] = np.clip(
        mean[::2, None] + (sold[::2] % (4 * deviation[::2, None])), 0, (1 << 31) - 1
    )
    others = rng.integers(-128, 128, (shelves, graph.steps, graph.features - 1), dtype=np.int8)
    first = quantize_units(
        sold, mean[:, None], deviation[:, None], units_format(graph.input, limit)
    )
    outputs = run(graph, np.concatenate([first[..., None], others], axis=2)).outputs
    wanted = dequantize_units(
        outputs, mean[:, None], deviation[:, None], units_format(graph.output, limit)
    )
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "shop_forecast.h"\n'
        "#define S SHOP_FORECAST_STEPS\n#define N (SHOP_FORECAST_FEATURES - 1)\n"
        "int main(void) {\n"
        "    static int32_t in[2 + S], out[SHOP_FORECAST_OUTPUTS];\n"
        "    static int8_t others[S * N];\n    static shop_forecast_t state;\n"
        "    shop_forecast_init(&state);\n"
        "    while (fread(in, sizeof in, 1, stdin) == 1 &&"
        " fread(others, sizeof others, 1, stdin) == 1) {\n"
        "        const shop_forecast_scaling_t scaling = {in[0], in[1]};\n"
        "        if (shop_forecast_window_units(in + 2, others, &scaling, out, &state)) return 1;\n"
        "        fwrite(out, sizeof out, 1, stdout);\n    }\n    return 0;\n}\n"
    )
    program = tmp_path / "units"
    _strict(main, *_sources(folder), include=(folder / "src",), out=program)
    data = b"".join(
        np.array([mean[i], deviation[i], *sold[i]], "<i4").tobytes() + others[i].tobytes()
        for i in range(shelves)
    )
    result = subprocess.run([program], input=data, capture_output=True, check=True)
    heard = np.frombuffer(result.stdout, "<i4").reshape(shelves, graph.outputs)
    assert len(set(wanted.reshape(-1).tolist())) > shelves // 2
    np.testing.assert_array_equal(heard, wanted)


def test_a_model_whose_steps_are_too_wide_has_no_functions_in_units(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    graph = make_graph(Recipe(output_scale=3.0))
    assert not export(graph, "make", "shop", tmp_path / "library").units
    _run("make", "-s", "-C", tmp_path / "library", "example")
    assert "0 values differ" in _run(tmp_path / "library/build/example")
    assert "scale of 3 deviations" in (tmp_path / "library/README.md").read_text()


def test_a_softmax_has_no_functions_in_units(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(Recipe(hidden=(4,), steps=5, dense=(3,), then=("softmax",)))
    words = "its outputs are shares of 1, by a softmax, and no units sold"
    exported = export(graph, "make", "shop", tmp_path / "library")
    assert (exported.units, exported.units_refused) == (False, words)
    _run("make", "-s", "-C", tmp_path / "library", "example")
    assert "0 values differ" in _run(tmp_path / "library/build/example")
    assert f"Left out: {words}.\n" in (tmp_path / "library/README.md").read_text()


def test_a_kernel_that_needs_flags_is_not_given_to_arduino(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    target = target_of(read_cores(boards_dir())["cortex-m0"])
    assert export(
        make_graph(Recipe()), "arduino", "shop", tmp_path / "a", target=target
    ).kernel == (ANY_CORE.kernel)
    assert "cannot ask for" in (tmp_path / "a/README.md").read_text()


def test_metadata_is_what_the_ecosystems_read(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(Recipe())
    for form in FORMATS:
        export(graph, form, "shop", tmp_path / form)
    values = dict(
        line.split("=", 1)
        for line in (tmp_path / "arduino/library.properties").read_text().splitlines()
    )
    # The fields that Arduino's library specification requires.
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url",
            "architectures"} <= values.keys()  # fmt: skip
    assert (tmp_path / "arduino/src" / values["includes"]).is_file()
    described = json.loads((tmp_path / "platformio/library.json").read_text())
    for path in described["examples"][0]["files"]:
        assert (tmp_path / "platformio" / described["examples"][0]["base"] / path).is_file()
    for form, file in (("zephyr", "CMakeLists.txt"), ("esp-idf", "CMakeLists.txt")):
        named = re.findall(r"src/\S+\.c", (tmp_path / form / file).read_text())
        assert named == [
            path.relative_to(tmp_path / form).as_posix() for path in _sources(tmp_path / form)
        ]


def test_the_readme_has_verdicts_or_blanks(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(Recipe())
    verdict = Validated("microbit", True, 60, 0, 3.21875, 3.25, None, "pass")
    export(graph, "make", "shop", tmp_path / "a", validated=[verdict])
    text = (tmp_path / "a/README.md").read_text()
    assert f"{graph.crc32:08x}" in text
    assert "| microbit (emulated, not measured on hardware) | 60 | 0 | 3.2188 |" in text
    export(graph, "make", "shop", tmp_path / "b")
    assert "Nobody validated this model" in (tmp_path / "b/README.md").read_text()


def test_the_same_model_gives_the_same_bytes_and_replaces_only_its_own(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    graph, folder = make_graph(Recipe()), tmp_path / "library"

    def content() -> dict[Path, bytes]:
        return {it: it.read_bytes() for it in folder.rglob("*") if it.is_file()}

    export(graph, "cmake", "shop", folder)
    first = content()
    export(graph, "cmake", "shop", folder)
    assert content() == first
    (folder / MARK).unlink()
    with pytest.raises(InputError, match="other files"):
        export(graph, "cmake", "shop", folder)
    assert len(content()) == len(first) - 1
    with pytest.raises(InputError, match="begins with a letter"):
        export(graph, "cmake", "7up", tmp_path / "other")


def test_external_names_are_read_past_comments_and_line_ends() -> None:
    header = (
        "// int not_this(int x);\nint one_name(const int8_t *a,\n    int b);\n"
        "static inline int hidden_name(int x) {\n    return call_of(x);\n}\n"
        "extern const FLASH_DATA int16_t\n    table_name[514];  // k\n"
        "const int8_t *pointer_name(int);\n"
    )
    assert external_names([header]) == ["one_name", "pointer_name", "table_name"]
