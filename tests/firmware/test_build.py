from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tflite_writer import Recipe

from toolchain.board import boards_dir, read_boards
from toolchain.errors import CompileError, DoesNotFit, ToolMissing
from toolchain.firmware.build import build
from toolchain.firmware.render import ENGINE_VERSION

pytestmark = pytest.mark.usefixtures("arm_gcc")

BOARDS = [board.name for board in read_boards(boards_dir())]


def without(program: str) -> Callable[[str], str | None]:
    """A PATH without one program."""
    return lambda name: None if name == program else shutil.which(name)


@pytest.mark.parametrize("name", BOARDS)
def test_two_folders_give_the_same_bytes(name, render_for, tmp_path):
    rendered = render_for(name)
    other = tmp_path / "another place" / "with a longer name"
    shutil.copytree(rendered.sources, other)
    out = tmp_path / "out"
    images = [
        build(rendered.sources, rendered.board, rendered.core),
        build(rendered.sources, rendered.board, rendered.core, out=out),
        build(other, rendered.board, rendered.core),
    ]
    assert images[0].path == rendered.sources / "build" / "firmware.elf"
    assert images[1].path == out / "firmware.elf"
    for kind in ("firmware.elf", "firmware.bin"):
        first, *others = (image.path.with_name(kind).read_bytes() for image in images)
        assert others == [first, first]
    assert str(tmp_path).encode() not in images[0].path.read_bytes()


def test_a_person_needs_nothing_but_make(render_for):
    rendered = render_for()
    subprocess.run(["make", "-C", rendered.sources], check=True, capture_output=True)
    by_hand = (rendered.sources / "build" / "firmware.elf").read_bytes()
    subprocess.run(["make", "-C", rendered.sources, "clean"], check=True, capture_output=True)
    assert not (rendered.sources / "build").exists()
    image = build(rendered.sources, rendered.board, rendered.core)
    assert image.path.read_bytes() == by_hand


def test_what_is_built_already_is_not_built_again(render_for):
    rendered = render_for()
    image = build(rendered.sources, rendered.board, rendered.core)
    seconds = image.path.stat().st_mtime_ns
    heard = []
    build(
        rendered.sources,
        rendered.board,
        rendered.core,
        progress=lambda fraction, words: heard.append((fraction, words)),
    )
    assert image.path.stat().st_mtime_ns == seconds
    assert heard == [(1.0, "built")]


def test_progress_grows_to_one(render_for):
    rendered = render_for()
    heard = []
    build(
        rendered.sources,
        rendered.board,
        rendered.core,
        progress=lambda fraction, words: heard.append((fraction, words)),
    )
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert heard[-1] == (1.0, "built")
    assert "compiling engine/forecast.c" in [words for _, words in heard]


def test_a_missing_compiler_is_named_with_its_package(render_for):
    rendered = render_for()
    with pytest.raises(ToolMissing) as caught:
        build(rendered.sources, rendered.board, rendered.core, which=without("arm-none-eabi-gcc"))
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "arm-none-eabi-gcc: not found. Install it: "
        "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
    )


def test_a_missing_make_is_named_with_its_package(render_for):
    rendered = render_for()
    with pytest.raises(ToolMissing) as caught:
        build(rendered.sources, rendered.board, rendered.core, which=without("make"))
    assert str(caught.value) == "make: not found. Install it: sudo apt-get install make"


def test_a_missing_c_library_is_named_with_its_package(render_for):
    rendered = render_for()
    makefile = rendered.sources / "Makefile"
    text = makefile.read_text()
    assert "--specs=nano.specs" in text
    makefile.write_text(text.replace("--specs=nano.specs", "--specs=absent-nano.specs"))
    with pytest.raises(ToolMissing) as caught:
        build(rendered.sources, rendered.board, rendered.core)
    assert str(caught.value) == (
        "C library of arm-none-eabi-gcc: not found. Install it: "
        "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
    )


def test_a_compile_error_shows_the_compilers_words_and_how_to_see_all_of_them(render_for):
    rendered = render_for()
    source = rendered.sources / "app" / "hex.c"
    source.write_text(source.read_text() + "int hex_broken(void) { (void)absent; return 0; }\n")
    line = source.read_text().count("\n")
    with pytest.raises(CompileError) as caught:
        build(rendered.sources, rendered.board, rendered.core)
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        f"stm32vldiscovery: app/hex.c:{line}:30: error: 'absent' undeclared (first use in this "
        f"function). Repeat it: make -C {shlex.quote(str(rendered.sources))}"
    )
    assert not (rendered.sources / "build" / "firmware.elf").exists()


def test_a_warning_is_an_error(render_for):
    rendered = render_for()
    source = rendered.sources / "app" / "hex.c"
    source.write_text(source.read_text() + "static void hex_unused(void) {}\n")
    with pytest.raises(CompileError, match=r"app/hex\.c:\d+:13: error: 'hex_unused' defined but"):
        build(rendered.sources, rendered.board, rendered.core)


def test_a_link_error_names_what_is_undefined(render_for):
    rendered = render_for()
    source = rendered.sources / "app" / "main.c"
    text = source.read_text().replace("console_start();", "console_absent();")
    source.write_text(text.replace("int main", "void console_absent(void);\nint main"))
    with pytest.raises(
        CompileError,
        match=r"^stm32vldiscovery: .*main\.c:\d+: undefined reference to `console_absent'\. Repeat",
    ):
        build(rendered.sources, rendered.board, rendered.core)


def test_a_makefile_that_make_cannot_read_is_named_with_its_line(render_for):
    rendered = render_for()
    with (rendered.sources / "Makefile").open("a") as makefile:
        makefile.write("no rule\n")
    with pytest.raises(
        CompileError, match=r"^stm32vldiscovery: Makefile:\d+: \*\*\* missing separator\. +Stop\."
    ):
        build(rendered.sources, rendered.board, rendered.core)


def test_a_model_of_another_engine_does_not_compile(render_for):
    rendered = render_for()
    header = rendered.sources / "engine" / "forecast.h"
    text = header.read_text()
    assert f"#define FORECAST_ENGINE_VERSION {ENGINE_VERSION}\n" in text
    header.write_text(text.replace(f"_VERSION {ENGINE_VERSION}\n", "_VERSION 99\n"))
    complaint = f"rendered for engine version {ENGINE_VERSION}: render it again"
    with pytest.raises(CompileError, match=complaint):
        build(rendered.sources, rendered.board, rendered.core)


def test_lines_too_short_for_a_sample_do_not_compile(render_for):
    rendered = render_for(recipe=Recipe(hidden=(2,), steps=2, features=60), line_bytes=96)
    header = rendered.sources / "board.h"
    header.write_text(header.read_text().replace("LINE_BYTES 143u", "LINE_BYTES 142u"))
    with pytest.raises(CompileError, match="the lines are too short for one sample of this model"):
        build(rendered.sources, rendered.board, rendered.core)


def shrunk(rendered_board_name: str, kind: str, size: int) -> dict[str, object]:
    """Values of a profile with one memory made smaller."""
    board = next(item for item in read_boards(boards_dir()) if item.name == rendered_board_name)
    return {
        "memory": tuple(
            region.model_copy(update={"bytes": size}) if region.kind == kind else region
            for region in board.memory
        )
    }


def test_an_image_too_large_for_flash_says_by_how_much_and_what_is_large(render_for, tmp_path):
    big = Recipe(hidden=(32,), steps=3)
    fitting = render_for(recipe=big)
    flash_bytes = build(fitting.sources, fitting.board, fitting.core).flash_bytes
    shutil.rmtree(fitting.sources)
    rendered = render_for(recipe=big, **shrunk("stm32vldiscovery", "flash", 8192))
    with pytest.raises(DoesNotFit) as caught:
        build(rendered.sources, rendered.board, rendered.core)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(
        f"stm32vldiscovery: needs {flash_bytes:,} bytes of flash, has 8,192, "
        f"{flash_bytes - 8192:,} too few; largest: model_lstm0_recurrent_weights 4,096, "
    )
    assert str(caught.value).endswith(
        ". Try a smaller --hidden or a larger board (shelfcast boards lists them)."
    )


def test_code_behind_the_constants_of_an_avr_says_by_how_much_it_is_too_large(render_for):
    if shutil.which("avr-gcc") is None:
        pytest.skip("avr-gcc is not installed")
    fitting = render_for("arduino-uno")
    flash_bytes = build(fitting.sources, fitting.board, fitting.core).flash_bytes
    shutil.rmtree(fitting.sources)
    rendered = render_for("arduino-uno", **shrunk("arduino-uno", "flash", flash_bytes - 2))
    with pytest.raises(
        DoesNotFit,
        match=f"arduino-uno: needs {flash_bytes:,} bytes of flash, has {flash_bytes - 2:,}, 2 too",
    ):
        build(rendered.sources, rendered.board, rendered.core)


def test_variables_and_stack_too_large_for_ram_are_refused_with_both(render_for):
    fitting = render_for()
    image = build(fitting.sources, fitting.board, fitting.core)
    needed = image.ram_bytes + 1024
    shutil.rmtree(fitting.sources)
    exact = render_for(**shrunk("stm32vldiscovery", "ram", needed))
    assert build(exact.sources, exact.board, exact.core).ram_bytes == image.ram_bytes
    shutil.rmtree(exact.sources)
    rendered = render_for(**shrunk("stm32vldiscovery", "ram", needed - 8))
    with pytest.raises(DoesNotFit) as caught:
        build(rendered.sources, rendered.board, rendered.core)
    assert str(caught.value).startswith(
        f"stm32vldiscovery: needs {needed:,} bytes of RAM (1,024 of it stack), has {needed - 8:,}, "
        "8 too few; largest: console_line 260, "
    )


def test_flash_and_ram_too_small_are_both_named(render_for):
    memory = shrunk("stm32vldiscovery", "flash", 4096)["memory"]
    small = tuple(
        region.model_copy(update={"bytes": 1280}) if region.kind == "ram" else region
        for region in memory
    )
    rendered = render_for(memory=small)
    with pytest.raises(DoesNotFit, match=r"bytes of flash, has 4,096.* and needs .* bytes of RAM"):
        build(rendered.sources, rendered.board, rendered.core)


def test_an_interrupted_build_stops_its_compilers(render_for, tmp_path):
    rendered = render_for()
    mark = tmp_path / "compiler_runs"
    slow = tmp_path / "bin" / "arm-none-eabi-gcc"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(mark))}\nexec sleep 61.25\n")
    slow.chmod(0o755)
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from toolchain.board import *
        from toolchain.firmware.build import build
        board = find_board("stm32vldiscovery", boards_dir())
        core = read_cores(boards_dir())[board.core]
        build(Path({str(rendered.sources)!r}), board, core)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PATH": f"{slow.parent}:/usr/bin:/bin", "PYTHONPATH": str(boards_dir().parent)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mark.exists()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert said.rstrip().endswith("KeyboardInterrupt")
    for _ in range(100):
        if not sleepers():
            break
        time.sleep(0.05)
    assert sleepers() == []


def sleepers() -> list[str]:
    """The slow compilers that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x0061.25\x00":
                found.append(path.parent.name)
        except OSError:
            continue
    return found
